"""The files of one log, opened while their writer goes on: which there are, in which order, and where lines begin.

The writer renames files while they are read (see :mod:`corten.logs.json_file`). A reader therefore works on open
descriptors and knows a file by (device, inode): the set of files is opened newest first, and opened again when a
rename was caught in between. Nothing here is seen by the writer.
"""

from __future__ import annotations

import os

from corten.logs.compress import SUFFIX, inflate, origin_of, read_origin, rotated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from corten.logs.compress import Origin

_BATCH = 1024 * 1024
_ATTEMPTS = 100
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
#: No writer makes a longer record; what is longer is damage, and is not gathered in memory.
MAX_RECORD = 4 * 1024 * 1024


class LogFile:
    """One open file of the set; ``identity`` tells it from every other as long as it is open."""

    __slots__ = ("_compressed", "_descriptor", "_directory", "_end", "_text", "identity")

    def __init__(self, path: str, *, compressed: bool) -> None:
        self._directory = os.path.dirname(path) or "."
        self._compressed = compressed
        self._descriptor = os.open(path, _FLAGS)
        status = os.fstat(self._descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self._text = -1 if compressed else self._descriptor
        self._end = status.st_size

    @property
    def descriptor(self) -> int:
        """The lines; those of a compressed file are unpacked now, into a file without a name."""
        if self._text < 0:
            self._text = _unnamed(self._directory)
            self._end = inflate(self._descriptor, self._text)
        return self._text

    @property
    def end(self) -> int:
        """Where the lines ended when the file was opened."""
        return self._end if self.descriptor >= 0 else 0

    def head(self, size: int) -> bytes:
        """The first bytes; of a compressed file no more is unpacked than that."""
        if self._text >= 0:
            return os.pread(self._text, min(size, self._end), 0)
        text = _unnamed(self._directory)
        try:
            inflate(self._descriptor, text, size)
            return os.pread(text, size, 0)
        finally:
            os.close(text)

    def continues(self, other: LogFile) -> bool:
        """Whether this is ``other`` under whatever name, or made of it by compression."""
        if self.identity == other.identity:
            return True
        return self._compressed and read_origin(self._descriptor) == other.origin()

    def origin(self) -> Origin:
        """What a compressed successor of this file says it was made of."""
        return origin_of(os.fstat(self._descriptor))

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._descriptor)
        if self._text >= 0 and self._compressed:
            os.close(self._text)
        self._descriptor = self._text = -1


def _unnamed(directory: str) -> int:
    try:
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system without O_TMPFILE, or without room
        return os.memfd_create("log", os.MFD_CLOEXEC)


def open_newest_first(path: str) -> list[LogFile]:
    """Every file of the set, newest first, without a gap and without one twice.

    Between two steps of a rotation (or after a writer that died there) ``path`` itself may be missing.
    """
    for _ in range(_ATTEMPTS):
        files: list[LogFile] = []
        first = number = 0
        while True:
            found = _open(path, number)
            if found is not None:
                files.append(found)
            elif number:
                break
            else:
                first = 1
            number += 1
        identities = [file.identity for file in files]
        if not files:
            return files
        current = rotated(path, first)
        newest_in_place = is_at(current, identities[0]) or is_at(current + SUFFIX, identities[0])
        if newest_in_place and not (first and os.path.lexists(path)) and len(set(identities)) == len(identities):
            return files
        close(files)
    raise OSError(f"{path}: rotated faster than it can be opened")


def _open(path: str, number: int) -> LogFile | None:
    name = rotated(path, number)
    for suffix in ("", SUFFIX) if number else ("",):
        try:
            return LogFile(name + suffix, compressed=bool(suffix))
        except FileNotFoundError:
            continue
    return None


def is_at(path: str, identity: tuple[int, int]) -> bool:
    """Whether ``path`` still names that file."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == identity


def close(files: list[LogFile]) -> None:
    """Give every descriptor back."""
    for file in files:
        file.close()


class Splitter:
    """Complete lines out of blocks; a line beyond MAX_RECORD is dropped without being gathered."""

    __slots__ = ("_dropping", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._dropping = False

    def feed(self, block: bytes) -> list[bytes]:
        """The lines that are complete now, without their newlines."""
        lines = (self._rest + block).split(b"\n") if self._rest else block.split(b"\n")
        self._rest = lines.pop()
        if self._dropping and lines:
            del lines[0]
            self._dropping = False
        if len(self._rest) > MAX_RECORD or self._dropping:
            self._rest = b""
            self._dropping = True
        return lines


def lines_between(descriptor: int, offset: int, end: int) -> Iterator[bytes]:
    """The complete lines between two offsets, a large block at a time."""
    splitter = Splitter()
    while offset < end:
        block = os.pread(descriptor, min(_BATCH, end - offset), offset)
        if not block:
            return
        offset += len(block)
        yield from splitter.feed(block)
