"""Limits a client may ask for: Docker's checks, and what this host cannot do is dropped with Docker's warning; pure.

What the host offers (processors, cpuset ranges, the kernel's controllers) is passed in; the texts are dockerd's.
"""

from typing import Final

import msgspec

from corten.api.types.container import HostConfig
from corten.errors import InvalidArgument

MINIMUM_MEMORY: Final = 6 * 1024 * 1024
_LACKING: Final = "Your kernel does not support {} or the cgroup is not mounted. {}"
_LACKING_MEMORY: Final = "Your kernel does not support {} capabilities or the cgroup is not mounted. {}"
#: Feature, field, what dockerd calls it, what becomes of it.
_BLOCK_LIMITS: Final = (
    ("block_weight", "BlkioWeight", "Block I/O weight", "Weight discarded."),
    ("block_weight_device", "BlkioWeightDevice", "Block I/O weight_device", "Weight-device discarded."),
    ("read_bps", "BlkioDeviceReadBps", "BPS Block I/O read limit", "Block I/O BPS read limit discarded."),
    ("write_bps", "BlkioDeviceWriteBps", "BPS Block I/O write limit", "Block I/O BPS write limit discarded."),
    ("read_iops", "BlkioDeviceReadIOps", "IOPS Block read limit", "Block I/O IOPS read limit discarded."),
    ("write_iops", "BlkioDeviceWriteIOps", "IOPS Block write limit", "Block I/O IOPS write limit discarded."),
)
_EVERYTHING: Final = frozenset(
    {
        "memory", "swap", "memory_reservation", "oom_kill_disable", "swappiness", "cpu_shares", "cpu_cfs",
        "cpu_realtime", "cpuset", "pids", *(feature for feature, _, _, _ in _BLOCK_LIMITS),
    }
)  # fmt: skip


class HostLimits(msgspec.Struct, frozen=True):
    """What this host has: processor count, cpuset lists as the kernel prints them (``0-1,4``), and the names of
    :mod:`corten.cgroup.features`.
    """

    processors: int
    cpus: str = ""
    mems: str = ""
    features: frozenset[str] = _EVERYTHING


class _Draft:
    """A HostConfig on its way: ``changes`` are what was dropped, ``warnings`` say so."""

    def __init__(self, host: HostConfig, features: frozenset[str]) -> None:
        self.host = host
        self.features = features
        self.warnings: list[str] = []

    def drop(self, feature: str, warning: str, **values: object) -> bool:
        """Set ``values`` where the host lacks ``feature``; whether it does."""
        if feature in self.features:
            return False
        if warning:
            self.warnings.append(warning)
        self.host = msgspec.structs.replace(self.host, **values)
        return True


def check_limits(host: HostConfig, limits: HostLimits, *, update: bool = False) -> tuple[HostConfig, list[str]]:
    """The HostConfig without what this host cannot do, and warnings that say so.

    Raises:
        InvalidArgument: Docker's text for an impossible or contradictory limit.
    """
    draft = _Draft(host, limits.features)
    _check_memory(draft, update=update)
    _check_oom_and_pids(draft)
    _check_cpu(draft, limits)
    _check_realtime(draft)
    _check_cpusets(draft, limits)
    _check_block(draft)
    _check_windows(draft)
    check_parent(host.CgroupParent)
    return draft.host, draft.warnings


def _check_memory(draft: _Draft, *, update: bool) -> None:
    host = draft.host
    if host.KernelMemoryTCP:
        raise InvalidArgument("KernelMemoryTCP is no longer supported: leave it out")
    if host.Memory and host.Memory < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if host.Memory > 0:
        draft.drop("memory", _LACKING_MEMORY.format("memory limit", "Limitation discarded."), Memory=0, MemorySwap=-1)
    if draft.host.Memory > 0 and host.MemorySwap != -1:
        draft.drop("swap", _LACKING_MEMORY.format("swap limit", "Memory limited without swap."), MemorySwap=-1)
    memory, swap = draft.host.Memory, draft.host.MemorySwap
    if memory > 0 and 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0 and not update:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    _check_swappiness(draft)
    if host.MemoryReservation > 0:
        warning = _LACKING_MEMORY.format("memory soft limit", "Limitation discarded.")
        draft.drop("memory_reservation", warning, MemoryReservation=0)
    reservation = draft.host.MemoryReservation
    if 0 < reservation < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")


def _check_swappiness(draft: _Draft) -> None:
    """-1 is the docker CLI's word for "not given"."""
    if draft.host.MemorySwappiness == -1:
        draft.host = msgspec.structs.replace(draft.host, MemorySwappiness=None)
    swappiness = draft.host.MemorySwappiness
    if swappiness is None:
        return
    warning = _LACKING_MEMORY.format("memory swappiness", "Memory swappiness discarded.")
    if not draft.drop("swappiness", warning, MemorySwappiness=None) and not 0 <= swappiness <= 100:
        raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")


