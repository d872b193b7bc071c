"""The serving process, once it is sealed, alone and listening (:mod:`corten.shim.main`).

Raises its own limit of open files to the hard one; containers get back what the shim was given. No garbage
collection: what is here at the start stays, and what a container leaves behind has no cycles. No import from here on.
"""

from __future__ import annotations

import gc
import os
import resource

from corten.cgroup import hierarchy
from corten.linux.process import set_name
from corten.shim.loop import Loop, note
from corten.shim.server import Server
from corten.shim.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal as _signal
else:
    import _signal


class _Wakeup:
    """Lets a signal end the wait of the loop: _signal.set_wakeup_fd."""

    __slots__ = ("_reader",)

    def __init__(self, reader: int) -> None:
        self._reader = reader

    def ready(self, events: int) -> None:
        """The signal's handler has run already."""
        os.read(self._reader, 512)


def serve(state_directory: str, listener: _socket.socket) -> None:
    """Serve until an idle shim is told to end."""
    os.chdir("/")
    os.umask(0o077)
    set_name(b"corten-shim")
    os.makedirs(state_directory, 0o700, exist_ok=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = Loop()
    supervisor = Supervisor(loop, hierarchy.detect(), state_directory, open_files=(soft, hard))
    supervisor.recover()
    server = Server(supervisor, listener)
    _handle_signals(loop, supervisor)
    note(f"serving, pid {os.getpid()}, open files {hard}")
    gc.collect()
    gc.freeze()
    gc.disable()
    loop.run()
    server.close()


def _handle_signals(loop: Loop, supervisor: Supervisor) -> None:
    def terminate(number: int, frame: object) -> None:
        if supervisor.tasks:
            note(f"signal {number} ignored: {len(supervisor.tasks)} containers and execs depend on this process")
        else:
            loop.stop()

    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    loop.add(reader, _Wakeup(reader))
    _signal.signal(_signal.SIGTERM, terminate)
    for number in (_signal.SIGHUP, _signal.SIGINT):
        _signal.signal(number, lambda number, frame: None)  # not SIG_IGN: that would survive a container's execve
