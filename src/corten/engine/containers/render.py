"""A record as inspect and list show it; pure. Here, and only here, Docker's booleans are derived from the status."""

import os
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from corten.api.types.container import (
    ContainerInspect,
    ContainerState,
    ContainerSummary,
    GraphDriver,
    Health,
    HealthcheckResult,
    HostConfig,
    MountPoint,
    SummaryHostConfig,
)
from corten.engine import mounts as points
from corten.engine.containers.facts import network_request
from corten.engine.health import checks
from corten.engine.lifecycle import Status
from corten.engine.networks.settings import network_settings, network_summary, summary_ports
from corten.engine.record import ContainerRecord, State
from corten.engine.runtimes import OWN
from corten.storage.trees import Mount

NEVER: Final = "0001-01-01T00:00:00Z"
_NS: Final = 10**9
_HEALTH_TEXTS: Final = {
    checks.STARTING: " (health: starting)",
    checks.HEALTHY: " (healthy)",
    checks.UNHEALTHY: " (unhealthy)",
}


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Where a container's files are on the host; empty when it has none."""

    directory: str
    log: str
    graph: dict[str, str]


class Sizes(msgspec.Struct, frozen=True):
    """Bytes of the writable layer and of the whole root."""

    writable: int
    root: int


def timestamp(when_ns: int) -> str:
    """RFC 3339 with as many fraction digits as needed, Go's RFC3339Nano; 0 is Go's zero time."""
    if not when_ns:
        return NEVER
    seconds, rest = divmod(when_ns, _NS)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"


def state(value: State) -> ContainerState:
    """``State``: Docker counts a paused container as running too."""
    return ContainerState(
        Status=value.status.value,
        Running=value.active,
        Paused=value.status is Status.PAUSED,
        Restarting=value.status is Status.RESTARTING,
        Dead=value.status is Status.DEAD,
        OOMKilled=value.oom_killed,
        Pid=value.pid,
        ExitCode=value.exit_code,
        Error=value.error,
        StartedAt=timestamp(value.started_ns),
        FinishedAt=timestamp(value.finished_ns),
        Health=_health(value),
    )


def health_status(value: State) -> str:
    """``none``, or what Docker shows: a container that does not run counts as unhealthy."""
    if value.health is None or not value.started_ns:
        return checks.NONE
    return value.health.status if value.alive else checks.UNHEALTHY


def _health(value: State) -> Health | msgspec.UnsetType:
    if value.health is None or not value.started_ns:
        return msgspec.UNSET
    results = [
        HealthcheckResult(
            Start=timestamp(result.start_ns),
            End=timestamp(result.end_ns),
            ExitCode=result.exit_code,
            Output=result.output,
        )
        for result in value.health.log
    ]
    return Health(Status=health_status(value), FailingStreak=value.health.streak, Log=results)


def inspect(record: ContainerRecord, paths: Paths, exec_ids: list[str], sizes: Sizes | None) -> ContainerInspect:
    """``GET /containers/{id}/json``."""
    begun = record.state.started_ns > 0  # before that Docker has no files of a container to show
    file_owner = paths.directory if begun and not record.host.NetworkMode.startswith("container:") else ""
    return ContainerInspect(
        Id=record.id,
        Created=timestamp(record.created_ns),
        Path=record.path,
        Args=list(record.args),
        State=state(record.state),
        Image=record.image_id,
        ResolvConfPath=f"{file_owner}/resolv.conf" if file_owner else "",
        HostnamePath=f"{file_owner}/hostname" if file_owner else "",
        HostsPath=f"{file_owner}/hosts" if file_owner else "",
        LogPath=paths.log if begun else "",
        Name=f"/{record.name}",
        RestartCount=record.restart_count,
        Platform=record.platform,
        ExecIDs=exec_ids or None,
        HostConfig=_host(record.host),
        GraphDriver=GraphDriver(Name="overlay2", Data=paths.graph),
        SizeRw=sizes.writable if sizes else msgspec.UNSET,
        SizeRootFs=sizes.root if sizes else msgspec.UNSET,
        Mounts=mounts(record),
        Config=record.config,
        NetworkSettings=network_settings(record.network, network_request(record), pid=record.state.pid),
    )


