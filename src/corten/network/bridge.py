"""The bridge of an engine: found or made, with its address and the sysctls that its traffic needs.

Owns the interface of the engine's own network namespace. Refuses to know addresses of containers and rules of nftables.
"""

import errno
import os
import secrets
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from corten.errors import InvalidArgument, Unavailable
from corten.linux.netlink import route
from corten.linux.netlink.message import ROUTE, Connection, NetlinkError
from corten.network import ipam
from corten.network.model import BridgeNetwork
from corten.network.ports import DEFAULT_EPHEMERAL

DEFAULT_MTU = 1500


def ensure(
    interface: str, *, wanted: IPv4Interface | None, pools: Sequence[tuple[IPv4Network, int]],
    avoid: Sequence[IPv4Network], mtu: int,
) -> BridgeNetwork:  # fmt: skip
    """Adopt the engine's bridge with the address it carries, or make it; then raise it.

    ``wanted`` is ``--bip``. Without it an existing address is kept, else the first subnet of ``pools`` is taken that
    overlaps neither a route of this host nor ``avoid``. Unavailable when the kernel cannot make a bridge.
    """
    with Connection(ROUTE) as connection:
        existing = _find(connection, interface)
        if existing is not None and existing.kind != "bridge":
            raise Unavailable(f"interface {interface} exists and is no bridge: remove it or choose another exec root")
        index = existing.index if existing is not None else _create(connection, interface, mtu or DEFAULT_MTU)
        current = _address(connection, index)
        if current is None or (wanted is not None and current != wanted):
            current = wanted or _choose(connection, pools, avoid)
            connection.execute([route.add_address(index, str(current.ip), current.network.prefixlen)])
        connection.execute([route.set_up(index)])
    real_mtu = mtu or (existing.mtu if existing is not None else DEFAULT_MTU)
    return BridgeNetwork(interface, index, current.network, current.ip, real_mtu)


def adopt(interface: str, *, mtu: int) -> BridgeNetwork:
    """An administrator's bridge (``--bridge NAME``): used as it is; InvalidArgument when it is not there."""
    with Connection(ROUTE) as connection:
        link = _find(connection, interface)
        if link is None or link.kind != "bridge":
            raise InvalidArgument(f"bridge {interface} not found: make it, or leave --bridge out")
        address = _address(connection, link.index)
    if address is None:
        raise InvalidArgument(f"bridge {interface} has no IPv4 address: give it one, or leave --bridge out")
    return BridgeNetwork(interface, link.index, address.network, address.ip, mtu or link.mtu, managed=False)


def remove(interface: str) -> None:
    """Delete an interface by name; nothing when it is not there."""
    with Connection(ROUTE) as connection:
        try:
            connection.execute([route.delete_named(interface)])
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise


def local_port_range() -> tuple[int, int]:
    """The ports this host gives to clients of its own (ip(7), ip_local_port_range): Docker's ephemeral ones too."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first, last = file.read().split()
    except OSError:
        return DEFAULT_EPHEMERAL
    return int(first), int(last)


def set_sysctls(interface: str, *, forward: bool) -> list[str]:
    """Turn on forwarding and loopback routing towards the bridge; returns what could not be done, as sentences.

    ``route_localnet`` lets a connection from 127.0.0.1 leave through the bridge after its destination was rewritten.
    What it would open (a neighbour that sends to 127.0.0.1, CVE-2020-8558) is closed again in the firewall's raw chain,
    so the firewall comes first.
    """
    wanted = [(f"/proc/sys/net/ipv4/conf/{interface}/route_localnet", "published ports do not answer on 127.0.0.1")]
    if forward:
        wanted.append(("/proc/sys/net/ipv4/ip_forward", "containers cannot reach other hosts"))
    warnings = []
    for path, cost in wanted:
        try:
            _write_if_off(path)
        except OSError as error:
            warnings.append(f"{path} cannot be set ({os.strerror(error.errno or 0)}): {cost}")
    return warnings


def filter_bridged_packets() -> list[str]:
    """Send packets between two containers through the rules as well (br_netfilter), for ``--icc=false``."""
    try:
        _write_if_off("/proc/sys/net/bridge/bridge-nf-call-iptables")
    except OSError:
        return [
            "bridge-nf-call-iptables cannot be set (load br_netfilter): containers reach each other despite icc=false"
        ]
    return []


def _write_if_off(path: str) -> None:
    with open(path, "rb") as file:
        if file.read().strip() == b"1":
            return
    with open(path, "wb") as file:
        file.write(b"1")


def _find(connection: Connection, interface: str) -> route.Link | None:
    return route.link(connection, interface)


def _create(connection: Connection, interface: str, mtu: int) -> int:
    mac = "02:42:" + secrets.token_bytes(4).hex(":")
    try:
        connection.execute([route.create_bridge(interface, mac=mac, mtu=mtu)])
    except NetlinkError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise Unavailable(
                "this kernel has no bridge interface (module bridge); use --network host or none"
            ) from error
        raise Unavailable(f"bridge {interface} cannot be made: {error.strerror}") from error
    link = _find(connection, interface)
    if link is None:
        raise Unavailable(f"bridge {interface} vanished while it was made")
    return link.index


def _address(connection: Connection, index: int) -> IPv4Interface | None:
    rows = [(address, prefix) for at, address, prefix in route.addresses(connection) if at == index]
    return IPv4Interface(f"{rows[0][0]}/{rows[0][1]}") if rows else None


def _choose(
    connection: Connection, pools: Sequence[tuple[IPv4Network, int]], avoid: Sequence[IPv4Network]
) -> IPv4Interface:
    taken = [IPv4Network(f"{destination}/{prefix}") for destination, prefix, _ in route.routes(connection)]
    subnet = ipam.free_subnet(pools, [*taken, *avoid])
    return IPv4Interface(f"{IPv4Address(int(subnet.network_address) + 1)}/{subnet.prefixlen}")
