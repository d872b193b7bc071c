"""The container's file system, built from outside of it.

Everything happens below one descriptor of the root, through :class:`corten.linux.path.Root`; new file systems are made
detached (fsopen(2), fsmount(2)), so their own descriptors are known and no path of the image is resolved twice. Bind
sources are host paths and are cloned with open_tree(2) before anything of the container is looked at. Knows no
namespaces and no processes.
"""

from __future__ import annotations

import errno
import os
import stat

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import join
from corten.errors import InvalidArgument, RuntimeFailure
from corten.linux import mount as m
from corten.linux import procfs
from corten.linux.path import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, Root, openat2
from corten.runtime import copyup
from corten.runtime.kernelfs import KernelMounts
from corten.runtime.options import MountOptions, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from corten.runtime.shift import Shift

_PAGE: Final = 4096
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FSCONFIG_MAX: Final = 255
_REC: Final = m.AT_EMPTY_PATH | m.AT_RECURSIVE


class Tree:
    """The root under construction; descriptors are -1 until they exist, all close-on-exec.

    ``fd`` the root mount, ``proc`` a procfs of the container's pid namespace, ``dev`` and ``devpts`` what was mounted
    there. ``bound_dev``: /dev is a bind mount and its devices are not ours to make. ``shift``: the container's user
    namespace, None when it is the host's. ``kernel``: where procfs and sysfs are.
    """

    __slots__ = ("bound_dev", "cgroup_private", "dev", "devpts", "fd", "group", "kernel", "proc", "root", "shift")

    def __init__(self, fd: int, group: Group | None, *, cgroup_private: bool, shift: Shift | None = None) -> None:
        self.fd = fd
        self.root = Root(fd)
        self.proc = -1
        self.dev = -1
        self.devpts = -1
        self.bound_dev = False
        self.kernel = KernelMounts()
        self.group = group
        self.cgroup_private = cgroup_private
        self.shift = shift


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


def root_point(mounts: Sequence[dict[str, Any]], path: str) -> str:
    """The host directory :func:`mount_root` stacks the root on."""
    if not mounts:
        return path
    entry = mounts[0]
    if entry["type"] != "overlay":
        return str(entry["source"])
    return entry.get("chdir") or _upper_directory(entry["options"])


def mount_root(mounts: Sequence[dict[str, Any]], path: str, shift: Shift | None = None) -> int:
    """Mount the root and return its descriptor: ``mounts[0]`` when given (target "/"), else ``path`` bound on itself.

    The mount is stacked on a directory of the host inside the caller's own mount namespace; nobody else sees it. Where
    the entry names a directory ``idmap``, the container's ids are the owners of the files below it: it is covered with
    an id-mapped clone of itself while the root is mounted, through which the layers are found.
    """
    if not mounts:
        directory = os.open(path, _DIRECTORY)
        tree = m.open_tree(directory, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH | m.AT_RECURSIVE)
        m.move_mount(tree, directory)
        os.close(directory)
        return tree
    entry = mounts[0]
    if shift is None or not entry.get("idmap"):
        return _mount_overlay(entry) if entry["type"] == "overlay" else _mount_bound(entry)
    point = os.open(root_point(mounts, path), _DIRECTORY)
    shift.cover(entry["idmap"])
    tree = _mount_overlay(entry) if entry["type"] == "overlay" else _mount_bound(entry)
    m.move_mount(tree, point)
    os.close(point)
    m.umount2(entry["idmap"], m.MNT_DETACH)
    return tree


def _mount_bound(entry: dict[str, Any]) -> int:
    tree = m.open_tree(m.AT_FDCWD, entry["source"], m.OPEN_TREE_CLONE | m.AT_RECURSIVE)
    options = parse(entry.get("options") or ())
    set_attributes(tree, options.attr_set, options.attr_clr)
    point = os.open(entry["source"], _DIRECTORY)
    m.move_mount(tree, point)
    os.close(point)
    return tree


def _mount_overlay(entry: dict[str, Any]) -> int:
    """Layers may be named relative to ``chdir``, so that some hundreds of them fit the page mount(2) reads."""
    point = root_point([entry], "")
    os.chdir(point)
    options = parse(entry["options"])
    data = ",".join(key if value is None else f"{key}={value}" for key, value in options.data)
    if len(data) >= _PAGE:
        data = ",".join(key if value is None else f"{key}={value}" for key, value in _shorten(point, options.data))
    m.mount("overlay", point, "overlay", _flags(options.attr_set), data)
    tree = os.open(point, _DIRECTORY)  # the path again, now leading to what is mounted on it
    os.chdir("/")
    return tree


def _upper_directory(options: Sequence[str]) -> str:
    for option in options:
        key, _, value = option.partition("=")
        if key in ("upperdir", "lowerdir"):
            return os.path.dirname(value.partition(":")[0]) or "/"
    raise RuntimeFailure("the root mount has neither lowerdir nor upperdir")


