"""The root under construction: what every step that mounts something in it shares."""

from __future__ import annotations

import errno
import os

from corten.errors import RuntimeFailure
from corten.linux.path import Root
from corten.runtime.kernelfs import KernelMounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cgroup.group import Group
    from corten.runtime.shift import Shift


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


def plain_directory(tree: Tree, target: str, fstype: str) -> int:
    """A descriptor of ``target``, made when missing; refused when a link is on the way (CVE-2019-19921)."""
    try:
        return tree.root.open_plain(target, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        os.close(tree.root.directory(target))
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise RuntimeFailure(f'filesystem "{fstype}" must be mounted on ordinary directory {target}') from None
    return plain_directory(tree, target, fstype)
