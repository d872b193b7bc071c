"""Births: a container's first process, an exec in one.

 (1) the log and the streams, with the clients that wait already: they lose nothing
 (2) the cgroup with its limits, unless it is there already (:mod:`corten.shim.prepared`)
 (3) the pipes
 (4) clone3, through :mod:`corten.runtime.container`; the child goes on by itself
 (5) the child's ends are closed here, and a draft of the state file is written; from here on the kernel tells when
     memory runs out
 (6) the loop watches the child's channel: its terminal, its warnings, its error, or the EOF that means execve
 (7) the state file gets its name, then the answer with copies of our descriptors

Between (5) and (7) the loop serves everybody else. A birth that fails leaves nothing: the child is reaped and the
cgroup removed before the answer.
"""

from __future__ import annotations

import binascii
import os
import time

from corten import errors
from corten.cgroup.group import Group
from corten.linux import process, procfs
from corten.runtime import container, rootmount, sync
from corten.runtime import userns as userns  # imported by births that need it: nothing is, once the shim serves
from corten.shim import bundle, hooks, task
from corten.shim.exits import Exit
from corten.shim.log import open_log
from corten.shim.loop import note
from corten.shim.pipes import Pipes, close
from corten.shim.stdio import Streams
from corten.shim.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final, NoReturn, Protocol

    from corten.shim.supervisor import Supervisor

    class Reply(Protocol):
        """How the one who asked is answered."""

        def succeed(self, document: dict[str, Any], fds: Sequence[int] = ()) -> bool:
            """Send ``ok``; False when who asked is gone."""

        def fail(self, error: BaseException) -> bool:
            """Send ``error``; False when who asked is gone."""


_SIGKILL: Final = 9
_FAILED_START: Final = 128


class Burial:
    """Reaps a process that only helped with a birth: the handler of its pidfd."""

    __slots__ = ("_pidfd", "_supervisor")

    def __init__(self, supervisor: Supervisor, pidfd: int) -> None:
        self._supervisor = supervisor
        self._pidfd = pidfd

    def ready(self, events: int) -> None:
        """Called by the loop when it is dead."""
        self._supervisor.loop.remove(self._pidfd)
        try:
            process.wait_exit(self._pidfd, block=False)
        except ChildProcessError:
            pass
        os.close(self._pidfd)


