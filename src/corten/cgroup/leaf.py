"""A leaf for the processes of a cgroup namespace's root, so that the root may hand controllers to groups of containers.

An engine that runs in a container sits in the very group below which it makes others, and cgroup v2 lets a group with
processes hand nothing down. The kernel's real root is exempt and never comes here.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_NAME: Final = "init"
_PASSES: Final = 5


def is_inner(top: str) -> bool:
    """Whether it is a group as every other, and the root of a namespace only; the kernel's root has no type."""
    return os.path.exists(f"{top}/cgroup.type")


def vacate(top: str) -> bool:
    """Move every process of ``top`` into its child "init", if the caller itself is in ``top``; whether it is empty now.

    A process may be born during a pass, so there are several.
    """
    if not _holds_caller():
        return False
    leaf = f"{top}/{_NAME}"
    try:
        os.makedirs(leaf, exist_ok=True)
        for _ in range(_PASSES):
            pids = _processes(top)
            if not pids:
                return True
            for pid in pids:
                _move(leaf, pid)
    except OSError:
        return False
    return False


def _holds_caller() -> bool:
    with open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
        return any(line.rstrip() == "0::/" for line in file)


def _processes(directory: str) -> list[int]:
    """The group's processes; those outside of our pid namespace are shown as 0 and are not ours to move."""
    with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
        return [pid for pid in map(int, file) if pid]


def _move(directory: str, pid: int) -> None:
    fd = os.open(f"{directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(pid).encode())
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise
    finally:
        os.close(fd)
