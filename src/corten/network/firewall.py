"""The one nftables table of an engine: published ports, masquerading, isolation.

Owns the rule text and the elements of its two maps. Refuses to know containers: it is given publications.

    outside ---> prerouting --(published: address . port of a container)--> forward ---> bridge
    host    ---> output ------(the same maps)-----------------------------> postrouting -> bridge
    container -> prerouting --(own published port)--> bridge (hairpin) ---> postrouting: masquerade

A published port is one map element; there is no rule and no process per port. ``published`` answers for every local
address, ``published_at`` for the one named with ``-p IP:...`` and is asked first.

What is refused:

- a packet from elsewhere to a container that no published port led there (``ct status dnat`` tells), also by a
  neighbour that routes the bridge's subnet to this host;
- 127.0.0.0/8 in either address of a packet that came in through the bridge: ``route_localnet`` is on there, and without
  this a container could reach what listens on the host's loopback only (CVE-2020-8558);
- a port published on 127.0.0.1, when the packet did not come from this host: destinations are rewritten before the
  kernel's own check for martians, so the rewriting chain excludes them (moby issue 45610).

Accepting here does not override a drop elsewhere: every table is asked. See :mod:`corten.network.coexistence`.
"""

import errno
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from corten.errors import Unavailable
from corten.linux.netlink import conntrack, libnftables, nftables
from corten.linux.netlink.message import NETFILTER, Connection
from corten.network.model import ANY_ADDRESS, PROTOCOLS, BridgeNetwork, Publication

EVERYWHERE: Final = "published"
AT_ADDRESS: Final = "published_at"

_ELEMENTS_PER_LINE: Final = 64

Change = Callable[[Connection, str, Sequence[nftables.Element]], None]


class TableGone(Unavailable):
    """Somebody deleted the table (``nft flush ruleset``): :meth:`Firewall.load` makes it again."""


class Firewall:
    """The table ``name`` in the network namespace of the caller; may be used by several threads.

    One connection is kept for elements, because closing one waits for deletions (:mod:`corten.linux.netlink.nftables`).
    """

    def __init__(
        self, name: str, network: BridgeNetwork, *, inter_container: bool = True, masquerade: bool = True
    ) -> None:
        self.name = name
        self._network = network
        self._inter_container = inter_container
        self._masquerade = masquerade
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def load(self, publications: Iterable[Publication]) -> None:
        """Make or replace the whole table in one transaction: elements of vanished containers go, live ones stay.

        Connections that stand are not touched: their translation is kept by connection tracking.
        """
        rules = ruleset(
            self.name, self._network, list(publications), inter_container=self._inter_container,
            masquerade=self._masquerade,
        )  # fmt: skip
        try:
            libnftables.run(rules)
        except OSError as error:
            raise Unavailable(f"nftables rules cannot be loaded: {error}") from error

    def publish(self, publications: Sequence[Publication]) -> None:
        """Open ports, all or none; TableGone when there is no table any more."""
        try:
            self._change(nftables.add_elements, publications)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise TableGone(f"nftables table {self.name} is gone") from error
            raise Unavailable(f"ports cannot be published: {error.strerror}") from error

    def withdraw(self, publications: Sequence[Publication]) -> None:
        """Close ports; ones that are closed already do not matter."""
        try:
            self._change(nftables.delete_elements, publications)
        except OSError as error:
            if error.errno != errno.ENOENT or len(publications) < 2:
                self._pass_if_absent(error)
                return
            for publication in publications:
                self.withdraw([publication])

    def forget_flows(self, address: str) -> None:
        """Forget UDP flows to a container's address, after its ports were withdrawn.

        A UDP flow has no end that connection tracking could see: without this a client that keeps sending would be led
        to an address that is gone, and then to whoever gets it next.
        """
        with self._lock:
            try:
                conntrack.forget(self._connected(), PROTOCOLS["udp"], answered_by=address)
            except OSError as error:
                raise Unavailable(f"flows to {address} cannot be forgotten: {error.strerror}") from error

    def close(self) -> None:
        """Close the connection to the kernel; rules and elements stay."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _change(self, change: Change, publications: Sequence[Publication]) -> None:
        with self._lock:
            change(self._connected(), self.name, [element(publication) for publication in publications])

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(NETFILTER)
        return self._connection

    @staticmethod
    def _pass_if_absent(error: OSError) -> None:
        if error.errno != errno.ENOENT:
            raise Unavailable(f"ports cannot be withdrawn: {error.strerror}") from error

    def unload(self) -> None:
        """Delete the table with everything in it."""
        # `add` first: deleting what is not there fails, and `destroy` needs nftables 1.0.7 and Linux 6.3.
        try:
            libnftables.run(f"add table ip {self.name}\ndelete table ip {self.name}\n")
        except OSError as error:
            raise Unavailable(f"nftables rules cannot be removed: {error}") from error


def element(publication: Publication) -> nftables.Element:
    """The map element of a publication, in the kernel's layout of concatenated types."""
    key = struct.pack("=Bxxx", PROTOCOLS[publication.protocol]) + struct.pack(">Hxx", publication.host_port)
    value = socket.inet_aton(publication.address) + struct.pack(">Hxx", publication.container_port)
    if publication.host_ip == ANY_ADDRESS:
        return nftables.Element(EVERYWHERE, key, value)
    return nftables.Element(AT_ADDRESS, socket.inet_aton(publication.host_ip) + key, value)


