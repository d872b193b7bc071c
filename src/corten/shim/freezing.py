"""Freezing and thawing a container without stopping the shim's loop for it.

A later wish for the same group overtakes an earlier one that is not fulfilled yet; so does SIGKILL, which on cgroup v1
reaches a process only when it is thawed.
"""

from __future__ import annotations

import os
import time

from corten import errors
from corten.cgroup import freezer
from corten.cgroup.group import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.shim.supervisor import Supervisor
    from corten.shim.zygote import Reply


class Wish:
    """One request on its way: asks, looks again later, answers."""

    __slots__ = ("_deadline", "_frozen", "_path", "_reply", "_supervisor")

    def __init__(self, supervisor: Supervisor, path: str, reply: Reply, *, frozen: bool) -> None:
        self._supervisor = supervisor
        self._path = path
        self._reply = reply
        self._frozen = frozen
        self._deadline = time.monotonic() + freezer.PATIENCE

    def attempt(self) -> None:
        """Ask the kernel once more."""
        if self._supervisor.freezing.get(self._path) is not self:
            self._reply.fail(errors.Conflict("the container was killed, or another pause or unpause came in between"))
            return
        group = Group(self._supervisor.hierarchy, self._path)
        try:
            reached = freezer.ask(group, frozen=self._frozen)
            if not reached and time.monotonic() < self._deadline:
                self._supervisor.loop.after(freezer.PAUSE, self.attempt)
                return
            if not reached and self._frozen:
                freezer.ask(group, frozen=False)
        except OSError as error:
            self._end(error.strerror or os.strerror(error.errno or 0))
            return
        self._end("" if reached else "its processes do not leave the kernel")

    def _end(self, problem: str) -> None:
        del self._supervisor.freezing[self._path]
        if problem:
            self._reply.fail(errors.RuntimeFailure(problem.lower()))
        else:
            self._reply.succeed({})


def begin(supervisor: Supervisor, path: str, reply: Reply, *, frozen: bool) -> None:
    """Freeze or thaw a group; the answer comes when the kernel says that it is so."""
    wish = Wish(supervisor, path, reply, frozen=frozen)
    supervisor.freezing[path] = wish
    wish.attempt()


def release(supervisor: Supervisor, path: str) -> None:
    """Thaw a group whose processes were killed; no earlier wish freezes it again."""
    supervisor.freezing.pop(path, None)
    group = Group(supervisor.hierarchy, path)
    try:
        if group.is_frozen():
            freezer.ask(group, frozen=False)
    except OSError:  # no freezer, or gone meanwhile
        pass
