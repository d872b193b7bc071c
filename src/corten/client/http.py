"""HTTP/1.1 over one blocking socket: request out, head in, body in pieces, or the raw socket after an upgrade.

Own code because ``http.client`` costs 40 ms of imports. Knows nothing of the Engine API. Framing follows RFC 9112:
chunked before Content-Length, else until the peer closes; no body for HEAD, 1xx, 204 and 304.
"""

from __future__ import annotations

import _socket

from corten.client.endpoint import Endpoint
from corten.client.errors import ClientError, Disconnected, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 18
HEAD_LIMIT = 1 << 20
UPLOAD_BUFFER = 4 << 20
SO_SNDBUFFORCE = 32  # asm-generic/socket.h
SWITCHING_PROTOCOLS = 101
NO_BODY = frozenset({204, 304})


def connect(endpoint: Endpoint) -> _socket.socket:
    """A connected stream socket (a TLS one looks the same).

    Raises:
        Unreachable: nothing listens there; the cause is the OSError.
    """
    try:
        if endpoint.path:
            unix = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            try:
                unix.connect(endpoint.path)
            except OSError:
                unix.close()
                raise
            return unix
        return _connect_tcp(endpoint)
    except PermissionError as error:
        reason = (error.strerror or "permission denied").lower()
        raise ClientError(
            f"permission denied while trying to connect to the Corten engine at {endpoint.text}: {reason}"
        ) from error
    except OSError as error:
        raise Unreachable(endpoint.text) from error


def _connect_tcp(endpoint: Endpoint) -> _socket.socket:
    if endpoint.tls is not None:
        from corten.client.tls import connect_tls

        return connect_tls(endpoint)
    failure: OSError = OSError(0, "no address")
    for family, kind, protocol, _, address in _socket.getaddrinfo(endpoint.host, endpoint.port, 0, _socket.SOCK_STREAM):
        stream = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, protocol)
        try:
            stream.connect(address)
            stream.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            stream.close()
            failure = error
            continue
        return stream
    raise failure


def _send_chunk(stream: _socket.socket, piece: bytes) -> None:
    """One chunk; a large piece is not copied for its framing, where the socket is a plain one."""
    head = b"%x\r\n" % len(piece)
    if type(stream) is not _socket.socket or len(piece) < PIECE:
        stream.sendall(b"%b%b\r\n" % (head, piece))
        return
    sent = stream.sendmsg([head, piece, b"\r\n"])
    if sent < len(head):
        stream.sendall(head[sent:])
    rest = max(sent - len(head), 0)
    if rest < len(piece):
        stream.sendall(memoryview(piece)[rest:])
        rest = len(piece)
    stream.sendall(b"\r\n"[rest - len(piece) :])


def _widen(stream: _socket.socket) -> None:
    """Room for a large upload: with the usual 200 kB both sides change places for every piece of it, socket(7)."""
    try:
        stream.setsockopt(_socket.SOL_SOCKET, SO_SNDBUFFORCE, UPLOAD_BUFFER)
    except OSError:  # not root: as much as net.core.wmem_max allows
        stream.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, UPLOAD_BUFFER)


class Response:
    """One answer: ``status``, ``reason``, ``headers`` (names in lower case) and its body, to be read once."""

    __slots__ = ("_connection", "_left", "_mode", "headers", "reason", "status")

    def __init__(
        self, connection: Connection, status: int, reason: str, headers: dict[str, str], *, bodyless: bool
    ) -> None:
        self._connection = connection
        self.status = status
        self.reason = reason
        self.headers = headers
        self._left = 0
        if bodyless or status in NO_BODY or status < 200:
            self._mode = "length"
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._mode = "chunked"
        elif "content-length" in headers:
            self._mode = "length"
            self._left = int(headers["content-length"])
        else:
            self._mode = "close"

    def fileno(self) -> int:
        """The connection's descriptor, to wait until the body (or more of it) is there."""
        return self._connection.socket.fileno()

    def close(self) -> None:
        """Close the connection, whether the body was read or not."""
        self._connection.close()

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives."""
        if self._mode == "chunked":
            return self._chunked()
        if self._mode == "length":
            return self._counted()
        return self._until_close()

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def lines(self) -> Iterator[bytes]:
        """The body cut at line feeds (JSON documents of a stream never hold one), empty lines left out."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
        if rest.strip():
            yield rest

    def _counted(self) -> Iterator[bytes]:
        while self._left:
            piece = self._connection.some(self._left)
            self._left -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while True:
            size = int(self._connection.line().partition(b";")[0], 16)
            if size == 0:
                while self._connection.line():
                    pass
                return
            while size:
                piece = self._connection.some(size)
                size -= len(piece)
                yield piece
            self._connection.line()

    def _until_close(self) -> Iterator[bytes]:
        while True:
            try:
                yield self._connection.some(PIECE)
            except Disconnected:
                return


class Connection:
    """A socket and what has been read from it too early."""

    __slots__ = ("_early", "socket")

    def __init__(self, endpoint: Endpoint) -> None:
        self.socket = connect(endpoint)
        self._early = b""

    def send(self, head: str, body: bytes | Iterator[bytes] | None = None) -> None:
        """Send a request whose ``head`` ends before the framing headers: Content-Length or chunked is added here.

        Raises:
            OSError: the engine closed; an answer may have come before that (read it with :meth:`receive`).
        """
        if body is None:
            self.socket.sendall(f"{head}\r\n".encode())
        elif isinstance(body, bytes):
            self.socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        else:
            self.socket.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            _widen(self.socket)
            for piece in body:
                if piece:
                    _send_chunk(self.socket, piece)
            self.socket.sendall(b"0\r\n\r\n")

    def receive(self, *, bodyless: bool = False) -> Response:
        """The head of the next answer; interim answers (100) are skipped.

        Raises:
            Disconnected: the engine closed before it answered.
        """
        while True:
            status_line = self.line()
            version, _, rest = status_line.decode("latin-1").partition(" ")
            code, _, reason = rest.partition(" ")
            if not version.startswith("HTTP/1.") or not code.isdigit():
                raise ClientError("the engine's answer is not HTTP; is the address that of an engine?")
            headers: dict[str, str] = {}
            while header := self.line():
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            status = int(code)
            if status >= 200 or status == SWITCHING_PROTOCOLS:
                return Response(self, status, reason, headers, bodyless=bodyless)

    def is_open(self) -> bool:
        """Whether the engine has neither closed an idle connection nor sent something nobody asked for."""
        try:
            self.socket.setblocking(False)
            self.socket.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.socket.setblocking(True)
        return False

    def take(self) -> tuple[_socket.socket, bytes]:
        """The raw socket after an upgrade, and the bytes of the stream that came with the head."""
        early, self._early = self._early, b""
        return self.socket, early

    def line(self) -> bytes:
        """Bytes up to CRLF, without it."""
        while True:
            end = self._early.find(b"\n")
            if end >= 0:
                line = self._early[:end]
                self._early = self._early[end + 1 :]
                return line.rstrip(b"\r")
            if len(self._early) > HEAD_LIMIT:
                raise ClientError("the engine's answer has a line without end")
            self._early += self._receive(PIECE)

    def some(self, limit: int) -> bytes:
        """At least one and at most ``limit`` bytes."""
        if self._early:
            piece = self._early[:limit]
            self._early = self._early[limit:]
            return piece
        return self._receive(min(PIECE, limit))

    def _receive(self, limit: int) -> bytes:
        try:
            piece = self.socket.recv(limit)
        except ConnectionError:
            piece = b""
        if not piece:
            raise Disconnected("the engine closed the connection")
        return piece

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
