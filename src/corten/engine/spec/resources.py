"""A HostConfig's limits as OCI ``linux.resources`` and ``process.rlimits``; pure.

What may be asked for at all is :mod:`corten.engine.spec.limits`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from corten.api.types.container import HostConfig, UlimitSetting
from corten.engine.config import Ulimit
from corten.engine.spec.defaults import DEVICE_RULES, DEVICE_RULES_PRIVILEGED

CPU_PERIOD: Final = 100_000  # µs; the period that --cpus is counted in

#: The number of a block device: major, minor.
DeviceNumber = tuple[int, int]

_THROTTLES: Final = (
    ("throttleReadBpsDevice", "BlkioDeviceReadBps"),
    ("throttleWriteBpsDevice", "BlkioDeviceWriteBps"),
    ("throttleReadIOPSDevice", "BlkioDeviceReadIOps"),
    ("throttleWriteIOPSDevice", "BlkioDeviceWriteIOps"),
)


def linux_resources(
    host: HostConfig, devices: Sequence[Mapping[str, Any]], numbers: Mapping[str, DeviceNumber]
) -> dict[str, Any]:
    """OCI ``linux.resources``; ``devices`` are rules beyond the default ones, ``numbers`` those of block devices by
    path.
    """
    rules = [*(DEVICE_RULES_PRIVILEGED if host.Privileged else DEVICE_RULES), *devices]
    return {"devices": rules, **limits(host, numbers)}


def limits(host: HostConfig, numbers: Mapping[str, DeviceNumber]) -> dict[str, Any]:
    """The part of ``linux.resources`` that ``update`` changes: sections by name, empty ones left out."""
    parts = (
        ("memory", _memory(host)),
        ("cpu", _cpu(host)),
        ("pids", {"limit": host.PidsLimit} if host.PidsLimit else {}),
        ("blockIO", _block(host, numbers)),
    )
    return {name: values for name, values in parts if values}


def changed_limits(old: HostConfig, new: HostConfig) -> dict[str, Any]:
    """The sections of :func:`limits` that differ, whole: what must be written for ``new`` to be in force.

    A limit of processes that is no longer there is written as unlimited; Docker has no way to take back another.
    Devices are the same in both: a client cannot change them.
    """
    before, after = limits(_without_devices(old), {}), limits(_without_devices(new), {})
    if "pids" in before and "pids" not in after:
        after["pids"] = {"limit": -1}
    return {name: values for name, values in after.items() if values != before.get(name)}


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
        "realtimeRuntime": host.CpuRealtimeRuntime,
        "realtimePeriod": host.CpuRealtimePeriod,
        "cpus": host.CpusetCpus,
        "mems": host.CpusetMems,
    }
    return {name: value for name, value in values.items() if value}


def block_devices(host: HostConfig) -> list[str]:
    """Paths of the devices that have a limit of their own."""
    fields = ("BlkioWeightDevice", *(field for _, field in _THROTTLES))
    return [entry.Path for field in fields for entry in getattr(host, field) or ()]


def _block(host: HostConfig, numbers: Mapping[str, DeviceNumber]) -> dict[str, Any]:
    made: dict[str, Any] = {"weight": host.BlkioWeight} if host.BlkioWeight else {}
    if host.BlkioWeightDevice:
        made["weightDevice"] = [
            {**_numbered(numbers[entry.Path]), "weight": entry.Weight} for entry in host.BlkioWeightDevice
        ]
    for name, field in _THROTTLES:
        entries = getattr(host, field)
        if entries:
            made[name] = [{**_numbered(numbers[entry.Path]), "rate": entry.Rate} for entry in entries]
    return made


def _numbered(number: DeviceNumber) -> dict[str, int]:
    return {"major": number[0], "minor": number[1]}


def _without_devices(host: HostConfig) -> HostConfig:
    return msgspec.structs.replace(host, BlkioWeightDevice=None, **{field: None for _, field in _THROTTLES})


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
