"""The container's file system, built from outside of it.

Everything happens below one descriptor of the root, through :class:`corten.linux.path.Root`. What is mounted there is
made detached first (:mod:`corten.runtime.detached`) or cloned (:mod:`corten.runtime.sources`). Knows no namespaces and
no processes.
"""

from __future__ import annotations

import os
import stat

from corten.errors import InvalidArgument, RuntimeFailure
from corten.linux import mount as m
from corten.linux import procfs
from corten.runtime import copyup
from corten.runtime.cgroupfs import mount_cgroup
from corten.runtime.detached import mount_flags, new_filesystem, set_attributes, set_propagation
from corten.runtime.options import MountOptions, parse
from corten.runtime.sources import source_of
from corten.runtime.tree import Tree, plain_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from corten.runtime.shift import Shift

_FSCONFIG_MAX: Final = 255


def isolate(point: str, propagation: int) -> None:
    """Set the propagation of the caller's mount namespace before anything is mounted in it.

    Slave by default. With a shared one the mount that holds ``point`` is made private, or the container's root would
    appear on the host and pivot_root(2) would refuse it.
    """
    if propagation & m.MS_UNBINDABLE:  # only the root is to be so in the end, and it is yet to be cloned from here
        propagation = m.MS_PRIVATE | m.MS_REC
    if not propagation & m.MS_SHARED:
        m.mount("", "/", "", propagation or m.MS_SLAVE | m.MS_REC)
        return
    m.mount("", "/", "", propagation)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ")[4].encode().decode("unicode_escape") for line in file]
    parts = os.path.abspath(point).split("/")
    candidates = {"/".join(parts[:count]) or "/" for count in range(1, len(parts) + 1)}
    holder = max((where for where in points if where in candidates), key=len, default="/")
    m.mount("", holder, "", m.MS_PRIVATE)


def mount_all(tree: Tree, mounts: Sequence[dict[str, Any]]) -> None:
    """The OCI ``mounts`` in their order; errors name source and destination as runc words it."""
    for entry in mounts:
        try:
            mount_one(tree, entry)
            if tree.dev >= 0 and entry["destination"] == "/dev":
                _make_places(tree.dev, mounts)
        except OSError as error:
            text = os.strerror(error.errno or 0).lower()
            source, target = entry.get("source") or entry.get("type"), entry["destination"]
            raise RuntimeFailure(f'error mounting "{source}" to rootfs at "{target}": {text}') from None


def _make_places(dev: int, mounts: Sequence[dict[str, Any]]) -> None:
    """Directories in an empty /dev of ours for what Docker and others mount in it: nobody has to look for them, which
    costs more than the mounts. Not for a tmpfs that takes its mode from the directory it finds.
    """
    for entry in mounts:
        parent, _, name = entry["destination"].rpartition("/")
        if parent != "/dev" or name in ("", ".", ".."):
            continue
        if entry.get("type") in ("devpts", "mqueue") or "mode=1777" in (entry.get("options") or ()):
            try:
                os.mkdir(name, 0o755, dir_fd=dev)
            except FileExistsError:
                pass


def mount_one(tree: Tree, entry: dict[str, Any]) -> None:
    """One OCI mount."""
    options = parse(entry.get("options") or ())
    fstype, target = entry.get("type") or "", os.path.normpath("/" + entry["destination"].lstrip("/"))
    if options.bind or fstype == "bind":
        fd = _bind(tree, entry, target, options)
        tree.bound_dev |= target == "/dev"
    elif fstype == "cgroup" or (fstype == "cgroup2" and tree.group is not None):
        fd = mount_cgroup(tree, target, options)
    elif fstype in ("proc", "sysfs"):
        fd = _mount_kernel(tree, fstype, target, options)
    else:
        fd = _mount_new(tree, fstype, entry.get("source") or fstype, target, options)
    set_propagation(fd, options.propagation)
    if tree.shift is not None:
        _give(tree.shift, fd, fstype)
    tree.kernel.note(target, fstype, fd)
    if fstype == "tmpfs" and target == "/dev":
        tree.dev = fd
    elif fstype == "devpts" and target == "/dev/pts":
        tree.devpts = fd
    elif fstype == "proc" and target == "/proc":
        tree.proc = fd
    else:
        os.close(fd)


