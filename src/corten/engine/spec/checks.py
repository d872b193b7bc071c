"""Docker's checks of a create request that are not about resources or mounts; pure."""

import re
from typing import Final

from corten.api.types.container import ContainerConfig, HostConfig
from corten.engine import accelerators, devices, policies
from corten.engine.health import checks as health
from corten.engine.mounts import check_tmpfs
from corten.engine.signals import parse_signal
from corten.engine.spec import capabilities
from corten.engine.spec.security import Modules, check_modules, parse_security
from corten.engine.spec.storage import tree_limit
from corten.errors import InvalidArgument

JOIN: Final = "container:"
_SYSCTL: Final = re.compile(r"[a-z0-9_.*/-]+\Z")
_IPC: Final = frozenset({"", "none", "private", "host", "shareable"})
_LINKLESS: Final = (
    ("container:", "conflicting options: container type network can't be used with links."),
    ("host", "conflicting options: host type networking can't be used with links."),
)


def check(config: ContainerConfig, host: HostConfig, modules: Modules) -> None:
    """Raises InvalidArgument with Docker's text; NotSupported for confinement that ``modules`` cannot give."""
    _check_config(config)
    _check_modes(host)
    _check_conflicts(config, host)
    _check_host(host)
    tree_limit(host.StorageOpt)
    _check_security(host, modules)


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
    if host.Isolation not in ("", "default"):
        raise InvalidArgument(f"invalid isolation: \"{host.Isolation}\" - linux only supports 'default'")
    devices.check(host.Devices or (), host.DeviceCgroupRules or ())
    accelerators.check(host.DeviceRequests or ())
    for path, options in (host.Tmpfs or {}).items():
        check_tmpfs(path, options)
    for limit in host.Ulimits or ():
        if limit.Hard != -1 and (limit.Soft > limit.Hard or limit.Soft == -1):
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {limit.Soft} > {limit.Hard}"
            )


def _check_security(host: HostConfig, modules: Modules) -> None:
    options = parse_security(host.SecurityOpt or (), no_new_privileges=False)
    check_modules(options, modules)
    if options.writable_cgroups and host.CgroupnsMode == "host" and not host.Privileged:
        raise InvalidArgument(
            "--security-opt writable-cgroups=true needs a private cgroup namespace: with the host's, "
            "the cgroups of all containers could be changed"
        )
