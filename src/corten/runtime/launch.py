"""corten-runtime create, start and run: a container's beginning as one command after another.

``create``: (1) the directory  (2) the cgroup  (3) the fifo and the clone  (4) state.json  (5) hooks of the host, as
the child asks  (6) the console and a seccomp listener to their sockets  (7) ready: pid file and pidfd. Any failure
undoes what was done, last first, and what the poststop hooks are for is told to them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import termios
import time

from corten import errors
from corten.cgroup.group import Group
from corten.linux import process as linux_process
from corten.runtime import bundle, container, handover, hooks, relay, removal, state, sync
from corten.runtime.flags import Options
from corten.runtime.seccomp import cached
from corten.runtime.state import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, Final

    from corten.cgroup.scope import Placeholder, Scope
else:
    import _signal

_FORWARDED: Final = (
    _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2,
)  # fmt: skip
_HOOK_PAUSE: Final = 0.0005


class Launch:
    """One create or exec on its way: where its terminal goes, and what was seen of it."""

    __slots__ = ("_console_socket", "_held", "_host", "master", "started")

    def __init__(self, host: Host, held: state.Container, started: container.Started, console_socket: str) -> None:
        self._host = host
        self._held = held
        self._console_socket = console_socket
        self.started = started
        self.master = -1

    def follow(self, *, until_ready: bool) -> None:
        """Read the channel to its end (or to ``ready``); raises what the child reports."""
        while True:
            message, fds = container.receive(self.started.sync)
            if message is None:
                container.bury_builder(self.started)
                if until_ready:
                    raise errors.RuntimeFailure("unable to start container process: the first process died")
                return
            if "error" in message:
                container.bury_builder(self.started)
                kind = getattr(errors, message["error"]["kind"], errors.RuntimeFailure)
                raise kind(message["error"]["text"])
            if "ready" in message and until_ready:
                container.bury_builder(self.started)
                sync.answer(self.started.sync)  # what is written down may outlive us: after (4)
                return
            self._serve(message, fds)

    def _serve(self, message: dict[str, Any], fds: list[int]) -> None:
        held = self._held
        if "console" in message:
            self.master = fds[0]
            if self._console_socket:
                handover.send(self._console_socket, b"/dev/ptmx", self.master)
                os.close(self.master)
                self.master = -1
        elif "hooks" in message:
            hooks.run(held.spec, "prestart", held.oci_state("creating"))
            hooks.run(held.spec, "createRuntime", held.oci_state("creating"))
            sync.answer(self.started.sync)
        elif "listener" in message:
            handover.send_listener(held, self.started.pid, self.started.pidfd, message["listener"])
            sync.answer(self.started.sync)
        elif "mounts" in message:
            for fd in fds:
                os.close(fd)
        elif "warning" in message:
            self._host.warn(message["warning"])


def create(host: Host, identifier: str, options: Options, *, detached: bool = True) -> Launch:
    """Steps (1) to (7) of the module's list; the program waits for ``start``."""
    if "no-pivot" in options.switches:
        raise errors.NotSupported("--no-pivot is not supported: the container's root must not be the initial ramdisk")
    pid_file, console, pidfd_socket = (
        os.path.abspath(options.values[name]) if options.values.get(name) else ""
        for name in ("pid-file", "console-socket", "pidfd-socket")
    )
    directory, spec = bundle.load(options.values.get("bundle") or ".")
    check_console(console, terminal=bool(spec["process"].get("terminal")), detached=detached)
    os.chdir(directory)  # sources of bind mounts and hooks' arguments may be relative to it
    place = _scope(spec, identifier) if host.systemd else None
    path = place.path if place is not None else bundle.cgroup_path(spec, identifier)
    held = state.create(host.root, identifier, directory, spec, path)  # (1)
    held.document["no_new_keyring"] = "no-new-keyring" in options.switches
    group: Group | None = None
    started: container.Started | None = None
    placeholder: Placeholder | None = None
    try:
        _check_group(host, path)  # (2)
        if place is not None:
            placeholder = _begin(host, held, place)
        group = _group(host, held)
        os.mkfifo(held.fifo, 0o600)  # (3)
        request = _request(host, held, group, options)
        started = container.start(request)
        os.close(request.hold_start or -1)
        state.note_process(held, started.pid, host.hierarchy)
        held.save()  # (4)
        host.debug(f"container {identifier}: pid {started.pid}, cgroup {group.path}")
        launch = Launch(host, held, started, console)
        launch.follow(until_ready=True)  # (5) (6)
        if placeholder is not None:
            placeholder.end()
        if pidfd_socket:
            handover.send(pidfd_socket, b"pidfd", started.pidfd)
        write_pid(pid_file, started.pid)  # (7)
    except BaseException:
        if placeholder is not None:
            placeholder.end()
        _undo(host, held, group, started)
        raise
    return launch


