"""Start a container's first process, or one more in it: the starter's side.

Synchronous, for a process with one thread. Owns the clone and the descriptors around it; what the cloned process does
is :mod:`corten.runtime.init` and :mod:`corten.runtime.exec`. Reports nothing and waits for nothing: the caller reads
``Started.sync``.
"""

from __future__ import annotations

import errno
import os

from corten.cgroup.group import Group
from corten.errors import InvalidArgument, RuntimeFailure
from corten.linux import namespace, process, seccomp
from corten.runtime import exec as container_exec
from corten.runtime import init
from corten.runtime import sync as channel
from corten.runtime.request import ExecRequest, Started, StartRequest
from corten.runtime.sync import receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["ExecRequest", "StartRequest", "Started", "bury_builder", "exec_in", "receive", "start"]

_SIGKILL: Final = 9
_OWN_PIDNS: Final = "/proc/self/ns/pid"


def start(request: StartRequest) -> Started:
    """clone3 the container's first process with all namespaces of its spec; returns as soon as it exists.

    Raises RuntimeFailure when the clone itself fails; all later errors come through ``Started.sync``.
    """
    _compile(request)
    joined = _open_namespaces(request)
    if request.in_user_namespace:
        return _start_with_builder(request, joined)
    try:
        flags = request.clone_flags
        ours, theirs = channel.pair()
        try:
            pid, pidfd = _clone(flags, request.cgroup, joined.pop("pid", -1))
        except BaseException:
            _close(ours, theirs)
            raise
        if pid == 0:
            os.close(ours)  # its own copy would keep it waiting for an answer of a starter that is gone
            init.main(request, theirs, joined)
        os.close(theirs)
    finally:
        _close_joined(request, joined)
    return Started(pid, pidfd, ours, _mount_namespace(pid))


def bury_builder(started: Started) -> None:
    """Reap the second process of a start in a user namespace, which ends with the start, or sooner.

    Before anybody waits for the first: the kernel lets no pid 1 go while a zombie is left in its namespace.
    """
    if started.builder >= 0:
        process.wait_exit(started.builder, block=True)
        os.close(started.builder)
        started.builder = -1


def _start_with_builder(request: StartRequest, joined: dict[str, int]) -> Started:
    """The two processes of :mod:`corten.runtime.userns`; descriptors of ``joined`` that are not the caller's go."""
    from corten.runtime import userns

    ours, theirs = channel.pair()
    first_end, builder_end = channel.pair()
    pid = pidfd = -1
    try:
        pid, pidfd = _clone_first(request, joined)
        if pid == 0:
            _close(ours, builder_end)
            userns.first_process(request, theirs, first_end)
        inside = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        builder, builder_pidfd = _clone(namespace.CLONE_NEWNS, None, inside)
        if builder == 0:
            _close(ours, first_end)
            userns.builder(request, theirs, builder_end, pid, pidfd)
    except BaseException as error:
        _close(ours)
        if pid > 0:
            process.pidfd_send_signal(pidfd, _SIGKILL)
            process.wait_exit(pidfd, block=True)
            _close(pidfd)
        if isinstance(error, OSError):
            text = str(error.strerror).lower()
            raise RuntimeFailure(f"unable to start container process: {text}") from None
        raise
    finally:
        _close(theirs, first_end, builder_end)
        _close_joined(request, joined)
    return Started(pid, pidfd, ours, -1, builder=builder_pidfd)


def _clone_first(request: StartRequest, joined: dict[str, int]) -> tuple[int, int]:
    if not joined:
        return _clone(request.clone_flags & ~namespace.CLONE_NEWNS, request.cgroup, -1)
    from corten.runtime import userns

    directory = request.cgroup.open_unified() if request.cgroup is not None else -1
    try:
        return userns.birth(request, joined, directory)
    finally:
        if directory >= 0:
            os.close(directory)


def _close_joined(request: StartRequest, joined: dict[str, int]) -> None:
    """All but the network namespace that is the caller's."""
    _close(*(fd for kind, fd in joined.items() if kind != "network" or fd != request.netns))


def exec_in(request: ExecRequest) -> Started:
    """clone3 a process into the container's pid namespace and cgroup; it joins the rest itself. The caller is its
    parent."""
    if request.kinds < 0:
        request.kinds = container_exec.kinds_to_join(request.pid)
    ours, theirs = channel.pair()
    try:
        pid, pidfd = _clone_into(request)
    except BaseException:
        _close(ours, theirs)
        raise
    if pid == 0:
        container_exec.main(request, theirs)
    os.close(theirs)
    return Started(pid, pidfd, ours, -1)


def _clone_into(request: ExecRequest) -> tuple[int, int]:
    path = f"/proc/{request.pid}/ns/pid"
    try:
        return _clone(0, request.cgroup, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except RuntimeFailure as error:
        if not isinstance(error.__context__, OSError) or error.__context__.errno != errno.EBUSY:
            raise
    # cgroup v2 takes no process where the container handed controllers down: join its first process instead.
    group = request.cgroup.of_process(request.pid) if request.cgroup is not None else None
    return _clone(0, group, os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _compile(request: StartRequest) -> None:
    profile = (request.spec.get("linux") or {}).get("seccomp")
    if not profile:
        return
    try:
        request.seccomp_flags = seccomp.filter_flags(profile)
        if not request.seccomp:
            request.seccomp = seccomp.compile_profile(profile)
    except seccomp.UnsupportedProfileError as error:
        raise InvalidArgument(f"linux.seccomp: {error}") from None
    except OSError as error:
        raise RuntimeFailure(f"linux.seccomp: {error}") from None


def _open_namespaces(request: StartRequest) -> dict[str, int]:
    """Descriptors of the namespaces to join, in the order of joining."""
    joined: dict[str, int] = {}
    if request.netns is not None:
        joined["network"] = request.netns
    try:
        for kind in ("pid", "ipc", "uts", "network", "cgroup", "time", "user", "mount"):
            if kind in request.paths:
                joined[kind] = os.open(request.paths[kind], os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        for kind, fd in joined.items():
            if kind in request.paths:
                os.close(fd)
        text = os.strerror(error.errno or 0).lower()
        raise RuntimeFailure(f"lstat {error.filename}: {text}") from None
    return joined


def _clone(flags: int, group: Group | None, pid_namespace: int) -> tuple[int, int]:
    """clone3 into ``group``; with a descriptor of a pid namespace the child is born there.

    setns(2) with a pid namespace changes where children are born, not the caller: it is undone right after.
    """
    directory = own = pid = -1
    try:
        if group is not None:
            directory = group.open_unified()
        if pid_namespace >= 0:
            own = os.open(_OWN_PIDNS, os.O_RDONLY | os.O_CLOEXEC)
            namespace.setns(pid_namespace, namespace.CLONE_NEWPID)
        try:
            pid, pidfd = namespace.clone3(flags, cgroup=directory)
        finally:
            if own >= 0 and pid != 0:  # the child itself cannot go back, nor need it
                namespace.setns(own, namespace.CLONE_NEWPID)
    except OSError as error:
        raise RuntimeFailure(f"unable to start container process: {str(error.strerror).lower()}") from None
    finally:
        for fd in (directory, own, pid_namespace):
            if fd >= 0:
                os.close(fd)
    return pid, pidfd


def _mount_namespace(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
