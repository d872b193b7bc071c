"""One tar header: 512 bytes to fields, and extended records to overrides. Pure.

POSIX.1-2017 pax(1) ("ustar Interchange Format", "pax Interchange Format") and tar(5) for GNU's additions. Knows
nothing of streams or files. Numbers are read strictly, because a reader that forgives what another refuses lets an
archive mean two things (CVE-2025-62518).
"""

from __future__ import annotations

import zlib
from typing import Final

from corten.errors import CorruptData

BLOCK: Final = 512
EMPTY: Final = bytes(BLOCK)
MAX_ID: Final = 2**32 - 2
"""Largest uid or gid: 2^32-1 means "no change" to chown(2) (compare CVE-2024-40635)."""
XATTR: Final = b"SCHILY.xattr."

OLD: Final = b"\0"
REGULAR: Final = b"0"
LINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
PAX: Final = b"x"
PAX_GLOBAL: Final = b"g"
GNU_LONG_NAME: Final = b"L"
GNU_LONG_LINK: Final = b"K"
GNU_SPARSE: Final = b"S"
_WITHOUT_DATA: Final = frozenset({LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO})

Records = dict[bytes, bytes]


class Entry:
    """One member of an archive; names are bytes as found, not cleaned."""

    __slots__ = ("gid", "kind", "link", "major", "minor", "mode", "mtime_ns", "name", "size", "sparse", "uid", "xattrs")

    def __init__(
        self, name: bytes, kind: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0, size: int = 0,
        mtime_ns: int = 0, link: bytes = b"", major: int = 0, minor: int = 0, xattrs: Records | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime_ns = mtime_ns
        self.link = link
        self.major = major
        self.minor = minor
        self.xattrs = xattrs
        self.sparse: list[tuple[int, int]] | None = None
        """(offset, length) of each piece of data when the file has holes; ``size`` is then the whole file's."""


def parse(block: bytes) -> Entry:
    """The entry a header block describes, before extended records are applied.

    Raises:
        CorruptData: wrong checksum or a number that is none.
    """
    _check(block)
    kind = block[156:157]
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    if kind == b"7":
        kind = REGULAR
    entry = Entry(
        name,
        kind,
        mode=number(block[100:108]) & 0o7777,
        uid=_identity(number(block[108:116])),
        gid=_identity(number(block[116:124])),
        size=_positive(number(block[124:136]), "size"),
        mtime_ns=number(block[136:148]) * 1_000_000_000,
        link=block[157:257].partition(b"\0")[0],
    )
    if kind in (CHARACTER, BLOCK_DEVICE):
        entry.major = _positive(number(block[329:337]), "device number")
        entry.minor = _positive(number(block[337:345]), "device number")
    if kind in _WITHOUT_DATA:
        entry.size = 0
    return entry


def number(field: bytes) -> int:
    """An octal field, or GNU's base-256 for what octal cannot hold (may be negative)."""
    digits = field[:-1]
    if digits.isdigit() and field[-1] in b"\0 ":  # what nearly every tar writes
        return _octal(digits)
    first = field[0]
    if first & 0x80:
        if first & 0x40:
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(field, "big") - (0x80 << (8 * (len(field) - 1)))
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise CorruptData(f"archive/tar: invalid tar header: {field!r} is not a number")
    return _octal(digits)


def records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The ``length key=value`` records of a pax header, in order.

    Raises:
        CorruptData: a length that does not fit its record.
    """
    found = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 21)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise CorruptData("archive/tar: invalid tar header: pax record without a length")
        end = position + int(digits)
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n":
            raise CorruptData("archive/tar: invalid tar header: pax record overflows its header")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise CorruptData("archive/tar: invalid tar header: pax record without a key")
        found.append((key, value))
        position = end
    return found


def apply(entry: Entry, overrides: Records) -> None:
    """Put pax overrides into an entry; an empty value means "as in the header"."""
    for key, value in overrides.items():
        if not value:
            continue
        if key == b"path":
            entry.name = _text(value, key)
        elif key == b"linkpath":
            entry.link = _text(value, key)
        elif key == b"size":
            entry.size = 0 if entry.kind in _WITHOUT_DATA else _decimal(value, key)
        elif key == b"uid":
            entry.uid = _identity(_decimal(value, key))
        elif key == b"gid":
            entry.gid = _identity(_decimal(value, key))
        elif key == b"mtime":
            entry.mtime_ns = _seconds(value)
        elif key.startswith(XATTR):
            if entry.xattrs is None:
                entry.xattrs = {}
            entry.xattrs[key[len(XATTR) :]] = value


def settle(entry: Entry) -> None:
    """Give an old V7 entry its kind, once its whole name is known: a directory is one whose name ends in a slash."""
    if entry.kind == OLD:
        directory = entry.name.endswith(b"/")
        entry.kind = DIRECTORY if directory else REGULAR
        entry.size = 0 if directory else entry.size


def _check(block: bytes) -> None:
    """The checksum, by way of Adler-32, whose low half is the sum of the bytes plus one modulo 65521 (30x faster)."""
    stored = number(block[148:156])
    total = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 8 * 32
    if (total - stored) % 65521 == 0:
        return
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 8 * 32
    if signed != stored:
        raise CorruptData("archive/tar: invalid tar header: wrong checksum")


def _octal(digits: bytes) -> int:
    try:
        return int(digits, 8)
    except ValueError:
        raise CorruptData(f"archive/tar: invalid tar header: {digits!r} is not octal") from None


def _text(value: bytes, key: bytes) -> bytes:
    if b"\0" in value:
        raise CorruptData(f"archive/tar: invalid tar header: NUL in pax {key.decode(errors='replace')}")
    return value


def _decimal(value: bytes, key: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise CorruptData(f"archive/tar: invalid tar header: pax {key.decode(errors='replace')} is not a number")
    return _positive(int(value), "number")


def _positive(value: int, what: str) -> int:
    if not 0 <= value < 2**63:
        raise CorruptData(f"archive/tar: invalid tar header: {what} {value} is out of range")
    return value


def _identity(value: int) -> int:
    if not 0 <= value <= MAX_ID:
        raise CorruptData(f"archive/tar: invalid tar header: owner {value} is out of range")
    return value


def _seconds(value: bytes) -> int:
    """Decimal seconds to nanoseconds without going through a float."""
    whole, _, fraction = value.partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 12 or (fraction and not fraction.isdigit()):
        raise CorruptData("archive/tar: invalid tar header: pax mtime is not a number")
    nanoseconds = int(digits) * 1_000_000_000 + int((fraction[:9] or b"0").ljust(9, b"0"))
    return -nanoseconds if whole.startswith(b"-") else nanoseconds
