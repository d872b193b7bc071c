"""The table of tasks, and what happens from a process's death until it is forgotten.

 (1) its pidfd is readable: the exit is collected (:mod:`corten.shim.exits`), with how often its memory ran out
 (2) where another runtime made it, that one forgets it (``delete --force``)
     all of its output is drained, to the log and to the clients; at most GRACE seconds where a stranger holds a pipe
 (3) ``exited`` is reported, or kept for the next engine's ``hello``
 (4) after the report: the mount namespace is let go, the cgroup is emptied and removed
 (5) the engine acknowledges, having committed the exit - or GRACE seconds pass, or there is no engine
 (6) attached clients get their end of file: who then asks for the exit code gets it
 (7) with the acknowledgement, and only with it, the task is forgotten

Knows an engine only as something events are sent to.
"""

from __future__ import annotations

import gc
import os
import time

from corten.cgroup.group import Group
from corten.errors import RuntimeFailure
from corten.linux import procfs
from corten.shim import bundle, exits, hooks, task
from corten.shim.alarms import Alarms
from corten.shim.foreign import command
from corten.shim.loop import note
from corten.shim.orphans import Orphans
from corten.shim.prepared import Preparations
from corten.shim.probe import Probes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final, Protocol

    from corten.cgroup.hierarchy import Hierarchy
    from corten.shim.loop import Loop
    from corten.shim.task import Task

    class Engine(Protocol):
        """Where events go."""

        def event(self, document: dict[str, Any]) -> bool:
            """Send it; False when no engine is connected."""


#: Docker's own patience with streams that stay open after the exit (moby, daemon/monitor.go).
GRACE: Final = 2.0
_COLLECT_PAUSE: Final = 0.02
_COLLECT_ATTEMPTS: Final = 50
_CLEAN_PAUSE: Final = 0.02
_CLEAN_ATTEMPTS: Final = 200
_SIGKILL: Final = 9
_COLLECT_EVERY: Final = 128


