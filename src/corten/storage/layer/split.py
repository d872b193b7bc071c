"""A layer's *split*: everything of its plain tar stream but the contents of the files it was unpacked to.

With the unpacked tree it makes the stream again, byte for byte (:mod:`corten.storage.layer.rebuild`), so a plain layer
is on disk once. What cannot be read from the tree is in the split itself: headers, extended records, padding,
whiteouts, data of entries that became nothing. A file that a later entry of the same archive replaced is kept beside
the tree, in ``replaced``. (tar-split of Docker is the same idea; its files are others.)

Owns the format, written once from front to back::

    MAGIC                              8 bytes
    zlib stream of frames              length of literal, length of path, offset, size (big-endian 32, 16, 64, 64 bits),
                                       then the literal and the path: the stream goes on with the literal, then with
                                       ``size`` bytes from ``offset`` on of the file ``path``
    end: JSON of :class:`End`, its length (32 bits), MAGIC

Knows nothing of tar and of what a path leads to.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec
from isal import isal_zlib

from corten.errors import CorruptData, NotFound

SPLIT: Final = "split"
REPLACED: Final = "replaced"
MAGIC: Final = b"CTsplit1"
_FRAME: Final = struct.Struct(">IHQQ")
_LENGTH: Final = struct.Struct(">I")
_LITERAL: Final = 1 << 18
"""Bytes of literal that make a frame of their own."""
_PENDING: Final = 1 << 17
"""Bytes of frames that are compressed at a time."""
_READ: Final = 1 << 16
_ISAL_ERROR: Final[type[Exception]] = isal_zlib.IsalError  # type: ignore[assignment]  # its stub says an instance
_LEVEL: Final = 1  # headers are mostly zeros: level 1 leaves a tenth, the others little less


class End(msgspec.Struct, frozen=True):
    """``size``: bytes of the whole stream; ``moved``: paths below ``replaced`` by number of the frame, from 0."""

    size: int
    moved: dict[int, bytes] = {}


class Frame(NamedTuple):
    """Bytes, then a piece of a file; ``path`` is empty when there is none."""

    literal: bytes
    path: bytes
    offset: int
    size: int


class SplitWriter:
    """Writes ``directory/split`` while the layer is unpacked. Used by one thread; nothing is synced here."""

    def __init__(self, directory: Path) -> None:
        self._replaced = directory / REPLACED
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = open(os.open(directory / SPLIT, flags, 0o600), "wb", buffering=0)
        self._stream = isal_zlib.compressobj(_LEVEL)
        self._literal = bytearray()
        self._frames = bytearray()
        self._count = 0
        self._places: dict[bytes, int] = {}  # path as it is now -> the first frame that reads it
        self._more: dict[int, int] = {}  # that frame -> how many follow it, for files with holes
        self._moved: dict[int, bytes] = {}
        self._kept = 0
        self._size = 0
        self._file.write(MAGIC)

    def literal(self, data: bytes | memoryview) -> None:
        """The stream goes on with these bytes."""
        self._literal += data
        if len(self._literal) >= _LITERAL:
            self._frame(b"", 0, 0)

    def reference(self, path: bytes, pieces: list[tuple[int, int]]) -> None:
        """The stream goes on with these (offset, length) of the file at ``path`` of the tree, which is new."""
        first = self._count
        for offset, length in pieces:
            if length:
                self._frame(path, offset, length)
        if self._count > first:
            self._places[path] = first
        if self._count > first + 1:
            self._more[first] = self._count - first - 1

    def replace(self, holder: int, name: bytes, path: bytes) -> None:
        """What is at ``path``, ``name`` in directory ``holder``, goes: keep it when the stream needs it."""
        gone = [path] if path in self._places else []
        if not gone and stat.S_ISDIR(os.stat(name, dir_fd=holder, follow_symlinks=False).st_mode):
            below = path + b"/"
            gone = [place for place in self._places if place.startswith(below)]
        if not gone:
            return
        self._replaced.mkdir(mode=0o700, exist_ok=True)
        number = b"%d" % self._kept
        self._kept += 1
        os.rename(name, os.path.join(os.fsencode(self._replaced), number), src_dir_fd=holder)
        for place in gone:
            first = self._places.pop(place)
            for frame in range(first, first + self._more.pop(first, 0) + 1):
                self._moved[frame] = number + place[len(path) :]

    def finish(self) -> None:
        """Write what is left; the split is complete."""
        if self._literal:
            self._frame(b"", 0, 0)
        self._file.write(self._stream.compress(self._frames) + self._stream.flush())
        end = msgspec.json.encode(End(self._size, self._moved))
        self._file.write(end + _LENGTH.pack(len(end)) + MAGIC)
        self.close()

    def close(self) -> None:
        """Give the descriptor back; the file of an unfinished one goes with its directory."""
        self._file.close()

    def _frame(self, path: bytes, offset: int, size: int) -> None:
        self._frames += _FRAME.pack(len(self._literal), len(path), offset, size)
        self._frames += self._literal
        self._frames += path
        self._size += len(self._literal) + size
        self._count += 1
        self._literal.clear()
        if len(self._frames) >= _PENDING:
            self._file.write(self._stream.compress(self._frames))
            self._frames.clear()


class Split:
    """A split on disk, open for reading until :meth:`close`.

    Raises:
        NotFound: there is none.
        CorruptData: it is cut or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file: BinaryIO = open(path, "rb", buffering=0)
        except FileNotFoundError:
            raise NotFound(f"{path} is not there") from None
        try:
            self.end = _end(self._file)
        except (ValueError, msgspec.DecodeError, OSError) as error:
            self._file.close()
            raise CorruptData(f"{path} is damaged: {error}") from error

    @property
    def size(self) -> int:
        """Bytes of the stream it makes."""
        return self.end.size

    def frames(self) -> Iterator[Frame]:
        """All frames from the first on; only one iteration at a time.

        Raises:
            CorruptData: the file is damaged.
        """
        try:
            yield from _frames(self._file)
        except (_ISAL_ERROR, struct.error) as error:
            raise CorruptData(f"split of a layer is damaged: {error}") from error

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()


