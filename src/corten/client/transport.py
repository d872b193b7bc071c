"""The Engine API as calls: versioned paths, JSON bodies, streams and hijacked connections. Blocking.

One idle connection is kept for the next call; a call that streams or hijacks owns its connection. Errors of the engine
arrive as :class:`ResponseError` with its text. Prints nothing and starts nothing.
"""

from __future__ import annotations

from corten.client import jsontext
from corten.client.endpoint import Endpoint
from corten.client.errors import ClientError, Disconnected, ResponseError
from corten.client.http import SWITCHING_PROTOCOLS, Connection, Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, TypeAlias

    from corten.client.jsontext import Document

    Query: TypeAlias = Mapping[str, str | Sequence[str]]
    #: A JSON document, bytes as they are, or pieces to be sent chunked.
    Body: TypeAlias = dict[str, Any] | list[Any] | bytes | Iterator[bytes] | None

#: The newest API this client speaks; an older engine makes it speak the engine's.
NEWEST = "1.51"
OLDEST_ASSUMED = "1.24"
REPEATABLE = frozenset({"GET", "HEAD"})
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: str = "") -> str:
    """Percent-encoding of RFC 3986; surrogates of a non-UTF-8 argument become its bytes."""
    if UNRESERVED.issuperset(text):
        return text
    return "".join(
        chr(byte) if chr(byte) in UNRESERVED or chr(byte) in safe else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def query_string(query: Query | None) -> str:
    """``?a=1&b=2``; empty values are left out, a sequence repeats its key."""
    pairs = []
    for key, value in (query or {}).items():
        for one in (value,) if isinstance(value, str) else value:
            pairs += [f"{quote(key)}={quote(one)}"] if one != "" else []
    return "?" + "&".join(pairs) if pairs else ""


def version_key(version: str) -> tuple[int, ...]:
    """``"1.41"`` in a form that compares by number."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


class Hijacked:
    """A connection that became a raw stream: ``socket``, the ``early`` bytes of it, and the answer's content type."""

    __slots__ = ("content_type", "early", "socket")

    def __init__(self, response: Response, connection: Connection) -> None:
        self.socket, self.early = connection.take()
        self.content_type = response.headers.get("content-type", "")


class Client:
    """Calls to the engine at ``endpoint``; ``version`` fixes the API version, empty negotiates it at the first call."""

    __slots__ = ("_idle", "_version", "endpoint", "fixed_version", "headers", "ping_headers")

    def __init__(self, endpoint: Endpoint, *, version: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.endpoint = endpoint
        self.fixed_version = version
        self.headers = dict(headers or {})
        self.ping_headers: dict[str, str] = {}
        self._version = version
        self._idle: Connection | None = None

    def open(self) -> None:
        """Connect now; ConnectionFailed when nobody answers."""
        if self._idle is None:
            self._idle = Connection(self.endpoint)

    @property
    def version(self) -> str:
        """The API version in use (pings the engine the first time unless it is fixed)."""
        if not self._version:
            self.ping()
        return self._version

    def at_least(self, version: str) -> bool:
        """Whether the API in use has what came with ``version``."""
        return version_key(self.version) >= version_key(version)

    def ping(self) -> None:
        """Ask the engine what it speaks.

        Raises:
            Unreachable: nothing answers.
        """
        connection, response = self._exchange("HEAD", "/_ping", None, {})
        response.read()
        self._give_back(connection, response)
        self.ping_headers = response.headers
        offered = response.headers.get("api-version", "") or OLDEST_ASSUMED
        if not self.fixed_version:
            self._version = min(NEWEST, offered, key=version_key)

    def get(self, path: str, query: Query | None = None) -> Document:
        """The decoded answer of a GET."""
        return self.call("GET", path, query)

    def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        """The decoded answer; None when it has no body."""
        text = self.raw(method, path, query, body, headers)
        if not text.strip():
            return None
        try:
            return jsontext.decode(text)
        except ValueError as error:
            raise ClientError(f"the engine's answer to {method} {path} is no JSON: {error}") from error

    def raw(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The answer's bytes.

        Raises:
            ResponseError: the engine refused.
            Unreachable: nothing answers.
        """
        connection, response = self._exchange(method, self._target(path, query), body, headers or {})
        text = response.read()
        self._give_back(connection, response)
        _raise_for(response, text)
        return text

    def stream(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The answer with its body unread, on a connection of its own."""
        _, response = self._exchange(method, self._target(path, query), body, headers or {})
        if response.status >= 400:
            text = response.read()
            response.close()
            _raise_for(response, text)
        return response

    def documents(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Document]:
        """The JSON documents of a streamed answer, one a line."""
        return _decoded(self.stream(method, path, query, body, headers))

    def hijack(self, path: str, query: Query | None = None, body: dict[str, Any] | None = None) -> Hijacked:
        """POST with an upgrade to a raw stream.

        Raises:
            ResponseError: the engine refused before the upgrade.
        """
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        connection, response = self._exchange(
            "POST", self._target(path, query), body if body is not None else b"", headers
        )
        if response.status not in (SWITCHING_PROTOCOLS, 200):
            text = response.read()
            response.close()
            _raise_for(response, text)
        return Hijacked(response, connection)

    def _target(self, path: str, query: Query | None) -> str:
        return f"/v{self.version}{path}{query_string(query)}"

    def _exchange(
        self, method: str, target: str, body: Body, headers: Mapping[str, str]
    ) -> tuple[Connection, Response]:
        """Send and read the head, on the idle connection when there is one that the engine has not closed.

        Only what can be repeated without harm is sent again when that connection breaks under it.
        """
        lines = [
            f"{method} {self.endpoint.base}{target} HTTP/1.1",
            f"Host: {self.endpoint.authority}",
            "User-Agent: corten-cli",
        ]
        lines += [f"{name}: {value}" for name, value in {**self.headers, **headers}.items()]
        if isinstance(body, (dict, list)):
            body = jsontext.encode(body).encode("utf-8", "surrogateescape")
            lines.append("Content-Type: application/json")
        elif body is None and method == "POST":
            body = b""
        head = "\r\n".join(lines) + "\r\n"
        reused, self._idle = self._idle, None
        if reused is not None and not reused.is_open():
            reused.close()
        elif reused is not None:
            try:
                return reused, self._send(reused, method, head, body)
            except Disconnected:
                if method not in REPEATABLE:
                    raise
        connection = Connection(self.endpoint)
        return connection, self._send(connection, method, head, body)

    @staticmethod
    def _send(connection: Connection, method: str, head: str, body: bytes | Iterator[bytes] | None) -> Response:
        """Send and read the head; a connection that broke is closed."""
        try:
            try:
                connection.send(head, body)
            except (BrokenPipeError, ConnectionResetError):
                # An engine that refuses an upload answers and closes while the client still sends: the answer is why.
                return connection.receive()
            return connection.receive(bodyless=method == "HEAD")
        except BaseException:
            connection.close()
            raise

    def _give_back(self, connection: Connection, response: Response) -> None:
        if response.headers.get("connection", "").lower() == "close" or self._idle is not None:
            connection.close()
        else:
            self._idle = connection

    def close(self) -> None:
        """Close the idle connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None


def _decoded(response: Response) -> Iterator[Document]:
    try:
        for line in response.lines():
            yield jsontext.decode(line)
    finally:
        response.close()


def _raise_for(response: Response, text: bytes) -> None:
    if response.status < 400:
        return
    message = text.decode("utf-8", "replace").strip()
    try:
        document = jsontext.decode(text)
    except ValueError:
        document = None
    if isinstance(document, dict) and isinstance(document.get("message"), str):
        message = document["message"].strip()
    raise ResponseError(response.status, message or f"{response.status} {response.reason}")
