"""Networks as the engine uses them: start-up, attach, release, list, inspect.

Owns leases, published ports and endpoints of running containers, all in memory: they are rebuilt at start-up from the
records of the containers that run. Refuses to know records of containers and the shim.

Everything here runs in the event loop's thread but what touches the kernel for long, which runs in worker threads.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

import msgspec

from corten.api.filters import Filters
from corten.api.types.network import NetworkResource
from corten.engine.config import EngineConfig
from corten.engine.events import EventService
from corten.engine.networks import names, options, validation
from corten.engine.networks.catalog import NAMES, Catalog
from corten.engine.networks.host import HostFiles
from corten.engine.networks.record import EndpointRecord, PublishedPort
from corten.engine.networks.request import ContainerNetworkRequest
from corten.errors import CortenError, Forbidden, NoSuchNetwork, Unavailable
from corten.network import bridge, coexistence, ipam, ports, sandbox
from corten.network.firewall import Firewall, TableGone
from corten.network.model import ANY_ADDRESS, BRIDGE, HOST, NONE, BridgeNetwork, Endpoint, Publication
from corten.network.reserve import Reserve

logger = logging.getLogger(__name__)

NO_BRIDGE: Final = "none"
# A namespace whose last process has ended is gone within milliseconds; one that another container joined is not.
_REAP_AFTER_SECONDS: Final = 1.0
# Off the path of the container that has just taken one.
_REFILL_AFTER_SECONDS: Final = 0.03


@dataclass(frozen=True, slots=True)
class Files:
    """Contents of the three files a container gets."""

    hostname: str
    hosts: str
    resolv_conf: str


@dataclass(slots=True)
class Sandbox:
    """What :meth:`NetworkService.attach` gives.

    ``netns_fd`` is None in mode ``host``; the caller passes it on and calls :meth:`close`. ``files`` is None in mode
    ``container:ID``, where the other container's files are used.
    """

    netns_fd: int | None
    record: EndpointRecord
    files: Files | None
    warnings: tuple[str, ...] = ()

    def close(self) -> None:
        """Close the descriptor; more than once is fine."""
        if self.netns_fd is not None:
            os.close(self.netns_fd)
            self.netns_fd = None


@dataclass(slots=True)
class _Bridged:
    """What exists only when the engine has a bridge."""

    network: BridgeNetwork
    pool: ipam.Pool
    firewall: Firewall


class NetworkService:
    """The networks of one engine."""

    def __init__(self, config: EngineConfig, events: EventService) -> None:
        self._config = config
        self._events = events
        self._catalog = Catalog(
            config.exec_root, inter_container=config.icc, masquerade=config.ip_masq,
            bind_address=config.default_bind_address,
        )  # fmt: skip
        self._files = HostFiles(config)
        self._ports = ports.PortTable(_hold, bridge.local_port_range())
        self._endpoints: dict[str, EndpointRecord] = {}
        self._bridged: _Bridged | None = None
        self._reaping: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._refilling: set[asyncio.Task[None]] = set()
        self._reserve = Reserve()
        self._warnings: list[str] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this host does not give, as sentences for ``info``."""
        return tuple(self._warnings)

    async def startup(self, live: Mapping[str, EndpointRecord]) -> None:
        """Take over what runs and make the rest.

        (1) the bridge, with its address          (3) leases and ports of ``live``, by container id
        (2) sysctls, after (4) on a fresh bridge  (4) the whole nftables table in one transaction

        A host that cannot have a bridge still gets ``host`` and ``none``; the reason is in :attr:`warnings`.
        """
        options.check(self._config)
        self._endpoints.update(live)
        if self._config.bridge == NO_BRIDGE:
            return
        try:
            network = await asyncio.to_thread(self._ensure_bridge)  # (1)
            pool = ipam.Pool(network.subnet, network.gateway, within=options.fixed_range(self._config))
            firewall = Firewall(
                names.table(self._config.instance), network, inter_container=self._config.icc,
                masquerade=self._config.ip_masq,
            )  # fmt: skip
            publications = self._adopt(pool, live)  # (3)
            await asyncio.to_thread(firewall.load, publications)  # (4)
        except Unavailable as error:
            self._warnings.append(f"no bridge network: {error}")
            logger.warning("no bridge network: %s", error)
            return
        self._warnings += await asyncio.to_thread(_open_host, network.interface, self._config)  # (2)
        self._bridged = _Bridged(network, pool, firewall)
        self._catalog.bridge = network

    async def close(self) -> None:
        """Let go of what this process holds; bridge, rules and running containers stay as they are."""
        if self._settling:
            await asyncio.wait(self._settling)
        for task in (*self._reaping, *self._refilling):
            task.cancel()
        self._reserve.close()
        if self._bridged is not None:
            self._bridged.firewall.close()
        for descriptor in self._ports.descriptors():
            os.close(descriptor)

    async def list(self, filters: Filters) -> list[NetworkResource]:
        """``GET /networks``."""
        return self._catalog.matching(filters, {record.network for record in self._endpoints.values()})

    async def inspect(self, reference: str, *, scope: str = "") -> NetworkResource:
        """``GET /networks/{id}``; NoSuchNetwork."""
        name = self._catalog.find(reference)
        if scope and scope != "local":
            raise NoSuchNetwork(reference)
        return self._catalog.resource(name, self._endpoints)

    async def remove(self, reference: str) -> None:
        """``DELETE /networks/{id}``: Forbidden for every network there is so far."""
        name = self._catalog.find(reference)
        raise Forbidden(f"{name} is a pre-defined network and cannot be removed")

    def validate(self, request: ContainerNetworkRequest) -> Sequence[str]:
        """Refuse at creation what cannot be right; returns warnings for the client."""
        return validation.check(request)

    async def attach(self, request: ContainerNetworkRequest) -> Sandbox:
        """Give a starting container its network; the caller owns the descriptor and calls :meth:`release` at the end.

        Raises:
            NoSuchNetwork: the mode names no network.
            CortenError: a port is taken (Docker's text).
            Unavailable: the kernel refused.
        """
        if request.container_id in self._endpoints:
            await self.release(request.container_id)
        mode = request.driver_mode
        if mode == HOST:
            return self._keep(request, None, self._plain_record(request, HOST))
        if mode == NONE:
            self._refill()
            descriptor = await _whole(asyncio.to_thread(lambda: self._reserve.take().isolated()), os.close)
            return self._keep(request, descriptor, self._plain_record(request, NONE))
        if mode.startswith("container:"):
            return Sandbox(sandbox.of_process(request.target_pid), EndpointRecord(mode=mode, name=request.name), None)
        if mode != BRIDGE or self._bridged is None:
            raise NoSuchNetwork(mode)
        return await self._attach_bridge(request, self._bridged)

    async def release(self, container_id: str) -> None:
        """Take back what a container had; nothing when it had nothing. The namespace itself dies with its processes."""
        record = self._endpoints.pop(container_id, None)
        if record is None:
            return
        self._announce(container_id, record, "disconnect")
        if self._bridged is None or record.mode != BRIDGE:
            return
        publications = _publications(record)
        try:
            if publications:
                await asyncio.to_thread(self._bridged.firewall.withdraw, publications)
        finally:
            self._forget(publications)
            self._bridged.pool.release(IPv4Address(record.ip))
            self._later(_delete_interface(record.veth), self._reaping)
            if any(publication.protocol == "udp" for publication in publications):
                self._later(_forget_flows(self._bridged.firewall, record.ip), self._settling)

    def renamed(self, container_id: str, name: str) -> None:
        """Keep what ``network inspect`` says of a running container true after ``rename``."""
        record = self._endpoints.get(container_id)
        if record is not None:
            self._endpoints[container_id] = msgspec.structs.replace(record, name=name)

    async def _attach_bridge(self, request: ContainerNetworkRequest, bridged: _Bridged) -> Sandbox:
        if self._settling:  # an address or port given again must not meet the flows of its last owner
            await asyncio.wait(self._settling)
        with ExitStack() as undo:
            address = bridged.pool.allocate()
            undo.callback(bridged.pool.release, address)
            endpoint_id = secrets.token_hex(32)
            publications = self._claim(request, str(address), endpoint_id, undo)
            mac = request.wanted_mac or ipam.mac_for(address)
            endpoint = Endpoint(address, mac, names.veth())
            self._refill()
            descriptor = await self._build(bridged, endpoint, publications)
            undo.callback(os.close, descriptor)
            record = EndpointRecord(
                mode=BRIDGE, network=BRIDGE, network_id=self._catalog.id_of(BRIDGE), endpoint_id=endpoint_id,
                sandbox_id=secrets.token_hex(32), ip=str(address), prefix=bridged.network.subnet.prefixlen,
                gateway=str(bridged.network.gateway), mac=mac, veth=endpoint.veth, name=request.name,
                ports=tuple(
                    PublishedPort(p.protocol, p.container_port, p.host_ip, p.host_port) for p in publications
                ),
            )  # fmt: skip
            result = self._keep(request, descriptor, record)
            undo.pop_all()
        return result

    async def _build(self, bridged: _Bridged, endpoint: Endpoint, publications: Sequence[Publication]) -> int:
        def build() -> int:
            descriptor = self._reserve.take().bridged(bridged.network, endpoint)
            try:
                self._publish(bridged, publications)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

        def take_back(descriptor: int) -> None:
            os.close(descriptor)
            bridged.firewall.withdraw(publications)

        return await _whole(asyncio.to_thread(build), take_back)

    def _publish(self, bridged: _Bridged, publications: Sequence[Publication]) -> None:
        if not publications:
            return
        try:
            bridged.firewall.publish(publications)
        except TableGone:
            logger.warning("somebody deleted the nftables table %s: it is made again", bridged.firewall.name)
            standing = [p for record in tuple(self._endpoints.values()) for p in _publications(record)]
            bridged.firewall.load([*standing, *publications])

    def _refill(self) -> None:
        if not self._refilling:
            self._later(_fill_later(self._reserve), self._refilling)

    def _claim(
        self, request: ContainerNetworkRequest, address: str, endpoint_id: str, undo: ExitStack
    ) -> Sequence[Publication]:
        wished = ports.wishes(
            request.exposed, validation.pairs(request), publish_all=request.publish_all,
            default_ip=self._config.default_bind_address or ANY_ADDRESS,
        )  # fmt: skip
        claimed: list[Publication] = []
        undo.callback(self._forget, claimed)
        for wish in wished:
            try:
                claimed.append(self._ports.claim(wish, address))
            except ports.PortTaken as error:
                raise CortenError(
                    "failed to set up container networking: driver failed programming external connectivity on "
                    f"endpoint {request.name} ({endpoint_id}): {error}"
                ) from error
        return claimed

    def _keep(self, request: ContainerNetworkRequest, descriptor: int | None, record: EndpointRecord) -> Sandbox:
        gateway = str(self._bridged.network.gateway) if self._bridged else ""
        files, warnings = self._files.of(request, address=record.ip, gateway=gateway)
        self._endpoints[request.container_id] = record
        self._announce(request.container_id, record, "connect")
        return Sandbox(descriptor, record, Files(*files), warnings)

    def _plain_record(self, request: ContainerNetworkRequest, name: str) -> EndpointRecord:
        return EndpointRecord(
            mode=name, network=name, network_id=self._catalog.id_of(name), endpoint_id=secrets.token_hex(32),
            sandbox_id=secrets.token_hex(32), name=request.name,
        )  # fmt: skip

    def _announce(self, container_id: str, record: EndpointRecord, action: str) -> None:
        if record.network in NAMES:
            kind = "null" if record.network == NONE else record.network
            attributes = {"container": container_id, "name": record.network, "type": kind}
            self._events.publish("network", action, record.network_id, attributes)

    def _forget(self, publications: Sequence[Publication]) -> None:
        for publication in publications:
            descriptor = self._ports.release(publication)
            if descriptor >= 0:
                os.close(descriptor)

    def _later(self, work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _ensure_bridge(self) -> BridgeNetwork:
        config = self._config
        if config.bridge:
            return bridge.adopt(config.bridge, mtu=config.mtu)
        return bridge.ensure(
            names.bridge(config.instance), wanted=options.bip(config),
            pools=ipam.parse_pools(config.default_address_pools),
            avoid=self._files.nameserver_networks(), mtu=config.mtu,
        )  # fmt: skip

    def _adopt(self, pool: ipam.Pool, live: Mapping[str, EndpointRecord]) -> Sequence[Publication]:
        publications = []
        for record in live.values():
            if record.mode != BRIDGE:
                continue
            pool.reserve(IPv4Address(record.ip))
            for publication in _publications(record):
                publications.append(publication)
                if not self._ports.adopt(publication):
                    held = f"{publication.host_ip}:{publication.host_port}/{publication.protocol}"
                    logger.warning("a host process took %s, which leads to container %s", held, record.name)
        return publications


def _hold(protocol: str, host_ip: str, port: int) -> int:
    try:
        return sandbox.hold_port(protocol, host_ip, port)
    except OSError as error:
        raise ports.HostPortBusy(os.strerror(error.errno or 0).lower()) from error


async def _whole(work: Coroutine[None, None, int], take_back: Callable[[int], None]) -> int:
    """Await ``work``, which runs in a thread and cannot be cancelled: on cancellation its outcome is taken back."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        take_back(await task)
        raise


async def _fill_later(reserve: Reserve) -> None:
    await asyncio.sleep(_REFILL_AFTER_SECONDS)
    try:
        await asyncio.to_thread(reserve.fill)
    except Unavailable as error:
        logger.warning("no network namespace could be made in advance: %s", error)


async def _delete_interface(veth: str) -> None:
    await asyncio.sleep(_REAP_AFTER_SECONDS)
    try:
        await asyncio.to_thread(bridge.remove, veth)
    except OSError as error:
        logger.warning("interface %s was not removed: %s", veth, error)


async def _forget_flows(firewall: Firewall, address: str) -> None:
    try:
        await asyncio.to_thread(firewall.forget_flows, address)
    except Unavailable as error:
        logger.warning("%s", error)


def _publications(record: EndpointRecord) -> Sequence[Publication]:
    return [Publication(p.protocol, p.host_ip, p.host_port, record.ip, p.container_port) for p in record.ports]


def _open_host(interface: str, config: EngineConfig) -> list[str]:
    warnings = bridge.set_sysctls(interface, forward=config.ip_forward)
    if not config.icc:
        warnings += bridge.filter_bridged_packets()
    return warnings + coexistence.open_forward_chain(interface)
