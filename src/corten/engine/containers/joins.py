"""``container:NAME`` of --pid and --ipc: whose namespaces a container lives in, and the /dev/shm that goes with them.

Namespaces are handed on as descriptors, opened here and checked against the start time of the process they belong to:
a pid alone may have been given to a process of the host by the time somebody opens its files.
"""

import os
from contextlib import ExitStack
from typing import Final

import msgspec

from corten.api.types.container import HostConfig
from corten.engine.config import EngineConfig
from corten.engine.containers.shm import SharedMemory
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.errors import Conflict, CortenError, InvalidArgument
from corten.linux import procfs

JOIN: Final = "container:"
SHAREABLE: Final = "shareable"
SHM: Final = "/dev/shm"
_MODES: Final = (("pid", "PidMode", "PID"), ("ipc", "IpcMode", "IPC"))


class Joins:
    """Answers for one container at a time."""

    def __init__(self, config: EngineConfig, roster: Roster) -> None:
        self._config = config
        self._roster = roster
        self.memory = SharedMemory(config)

    def with_ids(self, host: HostConfig) -> HostConfig:
        """``container:NAME`` becomes ``container:ID``, so that a rename does not break it.

        Raises:
            InvalidArgument: no such container; not "not found", which clients take for the image.
        """
        changes = {}
        for field in ("NetworkMode", "PidMode", "IpcMode"):
            mode = getattr(host, field)
            if mode.startswith(JOIN):
                try:
                    changes[field] = JOIN + self._roster.find(mode.removeprefix(JOIN)).id
                except CortenError as exc:
                    raise InvalidArgument(str(exc)) from exc
        return msgspec.structs.replace(host, **changes) if changes else host

    def namespaces(self, record: ContainerRecord, undo: ExitStack) -> dict[str, int]:
        """Descriptors of the namespaces of other containers by kind; ``undo`` closes them.

        Raises:
            CortenError: the other container is gone, does not run, or does not share; Docker's text.
        """
        found = {}
        for kind, field, shown in _MODES:
            mode = getattr(record.host, field)
            if mode.startswith(JOIN):
                try:
                    other = self._running(mode.removeprefix(JOIN))
                    if kind == "ipc" and not shares_memory(other):
                        hint = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                        raise InvalidArgument(f"container {other.id}: {hint}")
                    found[kind] = _open(other, kind)
                except CortenError as exc:
                    failure = Conflict if isinstance(exc, Conflict) else InvalidArgument
                    raise failure(f"failed to join {shown} namespace: {exc}") from exc
                undo.callback(os.close, found[kind])
        return found

    def shared_memory(self, record: ContainerRecord, undo: ExitStack) -> str:
        """The host's path of the container's /dev/shm: its own tmpfs, mounted here, or that of whom it joins; empty
        when the container makes it itself, or has none.
        """
        mode = record.host.IpcMode
        if mode.startswith(JOIN):
            return self._lent(mode.removeprefix(JOIN))
        if not shares_memory(record):
            return ""
        path = self.memory.open(record.id, record.host.ShmSize or self._config.default_shm_size)
        undo.callback(self.memory.close, record.id)
        return path

    def _lent(self, container_id: str) -> str:
        """Of a container that has joined another one itself, that one's."""
        other = self._running(container_id)
        if other.host.IpcMode.startswith(JOIN):
            return self._lent(other.host.IpcMode.removeprefix(JOIN))
        return SHM if other.host.IpcMode == "host" else self.memory.path(container_id)

    def running(self, reference: str, what: str) -> tuple[int, int]:
        """The first process of a container whose ``what`` is joined: pid and start time."""
        state = self._roster.find(reference).record.state
        if not state.alive:
            raise Conflict(f"cannot join {what} of a non running container: {reference}")
        return state.pid, state.start_ticks

    def _running(self, container_id: str) -> ContainerRecord:
        record = self._roster.find(container_id).record
        if record.state.status is Status.RESTARTING:
            raise Conflict(f"container {container_id} is restarting, wait until the container is running")
        if not record.state.alive:
            raise Conflict(f"container {container_id} is not running")
        return record


def shares_memory(record: ContainerRecord) -> bool:
    """Whether others can be given this container's /dev/shm."""
    mode = record.host.IpcMode
    if mode == "host" or mode.startswith(JOIN):
        return True
    own = any(point.destination == SHM for point in record.mounts) or SHM in (record.host.Tmpfs or {})
    return mode == SHAREABLE and not own


def _open(record: ContainerRecord, kind: str) -> int:
    """The namespace of a container's first process."""
    try:
        return procfs.namespace(record.state.pid, kind, record.state.start_ticks)
    except OSError:
        raise Conflict(f"container {record.id} is not running") from None
