"""Where procfs and sysfs are in a container under construction: what is masked is found there, and nothing is mounted
inside of procfs.

By the time paths are masked the image may have exchanged its /proc for a link, and the real one would be bare under the
other name (CVE-2019-19921, CVE-2023-27561): so what lies on these mounts is looked up from their own descriptors. A
mount inside of procfs could hide what a runtime writes (CVE-2023-28642) or show the program a false kernel.
"""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.linux.path import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_ROOT_INODE: Final = 1  # PROC_ROOT_INO, fs/proc/root.c
# What LXCFS and the like put their own values on; the list is runc's.
_COVERABLE: Final = frozenset({
    "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg",
    "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
})  # fmt: skip


class KernelMounts:
    """The mounts of procfs and sysfs so far, each with a descriptor of its own."""

    __slots__ = ("_devices", "_points")

    def __init__(self) -> None:
        self._points: dict[str, int] = {}
        self._devices = {os.stat("/proc").st_dev}

    def note(self, target: str, fstype: str, mount: int) -> None:
        """Something was mounted on ``target``; ``mount`` is its descriptor."""
        if target in self._points:
            os.close(self._points.pop(target))
        if fstype in ("proc", "sysfs"):
            self._points[target] = os.dup(mount)
        if fstype == "proc":
            self._devices.add(os.fstat(mount).st_dev)

    def guard(self, mount: int, where: int, target: str) -> None:
        """Refuse ``where`` as a mount point when it lies inside of a procfs; its top takes another procfs only."""
        status = os.fstat(where)
        if status.st_dev not in self._devices or target in _COVERABLE:
            return
        if status.st_ino != _ROOT_INODE:
            raise RuntimeFailure(f'"{target}" cannot be mounted because it is inside /proc')
        if mount < 0 or os.fstat(mount).st_dev not in self._devices:
            raise RuntimeFailure(f'"{target}" cannot be mounted because it is not of type proc')

    def find(self, root: Root, path: str) -> int:
        """A descriptor of what the container will find at absolute ``path``, -1 when it will find nothing."""
        path = os.path.normpath(path)
        for point in sorted(self._points, key=len, reverse=True):
            if path.startswith(f"{point}/"):
                return Root(self._points[point]).find(path[len(point) + 1 :])
        return root.find(path)
