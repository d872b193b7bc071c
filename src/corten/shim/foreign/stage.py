"""One staged command (:mod:`corten.runtime.staging`), from its clone to its end, the loop serving others meanwhile."""

from __future__ import annotations

import os

from corten import errors
from corten.linux import process
from corten.runtime import sync
from corten.shim import program, zygote
from corten.shim.foreign import command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

    from corten.runtime.request import Started
    from corten.shim.loop import Loop

    #: Told its exit status, or the error for which it never became the command.
    Then: TypeAlias = "Callable[[int, errors.CortenError | None], None]"

_SIGKILL: Final = 9


class Stage:
    """The handler of its channel, then of its pidfd. ``root`` is (device, inode) of the root it mounted."""

    __slots__ = ("_error", "_late", "_loop", "_pidfd", "_sync", "_then", "pid", "root")

    def __init__(self, loop: Loop, started: Started, then: Then) -> None:
        os.set_blocking(started.sync, False)
        self._loop = loop
        self._then = then
        self._sync = started.sync
        self._pidfd = started.pidfd
        self._error: errors.CortenError | None = None
        self._late = False
        self.pid = started.pid
        self.root: tuple[int, int] | None = None
        loop.add(started.sync, self)
        loop.after(command.PATIENCE, self._expire)

    def ready(self, events: int) -> None:
        """Called by the loop: it says something, has become the command, or (without a channel) has ended."""
        if self._sync < 0:
            self._ended()
            return
        try:
            message, fds = sync.receive(self._sync)
        except BlockingIOError:
            return
        for descriptor in fds:
            os.close(descriptor)
        if message is None:
            self._loop.remove(self._sync)
            os.close(self._sync)
            self._sync = -1
            self._loop.add(self._pidfd, self)
        else:
            self._note(message)

    def kill(self) -> None:
        """End it with everything of its session that has not left it."""
        if self._pidfd < 0:
            return
        try:
            os.killpg(self.pid, _SIGKILL)  # not waited for yet: its number is nobody else's
        except ProcessLookupError:  # no session of its own yet
            process.pidfd_send_signal(self._pidfd, _SIGKILL)

    def _note(self, message: dict[str, Any]) -> None:
        if "error" in message:
            self._error = zygote.error_of(message["error"])
        elif "root" in message:
            device, inode = message["root"]
            self.root = (device, inode)

    def _expire(self) -> None:
        self._late = self._pidfd >= 0
        self.kill()

    def _ended(self) -> None:
        self._loop.remove(self._pidfd)
        try:
            status = process.wait_exit(self._pidfd, block=False)
        except ChildProcessError:
            status = None
        os.close(self._pidfd)
        self._pidfd = -1
        self._then(program.TIMED_OUT if self._late else status[0] if status else 255, self._error)
