"""The last steps of every process in a container, the same for its first process and for an exec.

 (1) resource limits, scheduling, the OOM score and what AppArmor shall do at (9), while still privileged
 (2) the user, by the container's own files
 (3) close every descriptor but 0-2, the channel and the hold
 (4) working directory, which must lie inside the root (CVE-2024-21626: after step 3)
 (5) no_new_privs; without it the filter is installed here, while CAP_SYS_ADMIN is there
 (6) user, groups and capabilities
 (7) with no_new_privs the filter last, so that it may forbid all of the above
 (8) find the program as that user; tell who waits; wait for the word; then the startContainer hooks
 (9) execve

Nothing is imported here: the root is the container's.
"""

from __future__ import annotations

import errno
import os
import select
import stat

from corten.errors import CommandNotFound, CommandNotInvocable, CortenError, RuntimeFailure
from corten.linux import process as linux_process
from corten.linux import procfs, seccomp
from corten.linux.path import Root
from corten.runtime import credentials, hooks, reaper, scheduling, sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Mapping, Sequence
    from typing import Any, Final, NoReturn
else:
    import _signal

_SI_SIGNALS: Final = (_signal.SIGPIPE, _signal.SIGXFSZ)
#: moby, daemon/errors.go (translateContainerdStartErr).
_CWD_KINDS: Final = {
    errno.ENOENT: CommandNotFound,
    errno.ENOTDIR: CommandNotFound,
    errno.EACCES: CommandNotInvocable,
}


class Ending:
    """What :func:`run` needs beside the OCI process object; descriptors are -1 when there is none."""

    __slots__ = (
        "channel", "hold", "hooks", "init", "personality", "preserve", "proc", "seccomp", "seccomp_flags", "state",
    )  # fmt: skip

    def __init__(self, *, channel: int, proc: int, hold: int = -1, init: bool = False, preserve: int = 0,
                 seccomp: bytes = b"", seccomp_flags: int = 0, personality: str = "",
                 hooks: dict[str, Any] | None = None, state: dict[str, Any] | None = None) -> None:  # fmt: skip
        self.channel = channel
        self.proc = proc
        self.hold = hold
        self.init = init
        self.preserve = preserve
        self.seccomp = seccomp
        self.seccomp_flags = seccomp_flags
        self.personality = personality
        self.hooks = hooks
        self.state = state or {}


def run(process: dict[str, Any], ending: Ending) -> NoReturn:
    """Steps (1) to (9) of the module's list. Never returns; raises what went wrong."""
    warnings = credentials.limit(process.get("rlimits") or ())  # (1)
    masks, unknown = credentials.capability_masks(process.get("capabilities"))
    warnings += unknown
    scheduling.apply(process, ending.personality)
    warnings += score(process, ending.proc)
    _confine(process.get("apparmorProfile") or "", ending.proc)
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    root = Root(top)
    identity = credentials.identify(process.get("user") or {}, root)  # (2)
    environment = _environment(process, identity, root)
    credentials.own_stdio(identity.uid)
    for text in warnings:
        sync.send(ending.channel, {"warning": text})
    _signal.set_wakeup_fd(-1)  # the starter's; a signal would be written to whatever gets its number
    close_all_but((ending.channel, ending.hold), ending.preserve)  # (3)
    cwd = process.get("cwd") or "/"
    entered = _enter(cwd, final=False)  # (4)
    if process.get("noNewPrivileges"):  # (5)
        linux_process.set_no_new_privs()
    elif ending.seccomp:
        _filter(ending)
    credentials.become(identity, masks)  # (6)
    if not entered:
        _enter(cwd, final=True)
    if ending.seccomp and process.get("noNewPrivileges"):  # (7)
        _filter(ending)
    arguments = process["args"]
    program = find_program(arguments[0], environment)  # (8)
    default_signals()
    if ending.hold >= 0:
        _hold(ending)
    if ending.hooks is not None:
        _start_hooks(ending, ending.hooks)
    if ending.init:
        reaper.become_init(ending.channel)
    execute(program, arguments, environment)  # (9)


def _start_hooks(ending: Ending, spec: dict[str, Any]) -> None:
    """startContainer hooks; a failure goes back through the fifo to whoever gave the word."""
    try:
        hooks.run(spec, "startContainer", {**ending.state, "status": "created", "pid": os.getpid()})
    except RuntimeFailure as failure:
        os.write(ending.hold, str(failure).encode("utf-8", "replace")[: select.PIPE_BUF])
        raise


def _filter(ending: Ending) -> None:
    """Install the filter. A listener's number goes to the starter by write(2), which no profile may hand to it; every
    other call may be answered by the agent from here on."""
    listener = seccomp.install(ending.seccomp, ending.seccomp_flags)
    if listener > 0:
        os.write(ending.channel, b'{"listener":%d}' % listener)
        sync.await_answer(ending.channel)
        os.close(listener)


def report(channel: int, error: BaseException) -> None:
    """Send ``error`` to the starter, or to standard error when nobody listens any more."""
    kind, text = describe(error)
    try:
        sync.send(channel, {"error": {"kind": kind, "text": text}})
    except OSError:
        try:
            os.write(2, f"{text}\n".encode("utf-8", "replace"))
        except OSError:
            pass


