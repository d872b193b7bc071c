"""A running container's first process, or an exec in it: what the supervisor's table holds.

About 2 kB each with its streams, so no field is here that the state file can keep. Refuses to know the engine.

    <exec-root>/shim/<id>.json             a container: what the next shim needs should this one die
    <exec-root>/shim/<id>.<exec-id>.json   an exec
"""

from __future__ import annotations

import os

from corten.oci.document import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from corten.shim.exits import Exit
    from corten.shim.stdio import Streams

    class Owner(Protocol):
        """The supervisor, seen from a task."""

        def process_ended(self, task: Task) -> None: ...
        def output_ended(self, task: Task) -> None: ...
        def detached(self, task: Task) -> None: ...
        def log_lost(self, task: Task, lines: int) -> None: ...


class Task:
    """``exec_id`` is "" for a container. ``exit`` is set once known, ``reported`` once the engine may know it.
    ``alarm`` and ``oom_kills`` belong to :mod:`corten.shim.alarms`; ``kinds`` is what its execs join, once one has.

    ``outer_mounts``: of a container in a user namespace the mount namespace that was built for it, whose mounts are not
    locked (:mod:`corten.runtime.userns`), -1 for others. Held until it is forgotten, by the engine too.
    """

    __slots__ = (
        "alarm",
        "cgroup",
        "exec_id",
        "exit",
        "id",
        "kinds",
        "mount_namespace",
        "oom_kills",
        "outer_mounts",
        "owner",
        "pid",
        "pidfd",
        "private_pids",
        "reported",
        "runtime",
        "start_ticks",
        "started_at",
        "starting",
        "streams",
    )

    streams: Streams

    def __init__(self, owner: Owner, container_id: str, exec_id: str, cgroup: str, *, private_pids: bool) -> None:
        self.owner = owner
        self.id = container_id
        self.exec_id = exec_id
        self.cgroup = cgroup
        self.private_pids = private_pids
        self.pid = 0
        self.pidfd = -1
        self.mount_namespace = -1
        self.outer_mounts = -1
        self.alarm = -1
        self.kinds = -1
        self.oom_kills = 0
        self.started_at = 0
        self.start_ticks = 0
        self.starting = True
        self.exit: Exit | None = None
        #: Of a container whose runtime is not our own: see :mod:`corten.shim.foreign.command`.
        self.runtime: dict[str, Any] | None = None
        self.reported = False

    @property
    def key(self) -> tuple[str, str]:
        """Its place in the table."""
        return self.id, self.exec_id

    def names(self) -> dict[str, str]:
        """The fields by which messages name it."""
        return {"id": self.id, "exec_id": self.exec_id} if self.exec_id else {"id": self.id}

    def ready(self, events: int) -> None:
        """The pidfd is readable: the process is dead."""
        self.owner.process_ended(self)

    def output_ended(self) -> None:
        """Called by the streams."""
        self.owner.output_ended(self)

    def detached(self) -> None:
        """Called by the streams."""
        self.owner.detached(self)

    def log_lost(self, lines: int) -> None:
        """Called by the streams."""
        self.owner.log_lost(self, lines)

    def document(self) -> dict[str, Any]:
        """The task as messages and the state file have it."""
        document: dict[str, Any] = {
            **self.names(),
            "pid": self.pid,
            "started_at": self.started_at,
            "start_ticks": self.start_ticks,
            "terminal": self.streams.terminal,
            "open_stdin": self.streams.takes_input,
            "stdin_once": self.streams.stdin_once,
            "cgroup": self.cgroup,
            "private_pids": self.private_pids,
            "starting": self.starting,
            "log_lost": self.streams.log_lost,
            "oom_kills": self.oom_kills,
        }
        if self.runtime is not None:
            document["runtime"] = self.runtime
        if self.exit is not None and self.reported:
            document["exit"] = self.exit.document()
        return document

    def descriptors(self) -> dict[str, int]:
        """What another shim needs to supervise it, by role; still the task's own."""
        held = {"pidfd": self.pidfd, **self.streams.descriptors()}
        return held if self.outer_mounts < 0 else {**held, "mntns": self.outer_mounts}

    def close(self, descriptor: str) -> None:
        """Close ``pidfd``, ``mount_namespace`` or ``outer_mounts`` if it is open."""
        number = getattr(self, descriptor)
        if number >= 0:
            os.close(number)
            setattr(self, descriptor, -1)


def file_name(task: Task) -> str:
    """The state file below its directory; ids are the engine's and hold no separator (checked when they arrive)."""
    return f"{task.id}.{task.exec_id}.json" if task.exec_id else f"{task.id}.json"


def save(directory: str, task: Task, log: dict[str, Any] | None) -> None:
    """Write the state file: temporary name, then rename. It lies on a tmpfs and need not survive the machine."""
    draft(directory, task, log)
    publish(directory, task)


def draft(directory: str, task: Task, log: dict[str, Any] | None) -> None:
    """The state file under its temporary name, which no other shim reads."""
    data = encode({**task.document(), "log": log}).encode()
    path = f"{directory}/{file_name(task)}.new"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def publish(directory: str, task: Task) -> None:
    """Give the draft its name: the task can be adopted."""
    path = f"{directory}/{file_name(task)}"
    os.rename(f"{path}.new", path)


def discard(directory: str, task: Task) -> None:
    """Remove the state file, or its draft, if there is one."""
    for suffix in ("", ".new"):
        try:
            os.unlink(f"{directory}/{file_name(task)}{suffix}")
        except FileNotFoundError:
            pass
