"""``update``: one HostConfig on top of another; pure. The texts are dockerd's."""

from typing import Any, Final

import msgspec

from corten.api.types.container import HostConfig
from corten.errors import Conflict

#: What a client may change of a container that exists, beside its restart policy.
CHANGEABLE: Final = (
    "BlkioWeight", "CpuShares", "NanoCpus", "CpuPeriod", "CpuQuota", "CpusetCpus", "CpusetMems", "Memory",
    "MemorySwap", "MemoryReservation", "CpuRealtimePeriod", "CpuRealtimeRuntime", "PidsLimit",
)  # fmt: skip
_ABSENT: Final = HostConfig()


def merged(present: HostConfig, wanted: HostConfig) -> HostConfig:
    """``present`` with what ``wanted`` names; what it leaves empty or zero stays.

    Raises:
        Conflict: it contradicts what is set already.
    """
    _check_processors(present, wanted)
    if wanted.Memory and not wanted.MemorySwap and wanted.Memory > present.MemorySwap:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    changes: dict[str, Any] = {name: getattr(wanted, name) for name in CHANGEABLE if getattr(wanted, name)}
    if wanted.PidsLimit is not None:
        changes["PidsLimit"] = max(0, wanted.PidsLimit)  # 0 and -1 both take the limit back
    host = msgspec.structs.replace(present, **changes)
    if 0 < host.MemorySwap < host.Memory:
        raise Conflict("Minimum memoryswap limit should be larger than memory limit, see usage")
    return host


def _check_processors(present: HostConfig, wanted: HostConfig) -> None:
    """--cpus is a period and a quota under another name: whoever began with one goes on with it."""
    for field, what in (("CpuPeriod", "CPU Period"), ("CpuQuota", "CPU Quota")):
        if wanted.NanoCpus > 0 and getattr(present, field) > 0:
            raise Conflict(f"Conflicting options: Nano CPUs cannot be updated as {what} has already been set")
    for field, what in (("CpuPeriod", "CPU Period"), ("CpuQuota", "CPU Quota")):
        if getattr(wanted, field) > 0 and present.NanoCpus > 0:
            raise Conflict(f"Conflicting options: {what} cannot be updated as NanoCPUs has already been set")


def unchangeable(wanted: HostConfig) -> list[str]:
    """Members that are set and have no effect on a container that exists."""
    return [
        name for name in HostConfig.__struct_fields__
        if name not in (*CHANGEABLE, "RestartPolicy", "KernelMemory")
        and getattr(wanted, name) and getattr(wanted, name) != getattr(_ABSENT, name)
    ]  # fmt: skip
