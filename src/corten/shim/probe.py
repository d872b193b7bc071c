"""Health checks: a process in a running container that nobody attaches to, asked for and answered in one message.

 (1) one pipe for stdout and stderr; clone3, through :mod:`corten.runtime.container`
 (2) output is read as it comes, and kept up to LIMIT bytes: a check that talks too much is not stopped by that
 (3) its time is up: its whole session is killed, so that what it started does not pile up in the container; while the
     container is frozen, time does not pass
 (4) it has ended: what is left in the pipe is read, whoever else holds it, and the answer goes out

Costs what an exec costs in the kernel and little else: no state file, no copies of descriptors, no acknowledgement. A
check that is under way when the engine dies ends by itself, at the latest at (3), and nobody hears of it; one of a
shim that dies goes unwatched.
"""

from __future__ import annotations

import os
import time

from corten.cgroup.group import Group
from corten.errors import RuntimeFailure
from corten.linux import process
from corten.runtime import container, sync
from corten.shim import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.shim.supervisor import Supervisor
    from corten.shim.task import Task
    from corten.shim.zygote import Reply

#: Docker's own bound of a result's output (moby, daemon/health.go).
LIMIT: Final = 4096
_READ: Final = 65536
_LAST_READS: Final = 64
_SWEEP: Final = 0.1
_SIGKILL: Final = 9


class Probes:
    """The checks under way, and the clock that ends those which take too long."""

    __slots__ = ("_running", "_supervisor", "_sweeping")

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._running: set[Probe] = set()
        self._sweeping = False

    def start(self, target: Task, program: dict[str, Any], seccomp: bytes, seconds: float, reply: Reply) -> None:
        """Begin one (1); its reply is given when it has ended. Raises CortenError or OSError."""
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            try:
                request = container.ExecRequest(
                    pid=target.pid, pidfd=target.pidfd, process=program, stdin=null, stdout=theirs, stderr=theirs,
                    cgroup=Group(self._supervisor.hierarchy, target.cgroup), seccomp=seccomp, kinds=target.kinds,
                )  # fmt: skip
                started = container.exec_in(request)
                target.kinds = request.kinds
            except BaseException:
                os.close(ours)
                raise
            finally:
                os.close(theirs)
        finally:
            os.close(null)
        self.watch(started.pid, started.pidfd, started.sync, ours, reply, cgroup=target.cgroup, seconds=seconds)

    def watch(
        self, pid: int, pidfd: int, channel: int, output: int, reply: Reply, *, cgroup: str, seconds: float
    ) -> None:
        """A check that has begun; ``channel`` tells why its program did not, -1 where that is known."""
        probe = Probe(self, (pid, pidfd, channel), output, reply, cgroup=cgroup, seconds=seconds)
        self._running.add(probe)
        loop = self._supervisor.loop
        loop.add(probe.pidfd, probe)
        loop.add(output, probe.output)
        if not self._sweeping:
            self._sweeping = True
            loop.after(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        """(3) for all whose time is up: one timer, because most checks end long before their time."""
        now = time.monotonic()
        for probe in self._running:
            if probe.deadline <= now:
                probe.overdue(now, frozen=self._frozen(probe.cgroup))
        self._sweeping = bool(self._running)
        if self._sweeping:
            self._supervisor.loop.after(_SWEEP, self._sweep)

    def _frozen(self, cgroup: str) -> bool:
        try:
            return Group(self._supervisor.hierarchy, cgroup).is_frozen()
        except OSError:  # no freezer, or gone meanwhile
            return False

    def ended(self, probe: Probe) -> None:
        """(4) Give everything of it back."""
        self._running.discard(probe)
        for descriptor in (probe.pidfd, probe.output.descriptor):
            self._supervisor.loop.remove(descriptor)
            os.close(descriptor)
        if probe.channel >= 0:
            os.close(probe.channel)

    def silent(self, descriptor: int) -> None:
        """Its output has ended before it has: nothing more to watch there."""
        self._supervisor.loop.remove(descriptor)


class Probe:
    """One check: the handler of its pidfd."""

    __slots__ = ("_late", "_owner", "_pid", "_reply", "_seconds", "cgroup", "channel", "deadline", "output", "pidfd")

    def __init__(
        self, owner: Probes, begun: tuple[int, int, int], output: int, reply: Reply, *, cgroup: str, seconds: float
    ) -> None:
        self._pid, self.pidfd, self.channel = begun
        if self.channel >= 0:
            os.set_blocking(self.channel, False)
        self._owner = owner
        self._reply = reply
        self._late = False
        self._seconds = seconds
        self.cgroup = cgroup
        self.output = Output(owner, output)
        self.deadline = time.monotonic() + seconds

    def overdue(self, now: float, *, frozen: bool) -> None:
        """(3) It is its session's leader and not waited for yet, so that its number is nobody else's."""
        if frozen:
            self.deadline = now + self._seconds
            return
        self._late = True
        try:
            os.killpg(self._pid, _SIGKILL)
        except ProcessLookupError:  # it has no session of its own yet
            pass
        try:
            process.pidfd_send_signal(self.pidfd, _SIGKILL)
        except ProcessLookupError:
            pass

    def ready(self, events: int) -> None:
        """(4) Called by the loop: it is dead."""
        failure = self._failure()
        try:
            status = process.wait_exit(self.pidfd, block=False)
        except ChildProcessError:
            status = None
        self.output.drain()
        self._owner.ended(self)
        if failure is not None:
            self._reply.fail(failure)
            return
        code = exits.UNKNOWN if status is None else status[0]
        self._reply.succeed({"code": code, "late": self._late, "output": self.output.text()})

    def _failure(self) -> RuntimeFailure | None:
        """Why its program did not begin, if it did not: said on the channel that execve closes."""
        while self.channel >= 0:
            try:
                message, fds = sync.receive(self.channel)
            except BlockingIOError:
                return None
            for descriptor in fds:
                os.close(descriptor)
            if message is None:
                return None
            if "error" in message:
                return RuntimeFailure(message["error"]["text"])
        return None


class Output:
    """What a check writes, kept up to LIMIT bytes: the handler of its pipe."""

    __slots__ = ("_cut", "_kept", "_owner", "descriptor")

    def __init__(self, owner: Probes, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._owner = owner
        self._kept = b""
        self._cut = False
        self.descriptor = descriptor

    def ready(self, events: int) -> None:
        """(2) Called by the loop: one read."""
        if self._read() == 0:
            self._owner.silent(self.descriptor)

    def drain(self) -> None:
        """(4) What is left; a stranger that goes on writing does not hold us up."""
        for _ in range(_LAST_READS):
            if self._read() <= 0:
                return

    def text(self) -> str:
        """As Docker shows it: replaced where it is no UTF-8, marked where it was cut."""
        return self._kept.decode("utf-8", "replace") + ("..." if self._cut else "")

    def _read(self) -> int:
        """How many bytes came; 0 at the end, -1 when there is nothing now."""
        try:
            chunk = os.read(self.descriptor, _READ)
        except BlockingIOError:
            return -1
        room = LIMIT - len(self._kept)
        self._kept += chunk[:room]
        self._cut = self._cut or len(chunk) > room
        return len(chunk)
