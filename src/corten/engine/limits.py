"""What this host can limit, for the checks of requests and for ``info``: read once, when the engine comes up."""

import os
from collections.abc import Collection
from typing import Final

from corten.cgroup import features
from corten.cgroup.hierarchy import Hierarchy
from corten.engine.spec.limits import HostLimits

_FIELDS: Final = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap",
    "CpuCfsPeriod": "cpu_cfs",
    "CpuCfsQuota": "cpu_cfs",
    "CPUShares": "cpu_shares",
    "CPUSet": "cpuset",
    "PidsLimit": "pids",
    "OomKillDisable": "oom_kill_disable",
}
#: Feature, what dockerd calls its lack, and the cgroup versions of which that is worth a word.
_WARNINGS: Final = (
    ("memory", "memory limit", (1, 2)),
    ("swap", "swap limit", (1, 2)),
    ("oom_kill_disable", "oom kill disable", (1,)),
    ("cpu_cfs", "cpu cfs quota", (1, 2)),
    ("cpu_cfs", "cpu cfs period", (1, 2)),
    ("cpu_shares", "cpu shares", (1, 2)),
    ("cpuset", "cpuset", (1, 2)),
    ("pids", "pids limit", (1, 2)),
    ("read_bps", "blkio throttle.read_bps_device", (1,)),
    ("write_bps", "blkio throttle.write_bps_device", (1,)),
    ("read_iops", "blkio throttle.read_iops_device", (1,)),
    ("write_iops", "blkio throttle.write_iops_device", (1,)),
    ("block_weight", "io.weight", (2,)),
    ("block_weight_device", "io.weight (per device)", (2,)),
    ("read_bps", "io.max (rbps)", (2,)),
    ("write_bps", "io.max (wbps)", (2,)),
    ("read_iops", "io.max (riops)", (2,)),
    ("write_iops", "io.max (wiops)", (2,)),
)


def fields(offered: Collection[str]) -> dict[str, bool]:
    """``info``'s booleans; pure."""
    return {name: feature in offered for name, feature in _FIELDS.items()}


def warnings(offered: Collection[str], version: int) -> list[str]:
    """``info``'s sentences about what is lacking; pure."""
    return [
        f"WARNING: No {what} support" for feature, what, versions in _WARNINGS
        if version in versions and feature not in offered
    ]  # fmt: skip


def host_limits(hierarchy: Hierarchy, cgroup_root: str) -> HostLimits:
    """Processors, cpuset lists and the kernel's controllers; ``cgroup_root`` is the engine's own parent group."""
    return HostLimits(
        processors=os.cpu_count() or 1,
        cpus=_line("/sys/devices/system/cpu/online"),
        mems=_line("/sys/devices/system/node/online"),
        features=features.detect(hierarchy, cgroup_root),
    )


def _line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except OSError:
        return ""
