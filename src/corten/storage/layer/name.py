"""Which names of a layer's entries are whiteouts, and what they hide. Pure.

image-spec, layer.md, "Whiteouts"; AUFS is where the ``.wh.`` names come from.
"""

from __future__ import annotations

from typing import Final

from corten.errors import CorruptData

WHITEOUT: Final = b".wh."
META: Final = b".wh..wh."
OPAQUE: Final = b".wh..wh..opq"


def hidden(base: bytes) -> bytes:
    """What the whiteout ``base`` hides.

    Raises:
        CorruptData: nothing, or a name that is a direction (``.wh...`` would mean the parent).
    """
    target = base[len(WHITEOUT) :]
    if target in (b"", b".", b".."):
        raise CorruptData(f"invalid whiteout {base.decode(errors='backslashreplace')}")
    return target


def is_metadata(path: bytes) -> bool:
    """Whether AUFS kept its own data under this name (``.wh..wh.plnk/...``): nothing of an image."""
    return path.startswith(META) or b"/" + META in path
