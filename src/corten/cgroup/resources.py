"""OCI ``linux.resources`` to what is written into which file: pure functions, one table for each cgroup version.

A setting is ``(controller, file, value)``. What a host lacks is decided by the writer, not here.
"""

from __future__ import annotations

from corten.errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

Setting = tuple[str, str, str]

_DEFAULT_PERIOD: Final = 100_000

# (section, key, controller, file): written as they are when present and not 0; Documentation/admin-guide/cgroup-v1.
_PLAIN_V1: Final = (
    ("memory", "limit", "memory", "memory.limit_in_bytes"),
    ("memory", "swap", "memory", "memory.memsw.limit_in_bytes"),
    ("memory", "reservation", "memory", "memory.soft_limit_in_bytes"),
    ("cpu", "shares", "cpu", "cpu.shares"),
    ("cpu", "period", "cpu", "cpu.cfs_period_us"),
    ("cpu", "quota", "cpu", "cpu.cfs_quota_us"),
    ("cpu", "burst", "cpu", "cpu.cfs_burst_us"),
    ("cpu", "realtimePeriod", "cpu", "cpu.rt_period_us"),
    ("cpu", "realtimeRuntime", "cpu", "cpu.rt_runtime_us"),
    ("cpu", "cpus", "cpuset", "cpuset.cpus"),
    ("cpu", "mems", "cpuset", "cpuset.mems"),
    ("pids", "limit", "pids", "pids.max"),
    ("blockIO", "weight", "blkio", "blkio.weight"),
)
# The same for v2, where the value needs no conversion but -1 to "max"; Documentation/admin-guide/cgroup-v2.rst.
_PLAIN_V2: Final = (
    ("memory", "limit", "memory", "memory.max"),
    ("memory", "reservation", "memory", "memory.low"),
    ("cpu", "burst", "cpu", "cpu.max.burst"),
    ("cpu", "idle", "cpu", "cpu.idle"),
    ("cpu", "cpus", "cpuset", "cpuset.cpus"),
    ("cpu", "mems", "cpuset", "cpuset.mems"),
    ("pids", "limit", "pids", "pids.max"),
    ("blockIO", "weight", "io", "io.bfq.weight"),
)
_THROTTLES: Final = (
    ("throttleReadBpsDevice", "read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "write_iops_device", "wiops"),
)
_PIDS_AND_MEMORY_UNLIMITED: Final = frozenset({"pids.max", "memory.max", "memory.low"})


def settings_v1(resources: dict[str, Any]) -> list[Setting]:
    """What is written on a v1 host, in this order. Raises NotSupported for files of v2."""
    if resources.get("unified"):
        raise NotSupported("linux.resources.unified names files of cgroup v2: this host has v1")
    made = _plain(resources, _PLAIN_V1)
    memory, block = resources.get("memory") or {}, resources.get("blockIO") or {}
    made += _of_v1(memory)
    for device in block.get("weightDevice") or ():
        if device.get("weight"):
            made.append(("blkio", "blkio.weight_device", f"{_device(device)} {device['weight']}"))
    for key, file, _ in _THROTTLES:
        made += [("blkio", f"blkio.throttle.{file}", f"{_device(e)} {e['rate']}") for e in block.get(key) or ()]
    for page in resources.get("hugepageLimits") or ():
        made.append(("hugetlb", f"hugetlb.{page['pageSize']}.limit_in_bytes", str(page["limit"])))
    return made


def settings_v2(resources: dict[str, Any]) -> list[Setting]:
    """What is written on a v2 host; conversions as runc and systemd do them."""
    made = _plain(resources, _PLAIN_V2)
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    block = resources.get("blockIO") or {}
    if memory.get("swap"):
        made.append(("memory", "memory.swap.max", swap_v2(memory.get("limit") or 0, memory["swap"])))
    if cpu.get("shares"):
        made.append(("cpu", "cpu.weight", str(weight_of_shares(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota, period = cpu.get("quota") or -1, cpu.get("period") or _DEFAULT_PERIOD
        made.append(("cpu", "cpu.max", f"{quota if quota > 0 else 'max'} {period}"))
    made += _of_v1(memory)  # v2 has no such files, and the writer says so
    for device in block.get("weightDevice") or ():
        if device.get("weight"):
            made.append(("io", "io.bfq.weight", f"{_device(device)} {device['weight']}"))
    for key, _, word in _THROTTLES:
        made += [("io", "io.max", f"{_device(e)} {word}={e['rate']}") for e in block.get(key) or ()]
    for page in resources.get("hugepageLimits") or ():
        made.append(("hugetlb", f"hugetlb.{page['pageSize']}.max", str(page["limit"])))
    made += [("", file, str(value)) for file, value in (resources.get("unified") or {}).items()]
    return made


def _of_v1(memory: dict[str, Any]) -> list[Setting]:
    made = []
    swappiness = memory.get("swappiness")
    if swappiness is not None and swappiness <= 100:  # -1 as an unsigned number means: not set
        made.append(("memory", "memory.swappiness", str(swappiness)))
    if memory.get("disableOOMKiller"):
        made.append(("memory", "memory.oom_control", "1"))
    return made


def _plain(resources: dict[str, Any], table: Iterable[tuple[str, str, str, str]]) -> list[Setting]:
    made = []
    for section, key, controller, file in table:
        value = (resources.get(section) or {}).get(key)
        if value:
            unlimited = file in _PIDS_AND_MEMORY_UNLIMITED and value < 0
            made.append((controller, file, "max" if unlimited else str(value)))
    return made


def _device(entry: dict[str, Any]) -> str:
    return f"{entry['major']}:{entry['minor']}"


def weight_of_shares(shares: int) -> int:
    """cpu.shares 2..262144 to cpu.weight 1..10000, linearly as runc has it."""
    shares = min(max(shares, 2), 262144)
    return 1 + (shares - 2) * 9999 // 262142


def weight_of_block(weight: int) -> int:
    """blkio.weight 10..1000 to io.weight 1..10000, for hosts whose block devices are not scheduled by BFQ; as runc."""
    return 1 + (min(max(weight, 10), 1000) - 10) * 9999 // 990


def substitute(file: str, value: str) -> tuple[str, str] | None:
    """Another file, with its value, for one that this kernel does not offer: which disk scheduler it was built with
    decides who knows weights.
    """
    if file in ("blkio.weight", "blkio.weight_device"):
        return file.replace("blkio.", "blkio.bfq."), value
    if file == "io.bfq.weight":
        device, _, weight = value.rpartition(" ")
        return "io.weight", f"{device} {weight_of_block(int(weight))}".strip()
    return None


def swap_v2(limit: int, swap: int) -> str:
    """v1 counts memory+swap, v2 swap alone; -1 is unlimited."""
    if swap < 0:
        return "max"
    if limit <= 0:
        raise ValueError("linux.resources.memory.swap: unable to set swap limit without memory limit")
    if swap < limit:
        raise ValueError("linux.resources.memory.swap: memory+swap limit should be >= memory limit")
    return str(swap - limit)
