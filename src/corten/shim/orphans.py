"""Children this process did not make: it is a subreaper once it runs containers of other runtimes.

What a runtime leaves behind (crun a process of an exec that failed), and what a container in the host's pid namespace
orphans, then ends up here instead of with init, as with Docker's shim. It must be waited for, and soon: the first
process of a pid namespace does not end while the namespace has a zombie (pid_namespaces(7)).

SIGCHLD says when to look. A zombie is nobody's when two looks have seen it: what belongs to a handler of the loop is
waited for within a turn, and tasks are exempt in any case.
"""

from __future__ import annotations

import os

from corten.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Final

    from corten.shim.loop import Loop
else:
    import _signal

_PAUSE: Final = 0.1


class Orphans:
    """Does nothing until :meth:`adopt`; ``is_ours`` tells what a task waits for itself."""

    __slots__ = ("_active", "_is_ours", "_looking", "_loop", "_suspects")

    def __init__(self, loop: Loop, is_ours: Callable[[int], bool]) -> None:
        self._loop = loop
        self._is_ours = is_ours
        self._active = False
        self._looking = False
        self._suspects: set[int] = set()

    def adopt(self) -> None:
        """From now on orphaned descendants are children of this process."""
        if not self._active:
            self._active = True
            _signal.signal(_signal.SIGCHLD, self._told)
            process.set_child_subreaper()

    def _told(self, number: int, frame: object) -> None:
        """A child has ended; runs between any two steps of the loop, which the signal has woken."""
        if not self._looking:
            self._looking = True
            self._loop.soon(self._again)

    def _again(self) -> None:
        self._loop.after(_PAUSE, self._look)

    def _look(self) -> None:
        self._looking = False
        dead = {pid for pid in _zombies() if not self._is_ours(pid)}
        for pid in dead & self._suspects:
            os.waitpid(pid, os.WNOHANG)
        self._suspects = dead - self._suspects
        if self._suspects and not self._looking:
            self._looking = True
            self._again()


def _zombies() -> set[int]:
    """Children that have ended and were not waited for."""
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return set()
    except ChildProcessError:  # there is no child at all
        return set()
    own = os.getpid()
    with open(f"/proc/{own}/task/{own}/children", "rb") as file:  # proc(5), CONFIG_PROC_CHILDREN
        children = file.read().split()
    return {int(pid) for pid in children if _is_dead(int(pid))}


def _is_dead(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return False
    return text[text.rindex(b")") + 2 :][:1] == b"Z"
