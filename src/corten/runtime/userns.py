"""The start of a container in a user namespace: two processes share the steps of :mod:`corten.runtime.init`.

The first process is born without a privilege on the host, so it could mount no image and make no device. A second one,
the builder, has the host's privilege, is born in the first one's pid namespace, and is gone before the program runs.
What it has mounted the container gets as a copy made for the user namespace: the kernel locks every mount of such a
copy (mount_namespaces(7), "Restrictions"), so that root in the container, whatever capabilities it was given there, can
take no mask away, make no read-only mount writable and see nothing that a mount covers.

::

    first process, in the user namespace            builder, in the host's
     (1) a session of its own, not dumpable          (1) not dumpable
     (2) cgroups, cgroup namespace (0 on the host    (2) the maps, unless the namespace was there before
         until (6): the groups are the host's)       (3) what needs the host's privilege: limits that go up, OOM
     (3) time namespace                                  score, streams given to the container's root
     (4) --- joined ------------------------------>  (4) join the namespaces the first process is in
                                                     (5) ids of the container's root for every file that is made
                                                     (6) steps (4) to (13): the tree, built with all privilege
     (5) <-- mount namespace, procfs, terminal ----  (7) the user namespace, and there a copy of the mounts
     (6) become root of the namespace; a keyring     (8) hand it over; end
     (7) close the import fence, join the mounts
     (8) steps (14) and (15)

A builder that fails tells the starter itself, and the first process ends in silence; one that vanishes is reported by
the first process. Namespaces that exist already are entered by an intermediate process (:func:`birth`), before the user
namespace: most of them are not its own, and from inside it could enter none of those.
"""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.linux import namespace
from corten.linux import process as linux_process
from corten.runtime import credentials, finish, init, shift, sync
from corten.runtime.request import NAMESPACE_FLAGS, StartRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final, NoReturn

_EXIT_FAILED: Final = 127
_PRIVATE: Final = {"net": "network", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}
_BUILDER_DIED: Final = "unable to start container process: the process that builds its file system died"
_FIRST_DIED: Final = "unable to start container process: the first process died"


def first_process(request: StartRequest, channel: int, peer: int) -> NoReturn:
    """Run the left column in the cloned process; ends it in any case, after reporting what went wrong."""
    try:
        _first(request, channel, peer)
    except BaseException as error:
        finish.report(channel, error)
    finally:
        os._exit(_EXIT_FAILED)


def _first(request: StartRequest, channel: int, peer: int) -> None:
    init.begin(request)  # (1)
    init.join_cgroup(request)  # (2)
    init.own_clocks(request)  # (3)
    sync.send(peer, {"joined": True})  # (4)
    message, fds = sync.receive(peer)  # (5)
    if message is None:
        raise RuntimeFailure(_BUILDER_DIED)
    if "failed" in message:
        os._exit(_EXIT_FAILED)
    os.close(peer)
    mounts, proc, terminal = (*fds, -1)[:3]
    credentials.become_root()  # (6)
    init.own_keyring(request)
    init.close_import_fence()  # (7)
    namespace.setns(mounts, namespace.CLONE_NEWNS)
    os.close(mounts)
    request.spec["process"].pop("oomScoreAdj", None)  # the builder's (3)
    init.end(request, channel, init.Assembled(proc, terminal))  # (8)


def builder(request: StartRequest, channel: int, peer: int, pid: int, pidfd: int) -> NoReturn:
    """Run the right column for the first process ``pid``; ends the calling process in any case."""
    code = _EXIT_FAILED
    try:
        _build(request, channel, peer, pid, pidfd)
        code = 0
    except BaseException as error:
        finish.report(channel, error)
        try:
            sync.send(peer, {"failed": True})
        except OSError:
            pass
    finally:
        os._exit(code)


