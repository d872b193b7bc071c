"""A WebSocket client's connection on one side, a plain stream for the engine on the other.

    client == frames ==> _Client --bytes--> _Plain ~~socket pair~~ the shim

What the engine gets is a descriptor like that of any attached client. The end of either side ends the other, with a
closing handshake towards the client; a side that is slow stops the reading of the other.
"""

import asyncio
import codecs
import socket
from typing import Final

from corten.server import websocket
from corten.server.exchange import Exchange
from corten.server.framing import response_head
from corten.server.websocket import BINARY, CLOSE, PING, TEXT

_BUFFER: Final = 1 << 18


class WebSocketStream:
    """The engine's ``ClientStream`` over an accepted handshake; ``binary`` says in which frames output comes."""

    __slots__ = ("_binary", "_exchange", "_headers")

    def __init__(self, exchange: Exchange, headers: list[tuple[str, str]], *, binary: bool) -> None:
        self._exchange = exchange
        self._headers = headers
        self._binary = binary

    async def detach(self) -> tuple[int, bytes]:
        """Send the response head; the plain side's descriptor. What came early is on its way through it already.

        Raises:
            ClientGoneError: the client left before.
        """
        descriptor, early = await self._exchange.hand_over(response_head(101, self._headers, "Switching Protocols"))
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        client = _Client(binary=self._binary)
        await loop.connect_accepted_socket(lambda: client.plain, near)
        await loop.connect_accepted_socket(lambda: client, socket.socket(fileno=descriptor))
        if early:
            client.data_received(early)
        return far.detach(), b""


class _Client(asyncio.Protocol):
    """The client's side."""

    def __init__(self, *, binary: bool) -> None:
        self.plain = _Plain(self)
        self._reader = websocket.FrameReader()
        self._transport: asyncio.Transport | None = None
        self._opcode = BINARY if binary else TEXT
        # Text frames must be UTF-8 (RFC 6455, 5.6), and a character may be cut between two reads.
        self._decoder = None if binary else codecs.getincrementaldecoder("utf-8")("replace")
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(_BUFFER)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            frames = self._reader.feed(data)
        except websocket.FrameError:
            self.end(websocket.PROTOCOL_ERROR)
            return
        for opcode, payload in frames:
            if opcode == BINARY:
                self.plain.send(payload)
            elif opcode == PING:
                self._write(websocket.frame(websocket.PONG, payload))
            elif opcode == CLOSE:
                self._write(websocket.frame(CLOSE, payload[:2]))
                self._finish()
                return

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.plain.end()

    def pause_writing(self) -> None:
        self.plain.throttle(on=True)

    def resume_writing(self) -> None:
        self.plain.throttle(on=False)

    def send(self, data: bytes) -> None:
        """Output, as one frame."""
        if self._decoder is not None:
            data = self._decoder.decode(data).encode()
        if data:
            self._write(websocket.frame(self._opcode, data))

    def end(self, code: int) -> None:
        """Say goodbye and close when everything is sent."""
        if not self._closing:
            self._write(websocket.close_frame(code))
            self._finish()

    def throttle(self, *, on: bool) -> None:
        """Stop or go on reading from the client."""
        _throttle(self._transport, on=on)

    def _write(self, data: bytes) -> None:
        if not self._closing and self._transport is not None:
            self._transport.write(data)

    def _finish(self) -> None:
        self._closing = True
        self.plain.end()
        if self._transport is not None:
            self._transport.close()


class _Plain(asyncio.Protocol):
    """Our end of the socket pair."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(_BUFFER)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._client.send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.end(websocket.NORMAL)

    def pause_writing(self) -> None:
        self._client.throttle(on=True)

    def resume_writing(self) -> None:
        self._client.throttle(on=False)

    def send(self, data: bytes) -> None:
        """Input of the client."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        """The client has left."""
        if self._transport is not None:
            self._transport.close()

    def throttle(self, *, on: bool) -> None:
        """Stop or go on reading output."""
        _throttle(self._transport, on=on)


def _throttle(transport: asyncio.Transport | None, *, on: bool) -> None:
    if transport is None or transport.is_closing():
        return
    if on:
        transport.pause_reading()
    else:
        transport.resume_reading()
