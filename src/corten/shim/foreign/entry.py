"""An exec, and a health check, in a container whose runtime is not our own: ``exec --detach``.

The command ends when the program runs; its process is then a child of ours (we are its subreaper) and waited for as
any other. The user is looked up in the container's files by the process that becomes the command.
"""

from __future__ import annotations

import os

from corten import errors
from corten.linux import process
from corten.runtime import staging
from corten.shim import bundle, zygote
from corten.shim.foreign import command
from corten.shim.foreign.console import Console
from corten.shim.foreign.stage import Stage
from corten.shim.pipes import Pipes
from corten.shim.stdio import Streams
from corten.shim.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from corten.shim.supervisor import Supervisor
    from corten.shim.zygote import Reply


def enter(supervisor: Supervisor, target: Task, name: str, program: dict[str, Any], stdio: Sequence[int],
          console: Console | None, then: Callable[[int, errors.CortenError | None], None]) -> None:  # fmt: skip
    """Run one ``exec``; ``then`` gets the new process's pid, or why there is none. -1 in ``stdio`` is
    /dev/null."""
    directory = bundle.path(supervisor.state_directory, target.id)
    file, pid_file, log = (f"{directory}/{name}.{part}" for part in ("json", "pid", "log"))
    words = ["exec", "--detach", "--process", file, "--pid-file", pid_file]
    if console is not None:
        words += ["--console-socket", console.path]

    def ended(status: int, error: errors.CortenError | None) -> None:
        pid = 0
        if error is None and status:
            error = command.failure("exec", status, log, "", program["args"][0])
        elif error is None:
            try:
                pid = command.first_pid(pid_file)
            except errors.RuntimeFailure as reason:
                error = reason
        for path in (file, pid_file, log):
            try:
                os.unlink(path)
            except OSError:  # never written, or gone with the container
                pass
        if target.exit is not None:  # it has died meanwhile, and this is the last that writes there
            bundle.remove(directory)
        then(pid, error)

    users = directory if (target.runtime or {}).get("sealed") else ""
    supervisor.orphans.adopt()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    stdin, stdout, stderr = (fd if fd >= 0 else null for fd in stdio)
    try:
        request = staging.StageRequest(
            document=program, file=file, target=target.pid, users=users, stdio=(stdin, stdout, stderr),
            command=command.line(target.runtime or {}, log, *words, target.id), environment=command.ENVIRONMENT,
        )  # fmt: skip
        started = staging.start(request)
    finally:
        os.close(null)
    Stage(supervisor.loop, started, ended)


class Entry:
    """One exec on its way."""

    __slots__ = ("_console", "_pipes", "_reply", "_supervisor", "_task")

    def __init__(
        self, supervisor: Supervisor, subject: Task, reply: Reply, pipes: Pipes, console: Console | None
    ) -> None:
        self._supervisor = supervisor
        self._task = subject
        self._reply = reply
        self._pipes = pipes
        self._console = console

    def entered(self, pid: int, error: errors.CortenError | None) -> None:
        """The runtime's command has ended."""
        subject, supervisor = self._task, self._supervisor
        master = -1
        try:
            if error is not None:
                raise error
            if self._console is not None:
                master = self._console.take()
            subject.pid, subject.pidfd = pid, process.pidfd_open(pid)
        except (OSError, errors.CortenError) as reason:
            if master >= 0:
                os.close(master)
            self.give_up()
            found = reason if isinstance(reason, errors.CortenError) else errors.RuntimeFailure("its process is gone")
            zygote.bury(supervisor, subject, self._reply, found)
            return
        self.close_console()
        subject.streams.open(console=master, **self._pipes.ours)
        warnings: list[str] = []
        zygote.draft(supervisor, subject, None, warnings)
        zygote.announce(supervisor, subject, self._reply, warnings)

    def close_console(self) -> None:
        """The terminal's socket is not needed any more."""
        if self._console is not None:
            self._console.close()
            self._console = None

    def give_up(self) -> None:
        """Let go of the descriptors."""
        self.close_console()
        self._pipes.close()


def run_in(supervisor: Supervisor, target: Task, message: dict[str, Any], fds: dict[str, list[int]],
           reply: Reply) -> None:  # fmt: skip
    """Begin an exec; as :func:`corten.shim.zygote.run_in`. Raises CortenError."""
    terminal, stdin = bool(message.get("terminal")), bool(message.get("open_stdin"))
    program = zygote.limit_files(supervisor, {**message["process"], "terminal": terminal})
    subject = Task(supervisor, target.id, message["exec_id"], target.cgroup, private_pids=True)
    subject.streams = Streams(supervisor.loop, subject, None, is_terminal=terminal, takes_input=stdin, stdin_once=True)
    entry: Entry | None = None
    try:
        zygote.attach_clients(subject, message, fds)
        pipes = Pipes(terminal=terminal, stdin=stdin, discard=bool(message.get("detach")))
        entry = Entry(supervisor, subject, reply, pipes, None)
        console = None
        if terminal:
            directory = bundle.path(supervisor.state_directory, target.id)
            console = Console(directory, f"{subject.exec_id[:32]}.tty")
        entry = Entry(supervisor, subject, reply, pipes, console)
        enter(supervisor, target, subject.exec_id, program, pipes.theirs, console, entry.entered)
        pipes.close_theirs()
        supervisor.tasks[subject.key] = subject
    except BaseException as error:
        subject.streams.abandon()
        if entry is not None:
            entry.give_up()
        zygote.raise_readable(error)


def probe(supervisor: Supervisor, target: Task, program: dict[str, Any], seconds: float, reply: Reply) -> None:
    """A health check; answered when it has ended. Raises CortenError or OSError."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)

    def entered(pid: int, error: errors.CortenError | None) -> None:
        pidfd = -1
        try:
            pidfd = process.pidfd_open(pid) if error is None else -1
        except OSError:
            error = errors.RuntimeFailure("its process is gone")
        if error is not None:
            os.close(ours)
            reply.fail(errors.RuntimeFailure(str(error)))
            return
        supervisor.probes.watch(pid, pidfd, -1, ours, reply, cgroup=target.cgroup, seconds=seconds)

    try:
        enter(supervisor, target, f"probe-{ours}", program, (-1, theirs, theirs), None, entered)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
