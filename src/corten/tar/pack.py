"""Trees on disk to a tar stream. Sorted, without user names, hard links kept; equal trees give equal bytes.

Everything is opened through directory descriptors and never through a link: somebody may change the tree meanwhile,
a hostile container too. What is no regular file is never opened, only looked at (a device may do anything when it is).
A file that shrinks is filled up with zeros to the size its header gave, one that grows is cut there; what is gone
since it was listed is left out, as tar(1) does. Knows nothing of layers and whiteouts.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from corten.tar import header, writer
from corten.tar.header import Entry
from corten.tar.names import MAX_PATH

_CHUNK: Final = 1 << 20
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: Final = {
    stat.S_IFREG: header.REGULAR, stat.S_IFDIR: header.DIRECTORY, stat.S_IFLNK: header.SYMLINK,
    stat.S_IFCHR: header.CHARACTER, stat.S_IFBLK: header.BLOCK_DEVICE, stat.S_IFIFO: header.FIFO,
}  # fmt: skip
_GONE: Final = (FileNotFoundError, NotADirectoryError)
_HOLES: Final = 1 << 16
"""Bytes a file must leave out before it is worth being called sparse."""


class Packer:
    """Entries of one stream: it remembers which files it has packed, so that the next link to one is a link.

    With ``sparse`` the holes of files are left out, in GNU's pax format 1.0, which not every reader knows. ``revise``
    may change an entry before it is written: whose it is, and its attributes.
    """

    def __init__(self, *, sparse: bool = False, revise: Callable[[Entry], None] | None = None) -> None:
        self._links: dict[tuple[int, int], bytes] = {}
        self._sparse = sparse
        self._revise = revise

    def tree(self, directory: int, prefix: bytes) -> Iterator[bytes]:
        """Everything below an open directory, one level after the other of each branch; ``prefix`` ends in a slash
        or is empty."""
        pending = [(prefix, os.dup(directory), _names(directory))]
        try:
            while pending:
                path, holder, names = pending[-1]
                name = next(names, None)
                if name is None:
                    os.close(holder)
                    pending.pop()
                    continue
                with suppress(*_GONE):
                    status = os.stat(name, dir_fd=holder, follow_symlinks=False)
                    if not stat.S_ISDIR(status.st_mode):
                        yield from self.member(holder, name, path + name, status)
                        continue
                    if len(path) + len(name) > MAX_PATH:
                        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), os.fsdecode(path))
                    below = os.open(name, _DIRECTORY, dir_fd=holder)
                    pending.append((path + name + b"/", below, _names(below)))
                    yield self.directory(below, path + name + b"/")
        finally:
            for _, holder, _ in pending:
                os.close(holder)

    def directory(self, fd: int, path: bytes) -> bytes:
        """The entry of an open directory; ``path`` ends in a slash."""
        entry = describe(path, os.fstat(fd))
        entry.xattrs = xattrs(fd)
        return self._encoded(entry)

    def _encoded(self, entry: Entry) -> bytes:
        if self._revise is not None:
            self._revise(entry)
        return writer.encode(entry)

    def member(self, holder: int, name: bytes | str, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        """One entry that is no directory, with its data; nothing for a socket (tar has no word for it)."""
        kind = stat.S_IFMT(status.st_mode)
        if kind in (stat.S_IFREG, stat.S_IFLNK):
            try:
                fd = os.open(name, _LOOK, dir_fd=holder)
            except _GONE:
                return
            try:
                yield from self.node(fd, path)
            finally:
                os.close(fd)
        elif kind in _KINDS and (entry := self._linked(path, status)) is None:
            yield self._encoded(describe(path, status))
        elif kind in _KINDS and entry is not None:
            yield self._encoded(entry)

    def node(self, fd: int, path: bytes) -> Iterator[bytes]:
        """The same for a descriptor that was opened with O_PATH: it is what it is, whatever its name is now."""
        status = os.fstat(fd)
        kind = stat.S_IFMT(status.st_mode)
        if kind not in _KINDS or kind == stat.S_IFDIR:
            return  # a directory took the place of what was looked at
        entry = self._linked(path, status)
        if entry is not None:
            yield self._encoded(entry)
        elif kind == stat.S_IFREG:
            yield from self._file(fd, path)
        else:
            entry = describe(path, status)
            if kind == stat.S_IFLNK:
                entry.link = os.readlink(b"", dir_fd=fd)
            yield self._encoded(entry)

    def _linked(self, path: bytes, status: os.stat_result) -> Entry | None:
        """The entry of a file that was packed under another name already."""
        if status.st_nlink < 2:
            return None
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return None
        entry = describe(path, status)
        entry.kind, entry.link, entry.size = header.LINK, first, 0
        return entry

    def _file(self, look: int, path: bytes) -> Iterator[bytes]:
        fd = os.open(f"/proc/self/fd/{look}", _READ)
        try:
            status = os.fstat(fd)
            entry = describe(path, status)
            entry.size = status.st_size
            entry.xattrs = xattrs(fd)
            pieces = _pieces(fd, status) if self._sparse else None
            if pieces is None:
                yield self._encoded(entry)
                yield from _content(fd, 0, status.st_size)
                yield writer.padding(status.st_size)
                return
            entry.sparse = pieces
            yield self._encoded(entry)
            for offset, length in pieces:
                yield from _content(fd, offset, length)
            yield writer.padding(sum(length for _, length in pieces))
        finally:
            os.close(fd)


def describe(path: bytes, status: os.stat_result) -> Entry:
    """An entry without size, link and attributes."""
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


def xattrs(fd: int) -> header.Records | None:
    """What an archive may carry: user.* and file capabilities; overlayfs' own marks stay behind."""
    try:
        listed = os.listxattr(fd)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return None
        raise
    found = {
        os.fsencode(name): os.getxattr(fd, name)
        for name in listed
        if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay."))
    }
    return found or None


def _names(directory: int) -> Iterator[bytes]:
    return iter(sorted(map(os.fsencode, os.listdir(directory))))


def _content(fd: int, offset: int, length: int) -> Iterator[bytes]:
    while length:
        data = os.pread(fd, min(_CHUNK, length), offset) or bytes(min(_CHUNK, length))
        offset += len(data)
        length -= len(data)
        yield data


def _pieces(fd: int, status: os.stat_result) -> list[tuple[int, int]] | None:
    """Where a file has data, None when it leaves (nearly) nothing out; lseek(2), SEEK_DATA."""
    if status.st_blocks * 512 + _HOLES > status.st_size:
        return None
    pieces: list[tuple[int, int]] = []
    position = 0
    while position < status.st_size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # a hole up to the end
            return None
        position = min(os.lseek(fd, start, os.SEEK_HOLE), status.st_size)
        if start >= position:
            break  # it grew
        pieces.append((start, position - start))
    return pieces
