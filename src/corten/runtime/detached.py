"""Mounts made detached (fsopen(2), fsmount(2)), known by their descriptors alone, and the attributes of mounts.

Their own descriptors are known and no path is resolved twice.
"""

from __future__ import annotations

import errno
import os

from corten.errors import RuntimeFailure
from corten.linux import mount as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

_REC: Final = m.AT_EMPTY_PATH | m.AT_RECURSIVE


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
        m.mount("", f"/proc/self/fd/{tree}", "", m.MS_REMOUNT | m.MS_BIND | mount_flags(attr_set))


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


def mount_flags(attributes: int) -> int:
    """MOUNT_ATTR_* as MS_* for the file systems mounted with mount(2)."""
    flags = attributes & (m.MS_RDONLY | m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC)
    if attributes & m.MOUNT_ATTR_NOATIME:
        flags |= m.MS_NOATIME
    return flags
