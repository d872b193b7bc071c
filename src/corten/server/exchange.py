"""One request and its response on a connection: what a route may do with the wire.

Owns the order of a response (head, pieces, end) and which framing a client gets. Refuses to know routes and errors.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from corten.server import framing
from corten.server.body import ClientGoneError, RequestBody
from corten.server.head import Head
from corten.server.outlet import Outlet

Headers = Iterable[tuple[str, str]]

_BODILESS: Final = frozenset({204, 304})


#: Sends a response head and gives the connection away: its descriptor, and the bytes that came early.
HandOver = Callable[[bytes], Awaitable[tuple[int, bytes]]]


class Exchange:
    """Answered exactly once: by :meth:`reply`, by :meth:`begin` .. :meth:`end`, or by handing the connection over."""

    __slots__ = (
        "_chunked", "_hand_over", "_muted", "_on_follow", "_outlet", "body", "ended", "head", "keep_alive", "started",
    )  # fmt: skip

    def __init__(
        self, head: Head, body: RequestBody, outlet: Outlet, *, on_follow: Callable[[], None], hand_over: HandOver
    ) -> None:
        self.head = head
        self.body = body
        self.keep_alive = head.keep_alive
        self.started = False
        self.ended = False
        self._outlet = outlet
        self._chunked = False
        self._muted = head.method == "HEAD"
        self._on_follow = on_follow
        self._hand_over = hand_over
        if head.expects_continue and not body.complete:
            body.announce(self._ask_for_body)

    def follow_client(self) -> None:
        """From now on the handler is cancelled when the client goes away; without this it runs to its end."""
        self._on_follow()

    async def reply(self, status: int, headers: Headers, payload: bytes) -> None:
        """A whole response."""
        fields = [*headers, *self._connection_field()]
        if status not in _BODILESS:
            fields.append(("Content-Length", str(len(payload))))
        head = framing.response_head(status, fields)
        self.started = self.ended = True
        self._outlet.write(head if self._muted or status in _BODILESS else head + payload)
        await self._outlet.drain()

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head now; pieces follow."""
        self._chunked = not self.head.http_1_0
        if not self._chunked:
            self.keep_alive = False
        fields = [*headers, *self._connection_field()]
        if self._chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        self.started = True
        self._outlet.write(framing.response_head(status, fields))

    def widen(self) -> None:
        """Many megabytes follow."""
        self._outlet.widen()

    async def write(self, payload: bytes) -> None:
        """One piece, sent at once; waits while the client is slow.

        Raises:
            ClientGoneError: there is nobody to send it to.
        """
        if payload and not self._muted:
            self._outlet.write(framing.chunk(payload) if self._chunked else payload)
        await self._outlet.drain()

    def end(self) -> None:
        """The response is whole."""
        self.ended = True
        if self._chunked and not self._muted:
            self._outlet.write(framing.LAST_CHUNK)

    def abandon(self) -> None:
        """The response cannot be completed: the client must see it cut off."""
        self.ended = True
        self.keep_alive = False

    def hijack(self, content_type: str, headers: Headers) -> "Hijack":
        """The connection as a raw stream; nothing is sent before it is detached."""
        fields = [("Content-Type", content_type), *headers]
        if self.head.upgrade:
            fields += [("Connection", "Upgrade"), ("Upgrade", self.head.upgrade)]
            return Hijack(self, framing.response_head(101, fields, "UPGRADED"))
        return Hijack(self, framing.response_head(200, fields))

    async def hand_over(self, head: bytes) -> tuple[int, bytes]:
        """For :class:`Hijack`."""
        if not self.body.complete:
            raise ClientGoneError("the request's body never ended")
        self.started = self.ended = True
        return await self._hand_over(head)

    def _ask_for_body(self) -> None:
        if not self.started:
            self._outlet.write(framing.CONTINUE)

    def _connection_field(self) -> Headers:
        if not self.keep_alive:
            return [("Connection", "close")]
        return [("Connection", "keep-alive")] if self.head.http_1_0 else []


class Hijack:
    """The engine's ``ClientStream`` over one exchange."""

    __slots__ = ("_exchange", "_head")

    def __init__(self, exchange: Exchange, head: bytes) -> None:
        self._exchange = exchange
        self._head = head

    async def detach(self) -> tuple[int, bytes]:
        """Send the response head and give the connection away: its descriptor, and bytes that came early.

        Raises:
            ClientGoneError: the client left before.
        """
        return await self._exchange.hand_over(self._head)


def is_gone(error: BaseException) -> bool:
    """Whether an exchange ended because its client did."""
    return isinstance(error, ClientGoneError | asyncio.CancelledError | ConnectionError)
