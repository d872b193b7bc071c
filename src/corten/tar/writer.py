"""Headers of a tar stream, written so that equal trees give equal bytes: ustar, and pax records for what is too large.

Pure: an entry to bytes. Times are whole seconds, user names are left out, records are sorted; as Docker's own layers.
"""

from __future__ import annotations

from typing import Final

from corten.tar import header
from corten.tar.header import BLOCK, Entry

END: Final = bytes(2 * BLOCK)
_OCTAL_ID: Final = 0o7777777
_OCTAL_SIZE: Final = 0o77777777777


def encode(entry: Entry) -> bytes:
    """The header block(s) of ``entry``; its data must follow (that of a sparse one: the pieces'), then
    :func:`padding`."""
    extended: dict[bytes, bytes] = {header.XATTR + key: value for key, value in (entry.xattrs or {}).items()}
    seconds = max(entry.mtime_ns // 1_000_000_000, 0)
    prefix, name = _split(entry.name)
    if name is None:
        extended[b"path"] = entry.name
        prefix, name = b"", entry.name[:100]
    if len(entry.link) > 100 or not entry.link.isascii():
        extended[b"linkpath"] = entry.link
    for key, value, largest in (
        (b"uid", entry.uid, _OCTAL_ID), (b"gid", entry.gid, _OCTAL_ID), (b"size", entry.size, _OCTAL_SIZE),
        (b"mtime", seconds, _OCTAL_SIZE),
    ):  # fmt: skip
        if value > largest:
            extended[key] = b"%d" % value
    if entry.sparse is not None:
        return _sparse(entry, extended, seconds)
    block = _block(entry, name, prefix, seconds)
    return _pax(entry.name, extended) + block if extended else block


def _sparse(entry: Entry, extended: dict[bytes, bytes], seconds: int) -> bytes:
    """GNU's pax format 1.0: the real name and size are records, the map is the head of the data; then the pieces."""
    pieces = entry.sparse or []
    lines = b"".join(b"%d\n%d\n" % piece for piece in pieces)
    table = b"%d\n" % len(pieces) + lines
    table += padding(len(table))
    extended |= {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": entry.name,
        b"GNU.sparse.realsize": b"%d" % entry.size,
    }
    extended.pop(b"path", None)
    stored = len(table) + sum(length for _, length in pieces)
    extended.pop(b"size", None)
    if stored > _OCTAL_SIZE:
        extended[b"size"] = b"%d" % stored
    plain = bytes(byte if byte < 128 else 0x5F for byte in entry.name.rpartition(b"/")[2])
    inner = Entry(plain, entry.kind, mode=entry.mode, uid=entry.uid, gid=entry.gid, size=stored)
    return _pax(entry.name, extended) + _block(inner, (b"GNUSparseFile.0/" + plain)[:100], b"", seconds) + table


def padding(size: int) -> bytes:
    """The zeros after ``size`` bytes of data."""
    return bytes(-size % BLOCK)


def _block(entry: Entry, name: bytes, prefix: bytes, seconds: int) -> bytes:
    def octal(value: int, width: int) -> bytes:
        return b"%0*o\0" % (width - 1, value if value < 8 ** (width - 1) else 0)

    parts = [
        name.ljust(100, b"\0"), octal(entry.mode, 8), octal(entry.uid, 8), octal(entry.gid, 8), octal(entry.size, 12),
        octal(seconds, 12), b" " * 8, entry.kind, entry.link[:100].ljust(100, b"\0"), b"ustar\x0000", bytes(64),
        octal(entry.major, 8), octal(entry.minor, 8), prefix.ljust(155, b"\0"), bytes(12),
    ]  # fmt: skip
    block = b"".join(parts)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """(prefix, name) as ustar holds them; name is None when only a pax record can."""
    if not name.isascii():
        return b"", None
    if len(name) <= 100:
        return b"", name
    cut = name.rfind(b"/", 0, min(156, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > 100:
        return b"", None
    return name[:cut], name[cut + 1 :]


def _pax(name: bytes, extended: dict[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, extended[key]) for key in sorted(extended))
    directory, _, base = name.rstrip(b"/").rpartition(b"/")
    label = b"/".join(part for part in (directory, b"PaxHeaders.0", base) if part)
    plain = bytes(byte if byte < 128 else 0x5F for byte in label)[:100]
    entry = Entry(plain, header.PAX, mode=0o644, size=len(body))
    return _block(entry, plain, b"", 0) + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n`` where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
