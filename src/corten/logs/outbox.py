"""Messages on their way to a socket that may be slow or gone, sent without ever waiting for it.

A connection is made when there is something to send, and again a second after it was lost. One message is under way
at a time: who has more keeps it. Loop and timers are the caller's.
"""

from __future__ import annotations

import _socket
import errno
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    #: udp, tcp, unix or unixgram, and where: (address, port), or a path.
    Target: TypeAlias = "tuple[str, tuple[str, int] | str]"

_RETRY = 1.0
_AGAIN = (errno.EAGAIN, errno.EINPROGRESS, errno.ENOBUFS, errno.ENOTCONN)


class Outbox:
    """One destination. ``lost`` counts messages no socket would take (too long for a datagram)."""

    __slots__ = ("_rest", "_retry_at", "_socket", "_target", "_under_way", "lost")

    def __init__(self, target: Target) -> None:
        self._target = target
        self._socket: _socket.socket | None = None
        self._retry_at = 0.0
        self._under_way = b""
        self._rest = memoryview(b"")
        self.lost = 0

    @property
    def idle(self) -> bool:
        """Whether a message can be given to :meth:`send`."""
        return not self._under_way

    def send(self, message: bytes) -> bool:
        """Take ``message``, and send what is possible now; whether all of it has gone."""
        self._under_way = message
        self._rest = memoryview(message)
        return self.flush()

    def flush(self) -> bool:
        """Go on with the message under way; whether none is any more."""
        while self._under_way:
            if self._socket is None and not self._connect():
                return False
            assert self._socket is not None
            try:
                sent = self._socket.send(self._rest, _socket.MSG_NOSIGNAL)
            except OSError as error:
                if not self._failed(error):
                    return False
                continue
            self._rest = self._rest[sent:]
            if not self._rest or not self._is_stream():
                self._under_way = b""
        return True

    def _failed(self, error: OSError) -> bool:
        """Whether to go on at once."""
        if error.errno in _AGAIN:
            return False
        if error.errno == errno.EMSGSIZE:
            self.lost += 1
            self._under_way = b""
            return True
        if error.errno == errno.ECONNREFUSED and self._target[0] == "udp":
            return True  # the answer to an earlier datagram (udp(7)); reading it has cleared it
        self.close()  # a message that went out in part goes out again as a whole
        self._rest = memoryview(self._under_way)
        self._retry_at = time.monotonic() + _RETRY
        return False

    def _is_stream(self) -> bool:
        return self._target[0] in ("tcp", "unix")

    def _connect(self) -> bool:
        if time.monotonic() < self._retry_at:
            return False
        where = self._target[1]
        kind = _socket.SOCK_STREAM if self._is_stream() else _socket.SOCK_DGRAM
        made = None
        try:
            made = _socket.socket(_family(where), kind | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
            code = made.connect_ex(where)
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS):
            if made is not None:
                made.close()
            self._retry_at = time.monotonic() + _RETRY
            return False
        self._socket = made
        return True

    def close(self) -> None:
        """Close the socket; the kernel goes on with what it has."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _family(where: tuple[str, int] | str) -> int:
    if isinstance(where, str):
        return _socket.AF_UNIX
    return _socket.AF_INET6 if ":" in where[0] else _socket.AF_INET
