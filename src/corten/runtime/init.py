"""The container's side of a start: what its first process does from clone3 to execve.

 (1) a session and a keyring of its own, not dumpable, no mask of umask
 (2) join the v1 cgroups, then a cgroup namespace (so that it is rooted there)
 (3) join namespaces given by descriptor or path; a time namespace, whose offsets come first
 (4) keep the mount namespace's events to ourselves
 (5) the root mount
 (6) the mounts of the spec
 (7) hooks of the host that want the namespaces: prestart and createRuntime by the starter, createContainer here
 (8) devices and the console
 (9) host name, kernel settings through our own procfs
(10) read-only and masked paths
(11) the working directory, made when missing; a read-only root
(12) close the import fence                    <- nothing is imported below this line
(13) pivot_root, and the host's tree is gone
(14) standard streams
(15) the last steps of every process, startContainer hooks among them: :mod:`corten.runtime.finish`

In a user namespace two processes share these steps: :mod:`corten.runtime.userns`.
"""

from __future__ import annotations

import errno
import os
import sys

from corten.errors import RuntimeFailure
from corten.linux import mount as m
from corten.linux import namespace, procfs, terminal
from corten.linux import process as linux_process
from corten.oci.runtime import sysctl_path
from corten.runtime import clocks, devices, finish, hooks, rootfs, rootmount, sync
from corten.runtime.detached import set_attributes
from corten.runtime.options import propagation
from corten.runtime.request import StartRequest
from corten.runtime.shift import Shift
from corten.runtime.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

_EXIT_FAILED: Final = 127


def main(request: StartRequest, channel: int, joined: dict[str, int]) -> NoReturn:
    """Run steps (1) to (15) in the cloned process; ends it in any case, after reporting what went wrong.

    ``joined``: namespace type -> descriptor to join.
    """
    try:
        _run(request, channel, joined)
    except BaseException as error:
        finish.report(channel, error)
    finally:
        os._exit(_EXIT_FAILED)


def _run(request: StartRequest, channel: int, joined: dict[str, int]) -> None:
    begin(request)  # (1)
    own_keyring(request)
    cgroup_private = join_cgroup(request)  # (2)
    for kind, fd in joined.items():  # (3)
        namespace.setns(fd, request.FLAGS[kind])
        os.close(fd)
    own_clocks(request)
    end(request, channel, assemble(request, channel, cgroup_private=cgroup_private))


def begin(request: StartRequest) -> None:
    """Step (1)."""
    linux_process.set_dumpable(on=False)
    if request.init:  # it stays, and must not show paths of the host
        linux_process.replace_command_line(b"corten-init")
    os.setsid()
    os.umask(0)


def join_cgroup(request: StartRequest) -> bool:
    """Step (2); True when the cgroup namespace is the container's own."""
    if request.cgroup is not None:
        request.cgroup.join()
    private = "cgroup" in request.new_namespaces
    if private:
        namespace.unshare(namespace.CLONE_NEWCGROUP)
    return private


def own_keyring(request: StartRequest) -> None:
    """The keyring of step (1)."""
    if request.new_keyring:
        join_keyring(f"_ses.{request.id}".encode())


def own_clocks(request: StartRequest) -> None:
    """The time namespace of step (3)."""
    if "time" in request.new_namespaces:
        clocks.enter((request.spec.get("linux") or {}).get("timeOffsets") or {})


class Assembled:
    """What steps (4) to (13) leave: a procfs of the container, and its standard streams, -1 when they are no pty."""

    __slots__ = ("proc", "terminal")

    def __init__(self, proc: int, terminal: int) -> None:
        self.proc = proc
        self.terminal = terminal


def assemble(
    request: StartRequest, channel: int, *, cgroup_private: bool, shift: Shift | None = None, first: int = 0
) -> Assembled:
    """Steps (4) to (13): the container's file system, and the caller inside of it.

    ``first``: the first process as its pid namespace counts, 0 for the caller.
    """
    spec = request.spec
    linux: dict[str, Any] = spec.get("linux") or {}
    process: dict[str, Any] = spec["process"]
    point = rootmount.root_point(request.rootfs, request.root_path)
    spread = propagation(linux.get("rootfsPropagation") or "")
    rootfs.isolate(point, spread)  # (4)
    root = rootmount.mount_root(request.rootfs, request.root_path, shift)  # (5)
    tree = Tree(root, request.cgroup, cgroup_private=cgroup_private, shift=shift)
    rootfs.mount_all(tree, [_as_oci(entry) for entry in request.rootfs[1:]])
    rootfs.mount_all(tree, spec.get("mounts") or ())  # (6)
    rootfs.ensure_proc(tree)
    _host_hooks(request, channel, first or os.getpid())  # (7)
    devices.populate(tree, linux.get("devices") or ())  # (8)
    slave = _terminal(request, tree, channel)
    _name(spec)  # (9)
    _settings(tree, linux)
    devices.protect(tree, linux.get("maskedPaths") or (), linux.get("readonlyPaths") or ())  # (10)
    _make_cwd(tree, process.get("cwd") or "/")  # (11)
    if (spec.get("root") or {}).get("readonly"):
        set_attributes(tree.fd, m.MOUNT_ATTR_RDONLY, 0)
    close_import_fence()  # (12)
    _pivot(tree.fd, spread)  # (13)
    return Assembled(tree.proc, slave)


