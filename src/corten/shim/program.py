"""A program of the host, run while the loop serves everybody else: a hook, a foreign runtime.

Standard input, and output where the caller gives no descriptors, are memory files: there is nothing to pump. Programs
and their paths come from the administrator, never out of a container.
"""

from __future__ import annotations

import os

from corten.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final, TypeAlias

    from corten.shim.loop import Loop

    #: Told the exit status (128 + signal; TIMED_OUT, NOT_STARTED) and what the program wrote.
    Then: TypeAlias = "Callable[[int, str], None]"

TIMED_OUT: Final = -1
NOT_STARTED: Final = -2
_SIGKILL: Final = 9
_MOST_OUTPUT: Final = 64 * 1024


class Program:
    """One that runs."""

    __slots__ = ("_late", "_loop", "_output", "_then", "pid", "pidfd")

    def __init__(self, loop: Loop, pid: int, output: int, then: Then) -> None:
        self._loop = loop
        self._output = output
        self._then = then
        self._late = False
        self.pid = pid
        self.pidfd = process.pidfd_open(pid)
        loop.add(self.pidfd, self)

    def ready(self, events: int) -> None:
        """Called by the loop: it has ended."""
        self._loop.remove(self.pidfd)
        try:
            status = process.wait_exit(self.pidfd, block=False)
        except ChildProcessError:
            status = None
        os.close(self.pidfd)
        self.pidfd = -1
        written = b"" if self._output < 0 else os.pread(self._output, _MOST_OUTPUT, 0)
        if self._output >= 0:
            os.close(self._output)
        code = TIMED_OUT if self._late else status[0] if status else 255
        self._then(code, written.decode("utf-8", "replace").strip())

    def expire(self) -> None:
        """Its time is over: kill it, if it still runs."""
        if self.pidfd >= 0:
            self._late = True
            process.pidfd_send_signal(self.pidfd, _SIGKILL)


def run(
    loop: Loop,
    arguments: Sequence[str],
    then: Then,
    *,
    path: str = "",
    environment: Mapping[str, str] | None = None,
    text: bytes = b"",
    stdio: Sequence[int] = (),
    timeout: float = 0,
) -> None:
    """Start ``arguments`` (the program is ``path``, or the first of them); ``then`` is called when it has ended.

    ``text`` is its standard input, unless ``stdio`` gives all three descriptors, which stay the caller's. Raises
    OSError when it cannot be started.
    """
    output = -1
    given = list(stdio)
    if not given:
        source = os.memfd_create("stdin", os.MFD_CLOEXEC)
        os.pwrite(source, text, 0)
        output = os.memfd_create("output", os.MFD_CLOEXEC)
        given = [source, output, output]
    actions = [(os.POSIX_SPAWN_DUP2, _high(fd), number) for number, fd in enumerate(given)]
    try:
        pid = os.posix_spawn(
            path or arguments[0],
            list(arguments),
            {"PATH": os.defpath} if environment is None else environment,
            file_actions=actions,
            setsigdef=range(1, 32),
            setsigmask=(),
        )
    except OSError:
        if output >= 0:
            os.close(output)
        raise
    finally:
        if not stdio:
            os.close(given[0])
    started = Program(loop, pid, output, then)
    if timeout:
        loop.after(timeout, started.expire)


def _high(descriptor: int) -> int:
    """Descriptors 0 to 2 would be overwritten before they are copied; the shim's own are /dev/null and its log."""
    if descriptor < 3:
        raise ValueError(f"descriptor {descriptor} cannot be handed on")
    return descriptor
