"""One API call as a route sees it: decoded on demand, answered by a value or through a stream.

Owns the reading of bodies, filters and credentials, and the two kinds of streamed answers. Refuses to know services'
meaning: routes pass on what is read here.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final, Self, TypeVar

import msgspec

from corten.api.body import decode
from corten.api.filters import Filters
from corten.api.gates import changes_response, shape_response
from corten.api.query import Query
from corten.api.version import ApiVersion
from corten.engine.engine import Engine
from corten.errors import InvalidArgument
from corten.server.errors import stream_document
from corten.server.exchange import Exchange, Hijack, is_gone
from corten.server.identity import response_headers
from corten.server.reply import JSON, Reply, encode, json

T = TypeVar("T")

#: Bytes of a JSON body; the largest request clients make is some hundred kilobytes.
MAX_JSON: Final = 8 << 20

_log: Final = logging.getLogger(__name__)


class Call:
    """Path parameters, query, headers and body of one request."""

    __slots__ = ("engine", "exchange", "parameters", "query", "version")

    def __init__(
        self, engine: Engine, exchange: Exchange, version: ApiVersion, parameters: Mapping[str, str], query: Query
    ) -> None:
        self.engine = engine
        self.exchange = exchange
        self.version = version
        self.parameters = parameters
        self.query = query

    @property
    def name(self) -> str:
        """The object of the path: ``/containers/{name}/json``."""
        return self.parameters["name"]

    def header(self, name: str) -> str:
        """A header's value, empty when absent; ``name`` in lower case."""
        return self.exchange.head.headers.get(name, "")

    def filters(self) -> Filters:
        """The ``filters`` parameter."""
        return Filters.parse(self.query.text("filters"))

    def at_least(self, minor: int) -> bool:
        """Whether the client speaks 1.``minor`` or newer."""
        return self.version >= (1, minor)

    async def body(self, kind: type[T]) -> T:
        """The JSON body as ``kind``.

        Raises:
            InvalidArgument: it is missing, not announced as JSON, or not a ``kind``.
        """
        found = await self.optional_body(kind)
        if found is None:
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        return found

    async def optional_body(self, kind: type[T]) -> T | None:
        """The JSON body as ``kind``, or None when there is none."""
        raw = await self.exchange.body.read(MAX_JSON)
        content_type = self.header("content-type")
        if not raw and not content_type:
            return None
        if content_type.partition(";")[0].strip().lower() != JSON:
            raise InvalidArgument(f"unsupported Content-Type header ({content_type}): must be '{JSON}'")
        return decode(raw, kind) if raw.strip() else None

    def shaped(self, kind: str, value: Any) -> Reply:
        """``value`` (a document or a list of them) as this client's version knows ``kind``."""
        if not changes_response(kind, self.version):
            return json(value)
        documents = msgspec.to_builtins(value)
        for document in documents if isinstance(documents, list) else (documents,):
            shape_response(kind, document, self.version)
        return json(documents)

    def begin(self, content_type: str, *, status: int = 200) -> None:
        """Send the head of a streamed answer now; from here on the call ends when the client leaves."""
        self.exchange.follow_client()
        self.exchange.begin(status, [("Content-Type", content_type), *response_headers()])

    def hijack(self, content_type: str) -> Hijack:
        """The connection as a raw stream, for the engine."""
        return self.exchange.hijack(content_type, response_headers())

    def progress(self) -> "Progress":
        """The answer of a long operation: JSON messages as they come."""
        self.exchange.follow_client()
        return Progress(self.exchange)


class Progress:
    """A progress stream, begun by its first message.

    ``async with call.progress() as progress:`` ends it; an error before the first message goes through as a plain one,
    a later one becomes the stream's last message.
    """

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def __aenter__(self) -> Self:
        return self

    async def send(self, message: dict[str, Any]) -> None:
        """One message, sent at once."""
        self._begin()
        await self._exchange.write(encode(message) + b"\r\n")

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is None:
            self._begin()
            self._exchange.end()
            return False
        if is_gone(error) or not self._exchange.started:
            return False
        _log.info("%s failed: %s", self._exchange.head.target.partition("?")[0], error)
        await self._exchange.write(stream_document(error))
        self._exchange.end()
        return True

    def _begin(self) -> None:
        if not self._exchange.started:
            self._exchange.begin(200, [("Content-Type", JSON), *response_headers()])