class Birth:
    """One process on its way from clone3 to execve: the handler of its channel."""

    __slots__ = (
        "_console",
        "_error",
        "_log",
        "_pipes",
        "_reply",
        "_supervisor",
        "_sync",
        "_task",
        "_warnings",
    )

    def __init__(self, supervisor: Supervisor, subject: Task, reply: Reply, pipes: Pipes, log: dict[str, Any] | None,
                 warnings: list[str]) -> None:  # fmt: skip
        self._supervisor = supervisor
        self._task = subject
        self._reply = reply
        self._pipes = pipes
        self._log = log
        self._warnings = warnings
        self._console = -1
        self._sync = -1
        self._error: errors.CortenError | None = None

    def begin(self, started: container.Started) -> None:
        """(5) (6)"""
        self._pipes.close_theirs()
        self._task.pid, self._task.pidfd = started.pid, started.pidfd
        self._task.mount_namespace = started.mntns
        self._sync = started.sync
        if started.builder >= 0:
            self._supervisor.loop.add(started.builder, Burial(self._supervisor, started.builder))
        os.set_blocking(started.sync, False)
        self._supervisor.tasks[self._task.key] = self._task
        self._supervisor.loop.add(started.sync, self)
        self._supervisor.alarms.arm(self._task)
        draft(self._supervisor, self._task, self._log, self._warnings)

    def ready(self, events: int) -> None:
        """Called by the loop: the child says something, or has said everything, or (when it failed) is dead."""
        if self._sync < 0:
            self._buried()
            return
        try:
            message, fds = sync.receive(self._sync)
        except BlockingIOError:
            return
        if message is None:
            self._supervisor.loop.remove(self._sync)
            os.close(self._sync)
            self._sync = -1
            if self._error is None:
                self._born()
            else:
                self._failed()
        else:
            self._note(message, fds)

    def _note(self, message: dict[str, Any], fds: list[int]) -> None:
        if "error" in message:
            self._error = error_of(message["error"])
        elif "hooks" in message:
            self._run_hooks(("prestart", "createRuntime"), "creating", self._hooks_ended)
        elif "console" in message and fds:
            self._console = fds.pop()
        elif "mounts" in message and fds:
            if len(fds) > 1:
                self._task.outer_mounts = fds.pop()
            self._task.mount_namespace = fds.pop()
        elif "warning" in message:
            self._warnings.append(str(message["warning"]))
        close(fds)

    def _run_hooks(self, kinds: Sequence[str], status: str, then: hooks.Then) -> None:
        subject, supervisor = self._task, self._supervisor
        directory = bundle.path(supervisor.state_directory, subject.id)
        spec = bundle.read(directory) or {}
        hooks.run(supervisor.loop, spec, kinds, hooks.state(subject.id, status, subject.pid, directory, spec), then)

    def _hooks_ended(self, error: errors.RuntimeFailure | None) -> None:
        """The child waits for the word, or does not get to run."""
        if error is None:
            try:
                sync.answer(self._sync)
            except OSError:  # it has died meanwhile, which its channel tells
                pass
            return
        self._error = self._error or error
        try:
            process.pidfd_send_signal(self._task.pidfd, _SIGKILL)
        except ProcessLookupError:
            pass

    def _born(self) -> None:
        """(7)"""
        subject, supervisor = self._task, self._supervisor
        subject.streams.open(console=self._console, **self._pipes.ours)
        announce(supervisor, subject, self._reply, self._warnings)
        if not subject.exec_id and os.path.exists(bundle.path(supervisor.state_directory, subject.id)):
            self._run_hooks(("poststart",), "running", _note_failure)

    def _failed(self) -> None:
        """The child said why and ends itself; it is reaped before anybody hears of it."""
        try:
            process.pidfd_send_signal(self._task.pidfd, _SIGKILL)
        except ProcessLookupError:
            pass
        self._supervisor.loop.add(self._task.pidfd, self)

    def _buried(self) -> None:
        subject, supervisor = self._task, self._supervisor
        supervisor.loop.remove(subject.pidfd)
        try:
            process.wait_exit(subject.pidfd, block=False)
        except ChildProcessError:
            pass
        close([self._console])
        self._pipes.close()
        error = self._error or errors.RuntimeFailure("the first process ended before its program began")
        bury(supervisor, subject, self._reply, error)


def draft(supervisor: Supervisor, subject: Task, log: dict[str, Any] | None, warnings: list[str]) -> None:
    """(5) The state file's content, while the child is at work on the other processor."""
    subject.started_at = time.time_ns()
    try:
        subject.start_ticks = procfs.start_ticks(subject.pid)
    except OSError:
        subject.start_ticks = 0  # cannot be: a zombie has its line until we reap it
    _keep_state(warnings, task.draft, supervisor.state_directory, subject, log)


def announce(supervisor: Supervisor, subject: Task, reply: Reply, warnings: list[str]) -> None:
    """(7) Its program runs, its streams are open, its state is drafted: watch it, and answer."""
    supervisor.watch(subject)
    _keep_state(warnings, task.publish, supervisor.state_directory, subject)
    facts = {name: getattr(subject, name) for name in ("pid", "started_at", "start_ticks")}
    ours = subject.descriptors()
    answer = {**facts, "warnings": warnings, "roles": list(ours)}
    if not reply.succeed(answer, list(ours.values())):
        supervisor.engine.event({"event": "started", **subject.names(), **facts})


def _keep_state(warnings: list[str], step: Callable[..., None], *details: object) -> None:
    """A step of keeping the state; what fails costs the adoption by another shim, not the container."""
    try:
        step(*details)
    except OSError as error:
        warnings.append(f"the container's state could not be saved: {(error.strerror or '').lower()}")


