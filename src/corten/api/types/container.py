"""Containers on the wire: create, inspect, list and their parts (API 1.51).

Owns names, defaults and shapes; refuses to know what a field does. ``None`` where Docker prints or takes ``null``.
"""

from typing import Any

import msgspec

from corten.api.types.network import NetworkingConfig, NetworkSettings, NetworkSettingsSummary, Port, PortBinding

Words = list[str] | str | None

# A member named as its type would hide it: the annotation reads the alias.
_NetworkingConfig = NetworkingConfig
_NetworkSettings = NetworkSettings


class HealthConfig(msgspec.Struct, omit_defaults=True):
    """``Healthcheck``; times in ns."""

    Test: list[str] | None = None
    Interval: int = 0
    Timeout: int = 0
    StartPeriod: int = 0
    StartInterval: int = 0
    Retries: int = 0


class ContainerConfig(msgspec.Struct, kw_only=True):
    """``Config``: the portable half of a container."""

    Hostname: str = ""
    Domainname: str = ""
    User: str = ""
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ExposedPorts: dict[str, dict[str, Any] | None] | None = None
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: list[str] | None = None
    Cmd: Words = None
    Healthcheck: HealthConfig | None = None
    ArgsEscaped: bool = False
    Image: str = ""
    Volumes: dict[str, dict[str, Any] | None] | None = None
    WorkingDir: str = ""
    Entrypoint: Words = None
    NetworkDisabled: bool = False
    MacAddress: str | None = None
    OnBuild: list[str] | None = None
    Labels: dict[str, str] | None = None
    StopSignal: str | None = None
    StopTimeout: int | None = None
    Shell: list[str] | None = None


class LogConfig(msgspec.Struct):
    """``LogConfig``: driver and options."""

    Type: str = ""
    Config: dict[str, str] | None = None


_LogConfig = LogConfig


class RestartPolicy(msgspec.Struct):
    """``RestartPolicy``: no, always, on-failure or unless-stopped."""

    Name: str = ""
    MaximumRetryCount: int = 0


_RestartPolicy = RestartPolicy


class UlimitSetting(msgspec.Struct):
    """One of ``Ulimits``; -1 is unlimited."""

    Name: str = ""
    Soft: int = 0
    Hard: int = 0


class WeightDevice(msgspec.Struct):
    """One of ``BlkioWeightDevice``."""

    Path: str = ""
    Weight: int = 0


class ThrottleDevice(msgspec.Struct):
    """One of ``BlkioDevice{Read,Write}{Bps,IOps}``: bytes or operations per second."""

    Path: str = ""
    Rate: int = 0


class DeviceMapping(msgspec.Struct):
    """One of ``Devices``."""

    PathOnHost: str = ""
    PathInContainer: str = ""
    CgroupPermissions: str = ""


class DeviceRequest(msgspec.Struct):
    """One of ``DeviceRequests`` (--gpus)."""

    Driver: str = ""
    Count: int = 0
    DeviceIDs: list[str] | None = None
    Capabilities: list[list[str]] | None = None
    Options: dict[str, str] | None = None


class BindOptions(msgspec.Struct, omit_defaults=True):
    """``BindOptions`` of a mount."""

    Propagation: str = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


_BindOptions = BindOptions


class VolumeDriverConfig(msgspec.Struct, omit_defaults=True):
    """``DriverConfig`` of a volume mount."""

    Name: str = ""
    Options: dict[str, str] | None = None


class VolumeOptions(msgspec.Struct, omit_defaults=True):
    """``VolumeOptions`` of a mount."""

    NoCopy: bool = False
    Labels: dict[str, str] | None = None
    Subpath: str = ""
    DriverConfig: VolumeDriverConfig | None = None


_VolumeOptions = VolumeOptions


class TmpfsOptions(msgspec.Struct, omit_defaults=True):
    """``TmpfsOptions`` of a mount; ``Mode`` as an integer of permission bits."""

    SizeBytes: int = 0
    Mode: int = 0
    Options: list[list[str]] | None = None


_TmpfsOptions = TmpfsOptions


