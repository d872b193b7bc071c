"""Docker's checks of a create request that are not about resources or mounts; pure."""

import re
from typing import Final

from corten.api.types.container import ContainerConfig, HostConfig
from corten.engine import devices, policies
from corten.engine.health import checks as health
from corten.engine.signals import parse_signal
from corten.engine.spec import capabilities
from corten.engine.spec.process import parse_security
from corten.errors import InvalidArgument

JOIN: Final = "container:"
_TMPFS_PATH: Final = "invalid mount path: '{}' mount path must be absolute"
_SYSCTL: Final = re.compile(r"[a-z0-9_.*/-]+\Z")
_IPC: Final = frozenset({"", "none", "private", "host", "shareable"})
_LINKLESS: Final = (
    ("container:", "conflicting options: container type network can't be used with links."),
    ("host", "conflicting options: host type networking can't be used with links."),
)


def check(config: ContainerConfig, host: HostConfig) -> None:
    """Raises InvalidArgument with Docker's text."""
    _check_config(config)
    _check_modes(host)
    _check_conflicts(config, host)
    _check_host(host)


def _check_config(config: ContainerConfig) -> None:
    if config.WorkingDir and not config.WorkingDir.startswith("/"):
        raise InvalidArgument(
            f"the working directory '{config.WorkingDir}' is invalid, it needs to be an absolute path"
        )
    health.validate(config.Healthcheck)
    if config.StopSignal:
        parse_signal(config.StopSignal)
    for entry in config.Env or ():
        if not entry or entry.startswith("="):
            raise InvalidArgument(f"invalid environment variable: {entry}")


def _check_modes(host: HostConfig) -> None:
    if not (host.IpcMode in _IPC or host.IpcMode.startswith(JOIN)):
        raise InvalidArgument(f"invalid IPC mode: {host.IpcMode}")
    if not (host.PidMode in ("", "host") or (host.PidMode.startswith(JOIN) and host.PidMode != JOIN)):
        raise InvalidArgument(f"invalid PID mode: {host.PidMode}")
    if host.UTSMode not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host.UTSMode}")
    if host.CgroupnsMode not in ("", "host", "private"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {host.CgroupnsMode}")


def _check_conflicts(config: ContainerConfig, host: HostConfig) -> None:
    """Options that need a namespace which another option shares."""
    if config.Hostname and host.UTSMode == "host":
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if config.Domainname and host.UTSMode == "host":
        raise InvalidArgument('sysctl "kernel.domainname" is not in a separate kernel namespace')
    if config.Hostname and host.NetworkMode.startswith(JOIN):
        raise InvalidArgument("conflicting options: hostname and the network mode")
    for mode, text in _LINKLESS:
        if host.Links and host.NetworkMode.startswith(mode):
            raise InvalidArgument(f"{text} This would result in undefined behavior")
    for name in host.Sysctls or {}:
        if name.startswith("net.") and host.NetworkMode == "host":
            raise InvalidArgument(f"sysctl '{name}' not allowed in host network namespace")
        if not _SYSCTL.match(name):
            raise InvalidArgument(f"invalid sysctl: '{name}'")


def _check_host(host: HostConfig) -> None:
    if host.ShmSize < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not -1000 <= host.OomScoreAdj <= 1000:
        raise InvalidArgument(f"Invalid value {host.OomScoreAdj}, range for oom score adj is [-1000, 1000]")
    policies.check(host.RestartPolicy, auto_remove=host.AutoRemove)
    for field, names in (("CapAdd", host.CapAdd), ("CapDrop", host.CapDrop)):
        try:
            capabilities.normalize(names or ())
        except InvalidArgument as exc:
            raise InvalidArgument(f"invalid {field}: {exc}") from None
    parse_security(host.SecurityOpt or (), no_new_privileges=False)
    devices.check(host.Devices or (), host.DeviceCgroupRules or ())
    for path in host.Tmpfs or {}:
        if not path.startswith("/"):
            raise InvalidArgument(_TMPFS_PATH.format(path))
    for limit in host.Ulimits or ():
        if limit.Hard != -1 and (limit.Soft > limit.Hard or limit.Soft == -1):
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {limit.Soft} > {limit.Hard}"
            )
