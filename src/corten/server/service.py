"""The API server: listening sockets in, connections out, an orderly end.

Owns the set of live connections. Refuses to know where a socket came from: the daemon opens it.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from corten.engine.engine import Engine
from corten.server.application import Application
from corten.server.connection import Connection
from corten.server.router import Router
from corten.server.routes import ROUTES
from corten.server.tls import TlsFront

BACKLOG: Final = 1024


class ApiServer:
    """Serves one engine on any number of sockets."""

    def __init__(self, engine: Engine) -> None:
        self._application = Application(engine, Router(ROUTES))
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []

    async def listen(self, sock: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections on ``sock``, bound and (perhaps) listening already; it is the server's from now on."""
        loop = asyncio.get_running_loop()
        factory: Callable[[], asyncio.BaseProtocol] = self._connection
        if tls is not None:
            factory = partial(TlsFront, tls, self._connection)
        if sock.family == socket.AF_UNIX:
            server = await loop.create_unix_server(factory, sock=sock, backlog=BACKLOG)
        else:
            server = await loop.create_server(factory, sock=sock, backlog=BACKLOG)
        self._servers.append(server)

    def _connection(self) -> Connection:
        return Connection(self._application, self._connections)

    async def close(self, patience: float) -> None:
        """Accept no more; let running requests finish for ``patience`` seconds, streams end at once; then cut."""
        for server in self._servers:
            server.close()
        ends = [connection.stop() for connection in list(self._connections)]
        if ends:
            await asyncio.wait(ends, timeout=patience)
        for connection in list(self._connections):
            connection.abort()