def _end(file: BinaryIO) -> End:
    tail = _LENGTH.size + len(MAGIC)
    whole = os.fstat(file.fileno()).st_size
    if whole < len(MAGIC) + tail or os.pread(file.fileno(), len(MAGIC), 0) != MAGIC:
        raise ValueError("it does not begin as a split does")
    last = os.pread(file.fileno(), tail, whole - tail)
    (length,) = _LENGTH.unpack_from(last)
    if last[_LENGTH.size :] != MAGIC or length > whole - tail:
        raise ValueError("it does not end as a split does")
    return msgspec.json.decode(os.pread(file.fileno(), length, whole - tail - length), type=End)


def _frames(file: BinaryIO) -> Iterator[Frame]:
    pieces = _decompressed(file)
    buffer = b""
    position = 0

    def take(count: int) -> bytes:
        nonlocal buffer, position
        while len(buffer) - position < count:
            piece = next(pieces, b"")
            if not piece:
                raise struct.error("a frame is cut")
            buffer, position = buffer[position:] + piece, 0
        position += count
        return buffer[position - count : position]

    while True:
        if position == len(buffer):
            buffer, position = next(pieces, b""), 0
            if not buffer:
                return
        literal, path, offset, size = _FRAME.unpack(take(_FRAME.size))
        body = take(literal + path)
        yield Frame(body[:literal], body[literal:], offset, size)


def _decompressed(file: BinaryIO) -> Iterator[bytes]:
    stream = isal_zlib.decompressobj()
    position = len(MAGIC)
    data = b""
    while not stream.eof:
        if not data:
            data = os.pread(file.fileno(), _READ, position)
            position += len(data)
            if not data:
                raise struct.error("its end is missing")
        piece = stream.decompress(data, _LITERAL)
        data = stream.unconsumed_tail
        if piece:
            yield piece
