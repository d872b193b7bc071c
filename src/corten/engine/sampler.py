"""Reads containers that somebody watches, each once a second however many watch it; nothing while nobody does.

Owns the rhythm and who is told. Refuses to know what is read: ``read`` is called in a thread, with containers, and
answers for each; ``alive`` tells whether there is still such a container.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

SECONDS: Final = 1.0

S = TypeVar("S")
Key = str


class Watch(Generic[S]):
    """One who watches one container; the newest sample is kept, an older one nobody fetched is dropped."""

    def __init__(self, sampler: "Sampler[S]", key: Key) -> None:
        self._sampler = sampler
        self._key = key
        self._news = asyncio.Event()
        self._latest: S | None = None

    async def next(self) -> S | None:
        """The next sample; None when there is no such container any more."""
        await self._news.wait()
        self._news.clear()
        return self._latest

    def tell(self, sample: S | None) -> None:
        """For the sampler."""
        self._latest = sample
        self._news.set()

    def close(self) -> None:
        """Watch no longer."""
        self._sampler.leave(self._key, self)


class Sampler(Generic[S]):
    """The one sampler of an engine; used on the event loop's thread."""

    def __init__(
        self, read: Callable[[Sequence[Key], dict[Key, S]], dict[Key, S]], alive: Callable[[Key], bool]
    ) -> None:
        self._read = read
        self._alive = alive
        self._watchers: dict[Key, list[Watch[S]]] = {}
        self._previous: dict[Key, S] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def watched(self) -> int:
        """How many containers are read each second."""
        return len(self._watchers)

    def watch(self, key: Key) -> Watch[S]:
        """Begin to watch; :meth:`Watch.close` must follow."""
        watcher = Watch(self, key)
        self._watchers.setdefault(key, []).append(watcher)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return watcher

    def leave(self, key: Key, watcher: Watch[S]) -> None:
        """Called by the watcher."""
        watchers = self._watchers.get(key, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._watchers.pop(key, None)
            self._previous.pop(key, None)

    def latest(self, key: Key) -> S | None:
        """The sample of the last second, when the container is watched already."""
        return self._previous.get(key)

    async def close(self) -> None:
        """End; who still watches hears that there is nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.tell(None)

    async def _run(self) -> None:
        try:
            while self._watchers:
                due = time.monotonic() + SECONDS
                await self._round()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            self._task = None
            self._previous.clear()

    async def _round(self) -> None:
        keys = list(self._watchers)
        for key in keys:
            if not self._alive(key):
                for watcher in self._watchers.pop(key, []):
                    watcher.tell(None)
        samples = await asyncio.to_thread(self._read, list(self._watchers), dict(self._previous))
        for key, sample in samples.items():
            watchers = self._watchers.get(key)
            if watchers:
                self._previous[key] = sample
                for watcher in watchers:
                    watcher.tell(sample)
