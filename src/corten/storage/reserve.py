"""A little space set aside in a data root, given back at the moment an engine starts: ``<data root>/reserve``.

An engine on a disk that filled up while it was down must be able to start, for only it can delete. Its start writes the
database's WAL and a probe of overlayfs; that is what the space is for. While it runs, the database has space of its own
(:mod:`corten.storage.metadata`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

NAME: Final = "reserve"
SIZE: Final = 1 << 20


def release(root: Path) -> None:
    """Give the space back; nothing happens when none was set aside."""
    with suppress(OSError):
        (root / NAME).unlink()


def hold(root: Path) -> None:
    """Set it aside for the next start; a disk that is full now has none, which is no failure."""
    with suppress(OSError):
        descriptor = os.open(root / NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
        except OSError:
            (root / NAME).unlink()
        finally:
            os.close(descriptor)
