"""TLS before the HTTP protocol: a client's TLS on one side, a plain socket pair on the other.

asyncio's own TLS ends both directions when a client ends one, so that what a container prints after the end of its
input would be lost (``docker run -i`` over tcp). Here ``close_notify`` ends one direction (RFC 8446, 6.1), the end of
the TCP stream both. And the server behind it has a descriptor that can be given away like any other.

    client == TLS ==> TlsFront --plain--> _Inner ~~socket pair~~ Connection (or, after a hand-over, the shim)
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger(__name__)

HANDSHAKE_SECONDS: Final = 30.0
_PIECE: Final = 1 << 16
_BUFFER: Final = 1 << 18


class TlsFront(asyncio.Protocol):
    """One TLS client; ``behind`` makes the plain protocol that serves it."""

    def __init__(self, context: ssl.SSLContext, behind: Callable[[], asyncio.BaseProtocol]) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._behind = behind
        self._transport: asyncio.Transport | None = None
        self._inner: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(_BUFFER)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if self._timer is not None:
                self._shake_hands()
            if self._inner is not None:
                self._decrypt(self._inner)
        except ssl.SSLError as exc:
            _log.info("TLS client refused: %s", exc)
            self._flush()
            self._end()
        else:
            self._flush()

    def eof_received(self) -> bool:
        if self._inner is not None:
            self._inner.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._inner is not None:
            self._inner.close()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_reading()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_reading()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        assert self._timer is not None
        assert self._transport is not None
        self._timer.cancel()
        self._timer = None
        self._transport.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        """Make the plain side; the client's reading goes on when it is there."""
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        await loop.connect_accepted_socket(self._behind, far)
        transport, _ = await loop.connect_accepted_socket(lambda: _Inner(self), near)
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(_BUFFER)
        self._inner = transport
        outer = self._transport
        if outer is None or outer.is_closing():
            transport.close()
            return
        self.data_received(b"")
        outer.resume_reading()

    def _decrypt(self, inner: asyncio.Transport) -> None:
        """Pass on what has come; ``close_notify`` ends the client's direction only."""
        while True:
            try:
                data = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                data = b""
            if inner.is_closing():
                return
            if not data:
                inner.write_eof()
                return
            inner.write(data)

    def send(self, data: bytes) -> None:
        """Encrypt and send what the plain side said."""
        try:
            self._tls.write(data)
        except ssl.SSLError as exc:
            _log.info("TLS client lost: %s", exc)
            self._end()
            return
        self._flush()

    def finish(self) -> None:
        """The plain side is done: say so, and close when everything is sent."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # SSLWantReadError: the client's own close_notify is not waited for
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def throttle(self, *, on: bool) -> None:
        """Stop or go on reading from the client."""
        if self._transport is None or self._transport.is_closing():
            return
        if on:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Inner(asyncio.Protocol):
    """Our end of the socket pair."""

    def __init__(self, front: TlsFront) -> None:
        self._front = front

    def data_received(self, data: bytes) -> None:
        self._front.send(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.finish()

    def pause_writing(self) -> None:
        self._front.throttle(on=True)

    def resume_writing(self) -> None:
        self._front.throttle(on=False)
