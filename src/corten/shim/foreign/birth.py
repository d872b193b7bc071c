"""The start of a container by a runtime that is not our own.

 (1) the log and the streams, with the clients that wait already
 (2) the bundle: which runtime it is, so that a shim that finds it later can clean up; the terminal's socket
 (3) the pipes; namespaces that came as descriptors get names the runtime can open
 (4) ``create``, by a process that mounts the root for it alone (:mod:`corten.runtime.staging`)
 (5) its first process, orphaned by the end of ``create``, is ours: we are its subreaper
 (6) ``start``
 (7) the state file, then the answer, as for our own (:mod:`corten.shim.zygote`)

The cgroup is the runtime's to make, at the path we name. The loop serves everybody else all the time. A start that
fails leaves nothing: ``delete --force`` has ended before the answer.
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
from corten.shim.log import open_log
from corten.shim.pipes import Pipes, close
from corten.shim.stdio import Streams
from corten.shim.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.shim.supervisor import Supervisor
    from corten.shim.zygote import Reply

_MOST_SAID: Final = 4096


class Birth:
    """One container on its way."""

    __slots__ = ("_console", "_directory", "_held", "_log", "_pipes", "_program", "_reply", "_stage", "_supervisor",
                 "_task")  # fmt: skip

    def __init__(self, supervisor: Supervisor, subject: Task, reply: Reply, message: dict[str, Any]) -> None:
        self._supervisor = supervisor
        self._task = subject
        self._reply = reply
        self._log: dict[str, Any] | None = message.get("log")
        self._program: str = message["spec"]["process"]["args"][0]
        self._directory = bundle.path(supervisor.state_directory, subject.id)
        self._console: Console | None = None
        self._pipes: Pipes | None = None
        self._held: list[int] = []
        self._stage: Stage | None = None

    def begin(self, message: dict[str, Any], fds: dict[str, list[int]]) -> None:
        """(2) to (4). What it raises leaves everything to :meth:`give_up`."""
        subject, supervisor = self._task, self._supervisor
        spec, runtime = message["spec"], message["runtime"]
        bundle.claim(self._directory, runtime)  # (2)
        words = ["create", "--bundle", self._directory, "--pid-file", f"{self._directory}/pid"]
        if subject.streams.terminal:
            self._console = Console(self._directory, "console")
            words += ["--console-socket", self._console.path]
        stdin = bool(message.get("open_stdin"))
        self._pipes = pipes = Pipes(terminal=subject.streams.terminal, stdin=stdin, discard=False)  # (3)
        self._held = _name_namespaces(spec, fds)
        supervisor.tasks[subject.key] = subject
        if os.path.exists(f"{runtime['root']}/{subject.id}"):  # it was not there, or could not, when the last run ended
            supervisor.delete(subject.id, runtime, lambda: self._create_later(message, words, pipes))
        else:
            self._create(message, words, pipes)

    def _create_later(self, message: dict[str, Any], words: list[str], pipes: Pipes) -> None:
        try:
            self._create(message, words, pipes)
        except (OSError, errors.CortenError) as error:
            text = error if isinstance(error, errors.CortenError) else errors.RuntimeFailure(str(error).lower())
            self._failed(text)

    def _create(self, message: dict[str, Any], words: list[str], pipes: Pipes) -> None:
        """(4)"""
        subject, supervisor = self._task, self._supervisor
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        stdin, stdout, stderr = (fd if fd >= 0 else null for fd in pipes.theirs)
        try:
            request = staging.StageRequest(
                document=message["spec"], file=f"{self._directory}/{bundle.CONFIG}", rootfs=message["rootfs"],
                command=command.line(message["runtime"], self._name("create"), *words, subject.id),
                environment=command.ENVIRONMENT, stdio=(stdin, stdout, stderr),
            )  # fmt: skip
            started = staging.start(request)
        finally:
            os.close(null)
        pipes.close_theirs()
        subject.pid, subject.pidfd = started.pid, os.dup(started.pidfd)
        self._stage = Stage(supervisor.loop, started, self._created)

    def give_up(self) -> None:
        """Let go of what :meth:`begin` took."""
        close(self._held)
        self._held = []
        if self._console is not None:
            self._console.close()
            self._console = None
        if self._pipes is not None:
            self._pipes.close()

    def _name(self, which: str) -> str:
        return f"{self._directory}/{which}.log"

    def _created(self, status: int, error: errors.CortenError | None) -> None:
        """(5) ``create`` has ended."""
        subject, supervisor = self._task, self._supervisor
        close(self._held)
        self._held = []
        subject.close("pidfd")
        subject.pid = 0
        if error is not None or status:
            self._failed(error or self._failure("create", status, ""))
            return
        try:
            subject.pid = command.first_pid(f"{self._directory}/pid")
            subject.pidfd = process.pidfd_open(subject.pid)
            self._look_inside()
            supervisor.alarms.arm(subject)
        except (OSError, errors.CortenError) as reason:
            text = str(reason) if isinstance(reason, errors.CortenError) else "its first process is gone"
            self._failed(command.classify(f"OCI runtime create failed: {text}", self._program))
            return
        command.run(
            supervisor.loop, subject.runtime or {}, self._name("start"), ("start", subject.id), self._started,
            timeout=command.PATIENCE,
        )  # (6)  # fmt: skip

    def _look_inside(self) -> None:
        """Whether the process sees the container's files at its root, or a sandbox's own."""
        subject = self._task
        status = os.stat(f"/proc/{subject.pid}/root")
        mounted = self._stage.root if self._stage is not None else None
        if (status.st_dev, status.st_ino) == mounted:
            subject.mount_namespace = os.open(f"/proc/{subject.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        else:
            subject.runtime = {**(subject.runtime or {}), "sealed": True}

    def _started(self, status: int, output: str) -> None:
        """(7) ``start`` has ended."""
        if status:
            self._failed(self._failure("start", status, output))
            return
        subject, supervisor = self._task, self._supervisor
        master = -1
        try:
            if self._console is not None:
                master = self._console.take()
        except errors.RuntimeFailure as error:
            self._failed(error)
            return
        finally:
            if self._console is not None:
                self._console.close()
                self._console = None
        subject.streams.open(console=master, **(self._pipes.ours if self._pipes is not None else {}))
        self._pipes = None
        warnings: list[str] = []
        zygote.draft(supervisor, subject, self._log, warnings)
        zygote.announce(supervisor, subject, self._reply, warnings)

    def _failure(self, kind: str, status: int, output: str) -> errors.CortenError:
        """What the runtime said in its log, else on standard error, which is the container's."""
        said = output
        descriptor = self._pipes.ours["stderr"] if self._pipes is not None else -1
        if not said and descriptor >= 0:
            os.set_blocking(descriptor, False)
            try:
                said = os.read(descriptor, _MOST_SAID).decode("utf-8", "replace")
            except OSError:
                said = ""
        return command.failure(kind, status, self._name(kind), said, self._program)

    def _failed(self, error: errors.CortenError) -> None:
        """Everything is undone before anybody hears of it."""
        subject, supervisor = self._task, self._supervisor
        self.give_up()

        def over() -> None:
            zygote.bury(supervisor, subject, self._reply, error)

        supervisor.delete(subject.id, subject.runtime or {}, over)


