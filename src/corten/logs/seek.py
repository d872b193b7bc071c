"""Where in the files of a log reading has to begin, found without reading what comes before.

``tail`` goes backwards from the end. ``since`` finds the newest file that begins earlier, then a place in it by
bisection: some twenty small reads, whatever the size.

Bisection trusts that times do not go back. Where the clock was set back they do: then files are looked at from the
newest to the oldest, so what was written last is found; what lies before the place that was found is not shown even
where its time is later, and of what follows it lines older than ``since`` are left out. ``until`` ends at the first
later line.
"""

from __future__ import annotations

import os

from corten.logs.encode import Decoder
from corten.logs.files import MAX_RECORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.logs.files import LogFile

    #: Number of the file, newest first, and the offset in it.
    Place = tuple[int, int]

_BLOCK = 64 * 1024
#: Bisection ends in a stretch of this size, which is read line by line.
_STRETCH = 64 * 1024
_HEAD = 256 * 1024


def find_start(files: Sequence[LogFile], since_ns: int, tail: int) -> Place:
    """Where the last ``tail`` lines (-1: all), of them those from ``since_ns`` on, begin."""
    start = (len(files) - 1, 0)
    if tail > 0:
        start = find_tail(files, tail)
    elif tail == 0:
        return 0, files[0].end
    if since_ns > 0:
        number, offset = find_since(files[: start[0] + 1], since_ns)
        start = max(start, (number, offset), key=lambda place: (-place[0], place[1]))
    return start


def find_tail(files: Sequence[LogFile], tail: int) -> Place:
    """Where the last ``tail`` lines begin. Reads backwards, only as far as needed."""
    missing = tail
    for number, file in enumerate(files):
        position, last = file.end, True
        while position > 0:
            begin = max(0, position - _BLOCK)
            block = os.pread(file.descriptor, position - begin, begin)
            edge = len(block)
            if last:  # the newline that ends the last line does not begin another one
                edge = block.rfind(b"\n")
                last = False
                if edge < 0:
                    edge = len(block)
            count = block.count(b"\n", 0, edge)
            if count < missing:
                missing -= count
            else:
                for _ in range(missing):
                    edge = block.rfind(b"\n", 0, edge)
                return number, begin + edge + 1
            position = begin
        if file.end:
            missing -= 1  # the file's first line has no newline before it
        if missing == 0:
            return number, 0
    return len(files) - 1, 0


def find_since(files: Sequence[LogFile], since_ns: int) -> Place:
    """The first line from ``since_ns`` on, in the newest file that begins earlier; else the oldest file's beginning."""
    decoder = Decoder()
    for number, file in enumerate(files):
        first = _first_time(file.head(_HEAD), decoder)
        if first is not None and first < since_ns:
            return number, _bisect(file, since_ns, decoder)
    return len(files) - 1, 0


def _first_time(block: bytes, decoder: Decoder) -> int | None:
    """The time of the first whole line that is one."""
    for line in block.split(b"\n")[:-1]:
        entry = decoder.decode(line)
        if entry is not None:
            return entry[1]
    return None


def _bisect(file: LogFile, since_ns: int, decoder: Decoder) -> int:
    """An offset where a line begins; lines before it are older (up to the clock), the next _STRETCH reaches the place.

    ``low`` is always the beginning of a line older than ``since_ns``.
    """
    low, high = 0, file.end
    while high - low > _STRETCH:
        middle = (low + high) // 2
        place, time = _line_after(file, middle, high, decoder)
        if time is not None and time < since_ns:
            low = place
        else:
            high = middle
    return low


def _line_after(file: LogFile, offset: int, end: int, decoder: Decoder) -> tuple[int, int | None]:
    """The first whole line that begins after ``offset``: its place and time; damaged ones are passed over."""
    position, rest, start, dropped = offset, b"", -1, 0
    while position < end:
        block = os.pread(file.descriptor, min(_BLOCK, end - position), position)
        if not block:
            break
        position += len(block)
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if start < 0:
                start = offset
            elif not dropped:
                entry = decoder.decode(line)
                if entry is not None:
                    return start, entry[1]
            start += dropped + len(line) + 1
            dropped = 0
        if len(rest) > MAX_RECORD:
            dropped += len(rest)
            rest = b""
    return end, None
