"""Runs the health checks of running containers, one at a time for each.

 (1) the pause before a check; while the container is paused there is none, and its health stays what it was
 (2) events ``exec_create`` and ``exec_start``; the shim runs it, bounded in time and output, and answers with its end
 (3) event ``exec_die``
 (4) the result is judged, if the same run of the container is still there to be judged
 (5) another status is committed and told at once; results alone are committed with the next flush, because a check a
     second for each of a thousand containers must not become a thousand commits
 (6) a container that its policy wants restarted when unhealthy is ended; what follows is its exit's business

Health outlives the engine: it is part of the record. Refuses to know how a process gets into a container (the shim),
and whether an exit is followed by a restart (:mod:`corten.engine.policies`).
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from corten.api.types.exec import ExecCreate
from corten.engine import policies
from corten.engine.containers.links import Links
from corten.engine.containers.notices import Notices
from corten.engine.execs import exec_process
from corten.engine.health import checks
from corten.engine.health.checks import Check, Health, Result
from corten.engine.lifecycle import Status
from corten.engine.profiles import Profiles
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.tasks import Container
from corten.errors import CortenError, NotFound, NotSupported, RuntimeFailure, Unavailable
from corten.linux import procfs

logger = logging.getLogger(__name__)

_NS: Final = 10**9
#: The exit code ``exec_die`` names when a check was killed for its time.
_KILLED: Final = 137
End = Callable[[Container], Awaitable[None]]


class Watch:
    """One run of a container that is checked."""

    __slots__ = ("check", "container", "process", "started_ns", "timer")

    def __init__(self, container: Container, check: Check, linked: Sequence[str]) -> None:
        record = container.record
        body = ExecCreate(Cmd=list(check.command))
        self.container = container
        self.check = check
        self.process: dict[str, Any] = exec_process(record, body, linked, None)
        self.started_ns = record.state.started_ns
        self.timer: asyncio.TimerHandle | None = None

    def current(self) -> bool:
        """Whether this run goes on."""
        state = self.container.record.state
        return state.alive and state.started_ns == self.started_ns

    def age_ns(self) -> int:
        """For how long the container has run; whoever sets the clock does not end its start period."""
        return procfs.age_ns(self.container.record.state.start_ticks)


class HealthMonitor:
    """Checks every container it is told to watch."""

    def __init__(
        self, roster: Roster, shim: Shim, profiles: Profiles, links: Links, notices: Notices, end: End
    ) -> None:
        self._roster = roster
        self._shim = shim
        self._profiles = profiles
        self._links = links
        self._notices = notices
        self._end = end
        self._watches: dict[str, Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, container: Container, *, part: float = 1.0) -> None:
        """It runs: begin with a pause (or ``part`` of it), as Docker does, if it has a check at all."""
        check = checks.check_of(container.record.config)
        if check is None or not container.record.state.alive:
            return
        self.forget(container)
        watch = self._watches[container.id] = Watch(container, check, self._linked(container.record))
        self._pause(watch, part=part)

    def _linked(self, record: ContainerRecord) -> list[str]:
        """The variables of linked containers; a link that leads nowhere is not what is checked here."""
        try:
            return self._links.environment(record)
        except CortenError:
            return []

    def forget(self, container: Container) -> None:
        """It has ended."""
        watch = self._watches.pop(container.id, None)
        if watch is not None and watch.timer is not None:
            watch.timer.cancel()

    def resume(self) -> None:
        """At the engine's start: watch everything that runs, not all of it in step from now on."""
        for container in self._roster:
            self.watch(container, part=int(container.id[:8], 16) / 2**32)

    async def close(self) -> None:
        """Check nothing any more."""
        for watch in list(self._watches.values()):
            self.forget(watch.container)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _pause(self, watch: Watch, *, part: float = 1.0) -> None:
        """(1)"""
        if self._watches.get(watch.container.id) is watch:
            health = watch.container.record.state.health or Health()
            pause = checks.pause_ns(watch.check, health, watch.age_ns())
            watch.timer = asyncio.get_running_loop().call_later(part * pause / _NS, self._due, watch)

    def _due(self, watch: Watch) -> None:
        if watch.container.record.state.status is not Status.RUNNING:
            self._pause(watch)
            return
        task = asyncio.get_running_loop().create_task(self._run(watch))
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a health check failed", exc_info=task.exception())

    async def _run(self, watch: Watch) -> None:
        try:
            age = watch.age_ns()
            result = await self._ask(watch)
            if result is not None:
                await self._settle(watch, result, age)
        finally:
            self._pause(watch)

    async def _ask(self, watch: Watch) -> Result | None:
        """(2) (3); None when there is nothing to conclude: the container, or the shim, went away."""
        record, check = watch.container.record, watch.check
        exec_id = secrets.token_hex(32)
        began = time.time_ns()
        for action in ("exec_create", "exec_start"):
            self._notices.container(record, f"{action}: {check.title}", execID=exec_id)
        try:
            answer = await self._probe(watch, record)
        except (Unavailable, NotFound):
            return None
        except NotSupported as exc:  # a shim of an older engine, which its containers keep alive
            logger.warning("container %s is not checked: %s", record.id, exc)
            return None
        except RuntimeFailure as exc:
            text = f"OCI runtime exec failed: exec failed: {exc}"
            return Result(began, time.time_ns(), checks.NO_CODE, text)
        except CortenError as exc:
            return Result(began, time.time_ns(), checks.NO_CODE, str(exc))
        late, output = bool(answer["late"]), str(answer["output"])
        code = _KILLED if late else int(answer["code"])
        self._notices.container(record, "exec_die", execID=exec_id, exitCode=str(code))
        if late:
            return Result(began, time.time_ns(), checks.NO_CODE, checks.overdue_text(check.timeout, output))
        return Result(began, time.time_ns(), code, output)

    async def _probe(self, watch: Watch, record: ContainerRecord) -> dict[str, Any]:
        message: dict[str, Any] = {"id": record.id, "process": watch.process, "seconds": watch.check.timeout / _NS}
        profile = await self._profiles.descriptor(record.host)
        if profile is not None:
            message["roles"] = ["seccomp"]
        answer, _ = await self._shim.request("probe", message, [] if profile is None else [profile])
        return answer

    async def _settle(self, watch: Watch, result: Result, age: int) -> None:
        """(4) (5) (6)"""
        container = watch.container
        async with container.lock:
            record = container.record
            if not watch.current() or record.state.status is not Status.RUNNING:
                return
            before = record.state.health or Health()
            after = checks.judge(watch.check, before, result, age)
            record = record.with_state(msgspec.structs.replace(record.state, health=after))
            if after.status == before.status:
                self._roster.amend(container, record)
            else:
                await self._roster.update(container, record)
                self._notices.container(record, f"health_status: {after.status}")
        if policies.ends_when_unhealthy(record):
            await self._end(container)
