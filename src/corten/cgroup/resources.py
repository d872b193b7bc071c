"""OCI ``linux.resources`` to what is written into which file: pure functions, one table for each cgroup version.

A setting is ``(controller, file, value)``. What a host lacks is decided by the writer, not here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Setting = tuple[str, str, str]

_DEFAULT_PERIOD = 100_000


def settings_v1(resources: dict[str, Any]) -> list[Setting]:
    """Documentation/admin-guide/cgroup-v1 of the kernel."""
    memory, cpu, pids, block = _parts(resources)
    made: list[Setting] = []
    add = made.append
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        add(("memory", "memory.limit_in_bytes", str(limit)))
    if swap:
        add(("memory", "memory.memsw.limit_in_bytes", str(swap)))
    if memory.get("reservation"):
        add(("memory", "memory.soft_limit_in_bytes", str(memory["reservation"])))
    if memory.get("swappiness") is not None and memory["swappiness"] <= 100:
        add(("memory", "memory.swappiness", str(memory["swappiness"])))
    if memory.get("disableOOMKiller"):
        add(("memory", "memory.oom_control", "1"))
    if cpu.get("shares"):
        add(("cpu", "cpu.shares", str(cpu["shares"])))
    if cpu.get("period"):
        add(("cpu", "cpu.cfs_period_us", str(cpu["period"])))
    if cpu.get("quota"):
        add(("cpu", "cpu.cfs_quota_us", str(cpu["quota"])))
    if cpu.get("burst") is not None:
        add(("cpu", "cpu.cfs_burst_us", str(cpu["burst"])))
    if cpu.get("realtimePeriod"):
        add(("cpu", "cpu.rt_period_us", str(cpu["realtimePeriod"])))
    if cpu.get("realtimeRuntime"):
        add(("cpu", "cpu.rt_runtime_us", str(cpu["realtimeRuntime"])))
    if cpu.get("cpus"):
        add(("cpuset", "cpuset.cpus", cpu["cpus"]))
    if cpu.get("mems"):
        add(("cpuset", "cpuset.mems", cpu["mems"]))
    if pids.get("limit"):
        add(("pids", "pids.max", _or_max(pids["limit"])))
    if block.get("weight"):
        add(("blkio", "blkio.weight", str(block["weight"])))
    for key, file in (
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ):
        made.extend(("blkio", file, f"{e['major']}:{e['minor']} {e['rate']}") for e in block.get(key) or [])
    for page in resources.get("hugepageLimits") or []:
        add(("hugetlb", f"hugetlb.{page['pageSize']}.limit_in_bytes", str(page["limit"])))
    return made


def settings_v2(resources: dict[str, Any]) -> list[Setting]:
    """Documentation/admin-guide/cgroup-v2.rst; conversions as runc and systemd do them."""
    memory, cpu, pids, block = _parts(resources)
    made: list[Setting] = []
    add = made.append
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        add(("memory", "memory.max", _or_max(limit)))
    if swap:
        add(("memory", "memory.swap.max", swap_v2(limit or 0, swap)))
    if memory.get("reservation"):
        add(("memory", "memory.low", _or_max(memory["reservation"])))
    if cpu.get("shares"):
        add(("cpu", "cpu.weight", str(weight_of_shares(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota, period = cpu.get("quota") or -1, cpu.get("period") or _DEFAULT_PERIOD
        add(("cpu", "cpu.max", f"{quota if quota > 0 else 'max'} {period}"))
    if cpu.get("burst") is not None:
        add(("cpu", "cpu.max.burst", str(cpu["burst"])))
    if cpu.get("idle") is not None:
        add(("cpu", "cpu.idle", str(cpu["idle"])))
    if cpu.get("cpus"):
        add(("cpuset", "cpuset.cpus", cpu["cpus"]))
    if cpu.get("mems"):
        add(("cpuset", "cpuset.mems", cpu["mems"]))
    if pids.get("limit"):
        add(("pids", "pids.max", _or_max(pids["limit"])))
    if block.get("weight"):
        add(("io", "io.bfq.weight", str(block["weight"])))
    for key, word in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        made.extend(("io", "io.max", f"{e['major']}:{e['minor']} {word}={e['rate']}") for e in block.get(key) or [])
    for page in resources.get("hugepageLimits") or []:
        add(("hugetlb", f"hugetlb.{page['pageSize']}.max", str(page["limit"])))
    made.extend(("", file, value) for file, value in (resources.get("unified") or {}).items())
    return made


def weight_of_shares(shares: int) -> int:
    """cpu.shares 2..262144 to cpu.weight 1..10000, linearly as runc has it."""
    shares = min(max(shares, 2), 262144)
    return 1 + (shares - 2) * 9999 // 262142


def swap_v2(limit: int, swap: int) -> str:
    """v1 counts memory+swap, v2 swap alone; -1 is unlimited."""
    if swap < 0:
        return "max"
    if limit <= 0:
        raise ValueError("linux.resources.memory.swap: unable to set swap limit without memory limit")
    if swap < limit:
        raise ValueError("linux.resources.memory.swap: memory+swap limit should be >= memory limit")
    return str(swap - limit)


def _or_max(value: int) -> str:
    return str(value) if value > 0 else "max"


def _parts(resources: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    return (
        resources.get("memory") or {},
        resources.get("cpu") or {},
        resources.get("pids") or {},
        resources.get("blockIO") or {},
    )
