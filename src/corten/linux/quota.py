"""Project quotas: directories that count together, and a limit for each (quotactl(2), linux/dqblk_xfs.h).

The file system is named by a descriptor on it: quotactl_fd(2), since Linux 5.14. Knows no containers.
"""

from __future__ import annotations

import ctypes
import fcntl
import struct

from corten.linux.syscall import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_PROJECT: Final = 2  # PRJQUOTA
_SET_LIMIT: Final = (ord("X") << 8 | 4) << 8 | _PROJECT  # QCMD(Q_XSETQLIM, PRJQUOTA)
_GET_LIMIT: Final = (ord("X") << 8 | 3) << 8 | _PROJECT  # QCMD(Q_XGETQUOTA, PRJQUOTA)
_GET_STATE: Final = (ord("X") << 8 | 5) << 8 | _PROJECT  # QCMD(Q_XGETQSTAT, PRJQUOTA)
_COUNTED_AND_ENFORCED: Final = 1 << 4 | 1 << 5  # FS_QUOTA_PDQ_ACCT, FS_QUOTA_PDQ_ENFD
_STATE_SIZE: Final = 128  # struct fs_quota_stat is 80, struct statfs 120
_STATE: Final = struct.Struct("=bxH")
# struct fs_disk_quota: version, flags, fields, id, hard and soft limit in blocks of 512 bytes; the rest is zero.
_LIMIT: Final = struct.Struct("=bbHIQQ88x")
_VERSION: Final = 1
_IS_PROJECT: Final = 1 << 1
_BOTH_LIMITS: Final = 1 << 2 | 1 << 3  # FS_DQ_BSOFT, FS_DQ_BHARD
_BLOCK: Final = 512

_XFS: Final = 0x58465342  # linux/magic.h
_FSXATTR: Final = struct.Struct("=IIIII8x")  # flags, extent size, extents, project, extent size of copies
_GET_ATTRIBUTES: Final = 0x801C581F  # FS_IOC_FSGETXATTR: _IOR('X', 31, struct fsxattr)
_SET_ATTRIBUTES: Final = 0x401C5820  # FS_IOC_FSSETXATTR: _IOW('X', 32, struct fsxattr)
_INHERIT: Final = 0x200  # FS_XFLAG_PROJINHERIT


def limits_projects(directory: int) -> bool:
    """Whether the directory's file system counts the space of projects and refuses what is over their limits.

    Only XFS refuses everybody: ext4 lets those pass who have CAP_SYS_RESOURCE, and overlayfs writes as who mounted it.
    """
    state = bytearray(_STATE_SIZE)
    try:
        call("fstatfs", directory, _pointer(state))
        if struct.unpack_from("=q", state)[0] != _XFS:
            return False
        call("quotactl_fd", directory, _GET_STATE, 0, _pointer(state))
    except OSError:
        return False  # no quotas in this kernel, in this file system or at this mount; or no such call
    flags: int = _STATE.unpack_from(state)[1]
    return flags & _COUNTED_AND_ENFORCED == _COUNTED_AND_ENFORCED


def project(directory: int) -> int:
    """The project a directory belongs to, 0 for none."""
    found: int = _FSXATTR.unpack(_attributes(directory))[3]
    return found


def set_project(directory: int, number: int) -> None:
    """Make an empty directory, and everything that will be made in it, belong to a project."""
    flags, size, extents, _, copied = _FSXATTR.unpack(_attributes(directory))
    fcntl.ioctl(directory, _SET_ATTRIBUTES, _FSXATTR.pack(flags | _INHERIT, size, extents, number, copied))


def set_limit(directory: int, number: int, size: int) -> None:
    """Give a project of the directory's file system no more than ``size`` bytes; 0 takes a limit away."""
    call("quotactl_fd", directory, _SET_LIMIT, number, _pointer(encode_limit(number, size)))


def limit(directory: int, number: int) -> int:
    """The limit of a project in bytes; 0 for none."""
    buffer = bytearray(_LIMIT.size)
    call("quotactl_fd", directory, _GET_LIMIT, number, _pointer(buffer))
    return int(_LIMIT.unpack(buffer)[4]) * _BLOCK


def encode_limit(number: int, size: int) -> bytearray:
    """``struct fs_disk_quota`` that sets both limits of a project."""
    blocks = -(-size // _BLOCK)
    return bytearray(_LIMIT.pack(_VERSION, _IS_PROJECT, _BOTH_LIMITS, number, blocks, blocks))


def _attributes(directory: int) -> bytes:
    return fcntl.ioctl(directory, _GET_ATTRIBUTES, bytes(_FSXATTR.size))


def _pointer(buffer: bytearray) -> object:
    return (ctypes.c_char * len(buffer)).from_buffer(buffer)
