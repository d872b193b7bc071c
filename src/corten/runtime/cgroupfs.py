"""/sys/fs/cgroup of a container: the group's own directories (v1), or its view of one cgroup2."""

from __future__ import annotations

import errno
import os

from corten.cgroup.hierarchy import join
from corten.errors import RuntimeFailure
from corten.linux import mount as m
from corten.runtime.detached import new_filesystem, set_attributes
from corten.runtime.tree import plain_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.cgroup.group import Group
    from corten.runtime.options import MountOptions
    from corten.runtime.tree import Tree


def mount_cgroup(tree: Tree, target: str, options: MountOptions) -> int:
    """/sys/fs/cgroup: the group's own directories (v1), or one cgroup2 (the container's view of it)."""
    group = tree.group
    if group is None:
        raise RuntimeFailure(f"a cgroup mount at {target} needs linux.cgroupsPath")
    where = plain_directory(tree, target, "cgroup")
    tree.kernel.guard(-1, where, target)
    if group.hierarchy.version == 2:
        fd = _cgroup2(tree, group, options)
        m.move_mount(fd, where)
        os.close(where)
        return fd
    top = new_filesystem("tmpfs", "tmpfs", [("mode", "755")], options.attr_set & ~m.MOUNT_ATTR_RDONLY)
    m.move_mount(top, where)
    os.close(where)
    parts = []
    for name, directory in group.hierarchy.mounts.items():
        os.mkdir(name, 0o755, dir_fd=top)
        parts.append(_cgroup1(tree, name, join(directory, group.path), options))
        m.move_mount(parts[-1], top, name)
        for alias in name.split(",") if "," in name else ():
            os.symlink(name, alias, dir_fd=top)
    _set_attributes(top, parts, options.attr_set)
    for fd in parts:
        os.close(fd)
    return top


def _set_attributes(top: int, parts: Sequence[int], attributes: int) -> None:
    try:
        set_attributes(top, attributes, 0, recursive=True)
    except RuntimeFailure:  # before Linux 5.12 each one alone
        for fd in (*parts, top):
            set_attributes(fd, attributes, 0)


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
