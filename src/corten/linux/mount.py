"""Mounts: mount(2), umount2(2), pivot_root(2) and the descriptor based calls of Linux 5.2 and later.

One function per system call, named after it. Knows no option strings and no policy.
"""

from __future__ import annotations

import struct

from corten.linux.syscall import call, zeroed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
AT_SYMLINK_NOFOLLOW: Final = 0x100

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_SYNCHRONOUS: Final = 16
MS_REMOUNT: Final = 32
MS_MANDLOCK: Final = 64
MS_DIRSYNC: Final = 128
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21
MS_STRICTATIME: Final = 1 << 24

MNT_DETACH: Final = 2

OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = 0o2000000
FSOPEN_CLOEXEC: Final = 1
FSMOUNT_CLOEXEC: Final = 1
FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_CMD_CREATE: Final = 6
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR__ATIME: Final = 0x70
MOUNT_ATTR_RELATIME: Final = 0x0
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x200000
MOUNT_ATTR_IDMAP: Final = 0x100000


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """mount(2). ``data`` must fit a page."""
    options = zeroed(data) if data else None
    call("mount", zeroed(source), zeroed(target), zeroed(fstype), flags, options, operand=target)


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    call("umount2", zeroed(target), flags, operand=target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root mount of the caller's mount namespace: pivot_root(2).

    ``put_old`` may equal ``new_root`` (pivot_root(2), NOTES); the old root is then stacked on the new one and must be
    detached with :func:`umount2`.
    """
    call("pivot_root", zeroed(new_root), zeroed(put_old), operand=new_root)


def open_tree(directory: int, path: str, flags: int) -> int:
    """open_tree(2), since Linux 5.2: with OPEN_TREE_CLONE a detached copy of the mount at ``path``."""
    return call("open_tree", directory, zeroed(path), flags | OPEN_TREE_CLOEXEC, operand=path)


def move_mount(source: int, target: int, name: str = "") -> None:
    """move_mount(2), since Linux 5.2: attach the mount behind descriptor ``source`` on descriptor ``target``, or on
    ``name`` in it."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if name else MOVE_MOUNT_T_EMPTY_PATH)
    call("move_mount", source, b"", target, zeroed(name), flags)


def fsopen(fstype: str) -> int:
    """fsopen(2), since Linux 5.2: a descriptor on which a file system is configured."""
    return call("fsopen", zeroed(fstype), FSOPEN_CLOEXEC, operand=fstype)


def fsconfig(context: int, key: str, value: str | None = None) -> None:
    """fsconfig(2): set one option (a flag when ``value`` is None). The kernel refuses values over 255 bytes."""
    if value is None:
        call("fsconfig", context, FSCONFIG_SET_FLAG, zeroed(key), None, 0, operand=key)
    else:
        call("fsconfig", context, FSCONFIG_SET_STRING, zeroed(key), zeroed(value), 0, operand=f"{key}={value}")


def fscreate(context: int) -> None:
    """fsconfig(2) with FSCONFIG_CMD_CREATE: make the superblock."""
    call("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(context: int, attributes: int) -> int:
    """fsmount(2): a descriptor on a new, detached mount with MOUNT_ATTR_* ``attributes``."""
    return call("fsmount", context, FSMOUNT_CLOEXEC, attributes)


def mount_setattr(directory: int, path: str, flags: int, *, attr_set: int = 0, attr_clr: int = 0,
                  propagation: int = 0, userns: int = 0) -> None:  # fmt: skip
    """mount_setattr(2), since Linux 5.12; with AT_RECURSIVE for a whole tree.

    ``userns`` is a descriptor of the user namespace whose maps MOUNT_ATTR_IDMAP applies; the mount must be detached.
    """
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, propagation, userns)
    call("mount_setattr", directory, zeroed(path), flags, attributes, len(attributes), operand=path)
