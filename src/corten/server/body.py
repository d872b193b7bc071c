"""A request's body as a stream with back-pressure.

Owns the queue between the connection, which is told to stop reading when it is full, and the handler that empties it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from corten.server.errors import TooLargeError
from corten.server.framing import BodyDecoder, FramingError

#: Unread bytes at which the connection stops reading, and below which it reads again.
HIGH: Final = 1 << 20
LOW: Final = 1 << 18


class ClientGoneError(ConnectionError):
    """The client closed its connection before the exchange ended."""


class RequestBody:
    """Filled by the connection, read by one handler."""

    __slots__ = ("_decoder", "_discarding", "_error", "_on_first_read", "_on_room", "_pieces", "_size", "_waiter")

    def __init__(self, decoder: BodyDecoder, *, on_room: Callable[[], None]) -> None:
        self._decoder = decoder
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._discarding = False
        self._on_room = on_room
        self._on_first_read: Callable[[], None] | None = None

    def announce(self, on_first_read: Callable[[], None]) -> None:
        """Have ``on_first_read`` called when somebody wants this body."""
        self._on_first_read = on_first_read

    @property
    def complete(self) -> bool:
        """Whether its last byte has come in."""
        return self._decoder.done

    @property
    def broken(self) -> bool:
        """Whether its last byte will never come."""
        return self._error is not None

    @property
    def full(self) -> bool:
        """Whether more than enough waits to be read."""
        return self._size >= HIGH

    def feed(self, data: bytes) -> int:
        """Take what belongs to this body; returns how many bytes that was."""
        try:
            pieces, taken = self._decoder.feed(data)
        except FramingError as exc:
            self.fail(exc)
            return len(data)
        if not self._discarding:
            self._pieces.extend(pieces)
            self._size += sum(map(len, pieces))
        self._wake()
        return taken

    def fail(self, error: Exception) -> None:
        """No more will come; the reader gets ``error`` after what it has."""
        if not self._decoder.done and self._error is None:
            self._error = error
            self._wake()

    def discard(self) -> None:
        """Nobody will read the rest."""
        self._discarding = True
        self._pieces.clear()
        self._size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """Pieces as they come.

        Raises:
            ClientGoneError: the connection ended in the middle.
            FramingError: the body is malformed.
        """
        self._allow()
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._size -= len(piece)
                if self._size < LOW:
                    self._on_room()
                yield piece
            if self._decoder.done:
                return
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def read(self, limit: int) -> bytes:
        """All of it.

        Raises:
            TooLargeError: it is longer than ``limit`` bytes.
        """
        whole: list[bytes] = []
        size = 0
        async for piece in self.chunks():
            size += len(piece)
            if size > limit:
                raise TooLargeError(f"the request body is larger than {limit} bytes")
            whole.append(piece)
        return b"".join(whole)

    def _allow(self) -> None:
        """Tell a client that waits for it that its body is wanted."""
        if self._on_first_read is not None:
            self._on_first_read()
            self._on_first_read = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
