"""What Docker has and this engine does not yet: every field of a create request is handled, neutral, or refused by
name; pure.

``HANDLED``, ``REFUSED`` and ``IGNORED`` together name every field there is (a test compares them with the types), so
that no option is ever dropped in silence. A field is neutral when it is absent, empty or zero.
"""

from collections.abc import Mapping
from typing import Final

from corten.api.types.container import ContainerConfig, HostConfig
from corten.errors import NotSupported

HANDLED: Final = frozenset(
    {
        # Config
        "Hostname", "Domainname", "User", "ExposedPorts", "Tty", "OpenStdin", "StdinOnce", "Env", "Cmd", "Image",
        "Volumes",
        "WorkingDir", "Entrypoint", "NetworkDisabled", "MacAddress", "Labels", "StopSignal", "StopTimeout",
        "Healthcheck", "Shell",
        # HostConfig
        "Binds", "LogConfig", "NetworkMode", "PortBindings", "RestartPolicy", "AutoRemove", "VolumeDriver",
        "VolumesFrom",
        "ConsoleSize", "Annotations", "CapAdd", "CapDrop", "CgroupnsMode", "Dns", "DnsOptions", "DnsSearch",
        "ExtraHosts",
        "GroupAdd", "IpcMode", "OomScoreAdj", "PidMode", "Privileged", "PublishAllPorts", "ReadonlyRootfs",
        "SecurityOpt", "Tmpfs", "Links", "Isolation", "StorageOpt", "DeviceRequests",
        "UTSMode", "UsernsMode", "ShmSize", "Sysctls", "Init", "MaskedPaths", "ReadonlyPaths", "Mounts",
        "CpuShares", "Memory", "NanoCpus", "CgroupParent", "CpuPeriod", "CpuQuota", "CpusetCpus", "CpusetMems",
        "Devices", "Runtime",
        "DeviceCgroupRules", "MemoryReservation", "MemorySwap", "MemorySwappiness", "OomKillDisable", "PidsLimit",
        "Ulimits", "BlkioWeight", "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "CpuRealtimePeriod", "CpuRealtimeRuntime", "KernelMemoryTCP",
        "CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth",
    }
)  # fmt: skip

#: Field -> the flag a user knows it by.
REFUSED: Final[Mapping[str, str]] = {
    "Cgroup": "Cgroup",
}

#: Without effect on a container in Docker either: the client's own business, history, or dropped by the kernel.
IGNORED: Final = frozenset(
    {
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "ArgsEscaped",
        "OnBuild",
        "ContainerIDFile",
        "KernelMemory",
    }
)


def refuse(config: ContainerConfig, host: HostConfig) -> None:
    """Raises NotSupported naming the first option that is set and not built."""
    for holder in (config, host):
        for field in holder.__struct_fields__:
            if field in REFUSED and getattr(holder, field):
                raise NotSupported(f"{REFUSED[field]} is not supported yet")
