"""A tree on disk to a tar stream: what a container changed (``commit``), or everything it sees (``export``).

The reverse of :mod:`corten.storage.layer.extract`: overlayfs' whiteouts become ``.wh.`` entries. Sorted, without user
names, hard links kept; equal trees give equal bytes. Everything is opened through directory descriptors and never
through a link: the container may run and change the tree meanwhile. A file that shrinks is filled up with zeros to the
size its header gave, one that grows is cut there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from corten.storage import merged
from corten.storage.archive import header, writer
from corten.storage.archive.header import Entry
from corten.storage.layer import name as names

_CHUNK: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS: Final = {
    stat.S_IFREG: header.REGULAR, stat.S_IFDIR: header.DIRECTORY, stat.S_IFLNK: header.SYMLINK,
    stat.S_IFCHR: header.CHARACTER, stat.S_IFBLK: header.BLOCK_DEVICE, stat.S_IFIFO: header.FIFO,
}  # fmt: skip
_Links = dict[tuple[int, int], bytes]


def pack(upper: Path) -> Iterator[bytes]:
    """The tar stream of one layer directory, whiteouts included."""
    with merged.open_tree([upper]) as root:
        yield from _directory_entry(root.top, b"./")
        yield from _layer(root)
    yield writer.END


def pack_tree(lowers: Sequence[Path]) -> Iterator[bytes]:
    """The tar stream of the merged tree of ``lowers``, uppermost first: no whiteouts."""
    links: _Links = {}
    with merged.open_tree(lowers) as root:
        for path, holder, name, status, child in merged.walk(root):
            encoded = os.fsencode(path)
            if child is not None:
                yield from _directory_entry(child.top, encoded + b"/")
            else:
                yield from _member(holder, name, encoded, status, links)
    yield writer.END


def _layer(root: merged.Directory) -> Iterator[bytes]:
    """Entries of one directory alone, whiteouts translated."""
    links: _Links = {}
    pending: list[tuple[bytes, merged.Directory]] = [(b"", root)]
    while pending:
        prefix, directory = pending.pop()
        try:
            below: list[tuple[bytes, merged.Directory]] = []
            if prefix and merged.is_opaque(directory.top):
                yield writer.encode(Entry(prefix + names.OPAQUE, header.REGULAR, mode=0))
            for name in sorted(os.listdir(directory.top)):
                try:
                    status = os.stat(name, dir_fd=directory.top, follow_symlinks=False)
                    child = directory.child(name) if stat.S_ISDIR(status.st_mode) else None
                except (FileNotFoundError, NotADirectoryError):
                    continue  # gone since it was listed
                path = prefix + os.fsencode(name)
                if merged.is_whiteout(status):
                    yield writer.encode(Entry(prefix + names.WHITEOUT + os.fsencode(name), header.REGULAR, mode=0))
                elif child is not None:
                    yield from _directory_entry(child.top, path + b"/")
                    below.append((path + b"/", child))
                else:
                    yield from _member(directory.top, name, path, status, links)
            pending += reversed(below)
        finally:
            if directory is not root:
                directory.close()


def _directory_entry(fd: int, path: bytes) -> Iterator[bytes]:
    entry = _entry(path, os.fstat(fd))
    entry.xattrs = _xattrs(fd)
    yield writer.encode(entry)


def _member(holder: int, name: str, path: bytes, status: os.stat_result, links: _Links) -> Iterator[bytes]:
    """One entry that is no directory, with its data."""
    kind = stat.S_IFMT(status.st_mode)
    if kind not in _KINDS:
        return  # a socket: tar has no word for it, and Docker leaves it out too
    if status.st_nlink > 1:
        first = links.setdefault((status.st_dev, status.st_ino), path)
        if first != path:
            entry = _entry(path, status)
            entry.kind, entry.link, entry.size = header.LINK, first, 0
            yield writer.encode(entry)
            return
    if kind == stat.S_IFREG:
        yield from _file(holder, name, path)
        return
    entry = _entry(path, status)
    if kind == stat.S_IFLNK:
        entry.link = os.fsencode(os.readlink(name, dir_fd=holder))
    yield writer.encode(entry)


def _file(holder: int, name: str, path: bytes) -> Iterator[bytes]:
    try:
        fd = os.open(name, _READ, dir_fd=holder)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return  # exchanged since it was listed
        entry = _entry(path, status)
        entry.size = status.st_size
        entry.xattrs = _xattrs(fd)
        yield writer.encode(entry)
        left = status.st_size
        while left:
            data = os.read(fd, min(_CHUNK, left)) or bytes(min(_CHUNK, left))
            left -= len(data)
            yield data
        yield writer.padding(status.st_size)
    finally:
        os.close(fd)


def _entry(path: bytes, status: os.stat_result) -> Entry:
    device = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
    return Entry(
        path,
        _KINDS[stat.S_IFMT(status.st_mode)],
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
    )


def _xattrs(fd: int) -> header.Records | None:
    """What an image may carry: user.* and file capabilities; overlayfs' own marks stay behind."""
    found = {
        os.fsencode(name): os.getxattr(fd, name)
        for name in os.listxattr(fd)
        if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay."))
    }
    return found or None
