"""The container's side of an exec: what the new process does from clone3 to execve.

It is born in the container's pid namespace and, on cgroup v2, in its cgroup.

 (1) not dumpable, so that nothing in the container can look into this process (CVE-2016-9962); its own keyring
 (2) join the v1 cgroups, then run on the CPUs the exec is for
 (3) a procfs descriptor of the host for what is written later; what a user namespace will not let us do later; close
     the import fence
 (4) join the namespaces by the pidfd, all at once, and with the mount namespace its root; with a user namespace become
     its root
 (5) a session of its own, the terminal
 (6) the last steps of every process: :mod:`corten.runtime.finish`
"""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.linux import namespace, terminal
from corten.linux import process as linux_process
from corten.runtime import clocks, credentials, finish, scheduling, sync
from corten.runtime.init import close_import_fence, join_keyring, set_stdio
from corten.runtime.request import ExecRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

_EXIT_FAILED: Final = 127
_ALL: Final = (
    namespace.CLONE_NEWIPC | namespace.CLONE_NEWUTS | namespace.CLONE_NEWNET | namespace.CLONE_NEWCGROUP
    | namespace.CLONE_NEWNS
)  # fmt: skip


def kinds_to_join(pid: int) -> int:
    """CLONE_NEW* of the namespaces in which the container of process ``pid`` is not with us, and never will be."""
    kinds = _ALL | clocks.kind_to_join(pid)
    return kinds if namespace.is_shared(pid, "user") else kinds | namespace.CLONE_NEWUSER


def main(request: ExecRequest, channel: int) -> NoReturn:
    """Run steps (1) to (6) in the cloned process; ends it in any case, after reporting what went wrong."""
    try:
        _run(request, channel)
    except BaseException as error:
        finish.report(channel, error)
    finally:
        os._exit(_EXIT_FAILED)


def _run(request: ExecRequest, channel: int) -> None:
    process = dict(request.process)
    linux_process.set_dumpable(on=False)  # (1)
    if request.new_keyring:
        join_keyring(None)
    if request.cgroup is not None:  # (2)
        request.cgroup.join()
    scheduling.set_affinity(process, "final")
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # (3)
    remapped = bool(request.kinds & namespace.CLONE_NEWUSER)
    if remapped:
        _use_privilege(request, process, channel)
    close_import_fence()
    try:
        namespace.setns(request.pidfd, request.kinds)  # (4)
    except ProcessLookupError:
        raise RuntimeFailure("cannot exec in a stopped container") from None
    if remapped:
        credentials.become_root()
        if request.new_keyring:
            join_keyring(None)
    os.setsid()  # (5)
    stdio = _stdio(request, channel)
    set_stdio(stdio, controlling=bool(process.get("terminal")))
    os.umask((process.get("user") or {}).get("umask", 0o022))
    ending = finish.Ending(
        channel=channel, proc=proc, preserve=request.preserve, seccomp=request.seccomp,
        seccomp_flags=request.seccomp_flags, personality=request.personality,
    )  # fmt: skip
    finish.run(process, ending)  # (6)


def _use_privilege(request: ExecRequest, process: dict[str, Any], channel: int) -> None:
    """What only a process of the host's user namespace may do; the OOM score is taken out of ``process``."""
    from corten.runtime.shift import of_process
    from corten.runtime.userns import raise_limits

    shift = of_process(request.pid)
    os.close(shift.userns)
    if not process.get("terminal"):
        credentials.give_streams((request.stdin, request.stdout, request.stderr), shift.maps)
    for warning in raise_limits(process, "self"):
        sync.send(channel, {"warning": warning})
    process.pop("oomScoreAdj", None)


def _stdio(request: ExecRequest, channel: int) -> tuple[int, int, int]:
    """The caller's descriptors, or a pty of the container's devpts instance."""
    process = request.process
    if not process.get("terminal"):
        return request.stdin, request.stdout, request.stderr
    devpts = os.open("/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    master, slave = terminal.open_pair(devpts)
    os.close(devpts)
    size = process.get("consoleSize") or {}
    if size.get("height") or size.get("width"):
        terminal.set_size(slave, size.get("height") or 0, size.get("width") or 0)
    sync.send(channel, {"console": True}, [master])
    os.close(master)
    return slave, slave, slave
