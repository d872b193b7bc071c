"""A tar stream, read once from front to back: entries and views of their data, no copies where none are needed.

Understands ustar, old V7, GNU (long names, base-256, sparse) and pax (extended attributes as star and libarchive write
them, sparse). Knows nothing of files: :mod:`corten.storage.layer.extract` makes those.
"""

from __future__ import annotations

import base64
import binascii
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Final

from corten.errors import CorruptData
from corten.tar import header, sparse
from corten.tar.header import BLOCK, Entry, Records

MAX_EXTENDED: Final = 1 << 20
"""Largest pax header or GNU long name, in bytes; the largest xattr is 64 KiB, the longest path 4 KiB."""
MAX_ENTRIES: Final = 20_000_000
_LIBARCHIVE: Final = b"LIBARCHIVE.xattr."


class TarReader:
    """Iterate entries; between two of them, :meth:`data` gives the current one's bytes (what is not taken is skipped).

    ``source`` returns the next piece of the stream, of any size, and ``b""`` at its end. ``rest`` is told every byte
    that :meth:`data` does not give, in order and before anything that follows it: headers, padding, skipped data.

    Raises:
        CorruptData: anything malformed, and a stream that ends inside an entry.
    """

    def __init__(self, source: Callable[[], bytes], rest: Callable[[bytes | memoryview], object] | None = None) -> None:
        self._source = source
        self._rest = rest
        self._buffer = b""
        self._view = memoryview(b"")
        self._position = 0
        self._left = 0
        self._padding = 0
        self._count = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next entry, or None at the end of the archive (its marker, or the end of the stream)."""
        overrides: Records = {}
        name = link = b""
        while True:
            self._skip(self._left + self._padding)
            block = self._header()
            if block is None:
                if overrides or name or link:
                    raise CorruptData("archive/tar: invalid tar header: extended header without an entry")
                return None
            entry = header.parse(block)
            self._expect(entry.size)
            if entry.kind == header.PAX:
                overrides = self._pax(entry)
            elif entry.kind == header.PAX_GLOBAL:
                self._pax(entry)  # read for its syntax only: Docker ignores global records too
            elif entry.kind == header.GNU_LONG_NAME:
                name = self._extended(entry).partition(b"\0")[0]
            elif entry.kind == header.GNU_LONG_LINK:
                link = self._extended(entry).partition(b"\0")[0]
            elif entry.kind != b"V":  # V: GNU's volume label
                entry.name = name or entry.name
                entry.link = link or entry.link
                return self._complete(entry, block, overrides)

    def data(self) -> Iterator[memoryview]:
        """The rest of the current entry's data, in pieces that are valid until the next is taken."""
        while self._left:
            if self._position == len(self._buffer):
                self._refill()
            start = self._position
            taken = min(self._left, len(self._buffer) - start)
            self._position += taken
            self._left -= taken
            yield self._view[start : start + taken]

    def drain(self) -> None:
        """Read the stream to its end, so that whoever hashes it has seen everything."""
        if self._rest is not None:
            self._rest(self._view[self._position :])
        self._position = len(self._buffer)
        while piece := self._source():
            if self._rest is not None:
                self._rest(piece)

    def _complete(self, entry: Entry, block: bytes, overrides: Records) -> Entry:
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise CorruptData(f"archive has more than {MAX_ENTRIES} entries")
        header.apply(entry, overrides)
        header.settle(entry)
        self._expect(entry.size)
        if entry.kind == header.GNU_SPARSE:
            extra = sparse.extensions(block, lambda: self._take(BLOCK))
            self._expect(entry.size)
            sparse.apply_gnu(entry, block, extra)
        elif b"GNU.sparse.major" in overrides or b"GNU.sparse.map" in overrides or b"GNU.sparse.size" in overrides:
            sparse.apply_pax(entry, overrides, self._inside)
        if not entry.name:
            raise CorruptData("archive/tar: invalid tar header: entry without a name")
        return entry

    def _expect(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _pax(self, entry: Entry) -> Records:
        found: Records = {}
        for key, value in header.records(self._extended(entry)):
            if key.startswith(_LIBARCHIVE):
                name = urllib.parse.unquote_to_bytes(key[len(_LIBARCHIVE) :])
                try:
                    found.setdefault(header.XATTR + name, base64.b64decode(value + b"=" * (-len(value) % 4)))
                except binascii.Error:
                    raise CorruptData("archive/tar: invalid tar header: pax attribute is not base64") from None
            else:
                found[key] = value
        return found

    def _extended(self, entry: Entry) -> bytes:
        if entry.size > MAX_EXTENDED:
            raise CorruptData(f"archive/tar: extended header of {entry.size} bytes is larger than {MAX_EXTENDED}")
        self._left = 0
        return self._take(entry.size)

    def _inside(self) -> bytes:
        """One block of the current entry's own data."""
        if self._left < BLOCK:
            raise CorruptData("archive/tar: invalid tar header: sparse map overflows its entry")
        self._left -= BLOCK
        return self._take(BLOCK)

    def _header(self) -> bytes | None:
        """The next header block; None for the end marker, which is two empty blocks, or one before the stream's end."""
        if self._position == len(self._buffer) and not self._more():
            return None
        block = self._take(BLOCK)
        if block != header.EMPTY:
            return block
        if self._position == len(self._buffer) and not self._more():
            return None
        if self._take(BLOCK) != header.EMPTY:
            raise CorruptData("archive/tar: invalid tar header: data after an empty block")
        return None

    def _take(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        end = self._position + count
        if end <= len(self._buffer):
            found = self._buffer[self._position : end]
            self._position = end
            if self._rest is not None:
                self._rest(found)
            return found
        pieces = [self._buffer[self._position :]]
        missing = count - len(pieces[0])
        while missing:
            self._refill()
            pieces.append(self._buffer[:missing])
            self._position = len(pieces[-1])
            missing -= self._position
        found = b"".join(pieces)
        if self._rest is not None:
            self._rest(found)
        return found

    def _skip(self, count: int) -> None:
        while count:
            if self._position == len(self._buffer):
                self._refill()
            step = min(count, len(self._buffer) - self._position)
            if self._rest is not None:
                self._rest(self._view[self._position : self._position + step])
            self._position += step
            count -= step
        self._left = self._padding = 0

    def _refill(self) -> None:
        if not self._more():
            raise CorruptData("archive/tar: unexpected EOF: the stream ends inside an entry")

    def _more(self) -> bool:
        self._buffer = self._source()
        self._view = memoryview(self._buffer)
        self._position = 0
        return bool(self._buffer)