def describe(error: BaseException) -> tuple[str, str]:
    """Class name in :mod:`corten.errors` and text of any exception."""
    if isinstance(error, CortenError):
        return type(error).__name__, str(error)
    if isinstance(error, OSError) and error.errno:
        where = f" {error.filename}" if error.filename is not None else ""
        return "RuntimeFailure", f"{str(error.strerror).lower()}{where}"
    return "RuntimeFailure", f"{type(error).__name__}: {error}"


def default_signals() -> None:
    """Undo what the interpreter set: ignored signals would stay ignored over execve, as would a mask."""
    for number in _SI_SIGNALS:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def close_all_but(keep: Sequence[int], preserve: int) -> None:
    """Close every descriptor from 3 on but ``keep`` (-1 is ignored) and the first ``preserve`` ones."""
    first = 3 + preserve
    for fd in sorted(fd for fd in keep if fd >= first):
        if fd > first:
            linux_process.close_range(first, fd - 1)
        first = fd + 1
    linux_process.close_range(first)


def score(process: Mapping[str, Any], proc: int, *, who: str = "self") -> list[str]:
    """Write the OCI ``process.oomScoreAdj`` of process ``who`` below ``proc``; returns warnings."""
    value = process.get("oomScoreAdj")
    if value is None:
        return []
    try:
        procfs.write(proc, f"{who}/oom_score_adj", str(value))
    except PermissionError:  # lowering it needs CAP_SYS_RESOURCE
        return [f"the OOM score cannot be set to {value} on this host"]
    return []


def _confine(profile: str, proc: int) -> None:
    """Have the kernel confine the program by an AppArmor profile the host has loaded: proc_pid_attr(5)."""
    if profile in ("", "unconfined"):
        return
    try:
        procfs.write(proc, "self/attr/apparmor/exec", f"exec {profile}")
    except FileNotFoundError:
        text = f"process.apparmorProfile: profile {profile!r} is not loaded, or this kernel does not run AppArmor"
        raise RuntimeFailure(text) from None


def _environment(process: dict[str, Any], identity: credentials.Identity, root: Root) -> dict[str, str]:
    environment: dict[str, str] = {}
    for entry in process.get("env") or ():
        name, equals, value = entry.partition("=")
        if name and equals:
            environment[name] = value
    if not environment.get("HOME"):
        environment["HOME"] = identity.home or credentials.home_of(identity.uid, root)
    return environment


def _enter(cwd: str, *, final: bool) -> bool:
    """chdir; False when only the container's user may enter it (tried again as that user with ``final``)."""
    try:
        os.chdir(cwd)
    except PermissionError as error:
        if not final:
            return False
        raise cwd_failure(cwd, error) from None
    except OSError as error:
        raise cwd_failure(cwd, error) from None
    try:
        inside = linux_process.getcwd().startswith("/")
    except OSError:
        inside = False
    if not inside:
        raise RuntimeFailure(f"current working directory {cwd!r} is outside of container mount namespace root")
    return True


def cwd_failure(cwd: str, error: OSError) -> RuntimeFailure:
    """A working directory that cannot be entered: runc's words, and the exit codes Docker reads in them."""
    text = os.strerror(error.errno or 0).lower()
    kind = _CWD_KINDS.get(error.errno or 0, RuntimeFailure)
    return kind(f'unable to start container process: chdir to cwd ("{cwd}") set in config.json failed: {text}')


def find_program(name: str, environment: dict[str, str]) -> str:
    """Where execve finds ``name``, as the current user and from the current directory; Docker's error texts."""
    if "/" in name:
        _require_executable(name, name)
        return name
    for directory in environment.get("PATH", "").split(":"):
        path = f"{directory or '.'}/{name}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise CommandNotFound(_exec_text(name, "executable file not found in $PATH"))


def _require_executable(path: str, name: str) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        text = os.strerror(error.errno or 0).lower()
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise CommandNotFound(_exec_text(name, f"stat {path}: {text}")) from None
        raise CommandNotInvocable(_exec_text(name, text)) from None
    if stat.S_ISDIR(status.st_mode):
        raise CommandNotInvocable(_exec_text(name, "is a directory"))
    if not status.st_mode & 0o111 or not os.access(path, os.X_OK):
        raise CommandNotInvocable(_exec_text(name, "permission denied"))


def _exec_text(name: str, text: str) -> str:
    return f'unable to start container process: exec: "{name}": {text}'


def _hold(ending: Ending) -> None:
    """Wait for the word. A starter that dies before it has written down whom it started leaves nobody who could give
    it: that ends the wait.
    """
    sync.send(ending.channel, {"ready": True})
    sync.await_answer(ending.channel)
    if not os.read(ending.hold, 1):
        raise RuntimeFailure("the start was given up")


def execute(program: str, arguments: Sequence[str], environment: dict[str, str]) -> NoReturn:
    """execve(2), or an error that says why not."""
    try:
        os.execve(program, list(arguments), environment)
    except OSError as error:
        text = os.strerror(error.errno or 0).lower()
        if error.errno in (errno.ENOENT, errno.ENOTDIR):  # the program is there: its interpreter is not
            raise CommandNotFound(f"unable to start container process: exec {program}: {text}") from None
        raise CommandNotInvocable(f"unable to start container process: exec {program}: {text}") from None
