"""Where a request's body ends, and how a response's body is cut: pure, bytes in, bytes out.

Own decoders rather than the parser's, because a hijacked connection needs the exact byte where the request ended.
Strict by RFC 9112, 7.1: CRLF only, sizes of at most 15 hexadecimal digits, bounded extensions and trailers.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final, Protocol

from corten.errors import InvalidArgument

_MAX_LINE: Final = 4096
_MAX_TRAILERS: Final = 16384
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class FramingError(InvalidArgument):
    """The body does not follow its own framing."""


class BodyDecoder(Protocol):
    """Finds the end of one body in bytes cut anywhere."""

    done: bool

    def feed(self, data: bytes) -> tuple[list[bytes], int]:
        """Payload pieces, and how many bytes of ``data`` belonged to this body."""
        ...


class FixedBody:
    """A body of Content-Length bytes."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[list[bytes], int]:
        taken = min(len(data), self._left)
        self._left -= taken
        self.done = self._left == 0
        return ([data[:taken]] if taken else []), taken


class ChunkedBody:
    """A chunked body with its trailers, which are read and dropped."""

    __slots__ = ("_left", "_line", "_state", "_trailers", "done")

    _SIZE, _DATA, _AFTER, _TRAILER = range(4)

    def __init__(self) -> None:
        self.done = False
        self._state = self._SIZE
        self._left = 0
        self._line = b""
        self._trailers = 0

    def feed(self, data: bytes) -> tuple[list[bytes], int]:
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and not self.done:
            if self._state == self._DATA:
                taken = data[position : position + self._left]
                pieces.append(taken)
                position += len(taken)
                self._left -= len(taken)
                if not self._left:
                    self._state = self._AFTER
            else:
                position = self._read_line(data, position)
        return pieces, position

    def _read_line(self, data: bytes, position: int) -> int:
        """Collect up to a line feed; act on a line that is complete."""
        end = data.find(b"\n", position)
        self._line += data[position:] if end < 0 else data[position : end + 1]
        if len(self._line) > _MAX_LINE:
            raise FramingError("a line of the chunked body is too long")
        if end < 0:
            return len(data)
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise FramingError("a line of the chunked body does not end in CRLF")
        self._take_line(line[:-2])
        return end + 1

    def _take_line(self, line: bytes) -> None:
        if self._state == self._SIZE:
            self._left = _chunk_size(line)
            self._state = self._DATA if self._left else self._TRAILER
        elif self._state == self._AFTER:
            if line:
                raise FramingError("a chunk is longer than its size")
            self._state = self._SIZE
        elif not line:
            self.done = True
        else:
            self._trailers += len(line)
            if self._trailers > _MAX_TRAILERS:
                raise FramingError("the trailers of the chunked body are too long")


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or len(digits) > 15 or not _HEX.issuperset(digits):
        raise FramingError("a chunk size is not a hexadecimal number")
    return int(digits, 16)


def decoder(length: int | None) -> BodyDecoder:
    """The decoder for a head's ``length``: None is chunked."""
    return ChunkedBody() if length is None else FixedBody(length)


LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def chunk(payload: bytes) -> bytes:
    """One chunk; ``payload`` must not be empty, as that would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def response_head(status: int, headers: Mapping[str, str] | Iterable[tuple[str, str]], reason: str = "") -> bytes:
    """A response head; header values must not carry line breaks."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"HTTP/1.1 {status} {reason or _reason(status)}"]
    for name, value in pairs:
        if "\r" in value or "\n" in value:
            raise ValueError(f"the value of header {name} has a line break")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"