def _give(shift: Shift, fd: int, fstype: str) -> None:
    """What belongs to root of the mounter's user namespace, or to who made the namespace, instead of to who mounts."""
    if fstype == "devpts":
        shift.give(fd, ".", "ptmx")
    elif fstype == "mqueue" and shift.own_ipc:
        shift.give(fd, ".")


def _bind(tree: Tree, entry: dict[str, Any], target: str, options: MountOptions) -> int:
    recursive = options.recursive or not options.bind
    clone = source_of(entry, m.OPEN_TREE_CLONE | (m.AT_RECURSIVE if recursive else 0))
    _map_ids(tree, clone, entry, options)
    is_directory = stat.S_ISDIR(os.fstat(clone).st_mode)
    where = tree.root.directory(target) if is_directory else tree.root.file(target)
    tree.kernel.guard(clone, where, target)
    m.move_mount(clone, where)
    os.close(where)
    set_attributes(clone, options.attr_set, options.attr_clr)
    set_attributes(clone, options.rec_set, options.rec_clr, recursive=True)
    return clone


def _map_ids(tree: Tree, clone: int, entry: dict[str, Any], options: MountOptions) -> None:
    """runtime-spec 1.2, "mounts": ``idmap``, ``ridmap``, or maps alone, which mean ``idmap``."""
    uids, gids = entry.get("uidMappings"), entry.get("gidMappings")
    if uids or gids:
        from corten.runtime import shift

        shift.own_maps(uids, gids, f"mounts {entry['destination']}").map_ids(clone, recursive=options.idmap_recursive)
    elif options.idmap:
        if tree.shift is None:
            raise InvalidArgument(f"mounts {entry['destination']}: idmap needs mappings where no user namespace is")
        tree.shift.map_ids(clone, recursive=options.idmap_recursive)


def _mount_kernel(tree: Tree, fstype: str, target: str, options: MountOptions) -> int:
    """proc and sysfs go on an ordinary directory only: a link there would put them where the masks are not."""
    fd = new_filesystem(fstype, fstype, options.data, options.attr_set)
    where = plain_directory(tree, target, fstype)
    tree.kernel.guard(fd, where, target)
    m.move_mount(fd, where)
    os.close(where)
    return fd


def _mount_new(tree: Tree, fstype: str, source: str, target: str, options: MountOptions) -> int:
    where, covers = _directory(tree, target)
    tree.kernel.guard(-1, where, target)
    attributes = options.attr_set & ~m.MOUNT_ATTR_RDONLY if options.copy_up else options.attr_set
    data = list(options.data) if tree.shift is None else tree.shift.data(fstype, options.data)
    if fstype == "tmpfs" and covers and not any(key == "mode" for key, _ in data):  # as what it covers, runc's rule
        data.append(("mode", format(stat.S_IMODE(os.fstat(where).st_mode), "o")))
    if any(len(value or "") > _FSCONFIG_MAX for _, value in data):
        os.fchdir(where)
        text = ",".join(key if value is None else f"{key}={value}" for key, value in data)
        m.mount(source, ".", fstype, mount_flags(attributes), text)
        os.chdir("/")
        os.close(where)
        return tree.root.open(target, os.O_PATH | os.O_DIRECTORY)
    fd = new_filesystem(fstype, source, data, attributes)
    if options.copy_up:
        copyup.copy(where, fd)
        set_attributes(fd, options.attr_set, 0)
    m.move_mount(fd, where)
    os.close(where)
    return fd


def _directory(tree: Tree, target: str) -> tuple[int, bool]:
    """A descriptor of ``target``, and whether it was there before."""
    try:
        return tree.root.open(target, os.O_PATH | os.O_DIRECTORY), True
    except FileNotFoundError:
        return tree.root.directory(target), False


def ensure_proc(tree: Tree) -> None:
    """A procfs descriptor even when the spec mounts none: for sysctls, limits and masks."""
    if tree.proc < 0:
        tree.proc = procfs.new(m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC)
