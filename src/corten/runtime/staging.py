"""The process that becomes another runtime's command: ``create`` with a container's root mounted, or ``exec``.

It is a clone of the starter that settles what only our own runtime understands, writes the document the command reads
and executes the command. Of a container that is created the root is mounted in a mount namespace that only this
process, and so the command, lives in: nothing is ever mounted where the host sees it, and when the command ends, or
dies, or the starter does, the namespace is gone and the mounts with it. The container keeps its own copy.

 (1) not dumpable; a session of its own, to be killed with all of it; killed when the starter dies
 (2) the mount namespace's events stay in it (for a new container), or the root of the running one is opened
 (3) close the import fence                    <- nothing is imported below this line
 (4) the root mount, and beside the bundle parts of volumes and images, which config.json has no words for
 (5) users and groups by the files of the container's root, through :class:`corten.linux.path.Root`; copies of these
     files lie in the bundle, for an exec in a sandbox whose root is out of sight then
 (6) the document
 (7) standard streams, then execve

Nothing of the container's root is executed or loaded here (CVE-2019-14271).
"""

from __future__ import annotations

import os
import stat

from corten.errors import CommandNotFound, RuntimeFailure
from corten.linux import mount as m
from corten.linux import namespace
from corten.linux import process as linux_process
from corten.linux.path import Root
from corten.oci.runtime import encode
from corten.runtime import credentials, finish, rootfs, rootmount, sources, sync
from corten.runtime.init import close_import_fence, set_stdio
from corten.runtime.options import propagation
from corten.runtime.request import Started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final, NoReturn

_SIGKILL: Final = 9
_FAILED: Final = 127
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class StageRequest:
    """``document`` config.json, or with ``target`` (the pid of a running container's first process) an exec's
    ``process`` · ``users`` where the users of an exec are looked up instead of in the target's root, "" for that
    · ``file`` where the command reads it; parts are mounted beside it · ``rootfs`` mounts of the root ·
    ``command`` and its ``environment`` · ``stdio`` three descriptors."""

    __slots__ = ("command", "document", "environment", "file", "rootfs", "stdio", "target", "users")

    def __init__(
        self, *, document: dict[str, Any], file: str, command: Sequence[str], environment: Mapping[str, str],
        stdio: tuple[int, int, int], rootfs: Sequence[dict[str, Any]] = (), target: int = 0,
        users: str = "",
    ) -> None:  # fmt: skip
        self.document = document
        self.file = file
        self.rootfs = rootfs
        self.target = target
        self.users = users
        self.command = command
        self.environment = environment
        self.stdio = stdio


def start(request: StageRequest) -> Started:
    """clone3 the process; its channel gives ``{"root": [device, inode]}`` of a new container's root and ``{"error":
    ...}``, then EOF. For a process with one thread."""
    ours, theirs = sync.pair()
    try:
        pid, pidfd = namespace.clone3(0 if request.target else namespace.CLONE_NEWNS)
    except OSError as error:
        os.close(ours)
        os.close(theirs)
        raise RuntimeFailure(f"unable to start the runtime: {(error.strerror or '').lower()}") from None
    if pid == 0:
        _main(request, theirs)
    os.close(theirs)
    return Started(pid, pidfd, ours, -1)


def _main(request: StageRequest, channel: int) -> NoReturn:
    try:
        _run(request, channel)
    except BaseException as error:
        finish.report(channel, error)
    finally:
        os._exit(_FAILED)


def _run(request: StageRequest, channel: int) -> None:
    linux_process.set_dumpable(on=False)  # (1)
    os.setsid()
    linux_process.prctl(linux_process.PR_SET_PDEATHSIG, _SIGKILL)
    os.umask(0o022)
    if request.target:
        top = os.open(request.users or f"/proc/{request.target}/root", _DIRECTORY)  # (2)
        close_import_fence()  # (3)
        document = _with_user(request.document, Root(top))  # (5)
    else:
        document = _stage(request, channel)
    descriptor = os.open(
        request.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )  # (6)
    os.write(descriptor, encode(document).encode())
    os.close(descriptor)
    set_stdio(request.stdio, controlling=False)  # (7)
    linux_process.close_range(3, flags=linux_process.CLOSE_RANGE_CLOEXEC)
    finish.default_signals()
    path = request.command[0]
    try:
        os.execve(path, list(request.command), dict(request.environment))
    except OSError as error:
        raise CommandNotFound(f"fork/exec {path}: {os.strerror(error.errno or 0).lower()}") from None


def _stage(request: StageRequest, channel: int) -> dict[str, Any]:
    spec = request.document
    point = rootmount.root_point(request.rootfs, "")
    rootfs.isolate(point, propagation((spec.get("linux") or {}).get("rootfsPropagation") or ""))  # (2)
    close_import_fence()  # (3)
    top = rootmount.mount_root(request.rootfs, "")  # (4)
    mounts = [_settled(entry, f"{request.file}.{number}") for number, entry in enumerate(spec.get("mounts") or ())]
    root = Root(top)
    credentials.keep_databases(root, os.path.dirname(request.file))
    status = os.fstat(top)
    sync.send(channel, {"root": [status.st_dev, status.st_ino]})
    return {
        **spec,
        "root": {**(spec.get("root") or {}), "path": point},
        "mounts": mounts,
        "process": _with_user(spec["process"], root),  # (5)
    }


def _settled(entry: dict[str, Any], place: str) -> dict[str, Any]:
    """An OCI mount without the engine's keys: what they mean is mounted at ``place`` and bound from there."""
    if not any(key.startswith("corten.") for key in entry):
        return entry
    recursive = m.AT_RECURSIVE if "rbind" in (entry.get("options") or ()) else 0
    part = sources.source_of(entry, m.OPEN_TREE_CLONE | recursive)
    if stat.S_ISDIR(os.fstat(part).st_mode):
        os.mkdir(place, 0o700)
    else:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    where = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    m.move_mount(part, where)
    os.close(where)
    os.close(part)
    return {key: value for key, value in entry.items() if not key.startswith("corten.")} | {"source": place}


def _with_user(process: dict[str, Any], root: Root) -> dict[str, Any]:
    """``process`` with numbers for the user and with HOME, which a runtime would else look for inside.

    Without an empty apparmorProfile, which crun takes for one.
    """
    user = process.get("user") or {}
    identity = credentials.identify(user, root)
    settled = {key: value for key, value in user.items() if not key.startswith("corten.")}
    settled |= {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups)}
    env = list(process.get("env") or ())
    if not any(entry.startswith("HOME=") and entry != "HOME=" for entry in env):
        env.append(f"HOME={identity.home or credentials.home_of(identity.uid, root)}")
    kept = {key: value for key, value in process.items() if key != "apparmorProfile" or value}
    return {**kept, "user": settled, "env": env}
