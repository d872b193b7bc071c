"""Our own small init (``--init``): pid 1 that forwards signals and reaps, while the program runs as its child.

It runs as the container's user behind the container's filter, holds no descriptor but 0-2, and is not dumpable: the
interpreter behind /proc/1/exe is out of the container's reach (and a read-only clone besides, see
:mod:`corten.runtime.seal`).
"""

from __future__ import annotations

import os

from corten.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Final, NoReturn
else:
    import _signal

_NOT_FORWARDED: Final = (
    _signal.SIGCHLD, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGFPE, _signal.SIGILL, _signal.SIGSEGV,
    _signal.SIGBUS, _signal.SIGABRT, _signal.SIGTRAP, _signal.SIGSYS, _signal.SIGTTIN, _signal.SIGTTOU,
)  # fmt: skip


def become_init(channel: int) -> None:
    """Fork. Returns in the child, which goes on to execve; the caller stays behind as init and never returns.

    ``channel`` is closed in init, so that the starter's EOF means the program's execve.
    """
    own = (_signal.SIGFPE, _signal.SIGILL, _signal.SIGSEGV, _signal.SIGBUS)
    waited: set[int] = {int(number) for number in _signal.valid_signals() if number not in own}
    _signal.pthread_sigmask(_signal.SIG_SETMASK, waited)
    child = os.fork()  # noqa: TID251  one thread, and the child only execs
    if child == 0:
        _own_terminal()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        return
    try:
        process.close_range(3)
        process.set_name(b"corten-init")
        process.set_child_subreaper()  # for a container in somebody else's pid namespace, where it is not pid 1
        os.chdir("/")
        _serve(child, waited)
    finally:
        os._exit(255)


def _own_terminal() -> None:
    """A foreground process group of its own, so that signals typed at the terminal arrive once."""
    os.setpgid(0, 0)
    _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)
    try:
        os.tcsetpgrp(0, os.getpgrp())
    except OSError:  # no terminal
        pass
    _signal.signal(_signal.SIGTTOU, _signal.SIG_DFL)


def _serve(child: int, waited: set[int]) -> NoReturn:
    while True:
        number = _signal.sigwait(waited)
        if number == _signal.SIGCHLD:
            code = _reap(child)
            if code is not None:
                os._exit(code)
        elif number not in _NOT_FORWARDED:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass


def _reap(child: int) -> int | None:
    """Everything that is dead; the program's exit code (128+n for a signal) once it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
