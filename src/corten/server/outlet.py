"""The sending side of a connection: back-pressure, and knowing that nobody listens any more."""

import asyncio
import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from typing import Final

from corten.server.body import ClientGoneError

#: Bytes queued for a slow client before its handler waits.
WRITE_BUFFER: Final = 1 << 18
_STREAM_BUFFER: Final = 4 << 20
_SO_SNDBUFFORCE: Final = 32  # asm-generic/socket.h
_TAKING_SECONDS: Final = 0.5
_LOOK_PAUSE: Final = 0.0002


class Outlet:
    """Writes to a transport; asyncio's protocol callbacks steer it."""

    __slots__ = ("_lost", "_transport", "_writable")

    def __init__(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(WRITE_BUFFER)
        self._transport = transport
        self._writable: asyncio.Future[None] | None = None
        self._lost = False

    def write(self, data: bytes) -> None:
        """Send, or queue for sending."""
        if not self._lost:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait while too much is queued.

        Raises:
            ClientGoneError: the connection is lost.
        """
        if self._writable is not None:
            await self._writable
        if self._lost:
            raise ClientGoneError("the client closed the connection")

    def widen(self) -> None:
        """Make room for a long stream: with the usual 200 kB both sides change places for every piece, socket(7)."""
        sock = self._transport.get_extra_info("socket")
        if sock is None:
            return
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _STREAM_BUFFER)
        except OSError:  # without CAP_NET_ADMIN: as much as net.core.wmem_max allows
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _STREAM_BUFFER)

    async def flush(self, data: bytes) -> None:
        """Send ``data`` and wait until the kernel has every byte.

        Raises:
            ClientGoneError: the connection is lost.
        """
        self._transport.set_write_buffer_limits(0)
        self._transport.write(data)
        await self.drain()

    async def taken(self) -> None:
        """Wait until the client has read what was sent, half a second at most; only unix(7) sockets tell (SIOCOUTQ)."""
        sock = self._transport.get_extra_info("socket")
        if sock is None or sock.family != socket.AF_UNIX:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + _TAKING_SECONDS
        while int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder):
            if loop.time() > end:
                return
            await asyncio.sleep(_LOOK_PAUSE)

    def pause(self) -> None:
        """The queue is full."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """There is room again."""
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def lose(self) -> None:
        """Nobody listens: whoever waits is told by :meth:`drain`."""
        self._lost = True
        self.resume()


class Deadline:
    """A timer that is started at most once at a time."""

    __slots__ = ("_handle",)

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` in ``seconds``, unless it runs already."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(seconds, action)

    def stop(self) -> None:
        """Never mind."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
