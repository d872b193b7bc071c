"""``pause`` and ``unpause``: the container's processes are frozen by its cgroup, and the record says so.

 (1) the container is held, and its state allows it
 (2) the shim asks the kernel and answers when every process stands still (or runs again)
 (3) commit the status
 (4) say so (event ``pause`` or ``unpause``)

A crash between (2) and (3) leaves a record that contradicts the kernel: the next engine believes the kernel
(:meth:`Pauser.reconcile`).
"""

import logging

from corten.engine.containers.notices import Notices
from corten.engine.lifecycle import Event, Status
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.tasks import Container
from corten.errors import Conflict, CortenError, NotSupported

logger = logging.getLogger(__name__)


class Pauser:
    """Freezes and thaws containers."""

    def __init__(self, roster: Roster, shim: Shim, notices: Notices) -> None:
        self._roster = roster
        self._shim = shim
        self._notices = notices

    async def pause(self, reference: str) -> None:
        """Freeze it.

        Raises:
            Conflict: it does not run, is between two runs, or is paused already.
        """
        async with self._roster.exclusive(reference) as container:
            status = container.record.state.status  # (1)
            if status is Status.PAUSED:
                raise Conflict(f"Container {container.id} is already paused")
            if status is Status.RESTARTING:
                raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
            if not container.record.state.alive:
                raise Conflict(f"container {container.id} is not running")
            await self._freeze(container, frozen=True, failure="cannot pause")  # (2)
            await self._commit(container, Event.PAUSE)  # (3) (4)

    async def unpause(self, reference: str) -> None:
        """Let it go on.

        Raises:
            CortenError: it is not paused.
        """
        async with self._roster.exclusive(reference) as container:
            if container.record.state.status is not Status.PAUSED:  # (1)
                raise CortenError(f"Container {container.id} is not paused")
            await self._freeze(container, frozen=False, failure="Cannot unpause")  # (2)
            await self._commit(container, Event.UNPAUSE)  # (3) (4)

    async def wake(self, container: Container) -> None:
        """Let a container that its caller holds, and has just signalled, go on: else the signal would never arrive."""
        if container.record.state.status is not Status.PAUSED:
            return
        try:
            await self._freeze(container, frozen=False, failure="a signal cannot wake")
        except CortenError as exc:  # it ended this moment, or its end will be enforced
            logger.info("%s", exc)
        await self._commit(container, Event.UNPAUSE)

    async def reconcile(self) -> None:
        """At the engine's start: the kernel knows better than the records what is frozen."""
        try:
            answer, _ = await self._shim.request("frozen", {})
        except NotSupported:  # a shim from before there was a pause
            return
        frozen = set(answer["ids"])
        for container in self._roster:
            state = container.record.state
            if state.alive and (state.status is Status.PAUSED) != (container.id in frozen):
                await self._commit(container, Event.PAUSE if container.id in frozen else Event.UNPAUSE)

    async def _freeze(self, container: Container, *, frozen: bool, failure: str) -> None:
        try:
            await self._shim.request("freeze", {"id": container.id, "frozen": frozen})
        except CortenError as exc:
            raise CortenError(f"{failure} container {container.id}: {exc}") from exc

    async def _commit(self, container: Container, event: Event) -> None:
        record = container.record
        await self._roster.update(container, record.with_state(record.state.went(event)))
        self._notices.container(container.record, event.value)
