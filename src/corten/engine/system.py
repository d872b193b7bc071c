"""The engine about itself: ``info``, ``version`` and the check of registry credentials.

Every value is true of this host or of this engine; what Docker has and this engine does not is empty, not invented.
"""

import asyncio
import os
import platform
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import corten
from corten.api.types.system import AuthConfig, AuthResponse, ComponentVersion, Named, SystemVersion
from corten.engine import cdi, host, limits
from corten.engine.config import EngineConfig
from corten.engine.containers.render import timestamp
from corten.engine.events import EventService
from corten.engine.images.service import ImageService
from corten.engine.lifecycle import Status
from corten.engine.networks.service import NetworkService
from corten.engine.roster import Roster
from corten.engine.runtimes import Runtimes
from corten.engine.spec.limits import HostLimits
from corten.logs import driver
from corten.registry import proxy
from corten.registry.auth import Credentials
from corten.storage.snapshot import Snapshotter

API_VERSION: Final = "1.51"
MIN_API_VERSION: Final = "1.24"
_HUB: Final = "https://index.docker.io/v1/"
_GO_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def architecture() -> str:
    """This machine's name in Go's words."""
    machine = os.uname().machine
    return _GO_ARCHITECTURES.get(machine, machine)


class SystemService:
    """Facts about the engine and its host."""

    def __init__(
        self,
        config: EngineConfig,
        engine_id: str,
        roster: Roster,
        images: ImageService,
        networks: NetworkService,
        events: EventService,
        host_limits: HostLimits,
        storage: Snapshotter,
        runtimes: Runtimes,
        housekeeping: Callable[[], str],
        *,
        remapped: bool,
    ) -> None:
        self._limits = host_limits
        self._runtimes = runtimes
        self._housekeeping = housekeeping
        self._config = config
        self._storage = storage
        self._engine_id = engine_id
        self._roster = roster
        self._images = images
        self._networks = networks
        self._events = events
        self._remapped = remapped

    async def version(self) -> SystemVersion:
        """``GET /version``."""
        kernel, built = os.uname().release, _built()
        return SystemVersion(
            Platform=Named(Name="Corten"),
            Components=[
                ComponentVersion(
                    Name="Engine",
                    Version=corten.__version__,
                    Details={
                        "ApiVersion": API_VERSION,
                        "MinAPIVersion": MIN_API_VERSION,
                        "Arch": architecture(),
                        "Experimental": "false",
                        "GitCommit": f"corten-{corten.__version__}",
                        "GoVersion": f"python{platform.python_version()}",
                        "KernelVersion": kernel,
                        "Os": "linux",
                        "BuildTime": built,
                    },
                ),
                ComponentVersion(Name="corten-runtime", Version=corten.__version__, Details={}),
            ],
            Version=corten.__version__,
            ApiVersion=API_VERSION,
            MinAPIVersion=MIN_API_VERSION,
            GitCommit=f"corten-{corten.__version__}",
            GoVersion=f"python{platform.python_version()}",
            Os="linux",
            Arch=architecture(),
            KernelVersion=kernel,
            BuildTime=built,
        )

    async def info(self) -> dict[str, Any]:
        """``GET /info``."""
        devices = await asyncio.to_thread(cdi.scan, self._config.cdi_spec_directories)
        return {**await self._counts(), **self._host(devices), **self._features(devices), **self._registries()}

    async def auth(self, body: AuthConfig) -> AuthResponse:
        """``POST /auth``: ask the registry."""
        status = await self._images.login(
            body.serveraddress or _HUB,
            Credentials(username=body.username, password=body.password, identity_token=body.identitytoken),
        )
        return AuthResponse(Status=status)

    async def _counts(self) -> dict[str, Any]:
        states = [container.record.state.status for container in self._roster]
        running = sum(state is Status.RUNNING for state in states)
        paused = sum(state is Status.PAUSED for state in states)
        return {
            "ID": self._engine_id,
            "Name": socket.gethostname(),
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
            "Images": len(await self._images.list(every=True)),
            "SystemTime": timestamp(time.time_ns()),
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": len(asyncio.all_tasks()) + threading.active_count(),
            "NEventsListener": self._events.listeners,
        }

    def _host(self, devices: cdi.Registry) -> dict[str, Any]:
        facts = host.cgroups()
        release = _os_release()
        version = 2 if facts.version == "2" else 1
        return {
            "KernelVersion": os.uname().release,
            "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
            "OSVersion": release.get("VERSION_ID", ""),
            "OSType": "linux",
            "Architecture": os.uname().machine,
            "NCPU": os.cpu_count() or 1,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": str(version),
            **limits.fields(self._limits.features),
            "IPv4Forwarding": _reads_one("/proc/sys/net/ipv4/ip_forward"),
            "BridgeNfIptables": _reads_one("/proc/sys/net/bridge/bridge-nf-call-iptables"),
            "BridgeNfIp6tables": _reads_one("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
            "SecurityOptions": self._security(),
            "Warnings": [
                *limits.warnings(self._limits.features, version),
                *self._storage.warnings,
                *self._networks.warnings,
                *self._lost_lines(),
                *devices.problems,
            ]
            or None,
        }

    def _lost_lines(self) -> list[str]:
        return [
            f"WARNING: {container.lines_lost} lines of container {container.record.name} are in no log"
            for container in self._roster
            if container.lines_lost
        ]

    def _security(self) -> list[str]:
        options = []
        if os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):
            options.append(f"name=seccomp,profile={'custom' if self._config.seccomp_profile else 'builtin'}")
        if self._remapped:
            options.append("name=userns")
        if self._config.default_cgroupns_mode == "private":
            options.append("name=cgroupns")
        if self._config.no_new_privileges:
            options.append("name=no-new-privileges")
        return options

    def _features(self, devices: cdi.Registry) -> dict[str, Any]:
        return {
            "Driver": _DRIVERS[self._storage.name],
            "DriverStatus": [
                ["Backing Filesystem", _filesystem(self._config.data_root)],
                *(_OVERLAY_STATUS if self._storage.name == "overlay" else ()),
                ["Engine", f"corten {corten.__version__}"],
                *([["Garbage Collection", text]] if (text := self._housekeeping()) else ()),
            ],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": list(driver.DRIVERS),
            },
            "Debug": self._config.debug,
            "LoggingDriver": self._config.log_driver,
            "DockerRootDir": self._config.data_root,
            **dict(zip(("HttpProxy", "HttpsProxy", "NoProxy"), proxy.shown(os.environ), strict=True)),
            "Labels": list(self._config.labels),
            "ExperimentalBuild": False,
            "ServerVersion": corten.__version__,
            "Runtimes": self._runtimes.table(),
            "DefaultRuntime": self._runtimes.default,
            "Swarm": _NO_SWARM,
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": "corten-init",
            "ContainerdCommit": {"ID": ""},
            "RuncCommit": {"ID": f"corten-{corten.__version__}"},
            "InitCommit": {"ID": f"corten-{corten.__version__}"},
            "GenericResources": None,
            "DefaultAddressPools": [{"Base": base, "Size": size} for base, size in self._config.default_address_pools],
            "CDISpecDirs": list(self._config.cdi_spec_directories),
            "DiscoveredDevices": [{"Source": "cdi", "ID": name} for name in sorted(devices.devices)],
            "FirewallBackend": {"Driver": "nftables"},
        }

    def _registries(self) -> dict[str, Any]:
        loopback = ["::1/128", "127.0.0.0/8"]
        names = [name for name in self._config.insecure_registries if "/" not in name]
        networks = [name for name in self._config.insecure_registries if "/" in name]
        indexes = {
            "docker.io": {
                "Name": "docker.io",
                "Mirrors": list(self._config.registry_mirrors),
                "Secure": True,
                "Official": True,
            }
        }
        indexes.update({name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False} for name in names})
        return {
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": {
                "InsecureRegistryCIDRs": [*loopback, *networks],
                "IndexConfigs": indexes,
                "Mirrors": list(self._config.registry_mirrors),
            },
        }


#: What ``info`` calls the ways to make containers' trees: tools know Docker's name for an overlay.
_DRIVERS: Final = {"overlay": "overlay2", "native": "native"}
#: True of every overlay of ours: its options are :data:`corten.storage.overlay.OPTIONS`, and its probe whites out.
_OVERLAY_STATUS: Final = (
    ["Supports d_type", "true"],
    ["Using metacopy", "false"],
    ["Native Overlay Diff", "true"],
    ["userxattr", "false"],
)
_NO_SWARM: Final = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def _reads_one(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _built() -> str:
    """When this copy of the engine was made, as Docker writes the time of a build."""
    made = datetime.fromtimestamp(int(os.stat(corten.__file__).st_mtime), UTC)
    return f"{made:%Y-%m-%dT%H:%M:%S}.000000000+00:00"


def _filesystem(path: str) -> str:
    """The type of the mount below ``path`` in Docker's words, from the longest matching line of mountinfo."""
    best, kind = "", "unknown"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            point = left.split()[4]
            if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
                best, kind = point, right.split()[0]
    return "extfs" if kind in ("ext2", "ext3", "ext4") else kind
