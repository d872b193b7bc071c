"""What the host and the other containers contribute to a start: namespaces to join, devices, cgroup path, log file.

Reads the engine's configuration and the roster; the document itself is composed by :mod:`corten.engine.spec.document`.
"""

import posixpath
from contextlib import ExitStack
from typing import Any

import msgspec

from corten.engine import devices
from corten.engine import host as hosts
from corten.engine.config import EngineConfig
from corten.engine.containers import logging
from corten.engine.containers.joins import JOIN, Joins
from corten.engine.containers.links import Links
from corten.engine.networks.request import NOBODY, ContainerNetworkRequest
from corten.engine.record import ContainerRecord
from corten.engine.spec.document import Facts
from corten.engine.spec.resources import block_devices
from corten.errors import InvalidArgument
from corten.logs import driver


class HostFacts:
    """Answers for one container at a time."""

    def __init__(self, config: EngineConfig, joins: Joins, links: Links) -> None:
        self._config = config
        self._joins = joins
        self._links = links

    def network_request(self, record: ContainerRecord) -> ContainerNetworkRequest:
        """The container's wishes, with a joined container's process and the addresses of linked ones.

        Raises:
            Conflict: the container whose network it shares does not run.
            CortenError: a linked container does not run.
        """
        target = NOBODY
        mode = record.host.NetworkMode
        if mode.startswith(JOIN):
            target = self._joins.running(mode.removeprefix(JOIN), "network namespace")
        return msgspec.structs.replace(network_request(record, target), links=self._links.hosts(record))

    def namespaces(self, record: ContainerRecord, undo: ExitStack) -> dict[str, int]:
        """Descriptors of other containers' namespaces by kind; see :meth:`Joins.namespaces`."""
        return self._joins.namespaces(record, undo)

    def of(self, record: ContainerRecord, mode: str, undo: ExitStack) -> Facts:
        """Everything :func:`corten.engine.spec.document.build` needs to know; ``mode`` is the network driver's,
        ``undo`` takes back what was made for it.
        """
        host = record.host
        _check_propagation(record)
        nodes, rules = devices.select(host.Devices or (), host.DeviceCgroupRules or (), privileged=host.Privileged)
        return Facts(
            cgroup_path=self.cgroup_path(record),
            private_cgroup_namespace=host.CgroupnsMode == "private",
            files=self.files(record, mode),
            devices=nodes,
            device_rules=rules,
            block_devices=devices.numbers(block_devices(host)),
            network=_network_kind(mode),
            shm_path=self._joins.shared_memory(record, undo),
            linked_environment=self._links.environment(record),
            id_map=record.id_map,
        )

    def cgroup_path(self, record: ContainerRecord) -> str:
        """The container's cgroup below every hierarchy's root."""
        parent = posixpath.normpath(f"/{record.host.CgroupParent}").lstrip("/")
        return f"/{parent}/{record.id}" if parent else f"{self._config.cgroup_root}/{record.id}"

    def log(self, record: ContainerRecord) -> dict[str, Any]:
        """The ``log`` field of the shim's ``start``."""
        return logging.document(record, self.log_path(record))

    def log_path(self, record: ContainerRecord) -> str:
        """The log that can be read back; empty where there is none."""
        name = record.host.LogConfig.Type
        if not driver.has_file(name, record.host.LogConfig.Config or {}):
            return ""
        return f"{self._config.container_directory(record.id)}/log/{_log_name(name, record.id)}"

    def shown_log_path(self, record: ContainerRecord) -> str:
        """``LogPath`` of inspect: Docker tells that of json-file alone."""
        return self.log_path(record) if record.host.LogConfig.Type == "json-file" else ""

    def files(self, record: ContainerRecord, mode: str = "") -> dict[str, str]:
        """What is bound on the three managed files; ``mode`` is the network's."""
        owner = record.id
        mode = mode or record.host.NetworkMode
        if mode.startswith(JOIN):
            owner = mode.removeprefix(JOIN)
        directory = self._config.container_directory(owner)
        return {f"/etc/{name}": f"{directory}/{name}" for name in ("resolv.conf", "hostname", "hosts")}


def _log_name(name: str, container_id: str) -> str:
    """Docker's own names, so that a collector's pattern ``*-json.log`` takes json-file logs and nothing else."""
    if name == "json-file":
        return f"{container_id}-json.log"
    return "container-cached.log" if name in driver.REMOTE else "container.log"


def _check_propagation(record: ContainerRecord) -> None:
    """Binds that exchange mounts with the host need a mount there that does. Raises InvalidArgument."""
    for point in record.mounts:
        kind = point.propagation.removeprefix("r")
        if point.type != "bind" or kind not in ("shared", "slave"):
            continue
        holder, kinds = hosts.mount_of(point.source)
        if kind == "shared" and "shared" not in kinds:
            raise InvalidArgument(f"path {point.source} is mounted on {holder} but it is not a shared mount")
        if kind == "slave" and not kinds & {"shared", "master"}:
            raise InvalidArgument(f"path {point.source} is mounted on {holder} but it is not a shared or slave mount")


def _network_kind(mode: str) -> str:
    """What the document must know: ``host``, ``joined`` or ``private`` (a namespace of the container's own)."""
    if mode == "host":
        return "host"
    return "joined" if mode.startswith(JOIN) else "private"


def network_request(record: ContainerRecord, target: tuple[int, int] = NOBODY) -> ContainerNetworkRequest:
    """The request of a record; pure."""
    config, host = record.config, record.host
    return ContainerNetworkRequest(
        container_id=record.id,
        name=record.name,
        hostname="" if host.NetworkMode.startswith(JOIN) else config.Hostname,
        domainname=config.Domainname,
        mode="none" if config.NetworkDisabled else host.NetworkMode,
        exposed=tuple(config.ExposedPorts or ()),
        bindings=host.PortBindings or {},
        publish_all=host.PublishAllPorts,
        extra_hosts=tuple(host.ExtraHosts or ()),
        dns=tuple(host.Dns or ()),
        dns_search=tuple(host.DnsSearch or ()),
        dns_options=tuple(host.DnsOptions or ()),
        mac_address=config.MacAddress or "",
        endpoints=record.networking.EndpointsConfig or {},
        target=target,
    )