def ruleset(
    table: str, network: BridgeNetwork, publications: Sequence[Publication], *, inter_container: bool, masquerade: bool
) -> str:
    """The nft(8) text that makes the table whatever it was before. Nothing in it comes from a client but numbers."""
    bridge, subnet = f'"{network.interface}"', str(network.subnet)
    neighbours = "accept" if inter_container else "drop"
    outbound = f"ip saddr {subnet} oifname != {bridge} masquerade" if masquerade else ""
    return f"""\
add table ip {table}
delete table ip {table}
table ip {table} {{
    map {EVERYWHERE} {{
        type inet_proto . inet_service : ipv4_addr . inet_service
    }}
    map {AT_ADDRESS} {{
        type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    }}
    chain guard {{
        type filter hook prerouting priority raw; policy accept;
        iifname {bridge} ip daddr 127.0.0.0/8 drop
        iifname {bridge} ip saddr 127.0.0.0/8 drop
    }}
    chain translate {{
        dnat ip to ip daddr . meta l4proto . th dport map @{AT_ADDRESS}
        dnat ip to meta l4proto . th dport map @{EVERYWHERE}
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname != "lo" ip daddr 127.0.0.0/8 return
        meta l4proto {{ tcp, udp }} fib daddr type local jump translate
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        meta l4proto {{ tcp, udp }} fib daddr type local jump translate
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        {outbound}
        oifname {bridge} ip saddr 127.0.0.0/8 masquerade
        ip saddr {subnet} ip daddr {subnet} ct status dnat masquerade
    }}
    chain to_containers {{
        ct state established,related accept
        ct status dnat accept
        iifname {bridge} {neighbours}
        drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        oifname {bridge} jump to_containers
    }}
}}
{_element_lines(table, publications)}"""


def _element_lines(table: str, publications: Sequence[Publication]) -> str:
    everywhere = []
    at_address = []
    for publication in publications:
        entry = (
            f"{publication.protocol} . {publication.host_port} : {publication.address} . {publication.container_port}"
        )
        if publication.host_ip == ANY_ADDRESS:
            everywhere.append(entry)
        else:
            at_address.append(f"{publication.host_ip} . {entry}")
    return "".join(
        f"add element ip {table} {name} {{ {', '.join(entries[start : start + _ELEMENTS_PER_LINE])} }}\n"
        for name, entries in ((EVERYWHERE, everywhere), (AT_ADDRESS, at_address))
        for start in range(0, len(entries), _ELEMENTS_PER_LINE)
    )
