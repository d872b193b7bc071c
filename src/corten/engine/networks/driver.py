"""The driver of the default bridge: addresses, interfaces and published ports of the containers on it.

Owns leases, the table of host ports and the nftables table. Refuses to know what clients call a network, events, files.

Everything runs in the event loop's thread but what touches the kernel for long, which runs in worker threads.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from corten.engine.config import EngineConfig
from corten.engine.networks import names, options, validation
from corten.engine.networks.record import EndpointRecord, PublishedPort
from corten.engine.networks.request import ContainerNetworkRequest
from corten.errors import CortenError, Unavailable
from corten.network import bridge, coexistence, ipam, ports, sandbox
from corten.network.firewall import Firewall, TableGone
from corten.network.model import ANY_ADDRESS, BRIDGE, BridgeNetwork, Endpoint, Publication
from corten.network.sandbox import Bare

logger = logging.getLogger(__name__)

# A namespace whose last process has ended is gone within milliseconds; one that another container joined is not.
_REAP_AFTER_SECONDS: Final = 1.0


class BridgeDriver:
    """One bridge that is there; :func:`open_bridge` makes it."""

    def __init__(self, config: EngineConfig, network: BridgeNetwork, network_id: str) -> None:
        self.network = network
        self._network_id = network_id
        self._default_ip = config.default_bind_address or ANY_ADDRESS
        self._pool = ipam.Pool(network.subnet, network.gateway, within=options.fixed_range(config))
        self._ports = ports.PortTable(_hold, bridge.local_port_range())
        self._firewall = Firewall(
            names.table(config.instance), network, inter_container=config.icc, masquerade=config.ip_masq
        )
        self._standing: dict[str, tuple[Publication, ...]] = {}
        self._reaping: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()

    async def adopt(self, live: Mapping[str, EndpointRecord]) -> None:
        """Take over what runs, in one transaction of nftables: what is not in ``live`` loses its ports; Unavailable."""
        for record in live.values():
            if record.mode != BRIDGE:
                continue
            self._pool.reserve(IPv4Address(record.ip))
            self._standing[record.ip] = _publications(record)
            for publication in self._standing[record.ip]:
                if not self._ports.adopt(publication):
                    held = f"{publication.host_ip}:{publication.host_port}/{publication.protocol}"
                    logger.warning("a host process took %s, which leads to container %s", held, record.name)
        await asyncio.to_thread(self._firewall.load, self._all_standing())

    async def attach(self, request: ContainerNetworkRequest, bare: Callable[[], Bare]) -> tuple[int, EndpointRecord]:
        """A namespace (what ``bare`` gives) on the bridge, with its ports published; the descriptor belongs to the
        caller.

        Raises:
            CortenError: a port is taken (Docker's text).
            Unavailable: no address is left, or the kernel refused.
        """
        if self._settling:  # an address or port given again must not meet the flows of its last owner
            await asyncio.wait(self._settling)
        with ExitStack() as undo:
            address = self._pool.allocate()
            undo.callback(self._pool.release, address)
            endpoint_id = secrets.token_hex(32)
            publications = self._claim(request, str(address), endpoint_id, undo)
            endpoint = Endpoint(address, request.wanted_mac or ipam.mac_for(address), names.veth())
            descriptor = await self._build(bare, endpoint, publications)
            undo.pop_all()
        self._standing[str(address)] = tuple(publications)
        return descriptor, EndpointRecord(
            mode=BRIDGE, network=BRIDGE, network_id=self._network_id, endpoint_id=endpoint_id,
            sandbox_id=secrets.token_hex(32), ip=str(address), prefix=self.network.subnet.prefixlen,
            gateway=str(self.network.gateway), mac=endpoint.mac, veth=endpoint.veth, name=request.name,
            ports=tuple(PublishedPort(p.protocol, p.container_port, p.host_ip, p.host_port) for p in publications),
        )  # fmt: skip

    async def release(self, record: EndpointRecord) -> None:
        """Close the ports and give the address back; the namespace itself dies with its processes."""
        publications = self._standing.pop(record.ip, ())
        try:
            if publications:
                await asyncio.to_thread(self._firewall.withdraw, publications)
        finally:
            self._forget(publications)
            self._pool.release(IPv4Address(record.ip))
            background(_delete_interface(record.veth), self._reaping)
            if any(publication.protocol == "udp" for publication in publications):
                background(_forget_flows(self._firewall, record.ip), self._settling)

    async def close(self) -> None:
        """Let go of what this process holds; bridge, rules and running containers stay as they are."""
        if self._settling:
            await asyncio.wait(self._settling)
        for task in self._reaping:
            task.cancel()
        self._firewall.close()
        for descriptor in self._ports.descriptors():
            os.close(descriptor)

    def _claim(
        self, request: ContainerNetworkRequest, address: str, endpoint_id: str, undo: ExitStack
    ) -> Sequence[Publication]:
        wished = ports.wishes(
            request.exposed, validation.pairs(request), publish_all=request.publish_all,
            default_ip=self._default_ip,
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

    async def _build(self, bare: Callable[[], Bare], endpoint: Endpoint, publications: Sequence[Publication]) -> int:
        def build() -> int:
            descriptor = bare().bridged(self.network, endpoint)
            try:
                self._publish(publications)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

        def take_back(descriptor: int) -> None:
            os.close(descriptor)
            self._firewall.withdraw(publications)

        return await whole(asyncio.to_thread(build), take_back)

    def _publish(self, publications: Sequence[Publication]) -> None:
        if not publications:
            return
        try:
            self._firewall.publish(publications)
        except TableGone:
            logger.warning("somebody deleted the nftables table %s: it is made again", self._firewall.name)
            self._firewall.load([*self._all_standing(), *publications])

    def _all_standing(self) -> list[Publication]:
        return [publication for publications in tuple(self._standing.values()) for publication in publications]

    def _forget(self, publications: Sequence[Publication]) -> None:
        for publication in publications:
            descriptor = self._ports.release(publication)
            if descriptor >= 0:
                os.close(descriptor)


def open_bridge(config: EngineConfig, avoid: Sequence[IPv4Network]) -> BridgeNetwork:
    """Find or make the bridge that ``config`` asks for; ``avoid`` are subnets no default may hide. Unavailable."""
    if config.bridge:
        return bridge.adopt(config.bridge, mtu=config.mtu)
    return bridge.ensure(
        names.bridge(config.instance), wanted=options.bip(config), pools=ipam.parse_pools(config.default_address_pools),
        avoid=avoid, mtu=config.mtu,
    )  # fmt: skip


def open_host(config: EngineConfig, interface: str) -> list[str]:
    """Let packets flow, once the rules are loaded; returns what this host does not allow, as sentences."""
    warnings = bridge.set_sysctls(interface, forward=config.ip_forward)
    if not config.icc:
        warnings += bridge.filter_bridged_packets()
    return warnings + coexistence.open_forward_chain(interface)


def background(work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
    """Run ``work`` beside everything else; ``tasks`` keeps it until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def whole(work: Coroutine[None, None, int], take_back: Callable[[int], None]) -> int:
    """Await ``work``, which runs in a thread and cannot be cancelled: on cancellation its outcome is taken back."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        take_back(await task)
        raise


def _hold(protocol: str, host_ip: str, port: int) -> int:
    try:
        return sandbox.hold_port(protocol, host_ip, port)
    except OSError as error:
        raise ports.HostPortBusy(os.strerror(error.errno or 0).lower()) from error


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


def _publications(record: EndpointRecord) -> tuple[Publication, ...]:
    return tuple(Publication(p.protocol, p.host_ip, p.host_port, record.ip, p.container_port) for p in record.ports)
