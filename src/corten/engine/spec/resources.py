"""Limits: Docker's checks of a HostConfig's resource fields and their OCI ``linux.resources``; pure.

What the host offers (processors, cpuset ranges) is passed in; the texts are dockerd's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from corten.api.types.container import HostConfig, UlimitSetting
from corten.engine.config import Ulimit
from corten.engine.spec.defaults import DEVICE_RULES, DEVICE_RULES_PRIVILEGED
from corten.errors import InvalidArgument

MINIMUM_MEMORY: Final = 6 * 1024 * 1024
CPU_PERIOD: Final = 100_000  # µs; the period that --cpus is counted in
_CONTROLLERS: Final = frozenset({"memory", "cpu", "cpuset", "pids", "devices"})


class HostLimits(msgspec.Struct, frozen=True):
    """What this host has: processor count, and cpuset lists as the kernel prints them (``0-1,4``)."""

    processors: int
    cpus: str = ""
    mems: str = ""
    swap_accounting: bool = True


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


def check_resources(host: HostConfig, limits: HostLimits) -> list[str]:
    """Warnings for what this host cannot do.

    Raises:
        InvalidArgument: Docker's text for an impossible or contradictory limit.
    """
    _check_memory(host)
    _check_cpu(host, limits)
    _check_cpuset("CPUs", "cpus", host.CpusetCpus, limits.cpus)
    _check_cpuset("memory nodes", "mems", host.CpusetMems, limits.mems)
    warnings = []
    if host.OomKillDisable and not host.Memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    if host.Memory and host.MemorySwap != -1 and not limits.swap_accounting:
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )
    return warnings


def _check_memory(host: HostConfig) -> None:
    memory, swap, reservation = host.Memory, host.MemorySwap, host.MemoryReservation
    if memory and memory < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    swappiness = host.MemorySwappiness
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if reservation and reservation < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if memory > 0 and reservation > memory:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")


def _check_cpu(host: HostConfig, limits: HostLimits) -> None:
    if host.NanoCpus > 0 and host.CpuPeriod > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if host.NanoCpus > 0 and host.CpuQuota > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    count = limits.processors
    if not 0 <= host.NanoCpus <= count * 10**9:
        raise InvalidArgument(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if host.CpuPeriod and not 1000 <= host.CpuPeriod <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host.CpuQuota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")


def _check_cpuset(what: str, field: str, wanted: str, available: str) -> None:
    try:
        numbers = parse_list(wanted)
    except ValueError:
        raise InvalidArgument(f"Invalid value {wanted} for cpuset {field}") from None
    if available and not numbers <= parse_list(available):
        raise InvalidArgument(f"Requested {what} are not available - requested {wanted}, available: {available}")


def linux_resources(host: HostConfig, devices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """OCI ``linux.resources``; ``devices`` are rules beyond the default ones."""
    document: dict[str, Any] = {"devices": [*(DEVICE_RULES_PRIVILEGED if host.Privileged else DEVICE_RULES), *devices]}
    parts = (("memory", _memory(host)), ("cpu", _cpu(host)))
    document.update({name: values for name, values in parts if values})
    if host.PidsLimit:
        document["pids"] = {"limit": host.PidsLimit}
    return document


def _memory(host: HostConfig) -> dict[str, Any]:
    swappiness = host.MemorySwappiness
    values = {
        "limit": host.Memory,
        "reservation": host.MemoryReservation,
        "swap": host.MemorySwap,
        "disableOOMKiller": bool(host.OomKillDisable),
    }
    kept: dict[str, Any] = {name: value for name, value in values.items() if value}
    if swappiness is not None and swappiness >= 0:
        kept["swappiness"] = swappiness
    return kept


def _cpu(host: HostConfig) -> dict[str, Any]:
    quota, period = host.CpuQuota, host.CpuPeriod
    if host.NanoCpus > 0:
        quota, period = host.NanoCpus * CPU_PERIOD // 10**9, CPU_PERIOD
    values = {
        "shares": host.CpuShares,
        "quota": quota,
        "period": period,
        "cpus": host.CpusetCpus,
        "mems": host.CpusetMems,
    }
    return {name: value for name, value in values.items() if value}


def rlimits(wanted: Sequence[UlimitSetting] | None, default: Sequence[Ulimit]) -> list[dict[str, Any]]:
    """OCI ``process.rlimits``: the container's own, then the engine's defaults it does not name; -1 is
    RLIM_INFINITY.
    """
    values = {limit.name: (limit.soft, limit.hard) for limit in default}
    values.update({limit.Name: (limit.Soft, limit.Hard) for limit in wanted or ()})
    unlimited = 2**64 - 1
    return [
        {
            "type": f"RLIMIT_{name.upper()}",
            "soft": unlimited if soft < 0 else soft,
            "hard": unlimited if hard < 0 else hard,
        }
        for name, (soft, hard) in sorted(values.items())
    ]