def check_console(console_socket: str, *, terminal: bool, detached: bool) -> None:
    """runc's rules: a terminal needs somebody who holds its other end."""
    if terminal and detached and not console_socket:
        raise errors.InvalidArgument("cannot allocate tty if runc will detach without setting console socket")
    if console_socket and not (terminal and detached):
        raise errors.InvalidArgument("cannot use console socket if runc will not detach or allocate tty")


def _scope(spec: dict[str, Any], identifier: str) -> Scope:
    from corten.runtime import scopes

    return scopes.place(spec, identifier)


def _begin(host: Host, held: state.Container, place: Scope) -> Placeholder:
    from corten.runtime import scopes

    return scopes.begin(host, held, place)


def _check_group(host: Host, path: str) -> None:
    """A group of the container's own: in a frozen one it would never begin, and what ends it would end others."""
    found = Group(host.hierarchy, path)
    if found.exists():
        if found.is_frozen():
            raise errors.RuntimeFailure(f"container's cgroup unexpectedly frozen: {path}")
        if count := len(found.pids()):
            raise errors.RuntimeFailure(f"container's cgroup is not empty: {count} process(es) found in {path}")


def _group(host: Host, held: state.Container) -> Group:
    group = Group.create(
        host.hierarchy, held.document["cgroup_path"], (held.spec.get("linux") or {}).get("resources") or {}
    )
    for text in group.warnings:
        host.warn(text)
    return group


def _request(host: Host, held: state.Container, group: Group, options: Options) -> container.StartRequest:
    spec = held.spec
    profile = (spec.get("linux") or {}).get("seccomp")
    return container.StartRequest(
        id=held.id,
        spec=spec,
        bundle=held.document["bundle"],
        cgroup=group,
        hold_start=os.open(held.fifo, os.O_RDWR | os.O_CLOEXEC),
        seccomp=cached(profile, f"{host.root}/.seccomp") if profile else b"",
        preserve=handover.preserved(options, spec["process"]),
        hook_state=held.oci_state("creating"),
        new_keyring=not held.document["no_new_keyring"],
    )


def _undo(host: Host, held: state.Container, group: Group | None, started: container.Started | None) -> None:
    if started is not None:
        container.bury_builder(started)
        try:
            linux_process.pidfd_send_signal(started.pidfd, _signal.SIGKILL)
        except ProcessLookupError:
            pass
        linux_process.wait_exit(started.pidfd, block=True)
    if group is not None:
        group.kill()
        removal.delete_group(host, held, group)
    elif held.unit:
        removal.end_scope(host, held.unit)
    held.remove()
    if started is not None:
        removal.after_the_end(host, held)


def start(host: Host, identifier: str) -> None:
    """Give the byte the held program waits for, then the poststart hooks, whose failure is a warning."""
    held = state.load(host.root, identifier)
    if not held.alive():
        raise errors.Conflict("cannot start a container that has stopped")
    try:
        fd = os.open(held.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise errors.Conflict("cannot start an already running container") from None
    except OSError:
        raise errors.Conflict("cannot start a container that has stopped") from None
    answer = os.open(held.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.unlink(held.fifo)
    os.write(fd, b".")
    if hooks.has(held.spec, "startContainer"):
        _await_hooks(held, fd, answer)
    else:
        os.close(fd)
    os.close(answer)
    for text in hooks.run_all(held.spec, "poststart", held.oci_state(held.status(host.hierarchy))):
        host.warn(text)


def _await_hooks(held: state.Container, fifo: int, answer: int) -> None:
    """Once the process inside has taken its byte and we write no more, what is to be read is its failure, and the end
    is its execve."""
    unread = bytearray(4)
    while fcntl.ioctl(answer, termios.FIONREAD, unread) == 0 and any(unread) and held.alive():
        time.sleep(_HOOK_PAUSE)
    os.close(fifo)
    os.set_blocking(answer, True)
    text = b""
    while chunk := os.read(answer, 4096):
        text += chunk
    if text:
        raise errors.RuntimeFailure(text.decode("utf-8", "replace"))


def run(host: Host, identifier: str, options: Options) -> int:
    """create, start, and unless detached wait and delete: the exit code."""
    detached = "detach" in options.switches
    launch = create(host, identifier, options, detached=detached)
    try:
        start(host, identifier)
        code = 0 if detached else await_exit(launch)
    except BaseException:
        removal.delete(host, state.load(host.root, identifier), force=True)
        raise
    if not detached and "keep" not in options.switches:
        removal.destroy(host, state.load(host.root, identifier))
    return code


def await_exit(launch: Launch) -> int:
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


def write_pid(path: str, pid: int) -> None:
    """The pid file, whole or not at all."""
    if not path:
        return
    directory, _, name = path.rpartition("/")
    temporary = f"{directory or '.'}/.{name}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, str(pid).encode())
    finally:
        os.close(fd)
    try:
        os.rename(temporary, path)
    except OSError as error:
        if error.errno != errno.EISDIR:
            raise
        raise errors.InvalidArgument(f"--pid-file {path} is a directory") from None