def bury(supervisor: Supervisor, subject: Task, reply: Reply, error: errors.CortenError) -> None:
    """Its program never ran, and no process of it is left: give back everything, then say why."""
    subject.streams.abandon()
    supervisor.forget(subject)
    if not subject.exec_id:
        supervisor.remove_cgroup(subject.cgroup)
        bundle.remove(bundle.path(supervisor.state_directory, subject.id))
    if not reply.fail(error):
        gone = Exit(getattr(error, "exit_code", _FAILED_START), 0, time.time_ns())
        supervisor.engine.event({"event": "exited", **subject.names(), **gone.document(), "error": document_of(error)})


def start(supervisor: Supervisor, message: dict[str, Any], fds: dict[str, list[int]], reply: Reply) -> None:
    """Begin a container. Clients' sockets are taken out of ``fds``, the rest is the caller's. Raises CortenError."""
    spec = message["spec"]
    terminal, stdin = bool(message.get("terminal")), bool(message.get("open_stdin"))
    spec["process"]["terminal"] = terminal
    limit_files(supervisor, spec["process"])
    _name_namespaces(spec, fds)
    group = message["cgroup"]
    subject = Task(supervisor, message["id"], "", group["path"], private_pids=has_private_pids(spec))
    log = open_log(message.get("log"))  # (1)
    subject.streams = Streams(
        supervisor.loop,
        subject,
        log,
        is_terminal=terminal,
        takes_input=stdin,
        stdin_once=bool(message.get("stdin_once")),
    )
    pipes = None
    try:
        made = supervisor.preparations.take(message["id"], group)  # (2)
        attach_clients(subject, message, fds)
        seccomp = read_filter(fds)
        pipes = Pipes(terminal=terminal, stdin=stdin, discard=False)  # (3)
        birth = Birth(supervisor, subject, reply, pipes, message.get("log"), made.warnings)
        request = container.StartRequest(
            id=message["id"], spec=spec, rootfs=message.get("rootfs") or [],
            stdin=pipes.theirs[0], stdout=pipes.theirs[1], stderr=pipes.theirs[2],
            netns=fds["netns"][0] if fds.get("netns") else None, seccomp=seccomp,
            init=bool(message.get("init")), bundle="", hold_start=None, cgroup=made,
            hook_state=_prepare_hooks(supervisor, message["id"], spec, message.get("rootfs") or []),
        )  # fmt: skip
        birth.begin(container.start(request))  # (4)
    except BaseException as error:
        subject.streams.abandon()
        if pipes is not None:
            pipes.close()
        supervisor.remove_cgroup(group["path"])
        bundle.remove(bundle.path(supervisor.state_directory, message["id"]))
        raise_readable(error)


def _prepare_hooks(supervisor: Supervisor, container_id: str, spec: dict[str, Any],
                   mounts: Sequence[dict[str, Any]]) -> dict[str, Any]:  # fmt: skip
    """A bundle for hooks to read, and the state they are told; in it ``root.path`` is where the container's own process
    sees the root. Empty without hooks.
    """
    if not spec.get("hooks"):
        return {}
    directory = bundle.path(supervisor.state_directory, container_id)
    bundle.write(directory, spec, rootmount.root_point(mounts, ""))
    return hooks.state(container_id, "creating", 0, directory, spec)


