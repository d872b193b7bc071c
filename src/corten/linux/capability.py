"""Capabilities: their names (linux/capability.h) and the calls that set them. Knows no default set."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from corten.linux.process import prctl, set_file_ids
from corten.linux.syscall import attempt, call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

NAMES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
BITS: Final[Mapping[str, int]] = {f"CAP_{name}": bit for bit, name in enumerate(NAMES)}
MASKS: Final[Mapping[str, int]] = {name: 1 << bit for name, bit in BITS.items()}

_VERSION_3: Final = 0x20080522
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_CAP_AMBIENT: Final = 47
_AMBIENT_RAISE: Final = 2
_AMBIENT_CLEAR_ALL: Final = 4


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for the calling thread."""
    header = struct.pack("=Ii", _VERSION_3, 0)
    low = 0xFFFFFFFF
    data = struct.pack(
        "=6I",
        effective & low, permitted & low, inheritable & low, effective >> 32, permitted >> 32, inheritable >> 32,
    )  # fmt: skip
    call("capset", header, data)


def capget() -> tuple[int, int, int]:
    """capget(2) for the calling thread: ``(effective, permitted, inheritable)``."""
    data = ctypes.create_string_buffer(24)
    call("capget", struct.pack("=Ii", _VERSION_3, 0), data)
    low = struct.unpack("=6I", data.raw)
    return low[0] | low[3] << 32, low[1] | low[4] << 32, low[2] | low[5] << 32


def make_files_as(uid: int, gid: int) -> None:
    """From now on the calling thread makes files as ``uid`` and ``gid``, with all the capabilities it is permitted.

    Leaving uid 0 costs those that concern files (capabilities(7), "Effect of user ID changes"), so they are set again.
    """
    set_file_ids(uid, gid)
    _, permitted, inheritable = capget()
    capset(permitted, permitted, inheritable)


def bounding_has(bit: int) -> bool:
    """Whether the bounding set holds capability ``bit``; False for one this kernel does not know."""
    try:
        return prctl(_PR_CAPBSET_READ, bit) == 1
    except OSError:
        return False


def bounding_drop(bit: int) -> bool:
    """prctl(2) PR_CAPBSET_DROP; False past the last capability this kernel has."""
    failure = -attempt("prctl", _PR_CAPBSET_DROP, bit, 0, 0, 0)
    if failure == errno.EINVAL:
        return False
    if failure:
        raise OSError(failure, f"prctl: {os.strerror(failure)}")
    return True


def ambient_clear() -> None:
    """prctl(2) PR_CAP_AMBIENT_CLEAR_ALL."""
    prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)


def ambient_raise(bit: int) -> None:
    """prctl(2) PR_CAP_AMBIENT_RAISE: the capability must be permitted and inheritable."""
    prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, bit)
