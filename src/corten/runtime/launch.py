"""corten-runtime create, start, run and exec: the runtime as one command after another.

``create``: (1) the directory  (2) the cgroup  (3) the fifo and the clone  (4) state.json  (5) hooks of the host, as
the child asks  (6) the console to its socket  (7) ready: the pid file. Any failure undoes what was done, last first.
"""

from __future__ import annotations

import _socket
import os
import struct

from corten import errors
from corten.cgroup.group import Group
from corten.cgroup.hierarchy import Hierarchy
from corten.linux import process as linux_process
from corten.runtime import bundle, container, hooks, relay, state, sync
from corten.runtime.flags import Options
from corten.runtime.seccomp import cached

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, Final
else:
    import _signal

_FORWARDED: Final = (
    _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2,
)  # fmt: skip


class Launch:
    """One create or exec on its way: where its terminal goes, and what was seen of it."""

    __slots__ = ("console_socket", "master", "started", "warnings")

    def __init__(self, console_socket: str, started: container.Started) -> None:
        self.console_socket = console_socket
        self.started = started
        self.master = -1
        self.warnings: list[str] = []

    def follow(self, *, until_ready: bool, held: state.Container | None = None) -> None:
        """Read the channel to its end (or to ``ready``); raises what the child reports."""
        while True:
            message, fds = container.receive(self.started.sync)
            if message is None:
                if until_ready:
                    raise errors.RuntimeFailure("unable to start container process: the first process died")
                return
            if "error" in message:
                kind = getattr(errors, message["error"]["kind"], errors.RuntimeFailure)
                raise kind(message["error"]["text"])
            if "console" in message:
                self._console(fds[0])
            elif "hooks" in message and held is not None:
                hooks.run(held.spec, "prestart", held.oci_state("creating"))
                hooks.run(held.spec, "createRuntime", held.oci_state("creating"))
                sync.answer(self.started.sync)
            elif "warning" in message:
                self.warnings.append(message["warning"])
            elif "ready" in message and until_ready:
                return

    def _console(self, master: int) -> None:
        if not self.console_socket:
            self.master = master
            return
        with _connect(self.console_socket) as socket:
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", master))]
            socket.sendmsg([b"/dev/ptmx"], rights)
        os.close(master)


class _connect:  # noqa: N801  reads as the call it stands for
    """A unix stream connection, closed at the end of the block."""

    def __init__(self, path: str) -> None:
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self.socket.connect(path)

    def __enter__(self) -> _socket.socket:
        return self.socket

    def __exit__(self, *unused: object) -> None:
        self.socket.close()


def create(root: str, hierarchy: Hierarchy, identifier: str, options: Options, *, detached: bool = True) -> Launch:
    """Steps (1) to (7) of the module's list; the program waits for ``start``."""
    directory, spec = bundle.load(options.values.get("bundle") or ".")
    console = options.values.get("console-socket") or ""
    terminal = bool(spec["process"].get("terminal"))
    if terminal and detached and not console:
        raise errors.InvalidArgument("cannot allocate tty if runc will detach without setting console socket")
    if console and not terminal:
        raise errors.InvalidArgument("cannot use console socket if runc will not detach or allocate tty")
    held = state.create(root, identifier, directory, spec, bundle.cgroup_path(spec, identifier))  # (1)
    group: Group | None = None
    started: container.Started | None = None
    try:
        resources = (spec.get("linux") or {}).get("resources") or {}
        group = Group.create(hierarchy, held.document["cgroup_path"], resources)  # (2)
        os.mkfifo(held.fifo, 0o600)  # (3)
        started = container.start(_request(root, held, group, options))
        state.note_process(held, started.pid, hierarchy)
        held.save()  # (4)
        launch = Launch(console, started)
        launch.follow(until_ready=True, held=held)  # (5) (6)
        write_pid(options.values.get("pid-file"), started.pid)  # (7)
    except BaseException:
        _undo(held, group, started)
        raise
    return launch


def _request(root: str, held: state.Container, group: Group, options: Options) -> container.StartRequest:
    spec = held.spec
    profile = (spec.get("linux") or {}).get("seccomp")
    return container.StartRequest(
        id=held.id,
        spec=spec,
        bundle=held.document["bundle"],
        cgroup=group,
        hold_start=os.open(held.fifo, os.O_RDWR | os.O_CLOEXEC),
        seccomp=cached(profile, f"{root}/.seccomp") if profile else b"",
        preserve=options.number("preserve-fds") or 0,
        hook_state=held.oci_state("creating"),
    )


def _undo(held: state.Container, group: Group | None, started: container.Started | None) -> None:
    if started is not None:
        try:
            linux_process.pidfd_send_signal(started.pidfd, _signal.SIGKILL)
        except ProcessLookupError:
            pass
        linux_process.wait_exit(started.pidfd, block=True)
    if group is not None:
        group.kill()
        group.delete()
    held.remove()


