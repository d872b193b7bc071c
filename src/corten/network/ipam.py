"""Address management: pure arithmetic over IPv4 subnets.

Owns which addresses of a pool are taken and which default subnet is free. Refuses to know the kernel: routes and leases
are told.
"""

import heapq
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from corten.errors import InvalidArgument, Unavailable

# Docker's local pools, in its order (libnetwork ipamutils): one /16 each, then /20 of 192.168.
DEFAULT_POOLS: Final = (
    (IPv4Network("172.17.0.0/16"), 16),
    (IPv4Network("172.18.0.0/16"), 16),
    (IPv4Network("172.19.0.0/16"), 16),
    (IPv4Network("172.20.0.0/14"), 16),
    (IPv4Network("172.24.0.0/14"), 16),
    (IPv4Network("172.28.0.0/14"), 16),
    (IPv4Network("192.168.0.0/16"), 20),
)


def parse_pools(pools: Iterable[tuple[str, int]]) -> tuple[tuple[IPv4Network, int], ...]:
    """``--default-address-pool base=CIDR,size=N`` as subnets; Docker's list when there is none."""
    parsed = []
    for base, size in pools:
        try:
            network = IPv4Network(base)
        except ValueError as error:
            raise InvalidArgument(f"default-address-pool: {base} is not an IPv4 subnet") from error
        if not network.prefixlen <= size <= 29:
            raise InvalidArgument(f"default-address-pool: size {size} must lie between /{network.prefixlen} and /29")
        parsed.append((network, size))
    return tuple(parsed) or DEFAULT_POOLS


def candidates(pools: Iterable[tuple[IPv4Network, int]]) -> Iterator[IPv4Network]:
    """Every subnet the pools can give, in order."""
    for base, size in pools:
        yield from base.subnets(new_prefix=size)


def free_subnet(pools: Iterable[tuple[IPv4Network, int]], taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first subnet that overlaps nothing in ``taken`` (host routes, name servers); a default route is none."""
    occupied = [network for network in taken if network.prefixlen > 0]
    for subnet in candidates(pools):
        if not any(subnet.overlaps(network) for network in occupied):
            return subnet
    raise Unavailable("all predefined address pools have been fully subnetted; name one with --default-address-pool")


def mac_for(address: IPv4Address) -> str:
    """Docker's locally administered MAC of an address: 172.17.0.2 is 02:42:ac:11:00:02.

    Following the address keeps the neighbour entries of the host and of other containers right when it is given to
    another container.
    """
    return "02:42:" + address.packed.hex(":")


class Pool:
    """The leases of one subnet. The lowest free address is given first, as Docker does."""

    def __init__(self, subnet: IPv4Network, gateway: IPv4Address, *, within: IPv4Network | None = None) -> None:
        self.subnet = subnet
        self.gateway = gateway
        span = within or subnet
        first, last = int(span.network_address), int(span.broadcast_address)
        self._next = first + 1 if span.network_address == subnet.network_address else first
        self._last = last - 1 if span.broadcast_address == subnet.broadcast_address else last
        self._released: list[int] = []
        self._taken = {int(gateway)}

    def allocate(self) -> IPv4Address:
        """A free address; Unavailable with Docker's text when there is none."""
        while self._released:
            value = heapq.heappop(self._released)
            if value not in self._taken:
                self._taken.add(value)
                return IPv4Address(value)
        while self._next <= self._last:
            value = self._next
            self._next += 1
            if value not in self._taken:
                self._taken.add(value)
                return IPv4Address(value)
        raise Unavailable("no available IPv4 addresses on this network's address pools: bridge")

    def reserve(self, address: IPv4Address) -> None:
        """Mark an address a running container holds; outside the subnet it is ignored (the bridge has changed)."""
        if address in self.subnet:
            self._taken.add(int(address))

    def release(self, address: IPv4Address) -> None:
        """Give an address back; the gateway and strangers stay as they are."""
        value = int(address)
        if address != self.gateway and value in self._taken:
            self._taken.remove(value)
            heapq.heappush(self._released, value)

    def in_use(self) -> int:
        """How many addresses are leased, without the gateway."""
        return len(self._taken) - 1
