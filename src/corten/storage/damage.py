"""Marks on pieces of the store that were found damaged, so that whoever wants them next brings them in again.

A mark is an extended attribute of the blob's file or the layer's directory (``trusted.*``: xattr(7), root alone), whose
value says what is wrong. It is set and seen in one step and goes with the piece. Knows nothing of pieces.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ATTRIBUTE: Final = "trusted.corten.damaged"
_LONGEST: Final = 500  # ext4 keeps all attributes of an inode in one block


def mark(path: Path, why: str) -> None:
    """Say what is wrong with a piece; OSError where the file system cannot keep it."""
    os.setxattr(path, ATTRIBUTE, why.encode()[:_LONGEST], follow_symlinks=False)


def found(path: Path) -> str:
    """What was found wrong with a piece; empty for one without a mark."""
    try:
        return os.getxattr(path, ATTRIBUTE, follow_symlinks=False).decode(errors="replace")
    except OSError:
        return ""
