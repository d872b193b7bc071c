"""Restart policies at work: who waits for its next start, and who is started when the engine comes up.

Owns the timers between an exit and the start that follows it. What is decided lies in :mod:`corten.engine.policies`;
what was decided lies in the record, so that an engine that dies meanwhile is followed by one that goes on waiting.

When the engine comes up (:meth:`Restarter.begin`):

 (1) everything that waits for a restart, or that its policy starts with the engine, is planned at once
 (2) each waits for the containers it depends on, as far as they are planned too: at most DEPENDENCY_SECONDS, because
     their start may be far off, or fail
 (3) at most PARALLEL of them start at the same time; clients are served meanwhile
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from corten.engine import policies
from corten.engine.containers.joins import JOIN
from corten.engine.containers.start import Starter
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.engine.tasks import Container
from corten.errors import CortenError, NotFound, Unavailable

logger = logging.getLogger(__name__)

PARALLEL: Final = 8
#: dockerd's own patience with what a container depends on.
DEPENDENCY_SECONDS: Final = 5.0


class Restarter:
    """Starts containers that their policy wants to run."""

    def __init__(self, roster: Roster, starter: Starter) -> None:
        self._roster = roster
        self._starter = starter
        self._slots = asyncio.Semaphore(PARALLEL)
        self._planned: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[None] | None] = set()
        self._open = False

    def begin(self) -> None:
        """At the engine's start, when everything that runs is known again: the module's list."""
        self._open = True
        chosen = [(container, fresh) for container in self._roster for fresh in _plan(container.record)]
        self._planned = {container.id: asyncio.Event() for container, _ in chosen}  # (1)
        for container, fresh in chosen:
            if fresh or not self._pause(container):
                self._soon(self._bring_up(container, fresh=fresh))

    def later(self, container: Container) -> None:
        """Its record says ``restarting``: start it when the pause is over. Before :meth:`begin` that waits for it."""
        if self._open and not self._pause(container):
            self._soon(self._bring_up(container, fresh=False))

    def _pause(self, container: Container) -> bool:
        """Whether there is a pause; it has begun then."""
        seconds = policies.remaining_seconds(container.record.state, time.time_ns())
        if seconds > 0:
            loop = asyncio.get_running_loop()
            container.backoff = loop.call_later(seconds, lambda: self._soon(self._bring_up(container, fresh=False)))
        return seconds > 0

    async def close(self) -> None:
        """Stop waiting, and let what has begun to start come up; the records say what the next engine shall do."""
        self._open = False
        for container in self._roster:
            container.end_backoff()
        for task in self._tasks - self._starting:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a container was not started again", exc_info=task.exception())

    async def _bring_up(self, container: Container, *, fresh: bool) -> None:
        expected = container.record.state.status
        try:
            await self._await_dependencies(container.record)  # (2)
            async with self._slots, container.lock:  # (3)
                known = self._roster.get(container.id) is container and not container.removing
                if known and container.record.state.status is expected:
                    await self._start(container, fresh=fresh)
        finally:
            planned = self._planned.pop(container.id, None)
            if planned is not None:
                planned.set()

    async def _start(self, container: Container, *, fresh: bool) -> None:
        """A start that fails ends the policy's work, as in Docker; that the shim died meanwhile does not."""
        task = asyncio.current_task()
        self._starting.add(task)
        try:
            await self._starter.start(container, fresh=fresh)
        except CortenError as exc:
            logger.warning("container %s was not started again: %s", container.id, exc)
            if isinstance(exc, Unavailable) and container.record.state.status is Status.EXITED:
                await self._try_again(container)
            elif not fresh:
                container.announce_exit()
        finally:
            self._starting.discard(task)

    async def _try_again(self, container: Container) -> None:
        record = container.record
        state = msgspec.structs.replace(record.state, finished_ns=time.time_ns())
        delay = policies.next_delay_ms(state.backoff_ms, 0)
        await self._roster.update(container, record.with_state(state).retrying(delay))
        self.later(container)

    async def _await_dependencies(self, record: ContainerRecord) -> None:
        events = []
        for reference in dependencies(record):
            try:
                planned = self._planned.get(self._roster.find(reference).id)
            except (NotFound, CortenError):
                continue  # the start itself says what is missing
            if planned is not None:
                events.append(asyncio.ensure_future(planned.wait()))
        if events:
            _, late = await asyncio.wait(events, timeout=DEPENDENCY_SECONDS)
            for waiting in late:
                waiting.cancel()


def _plan(record: ContainerRecord) -> tuple[bool, ...]:
    """Nothing, or whether the policy counts anew: it goes on where an engine died in a pause, and begins again after a
    reboot (an end that nobody saw) and for what had ended before.
    """
    if record.state.status is Status.RESTARTING:
        return (record.state.exit_unknown,)
    if record.state.status is Status.EXITED and policies.starts_with_engine(record):
        return (True,)
    return ()


def dependencies(record: ContainerRecord) -> list[str]:
    """References of the containers that must run before this one: joined namespaces and links; pure."""
    host = record.host
    found = [
        mode.removeprefix(JOIN) for mode in (host.NetworkMode, host.PidMode, host.IpcMode) if mode.startswith(JOIN)
    ]
    found += [link.container_id for link in record.links]
    links: list[str] = []
    for endpoint in (record.networking.EndpointsConfig or {}).values():
        links += endpoint.Links or ()
    return found + [link.partition(":")[0] for link in links]
