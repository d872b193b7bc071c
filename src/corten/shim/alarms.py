"""Out of memory, told as it happens: what of :mod:`corten.cgroup.shortage` belongs to which container.

 (1) armed while the new process still builds its root, so that the start waits for nothing and its program is never
     unwatched; by a new shim when it adopts: the kernel has kept the count
 (2) told: on v1 by the group's eventfd, on v2 by the one inotify instance of all. Then nobody listens for PAUSE: the
     kernel counts after it tells, and a group at its limit must not keep this process busy
 (3) the count is read; one that has grown is sent as ``oom`` with its whole count, so that no message needs an
     acknowledgement: the engine knows how many it has told its clients, and hears the count again in ``hello`` and with
     the exit. v1 also tells of groups above: a count that stays is looked at ATTEMPTS times
 (4) the exit takes the last count and disarms

Without a memory controller nothing is armed, and nothing counted.
"""

from __future__ import annotations

import os

from corten.cgroup import shortage
from corten.cgroup.group import Group
from corten.linux import inotify
from corten.shim.loop import READ, note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.shim.supervisor import Supervisor
    from corten.shim.task import Task

PAUSE: Final = 0.02
ATTEMPTS: Final = 25
_READ: Final = 65536


class Alarms:
    """The armed containers; the handler of the inotify instance."""

    __slots__ = ("_inotify", "_looking", "_pending", "_supervisor", "_watched")

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._inotify = -1
        self._watched: dict[int, Task] = {}
        self._pending: dict[Task, int] = {}
        self._looking = False

    def arm(self, subject: Task, *, adopted: bool = False) -> None:
        """(1) A host that cannot tell costs the ``oom`` in time, not the container."""
        if subject.exec_id or subject.alarm >= 0:
            return
        group = Group(self._supervisor.hierarchy, subject.cgroup)
        if not group.directory("memory"):
            return
        try:
            if group.hierarchy.version == 2:
                subject.alarm = self._watch(group)
                self._watched[subject.alarm] = subject
            else:
                subject.alarm = shortage.subscribe(group)
                self._supervisor.loop.add(subject.alarm, Bell(self, subject))
        except OSError as error:
            note(f"container {subject.id}: nobody tells when its memory runs out: {error}")
            return
        if adopted:
            self.rang(subject, 1)

    def _watch(self, group: Group) -> int:
        if self._inotify < 0:
            self._inotify = inotify.inotify_init1(inotify.IN_NONBLOCK | inotify.IN_CLOEXEC)
            self._supervisor.loop.add(self._inotify, self)
        return shortage.watch(self._inotify, group)

    def disarm(self, subject: Task) -> None:
        """(4) To be called while the group is there."""
        self._pending.pop(subject, None)
        number, subject.alarm = subject.alarm, -1
        if number < 0:
            return
        if self._supervisor.hierarchy.version == 1:
            self._supervisor.loop.remove(number)
            os.close(number)
            return
        self._watched.pop(number, None)
        try:
            inotify.inotify_rm_watch(self._inotify, number)
        except OSError:  # the group has gone, and the watch with it
            pass

    def ready(self, events: int) -> None:
        """(2) Called by the loop, v2."""
        told = inotify.watches(os.read(self._inotify, _READ))
        self._supervisor.loop.modify(self._inotify, 0)
        for number in self._watched if -1 in told else told & self._watched.keys():
            self.rang(self._watched[number], 1)
        if not self._looking:  # of groups that are disarmed by now
            self._supervisor.loop.modify(self._inotify, READ)

    def rang(self, subject: Task, attempts: int) -> None:
        """(2) Look soon, and as often as this if there is nothing to see."""
        self._pending[subject] = attempts
        if not self._looking:
            self._looking = True
            self._supervisor.loop.after(PAUSE, self._look)

    def _look(self) -> None:
        """(3)"""
        pending, self._pending = self._pending, {}
        self._looking = False
        if self._inotify >= 0:
            self._supervisor.loop.modify(self._inotify, READ)
        for subject, attempts in pending.items():
            if not self.count(subject) and attempts > 1:
                self.rang(subject, attempts - 1)

    def count(self, subject: Task) -> bool:
        """Whether it has grown; then the engine is told, if there is one."""
        total = shortage.look(Group(self._supervisor.hierarchy, subject.cgroup))
        if total <= subject.oom_kills:
            return False
        subject.oom_kills = total
        self._supervisor.engine.event({"event": "oom", **subject.names(), "oom_kills": total})
        return True


class Bell:
    """One container's eventfd, v1: its handler."""

    __slots__ = ("_owner", "_subject")

    def __init__(self, owner: Alarms, subject: Task) -> None:
        self._owner = owner
        self._subject = subject

    def ready(self, events: int) -> None:
        """(2) Called by the loop."""
        os.read(self._subject.alarm, 8)
        self._owner.rang(self._subject, ATTEMPTS)
