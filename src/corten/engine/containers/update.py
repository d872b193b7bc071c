"""``update``: other limits and another restart policy for a container that exists.

 (1) refuse what is impossible on this host; what it cannot do is dropped with a warning
 (2) hold the container; one that is being removed is left alone
 (3) the new HostConfig, refused where it contradicts the old one
 (4) of a container that runs: its cgroup's files, all or none
 (5) commit; when that fails, the files are what they were
 (6) say so (event ``update``)

A crash between (4) and (5) leaves a container with limits nobody was promised, until its next start.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from corten.api.types.container import ContainerUpdateResponse, HostConfig
from corten.cgroup.group import Group
from corten.cgroup.hierarchy import Hierarchy
from corten.engine import policies
from corten.engine.containers.facts import HostFacts
from corten.engine.containers.notices import Notices
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.engine.spec.changes import merged, unchangeable
from corten.engine.spec.limits import HostLimits, check_limits
from corten.engine.spec.resources import changed_limits
from corten.engine.tasks import Container
from corten.errors import Conflict, CortenError, InvalidArgument


class Updater:
    """Changes containers that exist."""

    def __init__(
        self, roster: Roster, hierarchy: Hierarchy, limits: HostLimits, facts: HostFacts, notices: Notices
    ) -> None:
        self._roster = roster
        self._hierarchy = hierarchy
        self._limits = limits
        self._facts = facts
        self._notices = notices

    async def update(self, reference: str, wanted: HostConfig) -> ContainerUpdateResponse:
        """Everything ``wanted`` names; what is empty or zero stays as it is.

        Raises:
            InvalidArgument: a value that cannot be.
            CortenError: ``Cannot update container ID: ...``: it contradicts what is set, or the kernel refused it.
        """
        self._roster.find(reference)
        policies.check(wanted.RestartPolicy, auto_remove=False)
        warnings = [f"{name} cannot be changed by an update. Discarded." for name in unchangeable(wanted)]
        wanted, dropped = check_limits(wanted, self._limits, update=True)  # (1)
        warnings += dropped
        async with self._roster.exclusive(reference) as container:
            try:
                warnings += await self._update(container, wanted)
            except CortenError as error:
                kind = Conflict if isinstance(error, Conflict) else CortenError
                raise kind(f"Cannot update container {container.id}: {error}") from error
        self._notices.container(container.record, "update")  # (6)
        return ContainerUpdateResponse(Warnings=warnings or None)

    async def _update(self, container: Container, wanted: HostConfig) -> list[str]:
        old = container.record
        if old.state.status in (Status.REMOVING, Status.DEAD):  # (2)
            raise CortenError('container is marked for removal and cannot be "update"')
        record = msgspec.structs.replace(old, host=merged(old.host, wanted))  # (3)
        record = policies.changed(record, wanted.RestartPolicy)
        warnings = []
        if old.state.alive:
            warnings = await asyncio.to_thread(self._write, record, changed_limits(old.host, record.host))  # (4)
        try:
            await self._roster.update(container, record, durable=not record.host.AutoRemove)  # (5)
        except BaseException:
            if old.state.alive:
                await asyncio.to_thread(self._write, old, changed_limits(record.host, old.host))
            raise
        return warnings

    def _write(self, record: ContainerRecord, sections: Mapping[str, Any]) -> list[str]:
        """In a thread of this process, not in the shim: a lower limit of memory may have to wait for the disk."""
        if not sections:
            return []
        group = Group(self._hierarchy, self._facts.cgroup_path(record))
        try:
            group.update(dict(sections))
        except InvalidArgument as error:
            raise CortenError(str(error)) from error
        return group.warnings