def run_in(supervisor: Supervisor, target: Task, message: dict[str, Any], fds: dict[str, list[int]],
           reply: Reply) -> None:  # fmt: skip
    """Begin an exec in ``target``; descriptors as for :func:`start`. Raises CortenError."""
    terminal, stdin = bool(message.get("terminal")), bool(message.get("open_stdin"))
    program = {**message["process"], "terminal": terminal}
    limit_files(supervisor, program)
    subject = Task(supervisor, target.id, message["exec_id"], target.cgroup, private_pids=True)
    subject.streams = Streams(supervisor.loop, subject, None, is_terminal=terminal, takes_input=stdin, stdin_once=True)
    pipes = None
    try:
        attach_clients(subject, message, fds)
        seccomp = read_filter(fds)
        pipes = Pipes(terminal=terminal, stdin=stdin, discard=bool(message.get("detach")))
        birth = Birth(supervisor, subject, reply, pipes, None, [])
        request = container.ExecRequest(
            pid=target.pid, pidfd=target.pidfd, process=program,
            stdin=pipes.theirs[0], stdout=pipes.theirs[1], stderr=pipes.theirs[2],
            cgroup=Group(supervisor.hierarchy, target.cgroup), seccomp=seccomp, kinds=target.kinds,
        )  # fmt: skip
        birth.begin(container.exec_in(request))
        target.kinds = request.kinds
    except BaseException as error:
        subject.streams.abandon()
        if pipes is not None:
            pipes.close()
        raise_readable(error)


def _note_failure(error: errors.RuntimeFailure | None) -> None:
    """A hook that fails after the start changes nothing any more (runtime-spec, "Lifecycle")."""
    if error is not None:
        note(str(error))


def limit_files(supervisor: Supervisor, program: dict[str, Any]) -> dict[str, Any]:
    """A program gets the limit of open files this process was given, not what it raised it to, if it has no own."""
    limits = program.get("rlimits") or []
    if not any(limit.get("type") == "RLIMIT_NOFILE" for limit in limits):
        soft, hard = supervisor.open_files
        program["rlimits"] = [*limits, {"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]
    return program


def attach_clients(subject: Task, message: dict[str, Any], fds: dict[str, list[int]]) -> None:
    """The clients that wait for the start, whose sockets are taken out of ``fds``."""
    sockets = fds.get("attach", [])
    wanted = message.get("attach") or []
    if len(sockets) != len(wanted):
        raise errors.InvalidArgument(f"attach: {len(wanted)} clients with {len(sockets)} sockets")
    for options in wanted:
        early = binascii.a2b_base64(options.get("prefix") or "")
        subject.streams.attach(sockets.pop(0), options, early)


def read_filter(fds: dict[str, list[int]]) -> bytes:
    """The seccomp program, from the beginning of its file (the offset may be shared with others)."""
    for descriptor in fds.get("seccomp", ()):
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return b""


def _name_namespaces(spec: dict[str, Any], fds: dict[str, list[int]]) -> None:
    """Namespaces given as descriptors get paths the runtime can open."""
    for entry in (spec.get("linux") or {}).get("namespaces") or ():
        path = entry.get("path") or ""
        if path.startswith("fd:"):
            entry["path"] = f"/proc/self/fd/{fds[path[3:]][0]}"


def has_private_pids(spec: dict[str, Any]) -> bool:
    """Whether the end of its first process is the end of all."""
    namespaces = (spec.get("linux") or {}).get("namespaces") or ()
    return any(entry.get("type") == "pid" and not entry.get("path") for entry in namespaces)


def error_of(document: dict[str, str]) -> errors.CortenError:
    """The exception of ``{"kind", "text"}``; an unknown kind is a RuntimeFailure."""
    kind = getattr(errors, document.get("kind", ""), None)
    known = isinstance(kind, type) and issubclass(kind, errors.CortenError) and kind.__init__ is Exception.__init__
    return kind(document.get("text", "")) if known else errors.RuntimeFailure(document.get("text", ""))  # type: ignore[misc]


def document_of(error: BaseException) -> dict[str, str]:
    """``{"kind", "text"}`` of an exception."""
    kind = type(error).__name__ if isinstance(error, errors.CortenError) else "RuntimeFailure"
    return {"kind": kind, "text": str(error)}


def raise_readable(error: BaseException) -> NoReturn:
    """Raise it as an error a user reads."""
    if isinstance(error, errors.CortenError):
        raise error
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        raise errors.RuntimeFailure(f"{(error.strerror or str(error)).lower()}{where}") from error
    raise errors.RuntimeFailure(f"{type(error).__name__}: {error}") from error
