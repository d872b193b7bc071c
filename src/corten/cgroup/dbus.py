"""As much of D-Bus as a method call needs: authentication, one call, its answer (D-Bus specification 0.38).

The peer is systemd itself on its private socket, or the system bus where only that is there (in a container that was
given it). Values are written by signature: ``y b i u t x s o g``, arrays, structs and variants; a variant is a pair of
its signature and value. Signals are not listened to. Synchronous; owns one connection.
"""

from __future__ import annotations

import _socket
import os
import struct

from corten.errors import RuntimeFailure, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

SOCKETS: Final = ("/run/systemd/private", "/run/dbus/system_bus_socket")
_SECONDS: Final = 30.0
_CALL, _RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_MOST: Final = 1 << 27  # "Message Format": 128 MiB
_FIXED: Final = {"y": ("B", 1), "b": ("I", 4), "i": ("i", 4), "u": ("I", 4), "t": ("Q", 8), "x": ("q", 8)}
_ALIGNMENT: Final = {"s": 4, "o": 4, "g": 1, "v": 1, "a": 4, "(": 8}


class CallError(RuntimeFailure):
    """The peer's answer to a call; ``name`` is a D-Bus error name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{text or name}")
        self.name = name


# -- values


def split(signature: str) -> list[str]:
    """The complete types of a signature, one after the other."""
    found, start = [], 0
    while start < len(signature):
        end = _end(signature, start)
        found.append(signature[start:end])
        start = end
    return found


def _end(signature: str, start: int) -> int:
    if signature[start] == "a":
        return _end(signature, start + 1)
    if signature[start] != "(":
        return start + 1
    end = start + 1
    while signature[end] != ")":
        end = _end(signature, end)
    return end + 1


def _alignment(kind: str) -> int:
    return _FIXED[kind[0]][1] if kind[0] in _FIXED else _ALIGNMENT[kind[0]]


def _pad(data: bytearray, to: int) -> None:
    data.extend(bytes(-len(data) % to))


def put(data: bytearray, kind: str, value: Any) -> None:
    """Append ``value``; ``data`` begins where alignment counts from, and is little-endian."""
    _pad(data, _alignment(kind))
    if kind in _FIXED:
        data.extend(struct.pack(f"<{_FIXED[kind][0]}", value))
    elif kind in ("s", "o"):
        raw = value.encode()
        data.extend(struct.pack("<I", len(raw)) + raw + b"\0")
    elif kind == "g":
        data.extend(bytes((len(value),)) + value.encode() + b"\0")
    elif kind == "v":
        put(data, "g", value[0])
        put(data, value[0], value[1])
    elif kind[0] == "(":
        for part, item in zip(split(kind[1:-1]), value, strict=True):
            put(data, part, item)
    else:
        place = len(data)
        data.extend(bytes(4))
        _pad(data, _alignment(kind[1:]))
        first = len(data)  # the padding before the first element does not count
        for item in value:
            put(data, kind[1:], item)
        struct.pack_into("<I", data, place, len(data) - first)


class Reader:
    """Values out of ``data`` from ``place`` on; ``order`` is struct's."""

    def __init__(self, data: bytes, order: str) -> None:
        self._data = data
        self._order = order
        self.place = 0

    def take(self, kind: str) -> Any:
        """The next value, of type ``kind``; a variant as its bare value. Raises struct.error or ValueError."""
        self._skip(_alignment(kind))
        if kind in _FIXED:
            return self._number(*_FIXED[kind])
        if kind in ("s", "o"):
            return self._text(self._number("I", 4))
        if kind == "g":
            return self._text(self._number("B", 1))
        if kind == "v":
            return self.take(self.take("g"))
        if kind[0] == "(":
            return tuple(self.take(part) for part in split(kind[1:-1]))
        length = self._number("I", 4)
        self._skip(_alignment(kind[1:]))
        end, items = self.place + length, []
        while self.place < end:
            items.append(self.take(kind[1:]))
        return items

    def _skip(self, alignment: int) -> None:
        self.place += -self.place % alignment

    def _number(self, code: str, size: int) -> int:
        value: int = struct.unpack_from(f"{self._order}{code}", self._data, self.place)[0]
        self.place += size
        return value

    def _text(self, length: int) -> str:
        text = self._data[self.place : self.place + length].decode("utf-8", "replace")
        self.place += length + 1
        return text


