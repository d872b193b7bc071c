"""One client's connection: HTTP/1.1 on an asyncio transport.

Owns reading (heads, bodies, pipelined requests), writing with back-pressure, noticing that a client left, and giving
the connection away. What a request means is the application's.

A request's way:

 (1) bytes up to the empty line are parsed as a head; a bad one is answered and ends the connection
 (2) the application runs as a task, one at a time; the bytes after the head feed its body
 (3) reading stops while the body's queue, or the bytes of a following request, are over their limits
 (4) when the task has answered, the rest of its body is dropped, or the connection closed when that would take long
 (5) the next head is looked for
"""

import asyncio
import os
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from corten.server import errors, framing
from corten.server.body import ClientGoneError, RequestBody
from corten.server.exchange import Exchange
from corten.server.head import END, MAX_HEAD, Head, HeadError, parse
from corten.server.outlet import Deadline, Outlet

Application = Callable[[Exchange], Awaitable[None]]

#: Bytes kept of what follows a request that is still being answered (pipelining, or stdin sent early).
MAX_AHEAD: Final = 1 << 16
#: How much of an unread body is read and dropped for the sake of the next request (Go's server: 256 kB).
MAX_DROPPED: Final = 1 << 18
#: Seconds for a head once its first byte came, and for a refused body to end before the connection is cut.
HEAD_SECONDS: Final = 60.0
LINGER_SECONDS: Final = 2.0
_CAREFUL_CLIENTS: Final = ("Docker-Client/", "corten-cli")