def end(request: StartRequest, channel: int, made: Assembled) -> NoReturn:
    """Steps (14) and (15)."""
    process: dict[str, Any] = request.spec["process"]
    tty = made.terminal
    stdio = (tty, tty, tty) if tty >= 0 else (request.stdin, request.stdout, request.stderr)
    set_stdio(stdio, controlling=tty >= 0)  # (14)
    os.umask((process.get("user") or {}).get("umask", 0o022))
    finish.run(process, _ending(request, channel, made.proc))  # (15)


def _ending(request: StartRequest, channel: int, proc: int) -> finish.Ending:
    return finish.Ending(
        channel=channel, proc=proc, hold=-1 if request.hold_start is None else request.hold_start, init=request.init,
        preserve=request.preserve, seccomp=request.seccomp, seccomp_flags=request.seccomp_flags,
        personality=((request.spec.get("linux") or {}).get("personality") or {}).get("domain") or "",
        hooks=request.spec if hooks.has(request.spec, "startContainer") else None, state=request.hook_state,
    )  # fmt: skip


def join_keyring(name: bytes | None) -> None:
    """Leave the starter's session keyring, whose keys are the host's; where there are no keys none can be read."""
    try:
        linux_process.join_session_keyring(name)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise


def _as_oci(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": entry["type"], "source": entry["source"], "destination": entry["target"], "options": entry["options"],
    }  # fmt: skip


def _host_hooks(request: StartRequest, channel: int, pid: int) -> None:
    if hooks.has(request.spec, "prestart") or hooks.has(request.spec, "createRuntime"):
        sync.send(channel, {"hooks": "createRuntime"})
        sync.await_answer(channel)
    hooks.run(request.spec, "createContainer", {**request.hook_state, "pid": pid})


def _terminal(request: StartRequest, tree: Tree, channel: int) -> int:
    """The slave of the container's pty, its master sent to the starter; -1 when it has none."""
    if not request.spec["process"].get("terminal"):
        return -1
    master, slave = devices.open_console(tree, request.spec["process"].get("consoleSize"))
    sync.send(channel, {"console": True}, [master])
    os.close(master)
    return slave


def set_stdio(stdio: tuple[int, int, int], *, controlling: bool) -> None:
    """Make the three descriptors 0, 1 and 2, inheritable; the first also the session's terminal."""
    high = [_move_up(fd) for fd in stdio]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=True)
    if controlling:
        terminal.make_controlling(0)


def _move_up(fd: int) -> int:
    """Out of the way of 0-2, which are about to be replaced."""
    while fd < 3:
        fd = os.dup(fd)
    return fd


def _name(spec: dict[str, Any]) -> None:
    try:
        if spec.get("hostname"):
            namespace.sethostname(spec["hostname"])
        if spec.get("domainname"):
            namespace.setdomainname(spec["domainname"])
    except OSError as error:
        raise RuntimeFailure(f"unable to start container process: {error.strerror}") from None


def _settings(tree: Tree, linux: dict[str, Any]) -> None:
    for key, value in (linux.get("sysctl") or {}).items():
        try:
            procfs.write(tree.proc, f"sys/{sysctl_path(key)}", value)
        except OSError as error:
            text = os.strerror(error.errno or 0).lower()
            raise RuntimeFailure(f"unable to start container process: open sysctl {key} file: {text}") from None


def _make_cwd(tree: Tree, cwd: str) -> None:
    try:
        os.close(tree.root.directory(cwd))
    except OSError as error:
        raise finish.cwd_failure(cwd, error) from None


def close_import_fence() -> None:
    """From here on an import finds nothing: the next root is the container's, and so would its modules be.

    The cache of finders is left alone: nobody asks it without ``meta_path``, and in a process that was just cloned
    giving memory back costs a copy of every page it lies on.
    """
    sys.path[:] = []
    sys.meta_path[:] = []
    sys.path_hooks[:] = []


def _pivot(root: int, propagation: int) -> None:
    """pivot_root(2), NOTES: both arguments ".", the old root comes to lie on top and is detached."""
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(root)
    m.pivot_root(".", ".")
    os.fchdir(old)  # mount(2) reads "." as the working directory itself, not as what lies on top of it
    if propagation & m.MS_SHARED:  # or the detaching would be seen on the host
        m.mount("", ".", "", m.MS_SLAVE | m.MS_REC)
    m.umount2(".", m.MNT_DETACH)
    os.close(old)
    os.chdir("/")
    if own := propagation & (m.MS_SHARED | m.MS_UNBINDABLE):  # the rest is what a new mount is anyway
        m.mount("", "/", "", own)
