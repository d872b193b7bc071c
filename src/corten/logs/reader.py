"""Reading a json-file log: from its start, from its end, and as it grows.

The writer renames files while they are read (see :mod:`corten.logs.json_file`). A reader therefore works on open
descriptors and knows a file by (device, inode): the set of files is opened newest first, and opened again when a
rename was caught in between. Nothing here is seen by the writer.
"""

from __future__ import annotations

import os

from corten.linux import inotify
from corten.logs.encode import Decoder
from corten.logs.json_file import rotated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from corten.logs.encode import Entry

_BLOCK = 64 * 1024
_BATCH = 1024 * 1024
_ATTEMPTS = 100
_CHANGES = inotify.IN_MODIFY | inotify.IN_MOVED_TO | inotify.IN_CREATE | inotify.IN_ONLYDIR
_FOREVER = (1 << 63) - 1


class _File:
    """One open file of the set; ``identity`` tells it from every other as long as it is open."""

    __slots__ = ("descriptor", "identity")

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        status = os.fstat(self.descriptor)
        self.identity = (status.st_dev, status.st_ino)

    def close(self) -> None:
        os.close(self.descriptor)


def _open_newest_first(path: str) -> list[_File]:
    """Every file of the set, newest first, without a gap and without one twice.

    Between two steps of a rotation (or after a writer that died there) ``path`` itself may be missing.
    """
    for _ in range(_ATTEMPTS):
        files: list[_File] = []
        first = number = 0
        while True:
            try:
                files.append(_File(rotated(path, number)))
            except FileNotFoundError:
                if number:
                    break
                first = 1
            number += 1
        identities = [file.identity for file in files]
        if not files:
            return files
        newest_in_place = _still(rotated(path, first), identities[0]) and not (first and os.path.lexists(path))
        if newest_in_place and len(set(identities)) == len(identities):
            return files
        _close(files)
    raise OSError(f"{path}: rotated faster than it can be opened")


def _still(path: str, identity: tuple[int, int]) -> bool:
    """Whether ``path`` still names that file."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == identity


def _close(files: list[_File]) -> None:
    for file in files:
        file.close()


class Reader:
    """A snapshot of the log at the moment of the call."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, since_ns: int = 0, until_ns: int = 0, tail: int = -1) -> Iterator[Entry]:
        """Entries in order, as Docker selects them: first the last ``tail`` lines (-1: all), then by time.

        ``since_ns`` is inclusive, 0 for the beginning; the first entry later than ``until_ns`` ends the reading,
        0 for no end. A container that never wrote has no file, and no entries.
        """
        if tail == 0:
            return
        files = _open_newest_first(self.path)
        decoder = Decoder()
        try:
            ends = [os.fstat(file.descriptor).st_size for file in files]
            start, offset = len(files) - 1, 0
            if tail > 0:
                start, offset = _find_tail(files, ends, tail)
            for number in range(start, -1, -1):
                for line in _lines(files[number].descriptor, offset, ends[number]):
                    entry = decoder.decode(line)
                    if entry is None or entry[1] < since_ns:
                        continue
                    if until_ns and entry[1] > until_ns:
                        return
                    yield entry
                offset = 0
        finally:
            _close(files)


def _find_tail(files: list[_File], ends: list[int], tail: int) -> tuple[int, int]:
    """Where the last ``tail`` lines begin: (number of the file, offset). Reads backwards, only as far as needed."""
    missing = tail
    for number, file in enumerate(files):
        position, last = ends[number], True
        while position > 0:
            begin = max(0, position - _BLOCK)
            block = os.pread(file.descriptor, position - begin, begin)
            edge = len(block)
            if last:  # the newline that ends the last line does not begin another one
                edge = block.rfind(b"\n")
                last = False
                if edge < 0:
                    edge = len(block)
            while (found := block.rfind(b"\n", 0, edge)) >= 0:
                missing -= 1
                if missing == 0:
                    return number, begin + found + 1
                edge = found
            position = begin
        if ends[number]:
            missing -= 1  # the file's first line has no newline before it
        if missing == 0:
            return number, 0
    return len(files) - 1, 0


