"""Tar streams made by hand, honest and hostile: what no well-behaved program writes is what must be refused."""

from __future__ import annotations

from corten.tar import header, writer
from corten.tar.header import Entry


def block(
    name: bytes, kind: bytes = b"0", *, size: bytes = b"00000000000\0", link: bytes = b"", **fields: bytes
) -> bytes:
    """A raw header with a right checksum; every field as given."""
    parts = [
        name.ljust(100, b"\0"), fields.get("mode", b"0000644\0"), fields.get("uid", b"0000000\0"),
        fields.get("gid", b"0000000\0"), size, fields.get("mtime", b"00000000001\0"), b" " * 8, kind,
        link.ljust(100, b"\0"), fields.get("magic", b"ustar\x0000"), bytes(64), b"0000000\0", b"0000000\0",
        fields.get("prefix", b"").ljust(155, b"\0"), bytes(12),
    ]  # fmt: skip
    raw = b"".join(parts)
    assert len(raw) == 512
    return raw[:148] + b"%06o\0 " % sum(raw) + raw[156:]


def padded(data: bytes) -> bytes:
    """Data and its zeros."""
    return data + writer.padding(len(data))


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """A pax header block with these records."""
    body = b"".join(writer._record(key, value) for key, value in records)
    return block(b"PaxHeaders", b"x", size=b"%011o\0" % len(body)) + padded(body)


def file(name: str | bytes, data: bytes = b"", **fields) -> bytes:
    """A regular file."""
    raw = name.encode() if isinstance(name, str) else name
    return writer.encode(Entry(raw, header.REGULAR, size=len(data), **fields)) + padded(data)


def entry(name: str | bytes, kind: bytes, **fields) -> bytes:
    """An entry without data."""
    raw = name.encode() if isinstance(name, str) else name
    return writer.encode(Entry(raw, kind, **fields))


def directory(name: str, **fields) -> bytes:
    """A directory."""
    return entry(name + "/", header.DIRECTORY, **{"mode": 0o755, **fields})


def symlink(name: str, target: str) -> bytes:
    """A symbolic link."""
    return entry(name, header.SYMLINK, link=target.encode())


def link(name: str, target: str) -> bytes:
    """A hard link."""
    return entry(name, header.LINK, link=target.encode())


def archive(*members: bytes) -> bytes:
    """A whole stream."""
    return b"".join(members) + writer.END
