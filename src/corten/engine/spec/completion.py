"""Docker's defaults in what a client left open, so that inspect shows them and a start does not decide again; pure."""

import os

import msgspec

from corten.api.types.container import ContainerConfig, HostConfig, LogConfig, RestartPolicy
from corten.engine.config import EngineConfig
from corten.engine.runtimes import OWN
from corten.engine.spec import defaults


def complete(
    config: ContainerConfig, host: HostConfig, hostname: str, engine: EngineConfig
) -> tuple[ContainerConfig, HostConfig]:
    """Both, completed."""
    if not config.Hostname:
        config = msgspec.structs.replace(config, Hostname=default_hostname(host, hostname))
    return config, complete_host(host, engine)


def default_hostname(host: HostConfig, hostname: str) -> str:
    """The host's own name where its UTS or network namespace is shared, else ``hostname``."""
    shared = host.NetworkMode == "host" or host.UTSMode == "host"
    return os.uname().nodename if shared else hostname


def complete_host(host: HostConfig, engine: EngineConfig) -> HostConfig:
    """HostConfig as inspect shows it."""
    swap = host.MemorySwap
    if host.Memory > 0 and swap == 0:
        swap = 2 * host.Memory
    privileged = host.Privileged
    return msgspec.structs.replace(
        host,
        LogConfig=log_config(host.LogConfig, engine),
        MemorySwap=swap,
        NetworkMode="bridge" if host.NetworkMode in ("", "default") else host.NetworkMode,
        IpcMode=host.IpcMode or engine.default_ipc_mode,
        CgroupnsMode=host.CgroupnsMode or ("host" if privileged else engine.default_cgroupns_mode) or "host",
        ShmSize=host.ShmSize or engine.default_shm_size,
        RestartPolicy=host.RestartPolicy if host.RestartPolicy.Name else RestartPolicy(Name="no"),
        MaskedPaths=_paths(host.MaskedPaths, defaults.MASKED_PATHS, privileged=privileged),
        Runtime=host.Runtime or engine.default_runtime or OWN,
        ReadonlyPaths=_paths(host.ReadonlyPaths, defaults.READONLY_PATHS, privileged=privileged),
        SecurityOpt=_security(host),
    )


def log_config(given: LogConfig, engine: EngineConfig) -> LogConfig:
    """The engine's options count where its driver is used; those of the cache always (moby, daemon/logs.go)."""
    name = given.Type or engine.log_driver
    same = name == engine.log_driver
    own = {key: value for key, value in engine.log_options.items() if same or key.startswith("cache-")}
    return LogConfig(Type=name, Config={**own, **(given.Config or {})})


def _security(host: HostConfig) -> list[str] | None:
    """What sees the host's processes is not labelled; dockerd writes it down, whether the host has SELinux or not."""
    if host.SecurityOpt is None and (host.Privileged or "host" in (host.IpcMode, host.PidMode)):
        return ["label=disable"]
    return host.SecurityOpt


def _paths(wanted: list[str] | None, standard: tuple[str, ...], *, privileged: bool) -> list[str] | None:
    if wanted is None and not privileged:
        return list(standard)
    return wanted