def call_message(serial: int, target: tuple[str, str, str, str], signature: str, body: Sequence[Any]) -> bytes:
    """A method call; ``target`` is destination, object path, interface and member."""
    content = bytearray()
    for kind, value in zip(split(signature), body, strict=True):
        put(content, kind, value)
    destination, path, interface, member = target
    fields = [
        (_PATH, ("o", path)), (_DESTINATION, ("s", destination)), (_INTERFACE, ("s", interface)),
        (_MEMBER, ("s", member)), *([(_SIGNATURE, ("g", signature))] if signature else []),
    ]  # fmt: skip
    message = bytearray(b"l" + bytes((_CALL, 0, 1)) + struct.pack("<II", len(content), serial))
    put(message, "a(yv)", fields)
    _pad(message, 8)
    return bytes(message + content)


# -- the connection


class Bus:
    """A connection on which calls are made one after the other."""

    __slots__ = ("_serial", "_socket")

    def __init__(self, path: str) -> None:
        """Raises OSError when nobody listens, Unavailable when we are not let in."""
        self._serial = 0
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(_SECONDS)
            self._socket.connect(path)
            self._authenticate(path)
        except BaseException:
            self._socket.close()
            raise

    def _authenticate(self, path: str) -> None:
        """SASL EXTERNAL: the socket's credentials say who we are.

        BEGIN is sent at once, as systemd's own clients do: a first message that systemd reads together with it waits
        there until more comes.
        """
        who = str(os.geteuid()).encode().hex().encode()
        self._socket.sendall(b"\0AUTH EXTERNAL " + who + b"\r\nBEGIN\r\n")
        answer = b""
        while not answer.endswith(b"\r\n"):
            piece = self._socket.recv(1)
            if not piece:
                break
            answer += piece
        if not answer.startswith(b"OK "):
            raise Unavailable(f"{path} does not let us in")

    def call(self, target: tuple[str, str, str, str], signature: str, body: Sequence[Any]) -> None:
        """One call; its answer's values are of no use to anybody here.

        Raises:
            CallError: the peer's answer is an error.
            Unavailable: there is no answer.
        """
        self._serial += 1
        try:
            self._socket.sendall(call_message(self._serial, target, signature, body))
            while not self._answered(self._serial):
                pass
        except (OSError, struct.error, ValueError, KeyError) as error:
            raise Unavailable(f"{target[0]} does not answer: {str(error) or type(error).__name__}") from None

    def _answered(self, serial: int) -> bool:
        """Read one message; whether it was the answer (signals are passed over)."""
        start = self._read(16)
        order = "<" if start[:1] == b"l" else ">"
        length, _, fields_length = struct.unpack_from(f"{order}III", start, 4)
        rest = fields_length + -fields_length % 8
        if length + rest > _MOST:
            raise ValueError("a message that is too long")
        header = Reader(start + self._read(rest), order)
        header.place = 12
        fields = dict(header.take("a(yv)"))
        body = self._read(length)
        if start[1] not in (_RETURN, _ERROR) or fields.get(_REPLY_SERIAL) != serial:
            return False
        if start[1] == _ERROR:
            text = Reader(body, order).take("s") if fields.get(_SIGNATURE, "").startswith("s") else ""
            raise CallError(str(fields.get(_ERROR_NAME, "")), text)
        return True

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise ConnectionResetError("the connection was closed")
            data += piece
        return data

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


def connect() -> Bus:
    """To systemd, directly if it may be. Raises Unavailable."""
    private, bus = SOCKETS
    try:
        return Bus(private)
    except (OSError, Unavailable):
        pass
    try:
        found = Bus(bus)
    except OSError as error:
        raise Unavailable(
            f"systemd cannot be reached on {private} or {bus}: {(error.strerror or '').lower()}"
        ) from None
    name = "org.freedesktop.DBus"
    found.call((name, "/org/freedesktop/DBus", name, "Hello"), "", ())
    return found
