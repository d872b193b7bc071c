"""Files with holes in tar: GNU's old format and the pax format 1.0; where the data goes. Pure.

GNU tar manual, "Storing Sparse Files". The older pax variants 0.0 and 0.1 are refused: no current tar writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from corten.errors import CorruptData, NotSupported
from corten.tar import header
from corten.tar.header import BLOCK, Entry, Records

MAX_PIECES: Final = 1_000_000
Piece = tuple[int, int]


def extensions(block: bytes, take: Callable[[], bytes]) -> list[bytes]:
    """The blocks that continue the map of an old-format header, directly after it."""
    found: list[bytes] = []
    more = block[482]
    while more:
        found.append(take())
        more = found[-1][504]
        if len(found) * 21 > MAX_PIECES:
            raise CorruptData("archive/tar: sparse file has too many pieces")
    return found


def apply_gnu(entry: Entry, block: bytes, extra: list[bytes]) -> None:
    """Old format: four pieces in the header, 21 in each block after it, the file's size at 483."""
    fields = [block[386 + 24 * number : 410 + 24 * number] for number in range(4)]
    fields += [piece[24 * number : 24 * number + 24] for piece in extra for number in range(21)]
    pieces = [(header.number(field[:12]), header.number(field[12:])) for field in fields if field.strip(b"\0 ")]
    _install(entry, pieces, header.number(block[483:495]))


def apply_pax(entry: Entry, overrides: Records, take: Callable[[], bytes]) -> None:
    """Format 1.0: the map is decimal lines at the head of the data, padded to a block that ``take`` gives."""
    if overrides.get(b"GNU.sparse.major") != b"1" or overrides.get(b"GNU.sparse.minor") != b"0":
        raise NotSupported("sparse files in pax format 0.x are not supported: write the archive without --sparse")
    real = overrides.get(b"GNU.sparse.realsize", b"")
    if not real.isdigit() or len(real) > 19:
        raise CorruptData("archive/tar: sparse file without its real size")
    numbers: list[int] = []
    rest = b""
    while not numbers or len(numbers) < 1 + 2 * numbers[0]:
        *lines, rest = (rest + take()).split(b"\n")
        entry.size -= BLOCK
        if not all(line.isdigit() and len(line) < 20 for line in lines) or (not lines and len(rest) > 2 * BLOCK):
            raise CorruptData("archive/tar: sparse map is not a list of numbers")
        numbers += map(int, lines)
        if numbers and numbers[0] > MAX_PIECES:
            raise CorruptData("archive/tar: sparse file has too many pieces")
    flat = numbers[1 : 1 + 2 * numbers[0]]
    entry.name = overrides.get(b"GNU.sparse.name", entry.name)
    _install(entry, list(zip(flat[::2], flat[1::2], strict=True)), int(real))


def _install(entry: Entry, pieces: list[Piece], size: int) -> None:
    """Check that the pieces are in order, inside the file, and as long together as the data."""
    position = 0
    for offset, length in pieces:
        if offset < position or length < 0 or offset + length > size:
            raise CorruptData("archive/tar: sparse map is out of order or leaves the file")
        position = offset + length
    if sum(length for _, length in pieces) != entry.size or not 0 <= size < 2**63:
        raise CorruptData("archive/tar: sparse map does not fit its data")
    entry.kind = header.REGULAR
    entry.sparse = pieces
    entry.size = size
