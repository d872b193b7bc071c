"""The names of an archive's entries: where they lead. Pure."""

from __future__ import annotations

from typing import Final

from corten.errors import CorruptData

MAX_PATH: Final = 4095


def clean(name: bytes) -> bytes:
    """``name`` relative to the root, without ``.``, ``..`` and double slashes; empty for the root itself.

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
                raise CorruptData(f'"{name.decode(errors="backslashreplace")}" is outside of the archive')
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def split(path: bytes) -> tuple[bytes, bytes]:
    """(directory, last component) of a cleaned path."""
    directory, _, base = path.rpartition(b"/")
    return directory, base