def start(root: str, hierarchy: Hierarchy, identifier: str) -> None:
    """Give the byte the held program waits for, then the poststart hooks."""
    held = state.load(root, identifier)
    if not held.alive():
        raise errors.Conflict("cannot start a container that has stopped")
    try:
        fd = os.open(held.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise errors.Conflict("cannot start an already running container") from None
    except OSError:
        raise errors.Conflict("cannot start a container that has stopped") from None
    os.unlink(held.fifo)
    os.write(fd, b".")
    os.close(fd)
    hooks.run(held.spec, "poststart", held.oci_state(held.status(hierarchy)))


def run(root: str, hierarchy: Hierarchy, identifier: str, options: Options) -> int:
    """create, start, and unless detached wait and delete: the exit code."""
    detached = "detach" in options.switches
    launch = create(root, hierarchy, identifier, options, detached=detached)
    start(root, hierarchy, identifier)
    if detached:
        return 0
    code = _await(launch)
    held = state.load(root, identifier)
    if "keep" not in options.switches:
        destroy(held, hierarchy)
    return code


def destroy(held: state.Container, hierarchy: Hierarchy) -> None:
    """Everything of a container that has ended, and the poststop hooks."""
    group = held.group(hierarchy)
    group.kill()
    group.delete()
    held.remove()
    hooks.run(held.spec, "poststop", held.oci_state("stopped"))


def execute(root: str, hierarchy: Hierarchy, arguments: list[str], options: Options) -> int:
    """``exec``: one more process in a running container; its exit code unless detached."""
    held = state.load(root, arguments[0])
    if held.status(hierarchy) not in ("running", "created") and "ignore-paused" not in options.switches:
        raise errors.Conflict(f"cannot exec in a {held.status(hierarchy)} container")
    process = _process(held.spec, arguments[1:], options)
    console = options.values.get("console-socket") or ""
    detached = "detach" in options.switches
    if process.get("terminal") and detached and not console:
        raise errors.InvalidArgument("cannot allocate tty if runc will detach without setting console socket")
    pidfd = linux_process.pidfd_open(held.pid)
    if not held.alive():
        raise errors.Conflict("cannot exec in a stopped container")
    profile = (held.spec.get("linux") or {}).get("seccomp")
    request = container.ExecRequest(
        pid=held.pid,
        pidfd=pidfd,
        process=process,
        cgroup=_exec_group(held, hierarchy, options),
        seccomp=cached(profile, f"{root}/.seccomp") if profile else b"",
        preserve=options.number("preserve-fds") or 0,
    )
    launch = Launch(console, container.exec_in(request))
    launch.follow(until_ready=False)
    write_pid(options.values.get("pid-file"), launch.started.pid)
    return 0 if detached else _await(launch)


def _exec_group(held: state.Container, hierarchy: Hierarchy, options: Options) -> Group:
    below = options.lists.get("cgroup") or []
    if len(below) > 1 or any(":" in path for path in below):
        raise errors.NotSupported("exec --cgroup takes one path for all controllers")
    return Group(hierarchy, held.document["cgroup_path"] + (f"/{below[0].strip('/')}" if below else ""))


def _process(spec: dict[str, Any], arguments: list[str], options: Options) -> dict[str, Any]:
    """The OCI process of ``--process``, or the container's own with what the flags say."""
    if options.values.get("process-label"):
        raise errors.NotSupported("exec --process-label is not supported: SELinux is not driven yet")
    if path := options.values.get("process"):
        process: dict[str, Any] = bundle.read_json(path)
        return process
    if not arguments:
        raise errors.InvalidArgument("process args cannot be empty")
    process = {**spec["process"], "args": arguments, "terminal": "tty" in options.switches}
    process["cwd"] = options.values.get("cwd") or process.get("cwd") or "/"
    process["env"] = [*(process.get("env") or ()), *(options.lists.get("env") or ())]
    if "no-new-privs" in options.switches:
        process["noNewPrivileges"] = True
    if profile := options.values.get("apparmor"):
        process["apparmorProfile"] = profile
    if user := options.values.get("user"):
        process["user"] = {"corten.user": user}
    if gids := options.lists.get("additional-gids"):
        process["user"] = {**process["user"], "additionalGids": [int(gid) for gid in gids]}
    if caps := options.lists.get("cap"):
        sets = process.get("capabilities") or {}
        kinds = ("bounding", "effective", "permitted")
        process["capabilities"] = {**sets, **{kind: [*(sets.get(kind) or ()), *caps] for kind in kinds}}
    return process


def _await(launch: Launch) -> int:
    """Relay a terminal of ours, pass signals on, and return the exit code."""
    pidfd = launch.started.pidfd

    def forward(number: int, frame: object) -> None:
        try:
            linux_process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass

    for number in _FORWARDED:
        _signal.signal(number, forward)
    if launch.master >= 0:
        relay.copy(launch.master, pidfd)
    result = linux_process.wait_exit(pidfd, block=True)
    return result[0] if result else 255


def write_pid(path: str | None, pid: int) -> None:
    """The pid file, whole or not at all."""
    if not path:
        return
    temporary = f"{os.path.dirname(path) or '.'}/.{os.path.basename(path)}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, str(pid).encode())
    finally:
        os.close(fd)
    os.rename(temporary, path)