def start(supervisor: Supervisor, message: dict[str, Any], fds: dict[str, list[int]], reply: Reply) -> None:
    """Begin a container; as :func:`corten.shim.zygote.start`. Raises CortenError."""
    if message["id"] in supervisor.deleting:
        raise errors.Conflict(f"container {message['id']} is still being deleted by its runtime: try again")
    spec = message["spec"]
    terminal = bool(message.get("terminal"))
    spec["process"]["terminal"] = terminal
    zygote.limit_files(supervisor, spec["process"])
    path = message["cgroup"]["path"]
    subject = Task(supervisor, message["id"], "", path, private_pids=zygote.has_private_pids(spec))
    subject.runtime = message["runtime"]
    log = open_log(message.get("log"))  # (1)
    subject.streams = Streams(
        supervisor.loop, subject, log, is_terminal=terminal, takes_input=bool(message.get("open_stdin")),
        stdin_once=bool(message.get("stdin_once")),
    )  # fmt: skip
    birth = Birth(supervisor, subject, reply, message)
    try:
        zygote.attach_clients(subject, message, fds)
        supervisor.orphans.adopt()
        supervisor.claim_cgroup(path)
        birth.begin(message, fds)
    except BaseException as error:
        subject.streams.abandon()
        supervisor.tasks.pop(subject.key, None)
        birth.give_up()
        bundle.remove(bundle.path(supervisor.state_directory, message["id"]))
        zygote.raise_readable(error)


def _name_namespaces(spec: dict[str, Any], fds: dict[str, list[int]]) -> list[int]:
    """Namespaces given as descriptors get paths another process can open; the copies behind them are the caller's."""
    held: list[int] = []
    for entry in (spec.get("linux") or {}).get("namespaces") or ():
        path = entry.get("path") or ""
        role = path[3:] if path.startswith("fd:") else "netns" if entry.get("type") == "network" and not path else ""
        if fds.get(role):
            held.append(os.dup(fds[role][0]))
            entry["path"] = f"/proc/{os.getpid()}/fd/{held[-1]}"
    return held
