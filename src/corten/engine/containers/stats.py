"""``stats``: what containers use, once or every second.

A sample is read from the container's cgroup and from its network namespace; what it looked like a second before comes
with it, because clients compute percentages from both. A container that does not run has a sample of zeros.
"""

import logging
import os
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import msgspec

from corten.api.types.stats import (
    BlkioStats,
    CpuStats,
    CpuUsage,
    MemoryStats,
    NetworkStats,
    PidsStats,
    StatsResponse,
    ThrottlingData,
)
from corten.cgroup import stats as usage
from corten.cgroup.group import Group
from corten.cgroup.hierarchy import Hierarchy
from corten.engine.containers.facts import HostFacts
from corten.engine.containers.joins import JOIN
from corten.engine.containers.render import timestamp
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.engine.sampler import Sampler
from corten.errors import InvalidArgument, NotFound
from corten.linux import procfs

#: Interfaces no container has of its own: loopback, and what a kernel with tunnels puts into each new namespace.
_KERNELS_OWN: Final = frozenset(
    {"lo", "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0"}
)
#: memory.stat members that clients get: of v1 these and their ``total_`` twins, of v2 those below.
_MEMORY_V1: Final = (
    "cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout", "pgfault", "pgmajfault",
    "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
)  # fmt: skip
_V1_KEYS: Final = (
    *_MEMORY_V1, *(f"total_{name}" for name in _MEMORY_V1), "hierarchical_memory_limit", "hierarchical_memsw_limit",
)  # fmt: skip
_V2_KEYS: Final = (
    "anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback", "anon_thp",
    "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable", "slab_reclaimable",
    "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault", "workingset_activate",
    "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate", "pgdeactivate", "pglazyfree",
    "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc",
)  # fmt: skip
#: Since Linux 5.9 v2 counts refaults and activations of anonymous pages and files apart.
_V2_SUMS: Final = ("workingset_refault", "workingset_activate")
#: A reading of /proc/stat is good for as long: the time of all processors must be that of the container's.
_FRESH_SECONDS: Final = 0.005

logger = logging.getLogger(__name__)

_encoder: Final = msgspec.json.Encoder()


class Sample:
    """What one container used up to a moment, and the second before it; encoded once for all who watch."""

    __slots__ = ("_encoded", "response")

    def __init__(self, response: StatsResponse) -> None:
        self.response = response
        self._encoded = b""

    def line(self) -> bytes:
        """One line of the answer."""
        if not self._encoded:
            self._encoded = _encoder.encode(self.response) + b"\n"
        return self._encoded


class Stats:
    """Answers for containers, running or not."""

    def __init__(self, roster: Roster, hierarchy: Hierarchy, facts: HostFacts) -> None:
        self._roster = roster
        self._hierarchy = hierarchy
        self._facts = facts
        self._machine_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.sampler: Sampler[Sample] = Sampler(self._read_all, lambda key: roster.get(key) is not None)

    def check(self, reference: str, *, stream: bool, one_shot: bool) -> None:
        """What can be told before the response begins.

        Raises:
            InvalidArgument: one shot and a stream at once.
            NoSuchContainer: there is none.
        """
        self._roster.find(reference)
        if stream and one_shot:
            raise InvalidArgument("cannot have stream=true and one-shot=true")

    async def lines(self, reference: str, *, stream: bool, one_shot: bool) -> AsyncGenerator[bytes, None]:
        """One sample with that of the second before it, one without (``one_shot``), or one every second."""
        container = self._roster.find(reference)
        if not stream and not _runs(container.record):
            yield Sample(empty(container.record)).line()
            return
        if one_shot:
            yield Sample(self._read(container.record, _Clock(), None)).line()
            return
        known = self.sampler.latest(container.id)
        watch = self.sampler.watch(container.id)
        try:
            while (sample := await watch.next()) is not None:
                if not stream and known is None:
                    known = sample
                    continue
                yield sample.line()
                if not stream:
                    return
        finally:
            watch.close()

    def _read_all(self, keys: Sequence[str], previous: dict[str, Sample]) -> dict[str, Sample]:
        """In a thread: one round of the sampler."""
        clock = _Clock()
        samples = {}
        for key in keys:
            container = self._roster.get(key)
            if container is None:
                continue
            before = previous.get(key)
            try:
                samples[key] = Sample(self._read(container.record, clock, before.response if before else None))
            except (OSError, ValueError):  # one container's trouble is not that of those who watch others
                logger.exception("container %s cannot be measured", key)
                samples[key] = Sample(empty(container.record))
        return samples

    def _read(self, record: ContainerRecord, clock: "_Clock", before: StatsResponse | None) -> StatsResponse:
        if not _runs(record):
            response = empty(record)
        else:
            group = Group(self._hierarchy, self._facts.cgroup_path(record))
            response = StatsResponse(name=f"/{record.name}", id=record.id, read=timestamp(time.time_ns()))
            system, online = clock.read()
            response.cpu_stats = cpu_stats(usage.cpu(group), system, online)
            response.memory_stats = self._memory(group)
            response.blkio_stats = blkio_stats(usage.blkio(group), version=self._hierarchy.version)
            pids = usage.pids(group)
            unlimited = self._hierarchy.version == 1 and pids["limit"] == usage.UNLIMITED
            response.pids_stats = PidsStats(pids["current"], 0 if unlimited else pids["limit"])
            networks = self._networks(record)
            if networks:
                response.networks = networks
        if before is not None:
            response.preread, response.precpu_stats = before.read, before.cpu_stats
        return response

    def _memory(self, group: Group) -> MemoryStats:
        refused = usage.out_of_memory(group) if self._hierarchy.version == 2 else None
        return memory_stats(usage.memory(group), self._machine_memory, refused)

    def _networks(self, record: ContainerRecord) -> dict[str, NetworkStats]:
        """Of a namespace of the container's own, or of one it shares with another container; never the host's."""
        if record.config.NetworkDisabled or self._uses_hosts_network(record):
            return {}
        try:
            if procfs.start_ticks(record.state.pid) != record.state.start_ticks:
                return {}
        except OSError:
            return {}
        return network_stats(procfs.interfaces(record.state.pid))

    def _uses_hosts_network(self, record: ContainerRecord) -> bool:
        seen = set()
        while record.host.NetworkMode.startswith(JOIN) and record.id not in seen:
            seen.add(record.id)
            try:
                record = self._roster.find(record.host.NetworkMode.removeprefix(JOIN)).record
            except (NotFound, InvalidArgument):
                return False
        return record.host.NetworkMode == "host"


