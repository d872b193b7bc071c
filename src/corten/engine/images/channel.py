"""Bytes from the event loop to a worker thread, bounded.

Owns back-pressure and the end of the stream in both directions. The loop's side is asynchronous, the thread's side is
an ordinary readable: downloads, loads and imports all cross here, because storage is synchronous.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Final

from corten.errors import CortenError

CAPACITY: Final = 4 << 20


class ChannelError(CortenError):
    """The other side went away before the end of the stream."""


class ByteChannel:
    """Create on the loop; ``write``/``close``/``fail`` on the loop, ``read``/iteration/``abandon`` in one thread."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._loop = asyncio.get_running_loop()
        self._capacity = capacity
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._filled = threading.Condition()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._failure: BaseException | None = None
        self._abandoned = False
        self._rest = b""

    async def write(self, chunk: bytes) -> None:
        """Hand over; waits while the thread is behind. Raises ChannelError when the thread stopped reading."""
        await self._room.wait()
        if self._abandoned:
            raise ChannelError("the reader stopped")
        if not chunk:
            return
        with self._filled:
            self._chunks.append(chunk)
            self._size += len(chunk)
            if self._size >= self._capacity:
                self._room.clear()
            self._filled.notify()

    async def pump(self, source: AsyncIterator[bytes]) -> None:
        """Write all of ``source`` and close; a failure of the source becomes the reader's failure too."""
        try:
            async for chunk in source:
                await self.write(chunk)
        except BaseException as exc:
            self.fail(exc)
            raise
        self.close()

    def close(self) -> None:
        """The end of the stream."""
        with self._filled:
            self._ended = True
            self._filled.notify()

    def fail(self, error: BaseException) -> None:
        """The stream ends too early: the reader sees ChannelError."""
        with self._filled:
            self._failure = error
            self._ended = True
            self._filled.notify()

    def __iter__(self) -> Iterator[bytes]:
        """Chunks as they come, in the thread, after what a ``read`` left over."""
        if self._rest:
            rest, self._rest = self._rest, b""
            yield rest
        while chunk := self._next():
            yield chunk

    def read(self, size: int = -1) -> bytes:
        """As a file: ``size`` bytes, fewer only at the end; all for -1."""
        parts, have = [self._rest], len(self._rest)
        while size < 0 or have < size:
            chunk = self._next()
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        joined = parts[0] if len(parts) == 1 else b"".join(parts)
        if size < 0 or have <= size:
            self._rest = b""
            return joined
        self._rest = joined[size:]
        return joined[:size]

    def abandon(self) -> None:
        """The thread reads no more: a waiting or later ``write`` raises ChannelError."""
        self._abandoned = True
        self._wake()

    def _next(self) -> bytes:
        with self._filled:
            while not self._chunks and not self._ended:
                self._filled.wait()
            if self._failure is not None:
                raise ChannelError(f"the stream ended early: {type(self._failure).__name__}") from self._failure
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            before, self._size = self._size, self._size - len(chunk)
            waiting = before >= self._capacity > self._size
        if waiting:
            self._wake()
        return chunk

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._room.set)
        except RuntimeError:
            pass  # the loop is closed: the engine is ending
