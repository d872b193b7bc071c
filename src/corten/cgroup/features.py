"""Which limits this host's kernel can put in force: read from the files its hierarchies offer.

Some files are in no hierarchy's root, and on v2 none is where the root hands nothing down, so that a group has to be
looked at: the one given, which is made for the moment when it is not there. Refuses to know what follows from a lack.
"""

from __future__ import annotations

import os

from corten.cgroup.group import Group
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cgroup.hierarchy import Hierarchy

# Feature -> (controller, one of the files it needs). Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
_V1: Final = {
    "memory": ("memory", ("memory.limit_in_bytes",)),
    "swap": ("memory", ("memory.memsw.limit_in_bytes",)),
    "memory_reservation": ("memory", ("memory.soft_limit_in_bytes",)),
    "oom_kill_disable": ("memory", ("memory.oom_control",)),
    "swappiness": ("memory", ("memory.swappiness",)),
    "cpu_shares": ("cpu", ("cpu.shares",)),
    "cpu_cfs": ("cpu", ("cpu.cfs_quota_us",)),
    "cpu_realtime": ("cpu", ("cpu.rt_runtime_us",)),
    "cpuset": ("cpuset", ("cpuset.cpus",)),
    "pids": ("pids", ("pids.max",)),
    "block_weight": ("blkio", ("blkio.weight", "blkio.bfq.weight")),
    "block_weight_device": ("blkio", ("blkio.weight_device", "blkio.bfq.weight_device")),
    "read_bps": ("blkio", ("blkio.throttle.read_bps_device",)),
    "write_bps": ("blkio", ("blkio.throttle.write_bps_device",)),
    "read_iops": ("blkio", ("blkio.throttle.read_iops_device",)),
    "write_iops": ("blkio", ("blkio.throttle.write_iops_device",)),
}
_V2: Final = {
    "memory": ("memory", ("memory.max",)),
    "swap": ("memory", ("memory.swap.max",)),
    "memory_reservation": ("memory", ("memory.low",)),
    "cpu_shares": ("cpu", ("cpu.weight",)),
    "cpu_cfs": ("cpu", ("cpu.max",)),
    "cpuset": ("cpuset", ("cpuset.cpus",)),
    "pids": ("pids", ("pids.max",)),
    "block_weight": ("io", ("io.weight", "io.bfq.weight")),
    "block_weight_device": ("io", ("io.weight", "io.bfq.weight")),
    "read_bps": ("io", ("io.max",)),
    "write_bps": ("io", ("io.max",)),
    "read_iops": ("io", ("io.max",)),
    "write_iops": ("io", ("io.max",)),
}


def detect(hierarchy: Hierarchy, path: str) -> frozenset[str]:
    """Names out of the tables above; ``path`` is a group that may be looked at or, for a moment, made."""
    group = Group(hierarchy, path)
    existed = group.exists()
    try:
        group = Group.create(hierarchy, path, {})
    except (OSError, CortenError):
        pass  # a host that lets us make no group: what its roots offer is all there is to see
    table = _V1 if hierarchy.version == 1 else _V2
    found = {feature for feature, (controller, files) in table.items() if _offers(group, controller, files)}
    if not existed:
        try:
            group.delete()
        except OSError:
            pass  # a container was started in it meanwhile
    return frozenset(found)


def _offers(group: Group, controller: str, files: tuple[str, ...]) -> bool:
    places = (group.directory(controller), group.hierarchy.controllers.get(controller, ""))
    return any(os.path.exists(f"{place}/{file}") for place in places if place for file in files)
