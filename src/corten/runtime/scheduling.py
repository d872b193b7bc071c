"""OCI ``process.scheduler``, ``ioPriority`` and ``execCPUAffinity``, and ``linux.personality``, put in force for the
calling process. What they may hold was checked by :mod:`corten.oci.runtime`.
"""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.linux import scheduling
from corten.oci.runtime import cpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_CPU_SETSIZE: Final = 1024  # CPU_SET(3); the kernel leaves out what is not there


def apply(process: dict[str, Any], personality: str) -> None:
    """All but the CPU affinity, which belongs to the moments around joining the cgroup."""
    if personality:
        scheduling.personality(scheduling.PERSONALITIES[personality])
    if scheduler := process.get("scheduler"):
        flags = sum(scheduling.FLAGS[name] for name in set(scheduler.get("flags") or ()))
        names = ("nice", "priority", "runtime", "deadline", "period")
        values = {name: scheduler.get(name) or 0 for name in names}
        try:
            scheduling.sched_setattr(scheduling.POLICIES[scheduler["policy"]], flags=flags, **values)
        except OSError as error:
            raise _failure("scheduler", error) from None
    if priority := process.get("ioPriority"):
        try:
            scheduling.ioprio_set(scheduling.IO_CLASSES[priority["class"]], priority.get("priority") or 0)
        except OSError as error:
            raise _failure("ioPriority", error) from None


def set_affinity(process: dict[str, Any], moment: str) -> None:
    """``moment``: "initial", before the cgroup is joined, or "final", afterwards. Only for an exec.

    Without a final one the process gets what its cpuset allows: by itself only before Linux 6.2, which does not
    remember what a process once asked for.
    """
    affinity = process.get("execCPUAffinity") or {}
    wanted = cpus(affinity.get(moment) or "", f"process.execCPUAffinity.{moment}")
    if not wanted and moment == "final" and affinity.get("initial"):
        wanted = set(range(_CPU_SETSIZE))
    if not wanted:
        return
    try:
        os.sched_setaffinity(0, wanted)
    except OSError as error:
        raise _failure(f"execCPUAffinity.{moment}", error) from None


def _failure(field: str, error: OSError) -> RuntimeFailure:
    return RuntimeFailure(f"process.{field} cannot be set: {os.strerror(error.errno or 0).lower()}")