class _Clock:
    """The time of all processors, read again when it has grown old."""

    def __init__(self) -> None:
        self._read_at = -1.0
        self._value = (0, 0)

    def read(self) -> tuple[int, int]:
        """Nanoseconds, and how many processors are online."""
        now = time.monotonic()
        if now - self._read_at > _FRESH_SECONDS:
            with open("/proc/stat", encoding="ascii") as file:
                total = procfs.processor_time(file.readline())
            self._value = (total, self._value[1] or os.sysconf("SC_NPROCESSORS_ONLN"))
            self._read_at = now
        return self._value


def _runs(record: ContainerRecord) -> bool:
    return record.state.alive and record.state.status is not Status.RESTARTING


def empty(record: ContainerRecord) -> StatsResponse:
    """Of a container that does not run."""
    return StatsResponse(name=f"/{record.name}", id=record.id)


def cpu_stats(found: dict[str, Any], system: int, online: int) -> CpuStats:
    """``cpu_stats`` of one reading; pure."""
    times, throttling = found["usage"], found["throttling"]
    return CpuStats(
        cpu_usage=CpuUsage(
            total_usage=times["total"],
            percpu_usage=times.get("percpu") or msgspec.UNSET,
            usage_in_kernelmode=times["kernel"],
            usage_in_usermode=times["user"],
        ),
        system_cpu_usage=system,
        online_cpus=online,
        throttling_data=ThrottlingData(
            throttling["periods"], throttling["throttledPeriods"], throttling["throttledTime"]
        ),
    )


def memory_stats(found: dict[str, Any], machine: int, out_of_memory: int | None) -> MemoryStats:
    """``memory_stats`` of one reading; ``out_of_memory`` is v2's count, None on v1. A limit above all the machine has
    is none. Pure.
    """
    counter, raw = found["usage"], found["raw"]
    limit = min(counter["limit"], machine)
    if out_of_memory is None:
        kept = {key: raw.get(key, 0) for key in _V1_KEYS}
        return MemoryStats(counter["usage"], counter["max"], kept, counter["failcnt"], limit)
    kept = {key: raw.get(key, 0) for key in _V2_KEYS}
    for key in _V2_SUMS:
        kept[key] = kept[key] or raw.get(f"{key}_anon", 0) + raw.get(f"{key}_file", 0)
    return MemoryStats(counter["usage"], 0, kept, out_of_memory, limit)


def blkio_stats(found: dict[str, list[dict[str, Any]]], *, version: int) -> BlkioStats:
    """``blkio_stats`` of one reading; of v2 Docker gives the bytes alone, with operations in lower case. Pure."""
    sizes = found["ioServiceBytesRecursive"]
    if version == 2:
        return BlkioStats(io_service_bytes_recursive=[{**entry, "op": entry["op"].lower()} for entry in sizes] or None)
    return BlkioStats(
        io_service_bytes_recursive=sizes, io_serviced_recursive=found["ioServicedRecursive"], io_queue_recursive=[],
        io_service_time_recursive=[], io_wait_time_recursive=[], io_merged_recursive=[], io_time_recursive=[],
        sectors_recursive=[],
    )  # fmt: skip


def network_stats(interfaces: dict[str, list[int]]) -> dict[str, NetworkStats]:
    """``networks`` of one reading of /proc/PID/net/dev; pure."""
    return {
        name: NetworkStats(*counters[:4], *counters[8:12])
        for name, counters in sorted(interfaces.items())
        if name not in _KERNELS_OWN
    }
