"""The json-file log of one container: a rotating writer.

    <path>         what is written now
    <path>.1       the file before it; a higher number is older
    <path>.<n-1>   the oldest kept, n = max_file
    <path>.N.gz    one of them compressed, where that was asked for (:mod:`corten.logs.compress`)

Rotation is lazy, as Docker's: the line that crosses ``max_size`` still goes into its file, the next one into a new
file. Renames go oldest first, so that a reader finds every line in exactly one file at any moment (it compares
inodes, see :mod:`corten.logs.reader`). The writer takes no lock and never waits for a reader.

Refuses to know what a container is, and when to log.
"""

from __future__ import annotations

import os

from corten.logs.compress import SUFFIX, Compressor, rotated
from corten.logs.encode import encode_lines, encode_piece, suffix

#: A line longer than this is cut into pieces of this size; only the last has the newline (moby, logger.Copier).
PIECE = 16 * 1024
DEFAULT_MAX_SIZE = 20 * 1000 * 1000
DEFAULT_MAX_FILE = 5
STREAMS = ("stdout", "stderr")


class Writer:
    """Appends what a container writes. Not thread-safe; one writer per path.

    ``max_size`` in bytes, 0 for no limit; ``max_file`` counts the current file. ``attributes`` is the JSON object of
    ``--log-opt labels/env/tag`` or empty. A failing disk (ENOSPC, EIO) costs log lines, never the container: they are
    counted in ``lost``. With ``compress`` somebody has to call :meth:`work` now and then.
    """

    __slots__ = (
        "_attributes",
        "_compressor",
        "_file",
        "_held",
        "_since",
        "_size",
        "lost",
        "max_file",
        "max_size",
        "path",
    )

    def __init__(
        self,
        path: str,
        *,
        max_size: int = DEFAULT_MAX_SIZE,
        max_file: int = DEFAULT_MAX_FILE,
        attributes: bytes = b"",
        compress: bool = False,
    ) -> None:
        self.path = path
        self.max_size = max_size
        self.max_file = max_file
        self.lost = 0
        self._attributes = attributes
        self._held = {"stdout": b"", "stderr": b""}
        self._since = {"stdout": 0, "stderr": 0}  # the time of the line's first piece, while a line is in pieces
        self._file = -1
        self._size = 0
        self._compressor = Compressor(path, max_file) if compress and max_file > 1 else None
        self.reopen()

    def write(self, stream: str, chunk: bytes, now_ns: int) -> None:
        """Log what was read at ``now_ns``. The end of an unfinished line is held back until it is finished."""
        held = self._held[stream]
        data = held + chunk if held else chunk
        end = data.rfind(b"\n") + 1
        if self._since[stream] or (len(data) >= PIECE and _has_long_line(data)):
            self._write_pieces(stream, data, now_ns)
            return
        self._held[stream] = data[end:] if end < len(data) else b""
        if end:
            lines = data[:end] if end < len(data) else data
            self._append(encode_lines(lines, suffix(stream, now_ns, self._attributes)))

    def finish(self, stream: str, now_ns: int) -> None:
        """The stream has ended: log the unfinished line, without a newline, as Docker does."""
        held, self._held[stream] = self._held[stream], b""
        if held:
            when = self._since[stream] or now_ns
            self._append(encode_piece(held, suffix(stream, when, self._attributes)))
        self._since[stream] = 0

    def reopen(self) -> None:
        """Open ``path`` anew (somebody moved it away). A torn last line is ended, so that the next one is whole."""
        self._close_file()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.path, flags, 0o640)
        self._size = os.fstat(self._file).st_size
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
            self._append(memoryview(b"\n"))

    def close(self) -> None:
        """Give the descriptors back; what is held of unfinished lines was for :meth:`finish`."""
        self._close_file()
        if self._compressor is not None:
            self._compressor.stop()

    def work(self) -> float:
        """Compress a little; seconds until the next call is wanted, negative for not before the next write."""
        if self._compressor is None or not self._compressor.busy:
            return -1.0
        return 0.0 if self._compressor.step() else -1.0

    def throttles(self) -> bool:
        """Whether the container should write less: a file takes everything."""
        return False

    def owes(self) -> bool:
        """Whether something would be lost by :meth:`close`: nothing that was written ever is."""
        return False

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write_pieces(self, stream: str, data: bytes, now_ns: int) -> None:
        """The slow path: at least one line of ``data`` is cut at multiples of PIECE."""
        records: list[bytes | memoryview] = []
        since = self._since[stream]
        start, size = 0, len(data)
        while start < size:
            window = start + PIECE
            end = data.find(b"\n", start, window) if since else data.rfind(b"\n", start, window)
            if end >= 0:
                records.append(encode_lines(data[start : end + 1], suffix(stream, since or now_ns, self._attributes)))
                since = 0
                start = end + 1
            elif size - start >= PIECE:
                since = since or now_ns
                records.append(encode_piece(data[start : start + PIECE], suffix(stream, since, self._attributes)))
                start += PIECE
            else:
                break
        self._held[stream] = data[start:]
        self._since[stream] = since
        if records:
            self._append(memoryview(b"".join(records)))

    def _append(self, records: bytes | memoryview) -> None:
        """Write whole records, going over to new files where ``max_size`` says so."""
        view = memoryview(records)
        while view:
            room = self.max_size - self._size
            if self.max_size and room <= 0:
                self._rotate()
                continue
            if not self.max_size or len(view) <= room:
                self._put(view)
                return
            end = bytes(view[room - 1 : room + 4 * PIECE]).find(b"\n")
            if end < 0:
                end = bytes(view[room - 1 :]).find(b"\n")
            self._put(view[: room + end])
            view = view[room + end :]

    def _put(self, view: memoryview) -> None:
        try:
            while view:
                written = os.write(self._file, view)
                self._size += written
                view = view[written:]
        except OSError:
            self.lost += bytes(view).count(b"\n")

    def _rotate(self) -> None:
        """Make ``path`` a new, empty file. When that fails, logging goes on in the old one."""
        try:
            if self.max_file > 1:
                self._shift()
            else:
                os.unlink(self.path)
            self.reopen()
        except OSError:
            self.lost += 1
            self._recover()

    def _shift(self) -> None:
        """Every file one place back, the oldest first."""
        forms = ("",) if self._compressor is None else ("", SUFFIX)
        for number in range(self.max_file, 0, -1):
            for form in forms:
                source = rotated(self.path, number - 1) + form
                try:
                    if number == self.max_file:
                        os.unlink(source)
                    else:
                        os.rename(source, rotated(self.path, number) + form)
                except FileNotFoundError:
                    continue
        if self._compressor is not None:
            self._compressor.shifted()

    def _recover(self) -> None:
        """After a failed rotation: write on in whatever ``path`` is now, and try again after another ``max_size``."""
        if self._file < 0:
            self._file = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._size = 0


def _has_long_line(data: bytes) -> bool:
    """Whether a line of ``data`` has PIECE bytes or more before its newline (or the end)."""
    start, size = 0, len(data)
    while size - start >= PIECE:
        end = data.rfind(b"\n", start, start + PIECE)
        if end < 0:
            return True
        start = end + 1
    return False