def graph(mounted: Sequence[Mount]) -> dict[str, str]:
    """``GraphDriver.Data`` of an overlay root; relative lower layers are told from where."""
    for mount in mounted:
        if mount["target"] == "/" and mount["type"] == "overlay":
            options = dict(option.partition("=")[::2] for option in mount["options"])
            base = mount.get("chdir", "")
            lowers = [os.path.normpath(os.path.join(base, path)) for path in options.get("lowerdir", "").split(":")]
            upper, work = (
                os.path.normpath(os.path.join(base, options.get(name, ""))) for name in ("upperdir", "workdir")
            )
            return {
                "LowerDir": ":".join(lowers),
                "MergedDir": f"{os.path.dirname(upper)}/merged",
                "UpperDir": upper,
                "WorkDir": work,
            }
    return {}


def _host(host: HostConfig) -> HostConfig:
    """Docker prints ``{}`` and ``[]`` for a few members even when they are empty."""
    return msgspec.structs.replace(
        host,
        PortBindings=host.PortBindings or {},
        Dns=host.Dns or [],
        DnsOptions=host.DnsOptions or [],
        DnsSearch=host.DnsSearch or [],
        BlkioWeightDevice=host.BlkioWeightDevice or [],
        BlkioDeviceReadBps=host.BlkioDeviceReadBps or [],
        BlkioDeviceWriteBps=host.BlkioDeviceWriteBps or [],
        BlkioDeviceReadIOps=host.BlkioDeviceReadIOps or [],
        BlkioDeviceWriteIOps=host.BlkioDeviceWriteIOps or [],
        Devices=host.Devices or [],
        Runtime=host.Runtime or OWN,
    )


def mounts(record: ContainerRecord) -> list[MountPoint]:
    """``Mounts``: volumes, binds and ``--mount`` tmpfs, as Docker lists them."""
    return [_mount(point) for point in record.mounts]


def _mount(point: points.MountPoint) -> MountPoint:
    shown = MountPoint(
        Type=point.type,
        Source=point.source,
        Destination=point.destination,
        Mode=point.mode,
        RW=not point.read_only,
        Propagation=point.propagation,
    )
    if point.type == "volume":
        shown.Name = point.name
        shown.Driver = point.driver
    return shown


def summary(
    record: ContainerRecord, image: str, aliases: Sequence[str], sizes: Sizes | None, now_ns: int
) -> ContainerSummary:
    """One row of ``GET /containers/json``; ``image`` is the name the container was created from, or its id,
    ``aliases`` what links to it call it.
    """
    request = network_request(record)
    return ContainerSummary(
        Id=record.id,
        Names=[f"/{record.name}", *aliases],
        Image=image,
        ImageID=record.image_id,
        Command=command(record),
        Created=record.created_ns // _NS,
        Ports=summary_ports(record.network, request),
        SizeRw=sizes.writable if sizes else msgspec.UNSET,
        SizeRootFs=sizes.root if sizes else msgspec.UNSET,
        Labels=dict(record.config.Labels or {}),
        State=record.state.status.value,
        Status=status_text(record.state, now_ns),
        HostConfig=SummaryHostConfig(NetworkMode=record.host.NetworkMode, Annotations=record.host.Annotations),
        NetworkSettings=network_summary(record.network, request),
        Mounts=mounts(record),
    )


def command(record: ContainerRecord) -> str:
    """The command line as ``docker ps`` prints it: arguments with a space in quotes."""
    words = [f"'{word}'" if " " in word else word for word in record.args]
    return " ".join([record.path, *words])


def status_text(value: State, now_ns: int) -> str:
    """``Up 5 minutes``, ``Exited (0) 3 weeks ago`` ..."""
    if value.status is Status.RUNNING:
        return f"Up {duration(now_ns - value.started_ns)}{_HEALTH_TEXTS.get(health_status(value), '')}"
    if value.status is Status.PAUSED:
        return f"Up {duration(now_ns - value.started_ns)} (Paused)"
    if value.status is Status.RESTARTING:
        return f"Restarting ({value.exit_code}) {duration(now_ns - value.finished_ns)} ago"
    if value.status is Status.REMOVING:
        return "Removal In Progress"
    if value.status is Status.DEAD:
        return "Dead"
    if not value.started_ns:
        return "Created"
    if not value.finished_ns:
        return ""
    return f"Exited ({value.exit_code}) {duration(now_ns - value.finished_ns)} ago"


def duration(nanoseconds: int) -> str:
    """Go-units' HumanDuration: one unit, rounded as Docker rounds."""
    seconds = max(0, nanoseconds) // _NS
    minutes, hours = seconds // 60, (seconds + 1800) // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    whole = seconds // 3600
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{whole // 24} days"
    if hours < 24 * 30 * 2:
        return f"{whole // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{whole // 24 // 30} months"
    return f"{whole // 24 // 365} years"