class Supervisor:
    """``tasks`` by (container id, exec id); ``open_files`` is the limit this process was given: soft, hard."""

    __slots__ = (
        "_cleaning", "_forgotten", "alarms", "deleting", "engine", "freezing", "hierarchy", "loop", "open_files",
        "orphans", "preparations", "probes", "state_directory", "tasks",
    )  # fmt: skip

    engine: Engine

    def __init__(self, loop: Loop, hierarchy: Hierarchy, state_directory: str, *, open_files: tuple[int, int]) -> None:
        self.loop = loop
        self.hierarchy = hierarchy
        self.state_directory = state_directory
        self.open_files = open_files
        self.tasks: dict[tuple[str, str], Task] = {}
        #: By cgroup, the freezing or thawing that is under way; one that is not here any more was overtaken.
        self.freezing: dict[str, object] = {}
        self.preparations = Preparations(self)
        self.probes = Probes(self)
        self.alarms = Alarms(self)
        #: Containers whose own runtime is about to forget them.
        self.deleting: set[str] = set()
        self.orphans = Orphans(loop, self._waits_for)
        self._cleaning: dict[str, int] = {}
        self._forgotten = 0

    def watch(self, subject: Task) -> None:
        """The task runs: wait for its end."""
        subject.starting = False
        self.loop.add(subject.pidfd, subject)

    def live(self) -> Iterator[Task]:
        """Tasks whose end was not reported."""
        return (subject for subject in self.tasks.values() if not subject.reported)

    # -- the end of a process ----------------------------------------------------------------------------------

    def process_ended(self, subject: Task) -> None:
        """(1)"""
        self.loop.remove(subject.pidfd)
        self._collect(subject, _COLLECT_ATTEMPTS)

    def _collect(self, subject: Task, attempts: int) -> None:
        status = exits.collect(subject.pidfd, subject.pid, subject.start_ticks)
        if status is None and attempts:  # a stranger between its death and its burial by init
            self.loop.after(_COLLECT_PAUSE, lambda: self._collect(subject, attempts - 1))
            return
        self.set_exit(subject, status)

    def set_exit(self, subject: Task, status: tuple[int, int] | None) -> None:
        """The exit is known, or known to be unknowable (None)."""
        code, signal = status or (exits.UNKNOWN, 0)
        ran = procfs.age_ns(subject.start_ticks)
        gone = exits.Exit(code, signal, time.time_ns(), ran_ns=ran, unknown=status is None)
        if not subject.exec_id and subject.cgroup:
            self.alarms.count(subject)
            self.alarms.disarm(subject)
            gone.oom_kills = subject.oom_kills
            if not subject.private_pids:  # nobody else ends the others; they would hold the output open
                _kill(Group(self.hierarchy, subject.cgroup))
        if subject.runtime is None:
            self._drain(subject, gone)
        else:
            self.delete(subject.id, subject.runtime, lambda: self._deleted(subject, gone))

    def _deleted(self, subject: Task, gone: exits.Exit) -> None:
        bundle.remove(bundle.path(self.state_directory, subject.id))
        self._drain(subject, gone)

    def delete(self, container_id: str, runtime: dict[str, Any], then: Callable[[], None]) -> None:
        """Let a container's own runtime forget it, before anybody hears of its end."""

        def over() -> None:
            self.deleting.discard(container_id)
            then()

        self.deleting.add(container_id)
        command.delete(self.loop, runtime, container_id, over)

    def recover(self) -> None:
        """At the start: what a shim that died in the middle of a start has left of it."""
        for container_id in bundle.all_ids(self.state_directory):
            directory = bundle.path(self.state_directory, container_id)
            if os.path.exists(f"{self.state_directory}/{container_id}.json"):
                continue  # it runs: the engine has it adopted
            runtime = bundle.runtime_of(directory)
            if runtime is None:
                bundle.remove(directory)
            else:
                self.delete(container_id, runtime, _removal(directory))

    def _waits_for(self, pid: int) -> bool:
        return any(subject.pid == pid and subject.exit is None for subject in self.tasks.values())

    def _drain(self, subject: Task, gone: exits.Exit) -> None:
        subject.exit = gone
        if subject.streams.hurry():  # (2)
            self._report(subject)
        else:
            self.loop.after(GRACE, lambda: self._report(subject))

    def output_ended(self, subject: Task) -> None:
        """(2) The last output has ended, perhaps long before the process."""
        if subject.exit is not None:
            self.loop.soon(lambda: self._report(subject))

    def _report(self, subject: Task) -> None:
        """(3)"""
        if subject.reported or subject.exit is None:
            return
        subject.reported = True
        told = self.engine.event({"event": "exited", **subject.names(), **subject.exit.document()})
        self.loop.soon(lambda: self._let_go(subject))
        if told:
            self.loop.after(GRACE, subject.streams.release)  # (5)
        else:
            self.loop.soon(subject.streams.close)

    def _let_go(self, subject: Task) -> None:
        """(4)"""
        subject.close("mount_namespace")
        if not subject.exec_id:
            self.remove_cgroup(subject.cgroup)
            self._drop_bundle(subject)

    def _drop_bundle(self, subject: Task) -> None:
        """What hooks read goes after the last of them."""
        directory = bundle.path(self.state_directory, subject.id)
        if subject.runtime is not None:  # which has run the hooks itself
            return
        spec = bundle.read(directory)
        if spec is None:
            return

        def over(error: RuntimeFailure | None) -> None:
            if error is not None:
                note(str(error))
            if self.tasks.get(subject.key, subject) is subject:  # or it has started again
                bundle.remove(directory)

        hooks.run(self.loop, spec, ("poststop",), hooks.state(subject.id, "stopped", 0, directory, spec), over)

    def _clean(self, path: str) -> None:
        attempts = self._cleaning.pop(path, 0)
        if not attempts:
            return  # taken over by a new start of the same container, or given up
        group = Group(self.hierarchy, path)
        if not _kill(group):
            try:
                group.delete()
            except OSError:
                pass
            else:
                return
        if attempts == 1:
            note(f"cgroup {path} could not be removed")
            return
        self._cleaning[path] = attempts - 1
        self.loop.after(_CLEAN_PAUSE, lambda: self._clean(path))

    def remove_cgroup(self, path: str) -> None:
        """Empty and remove a group, in the background."""
        if path:
            self._cleaning[path] = _CLEAN_ATTEMPTS
            self._clean(path)

    def claim_cgroup(self, path: str) -> None:
        """A start wants this group: whatever is left of the one before goes now."""
        if self._cleaning.pop(path, 0):
            group = Group(self.hierarchy, path)
            group.kill()
            group.delete()

    # -- the engine --------------------------------------------------------------------------------------------

    def acknowledge(self, subject: Task) -> None:
        """(6) (7)"""
        self.forget(subject)
        if not subject.exec_id:
            for other in [other for other in self.tasks.values() if other.id == subject.id and other.reported]:
                self.forget(other)

    def forget(self, subject: Task) -> None:
        """Give back everything the task had. Not for one that runs."""
        self.tasks.pop(subject.key, None)
        self.alarms.disarm(subject)
        if subject.pidfd >= 0:
            self.loop.remove(subject.pidfd)
        subject.close("pidfd")
        subject.close("mount_namespace")
        subject.close("outer_mounts")
        subject.streams.close()
        task.discard(self.state_directory, subject)
        self._forgotten += 1
        if self._forgotten % _COLLECT_EVERY == 0:  # automatic collection is off, and what was there at the start frozen
            gc.collect()

    def detached(self, subject: Task) -> None:
        """A client typed its detach keys."""
        self.engine.event({"event": "detached", **subject.names()})

    def log_lost(self, subject: Task, lines: int) -> None:
        """So many lines of its output are in no log."""
        self.engine.event({"event": "log_lost", **subject.names(), "lines": lines})

    def engine_left(self) -> None:
        """Nobody will acknowledge soon: (6) for those that wait for it. Nor will a start follow its preparation."""
        self.preparations.clear()
        for subject in self.tasks.values():
            if subject.reported:
                subject.streams.close()


def _removal(directory: str) -> Callable[[], None]:
    return lambda: bundle.remove(directory)


def _kill(group: Group) -> int:
    """SIGKILL to all in the group; how many there were."""
    pids = [pid for pid in group.pids() if pid]  # 0 stands for one that our pid namespace does not show
    for pid in pids:
        try:
            os.kill(pid, _SIGKILL)
        except ProcessLookupError:
            pass
    return len(pids)
