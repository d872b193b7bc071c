"""What decides when a process runs and its input and output is served: sched_setattr(2), ioprio_set(2), personality(2).

Owns the names of linux/sched.h and linux/ioprio.h. Knows no document.
"""

from __future__ import annotations

import struct

from corten.linux.syscall import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

POLICIES: Final[Mapping[str, int]] = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS: Final[Mapping[str, int]] = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES: Final[Mapping[str, int]] = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
PERSONALITIES: Final[Mapping[str, int]] = {"LINUX": 0x0, "LINUX32": 0x8}

_ATTR_SIZE: Final = 48  # struct sched_attr, SCHED_ATTR_SIZE_VER0
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_CLASS_SHIFT: Final = 13


def sched_setattr(policy: int, *, flags: int = 0, nice: int = 0, priority: int = 0, runtime: int = 0,
                  deadline: int = 0, period: int = 0) -> None:  # fmt: skip
    """sched_setattr(2) for the calling thread; times in nanoseconds, for SCHED_DEADLINE."""
    attributes = struct.pack("=IIQiIQQQ", _ATTR_SIZE, policy, flags, nice, priority, runtime, deadline, period)
    call("sched_setattr", 0, attributes, 0)


def ioprio_set(kind: int, priority: int) -> None:
    """ioprio_set(2) for the calling thread."""
    call("ioprio_set", _IOPRIO_WHO_PROCESS, 0, kind << _IOPRIO_CLASS_SHIFT | priority)


def personality(persona: int) -> None:
    """personality(2) for the calling process."""
    call("personality", persona)