def _shorten(point: str, data: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """The layers by numbers: links in a tmpfs nobody else sees, which becomes the working directory.

    ``lowerdir+`` of fsconfig(2) would do without, but only since Linux 6.8.
    """
    links = new_filesystem("tmpfs", "tmpfs", [("mode", "700")], 0)
    made: list[tuple[str, str | None]] = []
    for key, value in data:
        if key == "lowerdir" and value:
            layers = value.split(":")
            for number, layer in enumerate(layers):
                os.symlink(os.path.join(point, layer), str(number), dir_fd=links)
            value = ":".join(map(str, range(len(layers))))
        elif key in ("upperdir", "workdir") and value:
            value = os.path.join(point, value)
        made.append((key, value))
    os.fchdir(links)
    os.close(links)
    return made


def _flags(attributes: int) -> int:
    """MOUNT_ATTR_* as MS_* for the file systems mounted with mount(2)."""
    flags = attributes & (m.MS_RDONLY | m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC)
    if attributes & m.MOUNT_ATTR_NOATIME:
        flags |= m.MS_NOATIME
    return flags


def new_filesystem(fstype: str, source: str, data: Sequence[tuple[str, str | None]], attributes: int) -> int:
    """A detached mount of a new file system: fsopen, fsconfig..., fsmount."""
    context = m.fsopen(fstype)
    try:
        if source:
            m.fsconfig(context, "source", source)
        if attributes & m.MOUNT_ATTR_RDONLY and fstype not in ("cgroup2", "proc", "overlay"):
            m.fsconfig(context, "ro")
        for key, value in data:
            m.fsconfig(context, key, value)
        m.fscreate(context)
        return m.fsmount(context, attributes)
    finally:
        os.close(context)


def set_attributes(tree: int, attr_set: int, attr_clr: int, *, recursive: bool = False) -> None:
    """mount_setattr(2) on a descriptor; without it (before Linux 5.12) mount(2) of an attached, single mount."""
    if not attr_set and not attr_clr:
        return
    clear = attr_clr & ~attr_set
    if (attr_set | attr_clr) & m.MOUNT_ATTR__ATIME:
        clear |= m.MOUNT_ATTR__ATIME
    try:
        m.mount_setattr(tree, "", _REC if recursive else m.AT_EMPTY_PATH, attr_set=attr_set, attr_clr=clear)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        if recursive:
            raise RuntimeFailure("recursive mount attributes need Linux 5.12 or later") from None
        m.mount("", f"/proc/self/fd/{tree}", "", m.MS_REMOUNT | m.MS_BIND | _flags(attr_set))


def set_propagation(tree: int, values: Sequence[int]) -> None:
    """Propagation of an attached mount, in the given order."""
    for value in values:
        flags = m.AT_EMPTY_PATH | (m.AT_RECURSIVE if value & m.MS_REC else 0)
        try:
            m.mount_setattr(tree, "", flags, propagation=value & ~m.MS_REC)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            m.mount("", f"/proc/self/fd/{tree}", "", value)


def mount_all(tree: Tree, mounts: Sequence[dict[str, Any]]) -> None:
    """The OCI ``mounts`` in their order; errors name source and destination as runc words it."""
    for entry in mounts:
        try:
            mount_one(tree, entry)
        except OSError as error:
            text = os.strerror(error.errno or 0).lower()
            source, target = entry.get("source") or entry.get("type"), entry["destination"]
            raise RuntimeFailure(f'error mounting "{source}" to rootfs at "{target}": {text}') from None


def mount_one(tree: Tree, entry: dict[str, Any]) -> None:
    """One OCI mount."""
    options = parse(entry.get("options") or ())
    fstype, target = entry.get("type") or "", os.path.normpath("/" + entry["destination"].lstrip("/"))
    if options.bind or fstype == "bind":
        fd = _bind(tree, entry, target, options)
        tree.bound_dev |= target == "/dev"
    elif fstype == "cgroup" or (fstype == "cgroup2" and tree.group is not None):
        fd = _mount_cgroup(tree, target, options)
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
    clone = _source(entry, m.OPEN_TREE_CLONE | (m.AT_RECURSIVE if recursive else 0))
    _map_ids(tree, clone, entry, options)
    is_directory = stat.S_ISDIR(os.fstat(clone).st_mode)
    where = tree.root.directory(target) if is_directory else tree.root.file(target)
    tree.kernel.guard(clone, where, target)
    m.move_mount(clone, where)
    os.close(where)
    set_attributes(clone, options.attr_set, options.attr_clr)
    set_attributes(clone, options.rec_set, options.rec_clr, recursive=True)
    return clone


def _source(entry: dict[str, Any], flags: int) -> int:
    """A detached clone of what is to be bound; with the engine's key ``corten.subpath`` of a part of it.

    Containers write there: the part is looked up beneath the source and cloned by its descriptor, so that no link
    leads out of it, now or a moment later (CVE-2017-1002101, CVE-2021-25741, CVE-2024-21626).
    """
    inner = entry.get("corten.subpath")
    layers = entry.get("corten.layers")
    if layers:
        return _image(layers, entry["source"], inner or "")
    if not inner:
        return m.open_tree(m.AT_FDCWD, entry["source"], flags)
    top = os.open(entry["source"], _DIRECTORY)
    try:
        part = _part(top, inner, entry["source"])
    finally:
        os.close(top)
    try:
        return m.open_tree(part, "", flags | m.AT_EMPTY_PATH)
    finally:
        os.close(part)


def _part(top: int, inner: str, source: str) -> int:
    """``inner`` beneath the directory ``top``, which messages call ``source``."""
    try:
        return openat2(top, inner, os.O_PATH, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ELOOP):
            text = f'path concatenation escapes the base directory, base: "{source}", subpath: "{inner}"'
        else:
            text = f"cannot access path {source}/{inner}: {os.strerror(error.errno or 0).lower()}"
        raise RuntimeFailure(text) from None


def _image(layers: Sequence[str], source: str, inner: str) -> int:
    """A detached, read-only tree of an image, or of a part of it.

    It is attached for a moment on its own lowest layer, in our mount namespace: a part of a tree that is attached
    nowhere can be cloned only since Linux 6.15.
    """
    where = os.open(layers[-1], _DIRECTORY)
    try:
        if len(layers) == 1:  # overlayfs wants two
            tree = m.open_tree(where, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
        else:
            tree = new_filesystem("overlay", "overlay", _shorten("/", [("lowerdir", ":".join(layers))]), 0)
            os.chdir("/")
        set_attributes(tree, m.MOUNT_ATTR_RDONLY, 0)
        if not inner:
            return tree
        m.move_mount(tree, where)
        part = _part(tree, inner, source)
        clone = m.open_tree(part, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
        m.umount2(f"/proc/self/fd/{tree}", m.MNT_DETACH)
        os.close(part)
        os.close(tree)
        return clone
    finally:
        os.close(where)


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
    where = _plain_directory(tree, target, fstype)
    tree.kernel.guard(fd, where, target)
    m.move_mount(fd, where)
    os.close(where)
    return fd


def _plain_directory(tree: Tree, target: str, fstype: str) -> int:
    try:
        return tree.root.open_plain(target, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        os.close(tree.root.directory(target))
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise RuntimeFailure(f'filesystem "{fstype}" must be mounted on ordinary directory {target}') from None
    return _plain_directory(tree, target, fstype)


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
        m.mount(source, ".", fstype, _flags(attributes), text)
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


def _mount_cgroup(tree: Tree, target: str, options: MountOptions) -> int:
    """/sys/fs/cgroup: the group's own directories (v1), or one cgroup2 (the container's view of it)."""
    group = tree.group
    if group is None:
        raise RuntimeFailure(f"a cgroup mount at {target} needs linux.cgroupsPath")
    where = _plain_directory(tree, target, "cgroup")
    tree.kernel.guard(-1, where, target)
    if group.hierarchy.version == 2:
        fd = _cgroup2(tree, group, options)
        m.move_mount(fd, where)
        os.close(where)
        return fd
    writable = options.attr_set & ~m.MOUNT_ATTR_RDONLY
    top = new_filesystem("tmpfs", "tmpfs", [("mode", "755")], writable & ~m.MOUNT_ATTR_RDONLY)
    m.move_mount(top, where)
    os.close(where)
    for name, directory in group.hierarchy.mounts.items():
        os.mkdir(name, 0o755, dir_fd=top)
        inner = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
        fd = _cgroup1(tree, name, join(directory, group.path), options)
        m.move_mount(fd, inner)
        set_attributes(fd, options.attr_set, 0)
        os.close(fd)
        os.close(inner)
        for alias in name.split(",") if "," in name else ():
            os.symlink(name, alias, dir_fd=top)
    set_attributes(top, options.attr_set, 0)
    return top


def _cgroup1(tree: Tree, name: str, directory: str, options: MountOptions) -> int:
    if tree.cgroup_private:
        words = name.split(",")
        data: list[tuple[str, str | None]] = [(word, None) for word in words]
        if name in ("systemd", "elogind", "openrc"):
            data = [("none", None), ("name", name)]
        return new_filesystem("cgroup", "cgroup", data, options.attr_set & ~m.MOUNT_ATTR_RDONLY)
    return m.open_tree(m.AT_FDCWD, directory, m.OPEN_TREE_CLONE)


def _cgroup2(tree: Tree, group: Group, options: MountOptions) -> int:
    if tree.cgroup_private:
        try:
            return new_filesystem("cgroup2", "cgroup", [], options.attr_set)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBUSY):
                raise
    fd = m.open_tree(m.AT_FDCWD, join(group.hierarchy.unified, group.path), m.OPEN_TREE_CLONE)
    set_attributes(fd, options.attr_set, 0)
    return fd


def ensure_proc(tree: Tree) -> None:
    """A procfs descriptor even when the spec mounts none: for sysctls, limits and masks."""
    if tree.proc < 0:
        tree.proc = procfs.new(m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC)
