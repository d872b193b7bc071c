"""Progress of long image operations, as Docker's JSON messages.

Owns the shape of a message, its rate and its order: a :class:`Reporter` takes messages without blocking, joins
progress of one object that nobody has read yet, and hands them to the client one at a time. Refuses to know HTTP.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

#: One JSON message to one client; returns when the client took it, raises when the client is gone.
Sink = Callable[[dict[str, Any]], Awaitable[None]]

INTERVAL: Final = 0.1
BAR: Final = 50
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def human_size(size: float) -> str:
    """Decimal units with four significant digits: go-units ``HumanSize``."""
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.4g}{unit}"
        size /= 1000
    return f"{size:.4g}{_UNITS[-1]}"


def bar(current: int, total: int) -> str:
    """The text Docker puts beside ``progressDetail`` for clients that only print it."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{human_size(current):>8}"
    filled = min(BAR, int(current / total * 100) // 2)
    box = f"[{'=' * filled}>{' ' * (BAR - filled)}] "
    numbers = f"{human_size(current):>8}"
    return box + (numbers if current > total else f"{numbers}/{human_size(total)}")


def message(status: str, identifier: str = "") -> dict[str, Any]:
    """``{"status": ..., "id": ...}``."""
    return {"status": status, "id": identifier} if identifier else {"status": status}


def step(status: str, identifier: str) -> dict[str, Any]:
    """A change of state of one layer: Docker sends an empty ``progressDetail`` with it."""
    return {"status": status, "progressDetail": {}, "id": identifier}


def transfer(status: str, identifier: str, current: int, total: int) -> dict[str, Any]:
    """How far one layer is, in bytes."""
    detail = {"current": current, "total": total} if total > 0 else {"current": current}
    return {"status": status, "progressDetail": detail, "progress": bar(current, total), "id": identifier}


class Reporter:
    """An asynchronous context manager around a sink; leaving it sends what is left.

    When the client is gone the surrounding task is cancelled once, so that the work it asked for ends.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._pending: list[dict[str, Any]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._owner: asyncio.Task[Any] | None = None
        self._sender: asyncio.Task[None] | None = None
        self.lost: Exception | None = None
        """Why the client is gone, once it is."""

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        self._sender = asyncio.create_task(self._send())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sender is not None
        self._closing = True
        self._wake.set()
        if isinstance(error, asyncio.CancelledError):
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
        else:
            await self._sender

    def send(self, content: Mapping[str, Any]) -> None:
        """Queue a message; progress replaces progress of the same object that is still queued."""
        entry = dict(content)
        if "progress" in entry and self._pending:
            last = self._pending[-1]
            for index in range(len(self._pending) - 1, -1, -1):
                last = self._pending[index]
                if last.get("id") == entry["id"]:
                    if "progress" in last:
                        self._pending[index] = entry
                        return
                    break
        self._pending.append(entry)
        self._wake.set()

    async def _send(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                batch, self._pending = self._pending, []
                for entry in batch:
                    await self._sink(entry)
                if self._closing and not self._pending:
                    return
                if not self._closing and batch and all("progress" in entry for entry in batch):
                    await asyncio.sleep(INTERVAL)
        except Exception as exc:  # whatever a sink raises means that nobody listens any more
            self.lost = exc
            if not self._closing and self._owner is not None:
                self._owner.cancel()
