"""Device nodes, the console, masked and read-only paths: what goes on top of the mounts.

Nodes are made below the descriptor of the container's own /dev, so an image that ships /dev as a link gains nothing
(CVE-2026-41579). A masked file is covered with the null device after its type and number were read from the very
descriptor that is mounted (CVE-2025-31133); the console comes from the pty's own descriptor (CVE-2025-52565).
"""

from __future__ import annotations

import os
import stat

from corten.errors import RuntimeFailure
from corten.linux import mount as m
from corten.linux import terminal
from corten.linux.path import Root
from corten.runtime.detached import new_filesystem, set_attributes
from corten.runtime.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Final

# runtime-spec, config-linux.md "Default Devices"
_DEFAULT: Final = (
    ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
)  # fmt: skip
_LINKS: Final = (
    ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)  # fmt: skip
_KINDS: Final[Mapping[str, int]] = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_NULL: Final = os.makedev(1, 3)
_NO_NULL: Final = "/dev/null of the container is not the null device: paths cannot be masked"


def populate(tree: Tree, devices: Sequence[dict[str, Any]]) -> None:
    """The default devices and links, and those of OCI ``linux.devices``. The caller's umask must be 0."""
    if tree.bound_dev:
        return
    dev = tree.dev if tree.dev >= 0 else tree.root.directory("/dev")
    for name, major, minor in _DEFAULT:
        _node(dev, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for device in devices:
        _from_spec(tree, dev, device)
    for name, target in _LINKS:
        _link(dev, name, target)
    if os.access("/proc/kcore", os.F_OK):
        _link(dev, "core", "/proc/kcore")
    _link(dev, "ptmx", "pts/ptmx")
    if tree.dev < 0:
        tree.dev = dev


def _from_spec(tree: Tree, dev: int, device: dict[str, Any]) -> None:
    kind = device.get("type") or ""
    if kind not in _KINDS:
        raise RuntimeFailure(f"linux.devices: unknown type {kind!r} of {device.get('path')}")
    path = os.path.normpath(device["path"])
    root, inside = (Root(dev), path[5:]) if path.startswith("/dev/") else (tree.root, path)
    if inside == "ptmx" and path.startswith("/dev/"):
        return
    directory, _, name = inside.rpartition("/")
    parent = root.directory(directory or ".")
    mode = device.get("fileMode")
    number = os.makedev(device.get("major") or 0, device.get("minor") or 0)
    _node(parent, name, _KINDS[kind] | (0o666 if mode is None else stat.S_IMODE(mode)), number)
    if device.get("uid") or device.get("gid"):
        uid, gid = device.get("uid") or 0, device.get("gid") or 0
        if tree.shift is not None:  # "in the container namespace", runtime-spec
            uid, gid = tree.shift.maps.uid(uid), tree.shift.maps.gid(gid)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
    os.close(parent)


def _node(parent: int, name: str, mode: int, number: int) -> None:
    for _ in range(2):
        try:
            os.mknod(name, mode, number, dir_fd=parent)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_IFMT(found.st_mode) == stat.S_IFMT(mode) and found.st_rdev == number:
                return
            os.unlink(name, dir_fd=parent)
        else:
            return
    raise RuntimeFailure(f"device {name} of the container's /dev is being replaced by something else")


def _link(parent: int, name: str, target: str) -> None:
    try:
        os.symlink(target, name, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode) and os.readlink(name, dir_fd=parent) == target:
            return
        os.unlink(name, dir_fd=parent)
        os.symlink(target, name, dir_fd=parent)


def open_console(tree: Tree, size: Mapping[str, int] | None) -> tuple[int, int]:
    """``(master, slave)`` on the container's devpts, the slave bound on /dev/console."""
    if tree.devpts < 0:
        raise RuntimeFailure("process.terminal needs a devpts mount at /dev/pts")
    master, slave = terminal.open_pair(tree.devpts)
    if size and (size.get("height") or size.get("width")):
        terminal.set_size(slave, size.get("height") or 0, size.get("width") or 0)
    if tree.dev >= 0:
        flags = os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            os.close(os.open("console", flags | os.O_EXCL, 0o600, dir_fd=tree.dev))
        except FileExistsError:
            pass
        point = os.open("console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree.dev)
        if stat.S_ISLNK(os.fstat(point).st_mode):
            raise RuntimeFailure("/dev/console of the container is a link")
        clone = m.open_tree(slave, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
        m.move_mount(clone, point)
        os.close(clone)
        os.close(point)
    return master, slave


def protect(tree: Tree, masked: Iterable[str], readonly: Iterable[str]) -> None:
    """OCI ``linux.readonlyPaths``, then ``maskedPaths``; what does not exist is skipped."""
    for path in readonly:
        fd = tree.kernel.find(tree.root, path)
        if fd >= 0:
            clone = m.open_tree(fd, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH | m.AT_RECURSIVE)
            m.move_mount(clone, fd)
            set_attributes(clone, m.MOUNT_ATTR_RDONLY, 0)
            os.close(clone)
            os.close(fd)
    null = empty = -1
    for path in masked:
        fd = tree.kernel.find(tree.root, path)
        if fd < 0:
            continue
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            if empty < 0:
                empty = new_filesystem("tmpfs", "tmpfs", [], m.MOUNT_ATTR_RDONLY)
                m.move_mount(empty, fd)
            else:
                _cover(empty, fd)
        else:
            null = null if null >= 0 else _null_device(tree)
            _cover(null, fd)
        os.close(fd)
    for fd in (null, empty):
        if fd >= 0:
            os.close(fd)


def _cover(source: int, target: int) -> None:
    clone = m.open_tree(source, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
    m.move_mount(clone, target)
    os.close(clone)


def _null_device(tree: Tree) -> int:
    """A descriptor of the container's own /dev/null that is one, whatever its name leads to by now."""
    try:
        if tree.dev >= 0:
            fd = os.open("null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree.dev)
        else:
            fd = tree.root.open("/dev/null")
    except OSError:
        raise RuntimeFailure(_NO_NULL) from None
    status = os.fstat(fd)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _NULL:
        os.close(fd)
        raise RuntimeFailure(_NO_NULL)
    return fd
