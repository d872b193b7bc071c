"""Which cgroup hierarchies this host has: version 2, version 1, or both (hybrid); and their small files.

Owns the reading of mountinfo. Refuses to know groups and limits: those are :mod:`corten.cgroup.group`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

V1_CONTROLLERS: Final = (
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio", "perf_event",
    "hugetlb", "rdma", "misc",
)  # fmt: skip
_PIECE: Final = 1 << 16
_USUAL: Final = "/sys/fs/cgroup"


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


def write(file: str, value: str) -> None:
    """One write(2) of ``value``: the kernel takes a setting whole or not at all."""
    write_each(file, (value,))


def write_each(file: str, values: Iterable[str]) -> None:
    """One write(2) for every value, in a file that takes one setting at a time."""
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for value in values:
            os.write(fd, value.encode())
    finally:
        os.close(fd)


def read(file: str) -> str:
    """The file's text, "" when it is not there (any more)."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = b""
            while piece := os.read(fd, _PIECE):
                text += piece
            return text.decode("ascii", "replace")
        finally:
            os.close(fd)
    except OSError:
        return ""


def detect() -> Hierarchy:
    """Read this process's mountinfo. Costs about 0.2 ms: call it once and keep the answer."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read())


def parse(mountinfo: str) -> Hierarchy:
    """The hierarchies in a mountinfo text (proc_pid_mountinfo(5)).

    The first mount of each counts, one below /sys/fs/cgroup before any other. Version 2 is what is mounted on
    /sys/fs/cgroup itself, or what is there when no v1 hierarchy has a controller: some hosts of version 2 carry a named
    v1 hierarchy for the old systemd of a container.
    """
    controllers: dict[str, str] = {}
    mounts: dict[str, str] = {}
    unified = ""
    for kind, point, options in sorted(_mounts(mountinfo), key=_elsewhere):
        if kind == "cgroup2":
            unified = unified or point
            continue
        names = [option.removeprefix("name=") for option in options.split(",") if _names_hierarchy(option)]
        key = ",".join(names)
        if names and key not in mounts:
            mounts[key] = point
            for name in names:
                controllers.setdefault(name, point)
    if unified == _USUAL or not any(name in V1_CONTROLLERS for name in controllers):
        return Hierarchy(2, dict.fromkeys(_v2_controllers(unified), unified), {}, unified)
    return Hierarchy(1, controllers, mounts, unified)


def _mounts(mountinfo: str) -> list[tuple[str, str, str]]:
    """``(file system, mount point, super options)`` of every cgroup mount."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, rest = right.partition(" ")
        if kind in ("cgroup", "cgroup2"):
            found.append((kind, _unescape(left.split(" ")[4]), rest.rpartition(" ")[2]))
    return found


def _elsewhere(mount: tuple[str, str, str]) -> bool:
    return not (mount[1] == _USUAL or mount[1].startswith(f"{_USUAL}/"))


def _unescape(field: str) -> str:
    """mountinfo writes blank, tab, newline and backslash as three octal digits."""
    for escape, letter in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(escape, letter)
    return field


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
