"""systemd's journal: its native protocol, one datagram a message (systemd, docs/JOURNAL_NATIVE_PROTOCOL.md); pure.

Fields are dockerd's. A field is ``NAME=value`` and a newline; a value with a newline in it is NAME, a newline, its
length as 64 bits little-endian, the value and a newline.
"""

from __future__ import annotations

import struct

from corten.logs.encode import format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from corten.logs.pieces import Part

SOCKET = "/run/systemd/journal/socket"
_PRIORITY = {"stdout": b"6", "stderr": b"3"}
_LENGTH = struct.Struct("<Q")


def field_name(text: str) -> str:
    """A label's or variable's name as the journal takes it: capitals, digits and underscores, none of these first."""
    name = "".join(letter.upper() if letter.isascii() and letter.isalnum() else "_" for letter in text)
    return name.lstrip("_")


def fields(values: Mapping[str, str]) -> bytes:
    """What every message of one container carries."""
    return b"".join(field(name, value.encode("utf-8", "surrogateescape")) for name, value in values.items() if name)


def field(name: str, value: bytes) -> bytes:
    """One field."""
    if b"\n" in value:
        return name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


class Encoder:
    """Messages of one container; ``constant`` is what :func:`fields` made, ``epoch`` tells one writer from the next."""

    __slots__ = ("_constant", "_ordinal")

    def __init__(self, constant: bytes, epoch: str) -> None:
        self._constant = constant + field("CONTAINER_LOG_EPOCH", epoch.encode())
        self._ordinal = 0

    def message(self, stream: str, text: bytes, part: Part | None, now_ns: int) -> bytes:
        """One datagram."""
        self._ordinal += 1
        found = [
            field("MESSAGE", text),
            b"PRIORITY=%b\nSYSLOG_TIMESTAMP=%b\nCONTAINER_LOG_ORDINAL=%d\n"
            % (_PRIORITY[stream], format_time(now_ns), self._ordinal),
            self._constant,
        ]
        if part is not None:
            line, ordinal, last = part
            found.append(
                b"CONTAINER_PARTIAL_ID=%b\nCONTAINER_PARTIAL_ORDINAL=%d\nCONTAINER_PARTIAL_LAST=%b\n"
                % (line.encode(), ordinal, b"true" if last else b"false")
            )
            if not last:
                found.append(b"CONTAINER_PARTIAL_MESSAGE=true\n")
        return b"".join(found)
