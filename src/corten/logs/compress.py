"""Rotated log files as gzip, a slice at a time, so that whoever writes logs never stops for it.

    <path>.N        finished, not compressed yet
    <path>.gz.new   the file that is being compressed, on its way
    <path>.N.gz     compressed; its gzip header (RFC 1952, 2.3.1.1) names the file it was made of

The compressed file appears before the plain one goes: where both are there, the plain one counts. Nothing is synced, as
nothing of a log is. A reader that followed the plain file knows its successor by the header (:class:`Origin`): an
inode number alone would be given to the next file that is created.
"""

from __future__ import annotations

import os
import struct
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    #: Inode, size and time of last modification (ns) of the plain file.
    Origin: TypeAlias = "tuple[int, int, int]"

SUFFIX = ".gz"
#: Bytes compressed in one step: about a millisecond.
SLICE = 64 * 1024
_LEVEL = 1
_EXTRA = struct.Struct("<2sHQQQ")
_HEAD = struct.Struct("<2sBBIBBH")
_TAIL = struct.Struct("<II")
_ID = b"CT"


def rotated(path: str, number: int) -> str:
    """The name of the ``number``-th file back; 0 is the current one."""
    return f"{path}.{number}" if number else path


def origin_of(status: os.stat_result) -> Origin:
    """What a finished file is known by once it is compressed."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_origin(descriptor: int) -> Origin | None:
    """The file a compressed one was made of; None for one that we did not make."""
    raw = os.pread(descriptor, _HEAD.size + _EXTRA.size, 0)
    if len(raw) < _HEAD.size + _EXTRA.size:
        return None
    magic, _, flags, _, _, _, length = _HEAD.unpack_from(raw)
    name, _, inode, size, modified = _EXTRA.unpack_from(raw, _HEAD.size)
    if magic != b"\x1f\x8b" or flags != 4 or length != _EXTRA.size or name != _ID:
        return None
    return inode, size, modified


def inflate(descriptor: int, into: int, limit: int = -1) -> int:
    """Write what a gzip file holds to ``into`` (at most about ``limit`` bytes); how much that was.

    A file cut short by a crash gives what there is of it.
    """
    machine = zlib.decompressobj(31)
    position = total = 0
    while block := os.pread(descriptor, 256 * 1024, position):
        position += len(block)
        try:
            while block:
                text = machine.decompress(block, 1024 * 1024)
                total += _write(into, text)
                if 0 <= limit <= total:
                    return total
                block = machine.unconsumed_tail
        except zlib.error:
            return total
        if machine.eof:
            break
    return total


def _write(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


class Compressor:
    """Compresses what rotation leaves behind, the oldest first. ``busy`` while :meth:`step` has something to do."""

    __slots__ = ("_checksum", "_count", "_machine", "_number", "_path", "_position", "_source", "_target", "busy")

    def __init__(self, path: str, count: int) -> None:
        self._path = path
        self._count = count
        self._source = self._target = -1
        self._number = self._position = self._checksum = 0
        self.busy = True  # an earlier writer may have died before it was done

    def shifted(self) -> None:
        """Every file is one place further back, and the oldest is gone."""
        self.busy = True
        if self._source >= 0:
            self._number += 1
            if self._number >= self._count:
                self.stop()

    def step(self) -> bool:
        """One slice; whether there is more to do. A full disk leaves files as they are until the next rotation."""
        try:
            if self._source < 0 and not self._begin():
                self.busy = False
                return False
            data = os.pread(self._source, SLICE, self._position)
            self._position += len(data)
            if data:
                self._checksum = zlib.crc32(data, self._checksum)
                _write(self._target, self._machine.compress(data))
            else:
                self._end()
        except OSError:
            self.stop()
            self.busy = False
        return self.busy

    def _begin(self) -> bool:
        for number in range(self._count - 1, 0, -1):
            try:
                self._source = os.open(rotated(self._path, number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            self._number = number
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._target = os.open(f"{self._path}{SUFFIX}.new", flags, 0o640)
            origin = origin_of(os.fstat(self._source))
            head = _HEAD.pack(b"\x1f\x8b", 8, 4, 0, 4, 255, _EXTRA.size)
            _write(self._target, head + _EXTRA.pack(_ID, _EXTRA.size - 4, *origin))
            self._machine = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
            self._position = self._checksum = 0
            return True
        return False

    def _end(self) -> None:
        _write(self._target, self._machine.flush() + _TAIL.pack(self._checksum, self._position & 0xFFFFFFFF))
        plain = rotated(self._path, self._number)
        os.rename(f"{self._path}{SUFFIX}.new", plain + SUFFIX)
        os.unlink(plain)
        self.stop()

    def stop(self) -> None:
        """Give up what is half done; it begins anew with the next writer."""
        for descriptor in (self._source, self._target):
            if descriptor >= 0:
                os.close(descriptor)
        if self._target >= 0:
            try:
                os.unlink(f"{self._path}{SUFFIX}.new")
            except OSError:
                pass
        self._source = self._target = -1