def _lines(descriptor: int, offset: int, end: int) -> Iterator[bytes]:
    """The complete lines between two offsets, a large block at a time."""
    rest = b""
    while offset < end:
        block = os.pread(descriptor, min(_BATCH, end - offset), offset)
        if not block:
            return
        offset += len(block)
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from lines


class Follower:
    """The log from a chosen point on, and what is added to it: no line twice, none missing, over any rotation.

    :meth:`poll` gives what there is; when it gives nothing, wait until :meth:`fileno` is readable. Whether anything
    more can come (does the container live?) is for the caller to know. When the writer removes files faster than
    they are read, the lines in between are gone and reading goes on at the oldest that is left.
    """

    __slots__ = ("_decoder", "_files", "_notify", "_offset", "_rest", "_since", "_until", "ended", "path")

    def __init__(self, path: str, *, since_ns: int = 0, until_ns: int = 0, tail: int = -1) -> None:
        self.path = path
        self.ended = False
        self._since = since_ns
        self._until = until_ns or _FOREVER
        self._decoder = Decoder()
        self._rest = b""
        self._offset = 0
        self._notify = inotify.inotify_init1(inotify.IN_NONBLOCK | inotify.IN_CLOEXEC)
        self._files: list[_File] = []
        try:
            inotify.inotify_add_watch(self._notify, os.path.dirname(path) or ".", _CHANGES)
            self._seek(tail)
        except BaseException:
            self.close()
            raise

    def _seek(self, tail: int) -> None:
        """Keep the files from the one where reading begins, newest first; the last of the list is read next."""
        files = _open_newest_first(self.path)
        start, offset = len(files) - 1, 0
        ends = [os.fstat(file.descriptor).st_size for file in files]
        if tail > 0:
            start, offset = _find_tail(files, ends, tail)
        elif tail == 0 and files:
            start, offset = 0, ends[0]
        _close(files[start + 1 :])
        self._files = files[: start + 1]
        self._offset = offset

    def fileno(self) -> int:
        """Readable when :meth:`poll` may have something."""
        return self._notify

    def poll(self) -> list[Entry]:
        """The next entries, at most about 1 MiB of log; an empty list when there is nothing now.

        ``ended`` is set when an entry later than ``until_ns`` was met.
        """
        inotify.drain(self._notify)
        while not self.ended:
            if not self._files:
                self._files = _open_newest_first(self.path)
                if not self._files:
                    return []
            descriptor = self._files[-1].descriptor
            # Asked before the read: what was current then may be renamed after it, and still be written once more.
            older = len(self._files) > 1 or not _still(self.path, self._files[-1].identity)
            block = os.pread(descriptor, _BATCH, self._offset)
            if block:
                self._offset += len(block)
                entries = self._select(block)
                if entries:
                    return entries
            elif not older or not self._next_file():
                return []
        return []

    def _select(self, block: bytes) -> list[Entry]:
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        entries = []
        for line in lines:
            entry = self._decoder.decode(line)
            if entry is None or entry[1] < self._since:
                continue
            if entry[1] > self._until:
                self.ended = True
                break
            entries.append(entry)
        return entries

    def _next_file(self) -> bool:
        """Leave the finished file for the next newer one; False when that one does not exist yet."""
        done = self._files[-1]
        if len(self._files) == 1:
            files = _open_newest_first(self.path)
            known = [file.identity for file in files]
            count = known.index(done.identity) if done.identity in known else len(files)
            newer = files[:count]
            _close(files[count:])
            if not newer:
                return False
            self._files = [*newer, done]
        self._files.pop().close()
        self._offset = 0
        self._rest = b""
        return True

    def close(self) -> None:
        """Give every descriptor back."""
        _close(self._files)
        self._files = []
        if self._notify >= 0:
            os.close(self._notify)
            self._notify = -1
