"""The names of a layer's entries: where they lead, and which of them are whiteouts. Pure.

image-spec, layer.md, "Whiteouts"; AUFS is where the ``.wh.`` names come from.
"""

from __future__ import annotations

from typing import Final

from corten.errors import CorruptData

WHITEOUT: Final = b".wh."
META: Final = b".wh..wh."
OPAQUE: Final = b".wh..wh..opq"
MAX_PATH: Final = 4095


def clean(name: bytes) -> bytes:
    """``name`` relative to the layer's root, without ``.``, ``..`` and double slashes; empty for the root itself.

    An absolute name means the same inside the root, as for Docker; one that leaves the root is refused.

    Raises:
        CorruptData: it leaves the root, is longer than a path can be, or holds a NUL.
    """
    if len(name) > MAX_PATH or b"\0" in name:
        raise CorruptData(f"archive entry has an impossible name of {len(name)} bytes")
    path = name[2:] if name.startswith(b"./") else name
    path = path.rstrip(b"/")
    if path and not path.startswith((b"/", b".")) and b"//" not in path and b"/." not in path:
        return path
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if not parts:
                raise CorruptData(f'"{name.decode(errors="backslashreplace")}" is outside of the layer')
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def split(path: bytes) -> tuple[bytes, bytes]:
    """(directory, last component) of a cleaned path."""
    directory, _, base = path.rpartition(b"/")
    return directory, base


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
