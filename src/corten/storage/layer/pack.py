"""A layer's directory or a stack of them to a tar stream: what a container changed (``commit``), or everything it sees
(``export``).

The reverse of :mod:`corten.storage.layer.extract`: overlayfs' whiteouts become ``.wh.`` entries. What an entry is made
of is :mod:`corten.tar.pack`'s.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from corten.storage import merged
from corten.storage.layer import name as whiteouts
from corten.tar import header, writer
from corten.tar.header import Entry
from corten.tar.pack import Packer


def pack(upper: Path, below: Path | None = None) -> Generator[bytes, None, None]:
    """The tar stream of one layer directory, whiteouts included.

    Its top is an entry only where it is not as that of ``below``: a container that wrote nothing has an empty diff.
    """
    with merged.open_tree([upper]) as root:
        if below is None or not _alike(os.fstat(root.top), os.stat(below)):
            yield Packer().directory(root.top, b"./")
        yield from _layer(root)
    yield writer.END


def pack_tree(lowers: Sequence[Path]) -> Generator[bytes, None, None]:
    """The tar stream of the merged tree of ``lowers``, uppermost first: no whiteouts."""
    packer = Packer()
    with merged.open_tree(lowers) as root:
        for path, holder, name, status, child in merged.walk(root):
            encoded = os.fsencode(path)
            with suppress(FileNotFoundError, NotADirectoryError):
                if child is not None:
                    yield packer.directory(child.top, encoded + b"/")
                else:
                    yield from packer.member(holder, name, encoded, status)
    yield writer.END


def _alike(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


def _layer(root: merged.Directory) -> Iterator[bytes]:
    """Entries of one directory alone, whiteouts translated."""
    packer = Packer()
    pending: list[tuple[bytes, merged.Directory]] = [(b"", root)]
    while pending:
        prefix, directory = pending.pop()
        try:
            below: list[tuple[bytes, merged.Directory]] = []
            if prefix and merged.is_opaque(directory.top):
                yield writer.encode(Entry(prefix + whiteouts.OPAQUE, header.REGULAR, mode=0))
            for name in sorted(os.listdir(directory.top)):
                try:
                    status = os.stat(name, dir_fd=directory.top, follow_symlinks=False)
                    child = directory.child(name) if stat.S_ISDIR(status.st_mode) else None
                except (FileNotFoundError, NotADirectoryError):
                    continue  # gone since it was listed
                path = prefix + os.fsencode(name)
                if merged.is_whiteout(status):
                    yield writer.encode(Entry(prefix + whiteouts.WHITEOUT + os.fsencode(name), header.REGULAR, mode=0))
                elif child is not None:
                    yield packer.directory(child.top, path + b"/")
                    below.append((path + b"/", child))
                else:
                    yield from packer.member(directory.top, name, path, status)
            pending += reversed(below)
        finally:
            if directory is not root:
                directory.close()
