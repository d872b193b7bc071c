"""Work in threads that is over before its caller goes on, even one that is cancelled.

What a thread uses (descriptors, locks) is usually given back by the caller's next line; a number closed under a thread
that still runs would soon be another file's. Owns that rule and the hop of a generator's pieces to the event loop.
Refuses to know what is done.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")

#: Bytes made in one hop: enough that the hop costs nothing, little enough that a thousand streams fit in memory.
BATCH = 2 << 20
_SMALL = 1 << 16


async def complete(pool: Executor, work: Callable[[], T]) -> T:
    """``work()`` in a thread of ``pool``; a cancellation is raised when it is done."""
    running = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(pool, work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await settle(running)
        raise


async def settle(running: "asyncio.Future[T]") -> None:
    """Until it is done, however often the caller is cancelled meanwhile; its outcome is nobody's any more."""
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError:
            continue  # the first one is on its way up already
    if not running.cancelled():
        running.exception()


async def stream(pool: Executor, source: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
    """The pieces of ``source``, the next ones made while these are sent; it is closed when the consumer stops."""
    loop = asyncio.get_running_loop()
    ahead = loop.run_in_executor(pool, _batch, source)
    try:
        while pieces := await asyncio.shield(ahead):
            ahead = loop.run_in_executor(pool, _batch, source)
            for piece in pieces:
                yield piece
    finally:
        await settle(ahead)
        await complete(pool, source.close)


def _batch(source: Generator[bytes, None, None]) -> list[bytes]:
    """Some pieces, small ones joined; none at the end."""
    pieces: list[bytes] = []
    small: list[bytes] = []
    size = 0
    for piece in source:
        size += len(piece)
        if len(piece) < _SMALL:
            small.append(piece)
        else:
            if small:
                pieces.append(b"".join(small))
                small = []
            pieces.append(piece)
        if size >= BATCH:
            break
    if small:
        pieces.append(b"".join(small))
    return pieces
