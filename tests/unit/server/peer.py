"""A connection over a socket pair, and the client's side of it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from corten.server.connection import Connection
from corten.server.exchange import Exchange

SECONDS = 5.0


class Peer:
    """The client: raw bytes in and out."""

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self.socket = sock
        self.connection = connection
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.socket, data), SECONDS)

    async def some(self) -> bytes:
        """What comes next; empty at the end."""
        return await asyncio.wait_for(self._loop.sock_recv(self.socket, 65536), SECONDS)

    async def until(self, end: bytes) -> bytes:
        """Bytes up to and with ``end``, which must come last."""
        data = b""
        while not data.endswith(end):
            piece = await self.some()
            if not piece:
                raise AssertionError(f"the connection ended after {data!r}")
            data += piece
        return data

    async def rest(self) -> bytes:
        """Everything until the end."""
        data = b""
        while piece := await self.some():
            data += piece
        return data

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


@asynccontextmanager
async def connected(application: Callable[[Exchange], Awaitable[None]]) -> AsyncIterator[Peer]:
    """A client connected to ``application``."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    registry: set[Connection] = set()
    loop = asyncio.get_running_loop()
    _, connection = await loop.connect_accepted_socket(lambda: Connection(application, registry), ours)
    assert isinstance(connection, Connection)
    peer = Peer(theirs, connection)
    try:
        yield peer
    finally:
        theirs.close()
        connection.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  # conditions are of any kind
            await asyncio.sleep(0.002)