def _build(request: StartRequest, channel: int, peer: int, pid: int, pidfd: int) -> None:
    linux_process.set_dumpable(on=False)  # (1)
    os.umask(0)
    own = shift.of_process(pid) if request.maps is None else _write_maps(request, pid)  # (2)
    if request.maps is not None and own.maps != request.maps:
        raise RuntimeFailure("linux.uidMappings: the user namespace that is joined has other mappings")
    own.own_ipc = "ipc" in request.new_namespaces
    for warning in raise_limits(request.spec["process"], str(pid)):  # (3)
        sync.send(channel, {"warning": warning})
    if not request.spec["process"].get("terminal"):
        credentials.give_streams((request.stdin, request.stdout, request.stderr), own.maps)
    if sync.receive(peer)[0] is None:  # (4)
        raise RuntimeFailure(_FIRST_DIED)
    _follow(pid, pidfd)
    own.make_files()  # (5)
    private = "cgroup" in request.new_namespaces
    first = _inner(str(pid))
    made = init.assemble(request, channel, cgroup_private=private, shift=own, first=first)  # (6)
    namespace.setns(own.userns, namespace.CLONE_NEWUSER)  # (7)
    # The last reference to a mount namespace takes its mounts down: the starter gets one, who wants to look into the
    # container from outside clones its root from there (corten.runtime.view), and nobody here waits for the end.
    outer = os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=made.proc)
    namespace.unshare(namespace.CLONE_NEWNS)
    inner = os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=made.proc)
    terminal = [made.terminal] if made.terminal >= 0 else []
    try:
        sync.send(channel, {"mounts": True}, [inner, outer])  # (8)
        sync.send(peer, {"built": True}, [inner, made.proc, *terminal])
    except BrokenPipeError:
        raise RuntimeFailure(_FIRST_DIED) from None


def _write_maps(request: StartRequest, pid: int) -> shift.Shift:
    if "user" in request.new_namespaces and request.maps is not None:
        namespace.write_map(f"/proc/{pid}/uid_map", request.maps.uids)
        namespace.write_map(f"/proc/{pid}/gid_map", request.maps.gids)
    return shift.of_process(pid)


def _inner(who: str) -> int:
    """The number of a process of this procfs in its own pid namespace, which is the caller's: proc_pid_status(5)."""
    with open(f"/proc/{who}/status", encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))


def raise_limits(process: Mapping[str, Any], who: str) -> list[str]:
    """What only the host may do for ``who`` (a directory of its procfs): higher hard limits, the OOM score."""
    credentials.raise_limits(process.get("rlimits") or (), _inner(who))
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return finish.score(process, proc, who=who)
    finally:
        os.close(proc)


def _follow(pid: int, pidfd: int) -> None:
    flags = 0
    for name, kind in _PRIVATE.items():
        if not namespace.is_shared(pid, name):
            flags |= NAMESPACE_FLAGS[kind]
    if flags:
        namespace.setns(pidfd, flags)


def birth(request: StartRequest, joined: Mapping[str, int], cgroup: int) -> tuple[int, int]:
    """clone3 the first process in namespaces that exist: ``(pid, pidfd)`` for the starter, ``(0, -1)`` in the child.

    An intermediate process enters them, the user namespace last, and clones a child of the starter (CLONE_PARENT).
    """
    ours, theirs = sync.pair()
    intermediate, pidfd = namespace.clone3(0)
    if intermediate == 0:
        os.close(ours)
        if _enter_and_clone(request, joined, cgroup, theirs):
            os.close(theirs)
            return 0, -1
        os._exit(0)
    os.close(theirs)
    try:
        message, fds = sync.receive(ours)
        linux_process.wait_exit(pidfd, block=True)
    finally:
        os.close(ours)
        os.close(pidfd)
    if message is None or "pid" not in message:
        text = (message or {}).get("error") or "the process that enters its namespaces died"
        raise RuntimeFailure(f"unable to start container process: {text}")
    return message["pid"], fds[0]


def _enter_and_clone(request: StartRequest, joined: Mapping[str, int], cgroup: int, channel: int) -> bool:
    """True in the new child, False in the intermediate process, which has said how it went."""
    try:
        linux_process.set_dumpable(on=False)
        for kind in sorted(joined, key=lambda kind: kind == "user"):
            namespace.setns(joined[kind], NAMESPACE_FLAGS[kind])
        flags = request.clone_flags & ~namespace.CLONE_NEWNS | namespace.CLONE_PARENT
        pid, pidfd = namespace.clone3(flags, cgroup=cgroup, exit_signal=0)
        if pid == 0:
            return True
        sync.send(channel, {"pid": pid}, [pidfd])
    except OSError as error:
        sync.send(channel, {"error": (error.strerror or str(error)).lower()})
    return False
