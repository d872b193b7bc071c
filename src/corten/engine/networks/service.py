"""Networks as the engine uses them: start-up, attach, release, list, inspect.

Owns the endpoints of running containers, in memory: they are rebuilt at start-up from the records of the containers
that run. Refuses to know those records, the shim, and how a bridge works (:mod:`corten.engine.networks.driver`).
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from corten.api.filters import Filters
from corten.api.types.network import NetworkPruneResponse, NetworkResource
from corten.engine.config import EngineConfig
from corten.engine.events import EventService
from corten.engine.networks import options, validation
from corten.engine.networks.catalog import NAMES, Catalog
from corten.engine.networks.driver import BridgeDriver, background, open_bridge, open_host, whole
from corten.engine.networks.host import HostFiles
from corten.engine.networks.record import EndpointRecord
from corten.engine.networks.request import ContainerNetworkRequest
from corten.errors import Forbidden, NoSuchNetwork, Unavailable
from corten.network import sandbox
from corten.network.model import BRIDGE, HOST, NONE
from corten.network.reserve import Reserve

logger = logging.getLogger(__name__)

PRUNE_FILTERS: Final = frozenset({"label", "label!", "until"})

NO_BRIDGE: Final = "none"
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
        self._endpoints: dict[str, EndpointRecord] = {}
        self._bridge: BridgeDriver | None = None
        self._refilling: set[asyncio.Task[None]] = set()
        self._reserve = Reserve()
        self._warnings: list[str] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this host does not give, as sentences for ``info``."""
        return tuple(self._warnings)

    async def startup(self, live: Mapping[str, EndpointRecord]) -> None:
        """Take over what runs and make the rest.

        (1) the bridge, with its address
        (2) leases and ports of ``live`` (by container id), and the rules
        (3) the sysctls that let packets flow: after the rules that keep out what these would let in

        A host that cannot have a bridge still gets ``host`` and ``none``; the reason is in :attr:`warnings`.
        """
        options.check(self._config)
        self._endpoints.update(live)
        if self._config.bridge == NO_BRIDGE:
            return
        try:
            network = await asyncio.to_thread(open_bridge, self._config, self._files.nameserver_networks())  # (1)
            driver = BridgeDriver(self._config, network, self._catalog.id_of(BRIDGE))
            await driver.adopt(live)  # (2)
        except Unavailable as error:
            self._warnings.append(f"no bridge network: {error}")
            logger.warning("no bridge network: %s", error)
            return
        self._warnings += await asyncio.to_thread(open_host, self._config, network.interface)  # (3)
        self._bridge = driver
        self._catalog.bridge = network

    async def close(self) -> None:
        """Let go of what this process holds; bridge, rules and running containers stay as they are."""
        for task in self._refilling:
            task.cancel()
        self._reserve.close()
        if self._bridge is not None:
            await self._bridge.close()

    async def list(self, filters: Filters) -> list[NetworkResource]:
        """``GET /networks``."""
        return self._catalog.matching(filters, {record.network for record in self._endpoints.values()})

    async def prune(self, filters: Filters) -> NetworkPruneResponse:
        """``POST /networks/prune``: the default networks always stay, and there are no others."""
        filters.check(PRUNE_FILTERS)
        return NetworkPruneResponse()

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

    async def attach(self, request: ContainerNetworkRequest, namespace: int | None = None) -> Sandbox:
        """Give a starting container its network; the caller owns the descriptor and calls :meth:`release` at the end.

        ``namespace``: an empty network namespace that a user namespace owns, to be used instead of one of ours.

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
            return self._keep(request, await self._isolated(namespace), self._plain_record(request, NONE))
        if mode.startswith("container:"):
            return Sandbox(sandbox.of_process(*request.target), EndpointRecord(mode=mode, name=request.name), None)
        if mode != BRIDGE or self._bridge is None:
            raise NoSuchNetwork(mode)
        descriptor, record = await self._bridge.attach(request, self._bare(namespace))
        try:
            return self._keep(request, descriptor, record)
        except BaseException:
            os.close(descriptor)
            await self._bridge.release(record)
            raise

    async def release(self, container_id: str) -> None:
        """Take back what a container had; nothing when it had nothing. The namespace itself dies with its processes."""
        record = self._endpoints.pop(container_id, None)
        if record is None:
            return
        self._announce(container_id, record, "disconnect")
        if self._bridge is not None and record.mode == BRIDGE:
            await self._bridge.release(record)

    def renamed(self, container_id: str, name: str) -> None:
        """Keep what ``network inspect`` says of a running container true after ``rename``."""
        record = self._endpoints.get(container_id)
        if record is not None:
            self._endpoints[container_id] = msgspec.structs.replace(record, name=name)

    async def _isolated(self, namespace: int | None) -> int:
        """A namespace without interfaces; one that is ready needs no thread."""
        make = self._bare(namespace)
        if namespace is None and (ready := self._reserve.ready()) is not None:
            return ready.isolated()
        return await whole(asyncio.to_thread(lambda: make().isolated()), os.close)

    def _bare(self, namespace: int | None) -> Callable[[], sandbox.Bare]:
        """Where an attachment gets its namespace."""
        if namespace is not None:
            return partial(sandbox.bare, namespace)
        self._refill()
        return self._reserve.take

    def _refill(self) -> None:
        if not self._refilling:
            background(_fill_later(self._reserve), self._refilling)

    def _keep(self, request: ContainerNetworkRequest, descriptor: int | None, record: EndpointRecord) -> Sandbox:
        gateway = str(self._bridge.network.gateway) if self._bridge is not None else ""
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


async def _fill_later(reserve: Reserve) -> None:
    await asyncio.sleep(_REFILL_AFTER_SECONDS)
    try:
        await asyncio.to_thread(reserve.fill)
    except Unavailable as error:
        logger.warning("no network namespace could be made in advance: %s", error)
