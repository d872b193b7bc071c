"""What follows a first process's end, in order.

 (1) wait until nobody else holds the container     (5) event ``die``, after the last ``oom``
 (2) commit the exit, with what the restart policy  (6) give back network, /dev/shm
     makes of it                                    (7) wake those who wait for the exit
 (3) close the kept descriptors, check no more: the  (8) the policy's pause begins, or
     last one takes mounts down, which is the shim's    AutoRemove: remove it
 (4) tell the shim it is known: it forgets the
     container and ends attached clients

A crash before (2) finds the exit again in the shim's ``hello``; one after it is repaired at the next start of the
engine.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from corten.engine import policies
from corten.engine.containers.notices import Notices
from corten.engine.containers.shm import SharedMemory
from corten.engine.lifecycle import ALIVE, Status
from corten.engine.networks.service import NetworkService
from corten.engine.record import UNKNOWN_EXIT
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.tasks import Container
from corten.errors import CortenError

logger = logging.getLogger(__name__)

_NS: Final = 10**9
Remover = Callable[[Container], Awaitable[None]]
Told = Callable[[Container], None]


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a first process ended; ``at_ns`` since the epoch, ``oom_kills`` in all of its run, which took ``ran_ns``."""

    code: int
    at_ns: int
    oom_kills: int = 0
    ran_ns: int = 0
    unknown: bool = False

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Exit":
        """From the shim's ``exited`` event or its ``hello``."""
        unknown = bool(fields.get("unknown"))
        return cls(
            code=UNKNOWN_EXIT if unknown else int(fields["code"]),
            at_ns=int(fields.get("at") or time.time_ns()),
            oom_kills=int(fields.get("oom_kills", 0)),
            ran_ns=int(fields.get("ran_ns", 0)),
            unknown=unknown,
        )

    @classmethod
    def vanished(cls) -> "Exit":
        """Nobody saw it end."""
        return cls(code=UNKNOWN_EXIT, at_ns=time.time_ns(), unknown=True)


class ExitHandler:
    """Brings the engine's knowledge up to date when a container's first process is over."""

    def __init__(
        self,
        roster: Roster,
        shim: Shim,
        networks: NetworkService,
        memory: SharedMemory,
        notices: Notices,
        *,
        remove: Remover,
        restart_later: Told,
        stop_checks: Told,
    ) -> None:
        self._roster = roster
        self._shim = shim
        self._networks = networks
        self._memory = memory
        self._notices = notices
        self._remove = remove
        self._restart_later = restart_later
        self._stop_checks = stop_checks
        self._running: set[asyncio.Task[None]] = set()

    def exited(self, container: Container, end: Exit) -> None:
        """Handle it in the background."""
        task = asyncio.get_running_loop().create_task(self.handle(container, end))
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("the end of a container was not handled", exc_info=task.exception())

    async def settle(self) -> None:
        """Wait until every exit known so far is handled."""
        while self._running:
            await asyncio.wait(self._running)

    async def handle(self, container: Container, end: Exit) -> None:
        """The module's list, (1) to (8)."""
        async with container.lock:  # (1)
            record = container.record
            if record.state.status not in ALIVE:
                self._shim.tell("ack", {"id": record.id})
                return
            told = record.state.oom_kills
            kills = max(end.oom_kills, told)
            state = record.state.exited(end.code, end.at_ns, oom_kills=kills, unknown=end.unknown)
            record = policies.after_exit(msgspec.structs.replace(record, state=state, network=None), end.ran_ns)
            await self._roster.update(container, record)  # (2)
            container.drop_handles()  # (3)
            self._stop_checks(container)
            self._shim.tell("ack", {"id": record.id})  # (4)
            self._notices.out_of_memory(record, kills - told)
            duration = str(end.ran_ns // _NS)
            self._notices.container(record, "die", exitCode=str(end.code), execDuration=duration)  # (5)
            await self._release(record.id)  # (6)
            self._notices.mounts(record, "unmount")
            container.announce_exit()  # (7)
            if container.record.state.status is Status.RESTARTING:
                self._restart_later(container)  # (8)
        if record.host.AutoRemove and not container.restarting:
            await self._auto_remove(container)

    async def detach_idle(self) -> None:
        """At the engine's start: take back what containers have whose start was cut short before the program."""
        self._memory.sweep({container.id for container in self._roster if container.record.state.alive})
        for container in self._roster:
            record = container.record
            if record.network is not None and not record.state.alive:
                await self._release(record.id)
                await self._roster.update(container, msgspec.structs.replace(record, network=None))

    async def _release(self, container_id: str) -> None:
        self._memory.close(container_id)
        try:
            await self._networks.release(container_id)
        except CortenError as exc:
            logger.warning("the network of container %s was not released: %s", container_id, exc)

    async def _auto_remove(self, container: Container) -> None:
        try:
            await self._remove(container)
        except CortenError as exc:
            logger.warning("container %s was not removed: %s", container.id, exc)