def _check_oom_and_pids(draft: _Draft) -> None:
    host = draft.host
    if host.OomKillDisable is not None:
        warning = "Your kernel does not support OomKillDisable. OomKillDisable discarded."
        draft.drop("oom_kill_disable", warning if host.OomKillDisable else "", OomKillDisable=None)
    if draft.host.OomKillDisable and not draft.host.Memory:
        draft.warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    if host.PidsLimit is not None:
        warning = _LACKING_MEMORY.format("PIDs limit", "PIDs limit discarded.")
        draft.drop("pids", warning if host.PidsLimit > 0 else "", PidsLimit=None)


def _check_cpu(draft: _Draft, limits: HostLimits) -> None:
    host = draft.host
    if host.NanoCpus > 0 and host.CpuPeriod > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if host.NanoCpus > 0 and host.CpuQuota > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if host.NanoCpus > 0 and "cpu_cfs" not in limits.features:
        raise InvalidArgument(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
        )
    count = limits.processors
    if not 0 <= host.NanoCpus <= count * 10**9:
        raise InvalidArgument(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if host.CpuShares < 0:
        raise InvalidArgument(f"invalid CPU shares ({host.CpuShares}): value must be a positive integer")
    if host.CpuShares:
        draft.drop("cpu_shares", _LACKING.format("CPU shares", "Shares discarded."), CpuShares=0)
    if host.CpuPeriod or host.CpuQuota:
        warning = "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."
        draft.drop("cpu_cfs", warning, CpuPeriod=0, CpuQuota=0)
    host = draft.host
    if host.CpuPeriod and not 1000 <= host.CpuPeriod <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host.CpuQuota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")


def _check_realtime(draft: _Draft) -> None:
    period, runtime = draft.host.CpuRealtimePeriod, draft.host.CpuRealtimeRuntime
    if (period or runtime) and "cpu_realtime" not in draft.features:
        raise InvalidArgument("kernel does not support CPU real-time scheduler")
    if period and runtime > period:
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")


def _check_cpusets(draft: _Draft, limits: HostLimits) -> None:
    if draft.host.CpusetCpus or draft.host.CpusetMems:
        draft.drop("cpuset", _LACKING.format("cpuset", "Cpuset discarded."), CpusetCpus="", CpusetMems="")
    _check_cpuset("CPUs", "cpus", draft.host.CpusetCpus, limits.cpus)
    _check_cpuset("memory nodes", "mems", draft.host.CpusetMems, limits.mems)


def _check_cpuset(what: str, field: str, wanted: str, available: str) -> None:
    try:
        numbers = parse_list(wanted)
    except ValueError:
        raise InvalidArgument(f"Invalid value {wanted} for cpuset {field}: invalid format: {wanted}") from None
    if available and not numbers <= parse_list(available):
        raise InvalidArgument(f"Requested {what} are not available - requested {wanted}, available: {available}")


def parse_list(text: str) -> set[int]:
    """A cpuset list (cpuset(7), List Format). Raises ValueError on anything else."""
    numbers: set[int] = set()
    for part in text.split(","):
        if not part.strip():
            continue
        low, dash, high = part.partition("-")
        first, last = int(low), int(high if dash else low)
        if first < 0 or last < first or last > 8191:
            raise ValueError(part)
        numbers.update(range(first, last + 1))
    return numbers


def _check_block(draft: _Draft) -> None:
    for feature, field, what, outcome in _BLOCK_LIMITS:
        value = getattr(draft.host, field)
        if value:
            draft.drop(feature, _LACKING.format(what, outcome), **{field: 0 if isinstance(value, int) else []})
    weight = draft.host.BlkioWeight
    if weight and not 10 <= weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for device in draft.host.BlkioWeightDevice or ():
        if device.Weight and not 10 <= device.Weight <= 1000:
            raise InvalidArgument(f"invalid weight for device: {device.Path}:{device.Weight}: the range is 10 to 1000")
    for _, field, _, _ in _BLOCK_LIMITS[2:]:
        for entry in getattr(draft.host, field) or ():
            if entry.Rate < 0:
                raise InvalidArgument(f"invalid rate for device: {entry.Path}:{entry.Rate}: it must not be negative")


def _check_windows(draft: _Draft) -> None:
    """Limits only Windows has: dockerd on Linux refuses those of the disk and drops those of the processor."""
    host = draft.host
    for value, what in ((host.IOMaximumBandwidth, "maximum bandwidth"), (host.IOMaximumIOps, "maximum IOPs")):
        if value:
            raise InvalidArgument(f"Invalid QoS settings: linux does not support configuration of {what}")
    if host.CpuPercent:
        draft.warnings.append("linux does not support CPU percent. Percent discarded.")
    if host.CpuCount:
        draft.warnings.append("linux does not support CPU count. Count discarded.")
    draft.host = msgspec.structs.replace(draft.host, CpuPercent=0, CpuCount=0)


def check_parent(parent: str) -> None:
    """``--cgroup-parent``: a path in the hierarchies.

    Raises:
        InvalidArgument: it is systemd's name for a group, or climbs.
    """
    if parent.endswith(".slice"):
        raise InvalidArgument(
            f"invalid cgroup parent {parent}: a slice is systemd's to make, and this engine manages cgroups itself "
            "(cgroupfs): give a path such as /my/group"
        )
    if ".." in parent.split("/") or "\0" in parent or "\n" in parent:
        raise InvalidArgument(f"invalid cgroup parent {parent!r}: it must be a path without '..'")