class ImageOptions(msgspec.Struct, omit_defaults=True):
    """``ImageOptions`` of a mount."""

    Subpath: str = ""


_ImageOptions = ImageOptions


class Mount(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of ``Mounts`` of a request (--mount)."""

    Type: str = ""
    Source: str = ""
    Target: str = ""
    ReadOnly: bool = False
    Consistency: str = ""
    BindOptions: _BindOptions | None = None
    VolumeOptions: _VolumeOptions | None = None
    ImageOptions: _ImageOptions | None = None
    TmpfsOptions: _TmpfsOptions | None = None


class HostConfig(msgspec.Struct, kw_only=True):
    """``HostConfig``: the half of a container that belongs to this host. Bytes, ns and μs are integers."""

    Binds: list[str] | None = None
    ContainerIDFile: str = ""
    LogConfig: _LogConfig = msgspec.field(default_factory=LogConfig)
    NetworkMode: str = ""
    PortBindings: dict[str, list[PortBinding] | None] | None = None
    RestartPolicy: _RestartPolicy = msgspec.field(default_factory=RestartPolicy)
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: list[str] | None = None
    ConsoleSize: tuple[int, int] = (0, 0)
    Annotations: dict[str, str] | None = None
    CapAdd: list[str] | None = None
    CapDrop: list[str] | None = None
    CgroupnsMode: str = ""
    Dns: list[str] | None = None
    DnsOptions: list[str] | None = None
    DnsSearch: list[str] | None = None
    ExtraHosts: list[str] | None = None
    GroupAdd: list[str] | None = None
    IpcMode: str = ""
    Cgroup: str = ""
    Links: list[str] | None = None
    OomScoreAdj: int = 0
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: list[str] | None = None
    StorageOpt: dict[str, str] | None = None
    Tmpfs: dict[str, str] | None = None
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: int = 0
    Sysctls: dict[str, str] | None = None
    Runtime: str = ""
    Isolation: str = ""
    CpuShares: int = 0
    Memory: int = 0
    NanoCpus: int = 0
    CgroupParent: str = ""
    BlkioWeight: int = 0
    BlkioWeightDevice: list[WeightDevice] | None = None
    BlkioDeviceReadBps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteBps: list[ThrottleDevice] | None = None
    BlkioDeviceReadIOps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteIOps: list[ThrottleDevice] | None = None
    CpuPeriod: int = 0
    CpuQuota: int = 0
    CpuRealtimePeriod: int = 0
    CpuRealtimeRuntime: int = 0
    CpusetCpus: str = ""
    CpusetMems: str = ""
    Devices: list[DeviceMapping] | None = None
    DeviceCgroupRules: list[str] | None = None
    DeviceRequests: list[DeviceRequest] | None = None
    KernelMemory: int = 0
    KernelMemoryTCP: int = 0
    MemoryReservation: int = 0
    MemorySwap: int = 0
    MemorySwappiness: int | None = None
    OomKillDisable: bool | None = None
    PidsLimit: int | None = None
    Ulimits: list[UlimitSetting] | None = None
    CpuCount: int = 0
    CpuPercent: int = 0
    IOMaximumIOps: int = 0
    IOMaximumBandwidth: int = 0
    Mounts: list[Mount] | None = None
    MaskedPaths: list[str] | None = None
    ReadonlyPaths: list[str] | None = None
    Init: bool | None = None


_HostConfig = HostConfig


class ContainerCreate(ContainerConfig, kw_only=True):
    """Body of ``POST /containers/create``: a ``Config`` with two members more."""

    HostConfig: _HostConfig | None = None
    NetworkingConfig: _NetworkingConfig | None = None


class ContainerCreateResponse(msgspec.Struct):
    """Answer of ``POST /containers/create``."""

    Id: str
    Warnings: list[str] = []


class HealthcheckResult(msgspec.Struct):
    """One of ``Log`` of ``Health``."""

    Start: str
    End: str
    ExitCode: int
    Output: str


class Health(msgspec.Struct):
    """``Health`` of ``State``; only of a container with a health check that was started."""

    Status: str
    FailingStreak: int
    Log: list[HealthcheckResult]


_Health = Health


class ContainerState(msgspec.Struct, kw_only=True):
    """``State`` of inspect; times in RFC 3339 with ns."""

    Status: str
    Running: bool = False
    Paused: bool = False
    Restarting: bool = False
    OOMKilled: bool = False
    Dead: bool = False
    Pid: int = 0
    ExitCode: int = 0
    Error: str = ""
    StartedAt: str = "0001-01-01T00:00:00Z"
    FinishedAt: str = "0001-01-01T00:00:00Z"
    Health: _Health | msgspec.UnsetType = msgspec.UNSET


class MountPoint(msgspec.Struct, kw_only=True):
    """One of ``Mounts`` of inspect and list; ``Name`` and ``Driver`` only of volumes."""

    Type: str = ""
    Name: str | msgspec.UnsetType = msgspec.UNSET
    Source: str = ""
    Destination: str = ""
    Driver: str | msgspec.UnsetType = msgspec.UNSET
    Mode: str = ""
    RW: bool = True
    Propagation: str = ""


class GraphDriver(msgspec.Struct):
    """``GraphDriver`` of inspect."""

    Name: str = ""
    Data: dict[str, str] | None = None


_GraphDriver = GraphDriver


class ContainerInspect(msgspec.Struct, kw_only=True):
    """``GET /containers/{id}/json``."""

    Id: str
    Created: str
    Path: str
    Args: list[str]
    State: ContainerState
    Image: str
    ResolvConfPath: str = ""
    HostnamePath: str = ""
    HostsPath: str = ""
    LogPath: str = ""
    Name: str
    RestartCount: int = 0
    Driver: str = "overlay2"
    Platform: str = "linux"
    MountLabel: str = ""
    ProcessLabel: str = ""
    AppArmorProfile: str = ""
    ExecIDs: list[str] | None = None
    HostConfig: _HostConfig
    GraphDriver: _GraphDriver = msgspec.field(default_factory=GraphDriver)
    SizeRw: int | msgspec.UnsetType = msgspec.UNSET
    SizeRootFs: int | msgspec.UnsetType = msgspec.UNSET
    Mounts: list[MountPoint] = []
    Config: ContainerConfig
    NetworkSettings: _NetworkSettings = msgspec.field(default_factory=NetworkSettings)


class SummaryHostConfig(msgspec.Struct, omit_defaults=True):
    """``HostConfig`` of a list row."""

    NetworkMode: str = ""
    Annotations: dict[str, str] | None = None


class ContainerSummary(msgspec.Struct, kw_only=True):
    """One row of ``GET /containers/json``."""

    Id: str
    Names: list[str]
    Image: str
    ImageID: str
    Command: str
    Created: int
    Ports: list[Port] = []
    SizeRw: int | msgspec.UnsetType = msgspec.UNSET
    SizeRootFs: int | msgspec.UnsetType = msgspec.UNSET
    Labels: dict[str, str] = {}
    State: str = ""
    Status: str = ""
    HostConfig: SummaryHostConfig = msgspec.field(default_factory=SummaryHostConfig)
    NetworkSettings: NetworkSettingsSummary = msgspec.field(default_factory=NetworkSettingsSummary)
    Mounts: list[MountPoint] = []


class TopResponse(msgspec.Struct):
    """``GET /containers/{id}/top``."""

    Titles: list[str]
    Processes: list[list[str]]


class ContainerUpdateResponse(msgspec.Struct):
    """``POST /containers/{id}/update``."""

    Warnings: list[str] | None = None


class ContainerPruneResponse(msgspec.Struct):
    """``POST /containers/prune``."""

    ContainersDeleted: list[str] | None = None
    SpaceReclaimed: int = 0


class PathStat(msgspec.Struct, kw_only=True):
    """``X-Docker-Container-Path-Stat`` of the archive operations; ``mode`` is Go's os.FileMode."""

    name: str
    size: int
    mode: int
    mtime: str
    linkTarget: str


class FilesystemChange(msgspec.Struct, kw_only=True):
    """One line of ``diff``: 0 changed, 1 added, 2 deleted."""

    Path: str
    Kind: int
