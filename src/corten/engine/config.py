"""What an engine is told at its start: the value the daemon fills from flags and ``daemon.json``.

Owns the names derived from the two roots (instance suffix, cgroup parent, paths), so that several engines run side by
side on one host. Refuses to know where a value came from.
"""

import hashlib
from typing import Final

import msgspec

DEFAULT_DATA_ROOT: Final = "/var/lib/corten"
DEFAULT_EXEC_ROOT: Final = "/run/corten"


class Ulimit(msgspec.Struct, frozen=True):
    """One rlimit: ``name`` as getrlimit(2) without its prefix and in lower case (``nofile``); -1 is unlimited."""

    name: str
    soft: int
    hard: int


class RuntimeConfig(msgspec.Struct, frozen=True):
    """Another runtime: ``path`` may be a name to be found on PATH; ``arguments`` come before the command's own."""

    name: str
    path: str
    arguments: tuple[str, ...] = ()


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an engine may be configured with; the defaults are dockerd's where it has one."""

    data_root: str = DEFAULT_DATA_ROOT
    exec_root: str = DEFAULT_EXEC_ROOT

    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    host_gateway_ip: str = ""

    bridge: str = ""
    bip: str = ""
    fixed_cidr: str = ""
    default_gateway: str = ""
    default_address_pools: tuple[tuple[str, int], ...] = ()
    default_bind_address: str = ""
    mtu: int = 0
    icc: bool = True
    ip_masq: bool = True
    ip_forward: bool = True

    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5

    cgroup_parent: str = ""
    default_ulimits: tuple[Ulimit, ...] = ()
    default_shm_size: int = 64 * 1024 * 1024
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    default_init: bool = False
    fast_stop: bool = False
    no_new_privileges: bool = False
    userns_remap: str = ""
    seccomp_profile: str = ""
    cdi_spec_directories: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}
    gc_high_water: int = 0
    gc_low_water: int = 80
    gc_min_age: int = 120
    shutdown_timeout: int = 15
    labels: tuple[str, ...] = ()
    runtimes: tuple[RuntimeConfig, ...] = ()
    default_runtime: str = ""
    debug: bool = False

    @property
    def instance(self) -> str:
        """What tells this engine's kernel objects from another's: empty for the default exec root."""
        if self.exec_root == DEFAULT_EXEC_ROOT:
            return ""
        return hashlib.sha256(self.exec_root.encode()).hexdigest()[:6]

    @property
    def cgroup_root(self) -> str:
        """The parent cgroup of containers that name none; its own directory in every hierarchy."""
        if self.cgroup_parent:
            return "/" + self.cgroup_parent.strip("/")
        return f"/corten-{self.instance}" if self.instance else "/corten"

    @property
    def database(self) -> str:
        """The SQLite file of every record."""
        return f"{self.data_root}/corten.db"

    def container_directory(self, container_id: str) -> str:
        """Where a container's own files live: hostname, hosts, resolv.conf, log."""
        return f"{self.data_root}/containers/{container_id}"
