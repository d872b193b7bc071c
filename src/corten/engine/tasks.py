"""What a container is while the engine runs: its lock, who waits for it, who will be attached, and descriptors kept
for a new shim.

Nothing of this is persisted; all of it can be rebuilt from the record and the shim.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from corten.engine.record import ContainerRecord, IdMap
from corten.engine.streams import Attachment
from corten.storage.trees import Mount

#: What ``wait`` answers: exit code and, when the container could not be removed, why.
Exit = tuple[int, str | None]


class View:
    """Who looks at a container's files from outside, and through which descriptors (root, mount namespace).

    ``id_map`` is that of the user namespace the files are seen through from outside, None when they have the host's
    ids or the container's own. ``lock`` is held while a view is made, and while a start or a removal wants nobody to
    look.
    """

    __slots__ = ("_idle", "_users", "descriptors", "id_map", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.descriptors: list[int] = []
        self.id_map: IdMap | None = None
        self._users: list[asyncio.Task[object]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self, user: "asyncio.Task[object]") -> None:
        """One more looks."""
        self._users.append(user)
        self._idle.clear()

    def leave(self, user: "asyncio.Task[object]") -> None:
        """One less; the last closes the descriptors."""
        self._users.remove(user)
        if not self._users:
            descriptors, self.descriptors = self.descriptors, []
            for fd in descriptors:
                os.close(fd)
            self._idle.set()

    def revoke(self) -> None:
        """End what those who look are doing."""
        for user in self._users:
            user.cancel()

    @asynccontextmanager
    async def shut(self) -> AsyncIterator[None]:
        """Inside, nobody looks: waits for those who do."""
        async with self.lock:
            await self._idle.wait()
            yield


class Container:
    """The live side of one container."""

    __slots__ = (
        "_exit_waiters",
        "_removal_waiters",
        "backoff",
        "handles",
        "lines_lost",
        "lock",
        "pending",
        "record",
        "removing",
        "restarting",
        "rootfs",
        "view",
    )

    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.pending: list[Attachment] = []
        #: Copies of the shim's descriptors by role, for a shim that must take over.
        self.handles: dict[str, int] = {}
        #: Runs out when its restart policy starts it again.
        self.backoff: asyncio.TimerHandle | None = None
        #: Lines of its output that no log took, as far as the shim told.
        self.lines_lost = 0
        #: Its removal has begun, and no second one may.
        self.removing = False
        #: Its end is the first half of a restart: AutoRemove does not count.
        self.restarting = False
        #: The root's mounts, once they were asked for.
        self.rootfs: list[Mount] | None = None
        self.view = View()
        self._exit_waiters: list[asyncio.Future[Exit]] = []
        self._removal_waiters: list[asyncio.Future[Exit]] = []

    @property
    def id(self) -> str:
        """The full id."""
        return self.record.id

    def end_backoff(self) -> None:
        """Its policy no longer waits to start it."""
        handle, self.backoff = self.backoff, None
        if handle is not None:
            handle.cancel()

    def next_exit(self) -> asyncio.Future[Exit]:
        """Resolves when the first process ends, or when the container is removed before that."""
        return self._wait(self._exit_waiters)

    def removal(self) -> asyncio.Future[Exit]:
        """Resolves when the container is gone."""
        return self._wait(self._removal_waiters)

    def announce_exit(self) -> None:
        """The record says it ended; wake those who wait for it."""
        _resolve(self._exit_waiters, (self.record.state.exit_code, None))

    def announce_removal(self, error: str | None = None) -> None:
        """It is gone (or, with ``error``, could not be removed)."""
        outcome = (self.record.state.exit_code, error)
        _resolve(self._exit_waiters, outcome)
        _resolve(self._removal_waiters, outcome)

    def take_pending(self) -> list[Attachment]:
        """Clients that attached before the start; the caller's now."""
        pending, self.pending = self.pending, []
        return pending

    def keep(self, handles: dict[str, int]) -> None:
        """Replace the kept descriptors."""
        self.drop_handles()
        self.handles = handles

    def drop_handles(self) -> None:
        """Close the kept descriptors: the container is over."""
        handles, self.handles = self.handles, {}
        for fd in handles.values():
            os.close(fd)

    def close(self) -> None:
        """Close everything this container holds."""
        self.end_backoff()
        self.drop_handles()
        for attachment in self.take_pending():
            attachment.close()

    @staticmethod
    def _wait(waiters: list[asyncio.Future[Exit]]) -> asyncio.Future[Exit]:
        waiters[:] = [waiter for waiter in waiters if not waiter.done()]
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        waiters.append(future)
        return future


def _resolve(waiters: list[asyncio.Future[Exit]], outcome: Exit) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(outcome)
    waiters.clear()
