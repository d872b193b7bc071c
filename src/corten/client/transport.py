"""A small blocking HTTP/1.1 client: kept-alive, chunked both ways, and able to hand over its socket (hijack).

Owns framing and errors. Refuses to know what is asked: paths, queries and bodies are the caller's. It is written here
because the standard library's costs more start-up time than a whole command may take.
"""

from __future__ import annotations

from corten.api.document import decode, encode
from corten.client.endpoint import Endpoint
from corten.client.errors import EngineError, ProtocolFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, Final

    Query = Sequence[tuple[str, str]]

NEWEST: Final = (1, 51)
OLDEST: Final = (1, 24)
CHUNK: Final = 65536
_HEAD_LIMIT: Final = 1 << 20
_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encoding: RFC 3986, section 2.1."""
    return "".join(chr(byte) if byte in _SAFE or byte in safe else f"%{byte:02X}" for byte in text.encode())


class Response:
    """One answer; its body is read by exactly one of the methods, and must be before the connection is used again."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes."""
        headers = self.headers
        if headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._connection.chunked()
        elif "content-length" in headers:
            yield from self._connection.exactly(int(headers["content-length"]))
        elif self.status not in (204, 304):
            yield from self._connection.until_close()

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())

    def json(self) -> Any:
        """The whole body, decoded; None when it is empty."""
        body = self.read()
        return decode(body) if body.strip() else None

    def lines(self) -> Iterator[Any]:
        """Each line of the body, decoded as it comes: progress and events."""
        pending = b""
        for chunk in self.chunks():
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield decode(line)
        if pending.strip():
            yield decode(pending)


class Hijacked:
    """A connection that has become a raw stream; ``early`` is what came with the head."""

    __slots__ = ("content_type", "early", "socket")

    def __init__(self, connected: socket.socket, early: bytes, content_type: str) -> None:
        self.socket = connected
        self.early = early
        self.content_type = content_type


class Connection:
    """One socket and what was read ahead from it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.socket = endpoint.connect()
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self.socket.close()

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers (names lower case, the last of a repeated one)."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT or not self._fill():
                raise ProtocolFailure("the engine closed the connection without an answer")
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        version, _, rest = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise ProtocolFailure(f"not an HTTP answer: {lines[0][:80]!r}")
        pairs = (line.partition(":") for line in lines[1:])
        return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if not self._buffer and not self._fill():
                raise ProtocolFailure("the answer ended early: unexpected EOF")
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece

    def until_close(self) -> Iterator[bytes]:
        while self._buffer or self._fill():
            piece, self._buffer = self._buffer, b""
            yield piece

    def chunked(self) -> Iterator[bytes]:
        while True:
            size = int(self._line().partition(b";")[0], 16)
            yield from self.exactly(size)
            self._line()
            if size == 0:
                return

    def take(self) -> bytes:
        """What was read ahead; the connection is the caller's now."""
        early, self._buffer = self._buffer, b""
        return early

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not self._fill():
                raise ProtocolFailure("the answer ended early: unexpected EOF")
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _fill(self) -> bool:
        data = self.socket.recv(CHUNK)
        self._buffer += data
        return bool(data)


class Client:
    """An engine as its users see it; every call raises EngineError for a status of 400 and above.

    ``version`` is the API version of every path: given, or agreed on with the engine before the first call.
    """

    def __init__(self, endpoint: Endpoint, *, version: str = "", agent: str = "corten", headers: Query = ()) -> None:
        self.endpoint = endpoint
        self._version = version
        self._agent = agent
        self._headers = tuple(headers)
        self._idle: Connection | None = None

    @property
    def version(self) -> str:
        """The API version in use, e.g. ``1.51``."""
        if not self._version:
            response = self._exchange("HEAD", "/_ping", (), b"", ())
            offered = response.headers.get("api-version", "1.24")
            major, _, minor = offered.partition(".")
            agreed = min(NEWEST, max(OLDEST, (int(major), int(minor))))
            self._version = f"{agreed[0]}.{agreed[1]}"
        return self._version

    def get(self, path: str, query: Query = ()) -> Any:
        """GET, decoded."""
        return self.request("GET", path, query).json()

    def post(self, path: str, query: Query = (), body: object = None, headers: Query = ()) -> Any:
        """POST with a JSON body (or none), decoded."""
        return self.request("POST", path, query, body, headers).json()

    def delete(self, path: str, query: Query = ()) -> Any:
        """DELETE, decoded."""
        return self.request("DELETE", path, query).json()

    def request(
        self, method: str, path: str, query: Query = (), body: object = None, headers: Query = ()
    ) -> Response:
        """One call whose answer the caller reads by itself (streams)."""
        extra = list(headers)
        payload = b""
        if body is not None:
            payload = encode(body).encode()
            extra.append(("Content-Type", "application/json"))
        return self._checked(self._exchange(method, f"/v{self.version}{path}", query, payload, extra))

    def stream(self, method: str, path: str, query: Query = ()) -> Response:
        """As ``request``, on a connection of its own: the answer may stay open while other calls are made."""
        connection = Connection(self.endpoint)
        version = self.version
        connection.send(self._head(method, f"/v{version}{path}", query, [("Content-Length", "0")]))
        return self._checked(Response(connection, *connection.head()))

    def upload(self, method: str, path: str, query: Query, pieces: Iterable[bytes], content_type: str) -> Response:
        """A call whose body is streamed."""
        version = self.version
        connection = Connection(self.endpoint)
        extra = [("Transfer-Encoding", "chunked"), ("Content-Type", content_type)]
        connection.send(self._head(method, f"/v{version}{path}", query, extra))
        try:
            for piece in pieces:
                if piece:
                    connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the engine refused before it had read everything: its answer says why
        return self._checked(Response(connection, *connection.head()))

    def hijack(self, path: str, query: Query = (), body: object = None) -> Hijacked:
        """POST that turns the connection into a raw stream of both directions."""
        version = self.version
        payload = encode(body).encode() if body is not None else b""
        connection = Connection(self.endpoint)
        extra = [("Connection", "Upgrade"), ("Upgrade", "tcp"), ("Content-Length", str(len(payload)))]
        if payload:
            extra.append(("Content-Type", "application/json"))
        connection.send(self._head("POST", f"/v{version}{path}", query, extra) + payload)
        response = self._checked(Response(connection, *connection.head()))
        return Hijacked(connection.socket, connection.take(), response.headers.get("content-type", ""))

    def close(self) -> None:
        """Close the kept connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _exchange(self, method: str, path: str, query: Query, payload: bytes, extra: Query) -> Response:
        message = self._head(method, path, query, [*extra, ("Content-Length", str(len(payload)))]) + payload
        if self._idle is None:
            self._idle = Connection(self.endpoint)
        connection = self._idle
        connection.send(message)
        status, headers = connection.head()
        if method == "HEAD":
            headers["content-length"] = "0"
            headers.pop("transfer-encoding", None)
        return Response(connection, status, headers)

    def _head(self, method: str, path: str, query: Query, headers: Query) -> bytes:
        target = path
        if query:
            target += "?" + "&".join(f"{name}={quote(value)}" for name, value in query)
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"User-Agent: {self._agent}"]
        lines += [f"{name}: {value}" for name, value in (*self._headers, *headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @staticmethod
    def _checked(response: Response) -> Response:
        if response.status < 400:
            return response
        body = response.read()
        try:
            message = decode(body)["message"]
        except (ValueError, KeyError, TypeError):
            message = body.decode(errors="replace").strip() or f"status {response.status}"
        raise EngineError(response.status, message)