class Connection(asyncio.Protocol):
    """See the module; ``registry`` holds every live connection for an orderly end of the server."""

    _transport: asyncio.Transport
    _outlet: Outlet

    def __init__(self, application: Application, registry: "set[Connection]") -> None:
        self._application = application
        self._registry = registry
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline = Deadline()
        self._closed: asyncio.Future[None] | None = None
        self._budget = 0
        self._following = False
        self._lingering = False
        self._eof = False
        self._lost = False
        self._stopping = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._outlet = Outlet(transport)
        self._registry.add(self)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        self._buffer = self._buffer + data if self._buffer else data
        self._advance()

    def eof_received(self) -> bool:
        """The client sends no more; it may still listen, so the connection stays open while it is being answered."""
        self._eof = True
        if self._exchange is None or self._task is None:
            return False
        self._exchange.body.fail(ClientGoneError("the client closed the connection in the middle of its request"))
        if self._following and _hung_up(self._transport):
            self._task.cancel()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._registry.discard(self)
        self._deadline.stop()
        self._outlet.lose()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        if self._exchange is not None:
            self._exchange.body.fail(ClientGoneError("the client closed the connection"))
            if self._following and self._task is not None:
                self._task.cancel()

    def pause_writing(self) -> None:
        self._outlet.pause()

    def resume_writing(self) -> None:
        self._outlet.resume()

    # Reading.

    def _advance(self) -> None:
        while self._buffer and not self._lost and not self._lingering:
            exchange = self._exchange
            if exchange is None:
                if not self._start_request():
                    return
            elif exchange.body.complete:
                break
            else:
                taken = exchange.body.feed(self._buffer)
                self._buffer = self._buffer[taken:]
                if self._task is None:
                    self._count_dropped(exchange.body, taken)
        self._throttle()

    def _start_request(self) -> bool:
        """Step (1); False when there is no whole head yet, or none to be looked for."""
        if self._stopping:
            return False
        if self._buffer[:1] in (b"\r", b"\n"):
            self._buffer = self._buffer.lstrip(b"\r\n")
        end = self._buffer.find(END)
        try:
            if end < 0 and len(self._buffer) < MAX_HEAD:
                self._deadline.start(HEAD_SECONDS, self.abort)
                return False
            if not 0 <= end < MAX_HEAD:
                raise HeadError(431, f"the request head is larger than {MAX_HEAD} bytes")
            head = parse(self._buffer[: end + len(END)])
        except HeadError as exc:
            self._outlet.write(_refusal(exc))
            self._close(linger=True)
            return False
        self._deadline.stop()
        self._buffer = self._buffer[end + len(END) :]
        self._run(head)
        return True

    def _run(self, head: Head) -> None:
        """Step (2)."""
        body = RequestBody(framing.decoder(head.length), on_room=self._throttle)
        self._exchange = Exchange(head, body, self._outlet, on_follow=self._follow, hand_over=self._hand_over)
        self._following = False
        self._task = asyncio.get_running_loop().create_task(self._answer(self._exchange))

    def _throttle(self) -> None:
        """Step (3)."""
        if self._transport.is_closing():
            return
        exchange = self._exchange
        ahead = len(self._buffer) if exchange is not None and exchange.body.complete else 0
        if (exchange is not None and exchange.body.full) or ahead > MAX_AHEAD:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # Answering.

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._application(exchange)
        except (asyncio.CancelledError, ConnectionError):
            exchange.abandon()
        except Exception as exc:  # a defect in a route must cost its client only
            errors.report(exc, f"{exchange.head.method} {exchange.head.target}")
            exchange.abandon()
        if exchange is self._exchange:
            self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        """Step (4), and (5) when nothing is left to drop."""
        self._task = None
        if self._lost:
            return
        body = exchange.body
        if not exchange.ended or not exchange.keep_alive or self._stopping:
            self._close(linger=not body.complete)
        elif body.broken or (exchange.head.expects_continue and not body.complete):
            self._close(linger=True)
        elif body.complete:
            self._exchange = None
            self._advance()
            if self._eof and self._exchange is None:
                self._close(linger=False)
        else:
            body.discard()
            self._budget = MAX_DROPPED
            self._throttle()

    def _count_dropped(self, body: RequestBody, taken: int) -> None:
        self._budget -= taken
        if body.complete:
            self._exchange = None
        elif body.broken or self._budget < 0:
            self._close(linger=True)

    # Ending.

    def _close(self, *, linger: bool) -> None:
        """End the connection; ``linger`` when input may be unread, which would reset the client before it has read."""
        transport = self._transport
        self._exchange = None
        self._buffer = b""
        if transport.is_closing():
            return
        if not linger or self._eof or not transport.can_write_eof():
            transport.close()
            return
        self._lingering = True
        transport.write_eof()
        transport.resume_reading()
        self._deadline.stop()
        self._deadline.start(LINGER_SECONDS, transport.close)

    def _follow(self) -> None:
        self._following = True
        if self._task is not None and (self._lost or (self._eof and _hung_up(self._transport))):
            self._task.cancel()

    def stop(self) -> "asyncio.Future[None]":
        """The server ends: no further request; one that follows its client is cancelled, others finish.

        The future resolves when the connection is closed.
        """
        self._stopping = True
        self._closed = asyncio.get_running_loop().create_future()
        if self._exchange is None:
            self._close(linger=False)
        elif self._following and self._task is not None:
            self._task.cancel()
        return self._closed

    def abort(self) -> None:
        """End it now."""
        self._transport.abort()

    async def _hand_over(self, head: bytes) -> tuple[int, bytes]:
        """Send ``head`` and give the descriptor away with the bytes read beyond the request.

        Raises:
            ClientGoneError: the client left before.
        """
        transport = self._transport
        if self._lost or transport.is_closing():
            raise ClientGoneError("the client closed the connection")
        transport.pause_reading()
        early, self._buffer = self._buffer, b""
        await self._outlet.flush(head)
        if self._exchange is not None and not _reads_on(self._exchange.head):
            await self._outlet.taken()
        self._registry.discard(self)
        # A selector transport closes its socket without shutdown(2): a duplicate keeps the connection whole.
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
        transport.abort()
        return descriptor, early


def _reads_on(head: Head) -> bool:
    """Whether the client is known to keep what it read together with the response head of a stream.

    docker-py does not: it reads the head through a buffer and the stream from the socket behind it
    (``APIClient._get_raw_response_socket``), so that output which comes at once is lost to it.
    """
    return head.headers.get("user-agent", "").startswith(_CAREFUL_CLIENTS)


def _hung_up(transport: asyncio.Transport) -> bool:
    """Whether a client that sent EOF is gone: only a unix socket tells it from a half-close (poll(2), POLLHUP)."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return True
    poller = select.poll()
    poller.register(sock.fileno(), 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poller.poll(0))


def _refusal(error: HeadError) -> bytes:
    payload = errors.document(str(error))
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(payload))), ("Connection", "close")]
    return framing.response_head(error.status, fields) + payload
