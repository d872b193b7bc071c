"""What the shim tells, brought to the container or exec it is about; and what is told to a new shim.

Owns the mapping from ids to living things. A container the engine does not know is killed and acknowledged: its
record was never committed, so nobody was told that it exists.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from corten.engine.containers.exits import Exit, ExitHandler
from corten.engine.containers.notices import Notices
from corten.engine.execs import ExecService
from corten.engine.roster import Roster
from corten.engine.shims import Shim, Subject
from corten.engine.tasks import Container
from corten.errors import CortenError

logger = logging.getLogger(__name__)


class Supervision:
    """The shim's listener (:class:`corten.engine.shims.Listener`)."""

    def __init__(
        self,
        roster: Roster,
        shim: Shim,
        execs: ExecService,
        exits: ExitHandler,
        notices: Notices,
        end_strays: Callable[[set[str]], None],
    ) -> None:
        self._roster = roster
        self._end_strays = end_strays
        self._tasks: set[asyncio.Task[None]] = set()
        self._shim = shim
        self._execs = execs
        self._exits = exits
        self._notices = notices

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """``exited``, ``started``, ``detached``, ``oom`` or ``log_lost``."""
        container = self._roster.get(str(fields.get("id", "")))
        exec_id = str(fields.get("exec_id") or "")
        if container is None:
            if name == "exited" and not exec_id:
                self._shim.tell("ack", {"id": fields["id"]})
            elif name == "started" and not exec_id:
                self._soon(self._abolish(str(fields["id"])))
            return
        if name == "exited" and exec_id:
            self._execs.exited(exec_id, int(fields.get("code", 0)), unknown=bool(fields.get("unknown")))
        elif name == "exited":
            self._exits.exited(container, Exit.of(fields))
        elif name == "started" and not exec_id:
            self._soon(self._meet(container, fields))
        elif name == "oom":
            self._soon(self._out_of_memory(container, int(fields.get("oom_kills", 0))))
        elif name == "log_lost":
            container.lines_lost = int(fields["lines"])
        elif name == "detached":
            self._notices.container(container.record, "exec_detach" if exec_id else "detach", **_named(exec_id))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _out_of_memory(self, container: Container, total: int) -> None:
        """``total`` times in this run: what is more than its record says is committed, then told."""
        async with container.lock:
            record = container.record
            more = total - record.state.oom_kills
            if more <= 0 or not record.state.alive:
                return
            state = msgspec.structs.replace(record.state, oom_kills=total)
            await self._roster.update(container, record.with_state(state))
        self._notices.out_of_memory(container.record, more)

    def handover(self, subject: Subject, handles: dict[str, int]) -> None:
        """Keep copies of a live subject's descriptors."""
        container_id, exec_id = subject
        container = self._roster.get(container_id)
        if exec_id and self._execs.keep(exec_id, handles):
            return
        if container is not None and not exec_id:
            container.keep(handles)
            return
        for fd in handles.values():
            os.close(fd)

    async def revived(self, hello: dict[str, Any]) -> None:
        """Give a new shim what the lost one supervised; what it cannot take is reported as ended, code unknown.

        Processes of containers that were on their way when the old shim died belong to nobody: they are ended.
        """
        held = {(container.id, ""): container.handles for container in self._roster if container.record.state.alive}
        held.update(self._execs.held())
        adopted = set(await self._shim.adopt(held))
        alive = {container.id for container in self._roster if container.record.state.alive}
        await asyncio.to_thread(self._end_strays, {key for key in alive if (key, "") in adopted})
        for container in self._roster:
            if container.record.state.alive and (container.id, "") not in adopted:
                self._exits.exited(container, Exit.vanished())
        for container_id, exec_id in self._execs.held():
            if (container_id, exec_id) not in adopted:
                self._execs.exited(exec_id, 0, unknown=True)

    async def reconcile(self, hello: dict[str, Any]) -> None:
        """At the engine's start: compare what the shim supervises with what the records say."""
        known = {str(state["id"]): state for state in hello.get("containers", ())}
        for container_id, state in known.items():
            container = self._roster.get(container_id)
            if container is None:
                await self._abolish(container_id)
            else:
                await self._meet(container, state)
        for state in hello.get("execs", ()):
            self._meet_exec(state)
        if any(container.record.state.alive and container.id not in known for container in self._roster):
            await self._rescue(known)
        alive = {container.id for container in self._roster if container.record.state.alive}
        await asyncio.to_thread(self._end_strays, alive)

    async def _rescue(self, known: dict[str, dict[str, Any]]) -> None:
        """The shim died while no engine ran: its successor finds what it can in the state files."""
        adopted = {container_id for container_id, exec_id in await self._shim.adopt({}) if not exec_id}
        for container in self._roster:
            if container.record.state.alive and container.id not in known and container.id not in adopted:
                await self._exits.handle(container, Exit.vanished())

    async def _meet(self, container: Container, state: dict[str, Any]) -> None:
        """A container both know: started without our knowing (or about to be: a start that fails then is an exit),
        ended without it, or simply running.
        """
        record = container.record
        container.lines_lost = int(state.get("log_lost") or state.get("lines") or 0)
        pid, started, ticks = int(state["pid"]), int(state["started_at"]) or time.time_ns(), int(state["start_ticks"])
        if not record.state.alive:
            await self._roster.update(container, record.with_state(record.state.started(pid, started, ticks)))
        elif pid != record.state.pid:  # another runtime's: what was met before was the one that made it
            born = msgspec.structs.replace(record.state, pid=pid, started_ns=started, start_ticks=ticks)
            await self._roster.update(container, record.with_state(born))
        if state.get("exit"):
            await self._exits.handle(container, Exit.of(state["exit"]))
        elif state.get("oom_kills"):
            await self._out_of_memory(container, int(state["oom_kills"]))

    def _meet_exec(self, state: dict[str, Any]) -> None:
        exec_id, ended = str(state["exec_id"]), state.get("exit")
        self._execs.adopt(str(state["id"]), exec_id, int(state.get("pid") or 0))
        if ended:
            self._execs.exited(exec_id, int(ended.get("code", 0)), unknown=bool(ended.get("unknown")))

    async def _abolish(self, container_id: str) -> None:
        logger.warning("the shim supervises a container without a record: %s is ended", container_id)
        try:
            await self._shim.request("kill", {"id": container_id, "signal": 9})
        except CortenError as exc:
            logger.info("container %s: %s", container_id, exc)
        self._shim.tell("ack", {"id": container_id})


def _named(exec_id: str) -> dict[str, str]:
    return {"execID": exec_id} if exec_id else {}
