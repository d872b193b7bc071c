"""Giving a connection's descriptor away while asyncio still thinks it has one.

A selector transport closes its socket without shutdown(2), so a duplicate of the descriptor keeps the connection whole.
A TLS connection has no such descriptor: it gets a socket pair, and this process carries the bytes.
"""

import asyncio
import os
import socket
from typing import Final

_BUFFER: Final = 1 << 18


def detach_socket(transport: asyncio.Transport) -> int:
    """A duplicate of the transport's descriptor; the transport is closed and its connection is not.

    Nothing may wait in the transport's write buffer, and reading must be paused.
    """
    descriptor = os.dup(transport.get_extra_info("socket").fileno())
    os.set_inheritable(descriptor, False)
    transport.abort()
    return descriptor


async def detach_tls(transport: asyncio.Transport) -> int:
    """One end of a socket pair whose other end is carried to and from the TLS client."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    outer, inner = _Carrier(), _Carrier()
    outer.connect(inner)
    inner.connect(outer)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: inner, ours)
    outer.connection_made(transport)
    transport.set_protocol(outer)
    transport.resume_reading()
    return theirs.detach()


class _Carrier(asyncio.Protocol):
    """Half of a pump: what it receives, its peer sends; a slow side stops the other's reading."""

    def __init__(self) -> None:
        self._peer: _Carrier | None = None
        self.transport: asyncio.Transport | None = None

    def connect(self, peer: "_Carrier") -> None:
        self._peer = peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(_BUFFER)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        other = self._other()
        if other is not None:
            other.write(data)

    def eof_received(self) -> bool:
        """A plain side may be half-closed; a TLS one may not (asyncio's TLS ends both directions)."""
        other = self._other()
        if other is not None and other.can_write_eof():
            other.write_eof()
            return self.transport is not None and self.transport.can_write_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        other = self._other()
        if other is not None:
            other.close()

    def pause_writing(self) -> None:
        other = self._other()
        if other is not None:
            other.pause_reading()

    def resume_writing(self) -> None:
        other = self._other()
        if other is not None:
            other.resume_reading()

    def _other(self) -> asyncio.Transport | None:
        other = self._peer.transport if self._peer is not None else None
        return None if other is None or other.is_closing() else other
