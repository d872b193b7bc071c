"""Which cgroup hierarchies this host has: version 2, version 1, or both (hybrid).

Owns the reading of mountinfo. Refuses to know groups and limits: those are :mod:`corten.cgroup.group`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

V1_CONTROLLERS: Final = (
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio", "perf_event",
    "hugetlb", "rdma", "misc",
)  # fmt: skip


class Hierarchy:
    """Where the hierarchies are mounted.

    ``version`` is 1 (also for hybrid) or 2. ``controllers``: name -> directory of its hierarchy (all the same on v2).
    ``mounts``: name shown under /sys/fs/cgroup ("cpu,cpuacct", "systemd") -> directory, v1 only. ``unified``: the v2
    hierarchy's directory, "" when there is none.
    """

    __slots__ = ("controllers", "mounts", "unified", "version")

    def __init__(self, version: int, controllers: Mapping[str, str], mounts: Mapping[str, str], unified: str) -> None:
        self.version = version
        self.controllers = controllers
        self.mounts = mounts
        self.unified = unified

    def directories(self, path: str) -> list[str]:
        """The directories of group ``path`` ("/corten/ID"), one for each hierarchy, v2 last."""
        tops = list(dict.fromkeys(self.mounts.values()))
        if self.unified:
            tops.append(self.unified)
        return [join(top, path) for top in tops]


def join(top: str, path: str) -> str:
    """``path`` below ``top``; refuses a path that climbs."""
    if ".." in path.split("/"):
        raise ValueError(f"cgroup path {path!r} must not contain '..'")
    return f"{top}/{path.strip('/')}"


def detect() -> Hierarchy:
    """Read this process's mountinfo. Costs about 0.2 ms: call it once and keep the answer."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read())


def parse(mountinfo: str) -> Hierarchy:
    """The hierarchies in a mountinfo text (proc_pid_mountinfo(5)); the first mount of each counts."""
    controllers: dict[str, str] = {}
    mounts: dict[str, str] = {}
    unified = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, rest = right.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        point = left.split(" ")[4]
        if kind == "cgroup2":
            unified = unified or point
            continue
        options = rest.rpartition(" ")[2].split(",")
        names = [option.removeprefix("name=") for option in options if _names_hierarchy(option)]
        key = ",".join(names)
        if names and key not in mounts:
            mounts[key] = point
            for name in names:
                controllers.setdefault(name, point)
    if mounts:
        return Hierarchy(1, controllers, mounts, unified)
    return Hierarchy(2, dict.fromkeys(_v2_controllers(unified), unified), {}, unified)


def _names_hierarchy(option: str) -> bool:
    return option in V1_CONTROLLERS or option.startswith("name=")


def _v2_controllers(unified: str) -> list[str]:
    if not unified:
        return []
    try:
        with open(os.path.join(unified, "cgroup.controllers"), encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []
