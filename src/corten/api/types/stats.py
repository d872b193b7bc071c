"""``GET /containers/{id}/stats`` on the wire (API 1.51).

Where Docker leaves a member out that is zero, it is ``UNSET`` here.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

NEVER = "0001-01-01T00:00:00Z"


class CpuUsage(msgspec.Struct, kw_only=True):
    """``cpu_usage``; nanoseconds. ``percpu_usage`` on cgroup v1 only."""

    total_usage: int = 0
    percpu_usage: list[int] | UnsetType = UNSET
    usage_in_kernelmode: int = 0
    usage_in_usermode: int = 0


class ThrottlingData(msgspec.Struct):
    """``throttling_data``."""

    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class CpuStats(msgspec.Struct, kw_only=True):
    """``cpu_stats`` and ``precpu_stats``; ``system_cpu_usage`` is the time of all processors together."""

    cpu_usage: CpuUsage = msgspec.field(default_factory=CpuUsage)
    system_cpu_usage: int | UnsetType = UNSET
    online_cpus: int | UnsetType = UNSET
    throttling_data: ThrottlingData = msgspec.field(default_factory=ThrottlingData)


class MemoryStats(msgspec.Struct, omit_defaults=True):
    """``memory_stats``; ``stats`` has other keys on v1 than on v2."""

    usage: int = 0
    max_usage: int = 0
    stats: dict[str, int] | None = None
    failcnt: int = 0
    limit: int = 0


Entries = list[dict[str, Any]] | None


class BlkioStats(msgspec.Struct, kw_only=True):
    """``blkio_stats``: entries of ``major minor op value``; all but the first two are of a scheduler that is gone."""

    io_service_bytes_recursive: Entries = None
    io_serviced_recursive: Entries = None
    io_queue_recursive: Entries = None
    io_service_time_recursive: Entries = None
    io_wait_time_recursive: Entries = None
    io_merged_recursive: Entries = None
    io_time_recursive: Entries = None
    sectors_recursive: Entries = None


class NetworkStats(msgspec.Struct):
    """One of ``networks``, by interface."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


class PidsStats(msgspec.Struct, omit_defaults=True):
    """``pids_stats``."""

    current: int = 0
    limit: int = 0


class StatsResponse(msgspec.Struct, kw_only=True):
    """One sample. ``num_procs`` and ``storage_stats`` have a meaning on Windows only, and are there everywhere."""

    read: str = NEVER
    preread: str = NEVER
    pids_stats: PidsStats = msgspec.field(default_factory=PidsStats)
    blkio_stats: BlkioStats = msgspec.field(default_factory=BlkioStats)
    num_procs: int = 0
    storage_stats: dict[str, int] = {}
    cpu_stats: CpuStats = msgspec.field(default_factory=CpuStats)
    precpu_stats: CpuStats = msgspec.field(default_factory=CpuStats)
    memory_stats: MemoryStats = msgspec.field(default_factory=MemoryStats)
    name: str
    id: str
    networks: dict[str, NetworkStats] | UnsetType = UNSET
