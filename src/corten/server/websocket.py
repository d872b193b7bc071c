"""The WebSocket protocol, server's side (RFC 6455): the handshake's decisions and the frames; pure.

Payloads are passed on as they come, so that no message is too long; only control frames are gathered. What is said in
text frames is not checked for UTF-8: to a container's stdin it is bytes.
"""

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from corten.errors import Forbidden, InvalidArgument

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = "13"
_MAX_CONTROL: Final = 125


class VersionError(InvalidArgument):
    """The client speaks another version; the answer names ours (RFC 6455, 4.2.2)."""

    headers: Final = (("Sec-WebSocket-Version", _VERSION),)


class FrameError(ValueError):
    """The client broke the protocol."""


def accept(upgrade: str, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers of ``101 Switching Protocols``; names of ``headers`` are lower case.

    Raises:
        InvalidArgument: it is no handshake, in the words of Docker's library.
        Forbidden: a browser asks for a page of another site (cross-site WebSocket hijacking).
    """
    if upgrade != "websocket":
        raise InvalidArgument("not websocket protocol")
    if headers.get("sec-websocket-version", "") != _VERSION:
        raise VersionError("missing or bad WebSocket Version")
    key = headers.get("sec-websocket-key", "")
    if not _is_key(key):
        raise InvalidArgument("mismatch challenge/response")
    origin = headers.get("origin", "")
    if origin and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Forbidden(f"a page of {origin} may not attach: the request's Origin and Host differ")
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
    ]
    protocols = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",") if name.strip()]
    if len(protocols) > 1:
        raise InvalidArgument("bad sub protocol: at most one can be asked for")
    return fields + [("Sec-WebSocket-Protocol", name) for name in protocols]


def _is_key(text: str) -> bool:
    """16 bytes in base64."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except ValueError:
        return False


def frame(opcode: int, payload: bytes) -> bytes:
    """One unfragmented frame of a server: not masked."""
    size = len(payload)
    if size <= _MAX_CONTROL:
        head = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return head + payload


def close_frame(code: int) -> bytes:
    """The end, and why."""
    return frame(CLOSE, struct.pack("!H", code))


class FrameReader:
    """Frames of a client out of bytes cut anywhere."""

    __slots__ = ("_control", "_fragmented", "_inside", "_left", "_mask", "_opcode", "_pending", "_turn")

    def __init__(self) -> None:
        self._pending = b""
        self._inside = False
        self._fragmented = False
        self._opcode = self._left = self._turn = 0
        self._mask = b""
        self._control = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """``(BINARY, bytes)`` for what messages of either kind carry, piece by piece; CLOSE, PING and PONG as a whole.

        Raises:
            FrameError: section 5 was violated.
        """
        data = self._pending + data if self._pending else data
        self._pending = b""
        found: list[tuple[int, bytes]] = []
        position = 0
        while True:
            if not self._inside:
                size = self._take_head(data, position)
                if not size:
                    self._pending = data[position:]
                    return found
                position += size
            piece = self._unmask(data[position : position + self._left])
            position += len(piece)
            self._left -= len(piece)
            if self._opcode >= CLOSE:
                self._control += piece
            elif piece:
                found.append((BINARY, piece))
            if self._left:
                return found
            self._inside = False
            if self._opcode >= CLOSE:
                found.append((self._opcode, self._control))

    def _take_head(self, data: bytes, position: int) -> int:
        """The size of the head that begins at ``position``, 0 when it is not whole yet (section 5.2)."""
        have = len(data) - position
        if have < 2:
            return 0
        first, second = data[position], data[position + 1]
        self._check(first, second)
        left = second & 0x7F
        extended = {126: 2, 127: 8}.get(left, 0)
        size = 2 + extended + 4
        if have < size:
            return 0
        if extended:
            left = int.from_bytes(data[position + 2 : position + 2 + extended], "big")
            if left <= (_MAX_CONTROL if extended == 2 else 0xFFFF) or left >> 63:
                raise FrameError("a length is not in its shortest form")
        self._inside, self._left, self._turn = True, left, 0
        self._mask = data[position + size - 4 : position + size]
        self._opcode = first & 0x0F
        self._control = b""
        if self._opcode < CLOSE:
            self._fragmented = not first & 0x80
        return size

    def _check(self, first: int, second: int) -> None:
        opcode, final = first & 0x0F, first & 0x80
        if first & 0x70:
            raise FrameError("a reserved bit is set")
        if not second & 0x80:
            raise FrameError("a client's frame is not masked")
        if opcode >= CLOSE:
            if opcode > PONG or not final or second & 0x7F > _MAX_CONTROL:
                raise FrameError("not a control frame")
        elif opcode > BINARY or (opcode == CONTINUATION) is not self._fragmented:
            raise FrameError("not a data frame in its place")

    def _unmask(self, piece: bytes) -> bytes:
        """Section 5.3, a whole piece at once."""
        if not piece:
            return b""
        mask = self._mask[self._turn :] + self._mask[: self._turn]
        self._turn = (self._turn + len(piece)) % 4
        key = (mask * (len(piece) // 4 + 1))[: len(piece)]
        return (int.from_bytes(piece, "big") ^ int.from_bytes(key, "big")).to_bytes(len(piece), "big")
