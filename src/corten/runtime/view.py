"""A container's files as seen from outside: a mount namespace nobody lives in, and a descriptor of its root.

A short-lived process builds it, hands over the two descriptors and ends; whoever holds them works below the root with
ordinary system calls, from any thread. So no thread ever changes its namespace or root, nothing of the container's
root is executed or loaded by the host's side (CVE-2019-14271, CVE-2026-41567), and nothing is ever mounted where the
host could see it (CVE-2026-41568, CVE-2026-42306). All goes with the last of the descriptors.

 (1) not dumpable, and only the descriptors it needs: it must not hold a container's pipes or a client's socket open
 (2) a mount namespace of its own (by the clone), whose events stay there
 (3) close the import fence                    <- nothing is imported below this line
 (4) the container's root: of a running one a clone of its mount, taken in its namespace, without what is mounted on
     it (no proc, no tmpfs: as Docker shows it); else its root mounted anew. The mounts of one in a user namespace are
     locked and cannot be cloned one by one: there it is taken in the namespace they were copied from, and what the
     engine keeps is shown with the ids it has in the container
 (5) binds and volumes from their sources on the host, private: nothing below them may be seen on the host
 (6) a read-only root
 (7) hand over the root and the namespace
"""

from __future__ import annotations

import os

from corten.linux import mount as m
from corten.linux import namespace
from corten.linux import process as linux_process
from corten.runtime import finish, rootfs, rootmount, shift, sync
from corten.runtime.detached import set_attributes, set_propagation
from corten.runtime.init import close_import_fence
from corten.runtime.request import Started
from corten.runtime.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, NoReturn

    from corten.oci.idmap import IdMaps
    from corten.runtime.shift import Shift

_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class ViewRequest:
    """``root`` the container's root mounts as for a start · ``mounts`` OCI mounts to see in it · ``joined`` a
    descriptor of the running container's mount namespace (or a pidfd), -1 for one that does not run · ``maps`` those of
    the user namespace it runs in."""

    __slots__ = ("joined", "maps", "mounts", "read_only", "root")

    def __init__(self, root: Sequence[dict[str, Any]], mounts: Sequence[dict[str, Any]], *, joined: int,
                 read_only: bool, maps: IdMaps | None = None) -> None:  # fmt: skip
        self.root = root
        self.mounts = mounts
        self.joined = joined
        self.maps = maps
        self.read_only = read_only


def start(request: ViewRequest) -> Started:
    """clone3 the process; its channel gives ``{"view": true}`` with root and namespace, or ``{"error": ...}``.

    For a process with one thread.
    """
    ours, theirs = sync.pair()
    try:
        pid, pidfd = namespace.clone3(namespace.CLONE_NEWNS)
    except OSError:
        os.close(ours)
        os.close(theirs)
        raise
    if pid == 0:
        _main(request, theirs)
    os.close(theirs)
    return Started(pid, pidfd, ours, -1)


def _main(request: ViewRequest, channel: int) -> NoReturn:
    try:
        _run(request, channel)
    except BaseException as error:
        finish.report(channel, error)
    finally:
        os._exit(0)


def _run(request: ViewRequest, channel: int) -> None:
    linux_process.set_dumpable(on=False)  # (1)
    _close_all_but(channel, request.joined)
    os.umask(0)
    point = rootmount.root_point(request.root, "")
    rootfs.isolate(point, 0)  # (2)
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    mapped = _mapped(request.maps)
    close_import_fence()  # (3)
    base = _clone(request.joined, own, point) if request.joined >= 0 else rootmount.mount_root(request.root, "")  # (4)
    tree = Tree(base, None, cgroup_private=False, shift=mapped)
    rootfs.mount_all(tree, request.mounts)  # (5)
    if request.read_only:
        set_attributes(base, m.MOUNT_ATTR_RDONLY, 0)  # (6)
    sync.send(channel, {"view": True}, [base, own])  # (7)


def _close_all_but(*kept: int) -> None:
    first = 3
    for fd in sorted(fd for fd in kept if fd >= 0):
        if fd > first:
            linux_process.close_range(first, fd - 1)
        first = fd + 1
    linux_process.close_range(first)


def _mapped(maps: IdMaps | None) -> Shift | None:
    """A user namespace with these maps, as whose root this process makes files from now on."""
    if maps is None:
        return None
    mapped = shift.Shift(maps, shift.make_namespaces(maps, network=False)[0])
    mapped.make_files()
    return mapped


def _clone(joined: int, own: int, point: str) -> int:
    """The container's root mount alone, on a directory of our own namespace."""
    where = os.open(point, _DIRECTORY)
    namespace.setns(joined, namespace.CLONE_NEWNS)
    top = os.open("/", _DIRECTORY)
    tree = m.open_tree(top, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
    os.close(top)
    namespace.setns(own, namespace.CLONE_NEWNS)
    set_attributes(tree, 0, m.MOUNT_ATTR_RDONLY)
    m.move_mount(tree, where)
    set_propagation(tree, [m.MS_PRIVATE])
    os.close(where)
    return tree
