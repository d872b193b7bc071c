"""rtnetlink(7): links, addresses, routes, neighbours. Builders give messages, dumps give plain rows.

Owns the layout of ifinfomsg, ifaddrmsg, rtmsg and ndmsg (linux/if_link.h, linux/rtnetlink.h, linux/neighbour.h).
Refuses to know which links a network needs. Messages built here go to :meth:`Connection.execute`, several at a time.

A veth peer keeps the index asked for in VETH_INFO_PEER only when the host side carries an explicit index as well, so
both are always given.
"""

from __future__ import annotations

import errno
import socket
import struct

from corten.linux.netlink.message import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Connection,
    Message,
    NetlinkError,
    attribute,
    attributes,
    nested,
    text,
    u32,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_SETLINK: Final = 19
RTM_NEWADDR: Final = 20
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_GETROUTE: Final = 26
RTM_NEWNEIGH: Final = 28

IFLA_ADDRESS: Final = 1
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_MASTER: Final = 10
IFLA_PROTINFO: Final = 12
IFLA_LINKINFO: Final = 18
IFLA_AF_SPEC: Final = 26
IFLA_NET_NS_FD: Final = 28
IFLA_INFO_KIND: Final = 1
IFLA_INFO_DATA: Final = 2
IFLA_BRPORT_MODE: Final = 4
IFLA_INET6_ADDR_GEN_MODE: Final = 8
IN6_ADDR_GEN_MODE_NONE: Final = 1
VETH_INFO_PEER: Final = 1
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_BROADCAST: Final = 4
RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
NDA_LLADDR: Final = 2

IFF_UP: Final = 1
NUD_REACHABLE: Final = 2
NTF_MASTER: Final = 4
RT_TABLE_MAIN: Final = 254
RTPROT_BOOT: Final = 3
RTN_UNICAST: Final = 1

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBi")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_CREATE = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL


class Link:
    """One interface as a dump shows it; ``mac`` colon separated, ``kind`` empty for hardware."""

    __slots__ = ("flags", "index", "kind", "mac", "master", "mtu", "name")

    def __init__(self, index: int, flags: int) -> None:
        self.index = index
        self.flags = flags
        self.name = ""
        self.mac = ""
        self.mtu = 0
        self.master = 0
        self.kind = ""


def mac_bytes(mac: str) -> bytes:
    """``02:42:ac:11:00:02`` as six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def _ifinfo(index: int, *, up: bool = False, family: int = socket.AF_UNSPEC) -> bytes:
    return _IFINFO.pack(family, 0, index, IFF_UP if up else 0, IFF_UP if up else 0)


def _kind(kind: str, data: bytes = b"") -> bytes:
    return nested(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, kind.encode()), data)


def create_veth(name: str, index: int, *, master: int, mtu: int, peer: str, peer_index: int, peer_mac: str,
                netns: int) -> Message:  # fmt: skip
    """A veth pair in one message: ``name`` becomes a port of ``master``, ``peer`` is born inside ``netns`` (a fd)."""
    inside = _ifinfo(peer_index) + text(IFLA_IFNAME, peer) + attribute(IFLA_ADDRESS, mac_bytes(peer_mac))
    inside += u32(IFLA_MTU, mtu) + u32(IFLA_NET_NS_FD, netns)
    body = _ifinfo(index) + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu) + u32(IFLA_MASTER, master)
    body += _kind("veth", nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, inside)))
    return Message(RTM_NEWLINK, _CREATE, body, label=f"create veth {name}")


def create_bridge(name: str, *, mac: str, mtu: int) -> Message:
    """A bridge, down, with a fixed MAC: without one it takes the lowest of its ports, which come and go."""
    body = _ifinfo(0) + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu) + attribute(IFLA_ADDRESS, mac_bytes(mac))
    return Message(RTM_NEWLINK, _CREATE, body + _kind("bridge"), label=f"create bridge {name}")


def set_up(index: int) -> Message:
    """Raise an interface."""
    return Message(RTM_NEWLINK, NLM_F_ACK, _ifinfo(index, up=True), label=f"raise interface {index}")


def no_ipv6_autoconf(index: int) -> Message:
    """No link-local address when the interface comes up (saves its duplicate address detection)."""
    inet6 = nested(socket.AF_INET6, attribute(IFLA_INET6_ADDR_GEN_MODE, bytes((IN6_ADDR_GEN_MODE_NONE,))))
    return Message(RTM_SETLINK, NLM_F_ACK, _ifinfo(index) + nested(IFLA_AF_SPEC, inet6), label="set addr_gen_mode")


def hairpin(index: int) -> Message:
    """Let a bridge port send a frame back out of itself: a container that calls its own published port."""
    body = _ifinfo(index, family=socket.AF_BRIDGE) + nested(IFLA_PROTINFO, attribute(IFLA_BRPORT_MODE, b"\1"))
    return Message(RTM_SETLINK, NLM_F_ACK, body, label=f"set hairpin on port {index}")


def forward_to(mac: str, port: int) -> Message:
    """Teach the bridge above ``port`` at once where ``mac`` lives, over what it learned from an earlier owner."""
    body = _NDMSG.pack(socket.AF_BRIDGE, port, NUD_REACHABLE, NTF_MASTER, 0) + attribute(NDA_LLADDR, mac_bytes(mac))
    return Message(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, body, label=f"set forwarding entry {mac}")


def delete_named(name: str) -> Message:
    """Delete an interface. A veth costs some 20 ms here (RCU): drop its network namespace instead where possible."""
    return Message(RTM_DELLINK, NLM_F_ACK, _ifinfo(0) + text(IFLA_IFNAME, name), label=f"delete interface {name}")


def add_address(index: int, address: str, prefix: int) -> Message:
    """An IPv4 address with its broadcast address; replaces nothing, keeps one that is there (EEXIST is not raised)."""
    packed = socket.inet_aton(address)
    host_bits = (1 << (32 - prefix)) - 1
    broadcast = (int.from_bytes(packed, "big") | host_bits).to_bytes(4, "big")
    body = _IFADDR.pack(socket.AF_INET, prefix, 0, 0, index) + attribute(IFA_LOCAL, packed)
    body += attribute(IFA_ADDRESS, packed) + attribute(IFA_BROADCAST, broadcast)
    flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
    return Message(RTM_NEWADDR, flags, body, label=f"add address {address}/{prefix}")


def default_route(gateway: str, index: int) -> Message:
    """The IPv4 default route in the main table."""
    body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0)
    body += attribute(RTA_GATEWAY, socket.inet_aton(gateway)) + u32(RTA_OIF, index)
    return Message(RTM_NEWROUTE, _CREATE, body, label=f"add default route via {gateway}")


def links(connection: Connection) -> list[Link]:
    """Every interface of the namespace."""
    request = Message(RTM_GETLINK, NLM_F_DUMP, _ifinfo(0), label="list interfaces")
    return [_link(body) for body in connection.dump(request)]


def link(connection: Connection, name: str) -> Link | None:
    """One interface by name; None when there is none."""
    body = _ifinfo(0) + text(IFLA_IFNAME, name)
    try:
        answers = connection.dump(Message(RTM_GETLINK, NLM_F_ACK, body, label=f"find interface {name}"))
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return _link(answers[0]) if answers else None


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    link = Link(index, flags)
    for kind, payload in attributes(body[16:]):
        if kind == IFLA_IFNAME:
            link.name = payload.rstrip(b"\0").decode()
        elif kind == IFLA_ADDRESS:
            link.mac = payload.hex(":")
        elif kind == IFLA_MTU:
            (link.mtu,) = struct.unpack("=I", payload)
        elif kind == IFLA_MASTER:
            (link.master,) = struct.unpack("=I", payload)
        elif kind == IFLA_LINKINFO:
            link.kind = next((p.rstrip(b"\0").decode() for k, p in attributes(payload) if k == IFLA_INFO_KIND), "")
    return link


def addresses(connection: Connection) -> list[tuple[int, str, int]]:
    """Every IPv4 address of the namespace: (interface index, dotted quad, prefix length)."""
    request = Message(RTM_GETADDR, NLM_F_DUMP, _IFADDR.pack(socket.AF_INET, 0, 0, 0, 0), label="list addresses")
    rows = []
    for body in connection.dump(request):
        _, prefix, _, _, index = _IFADDR.unpack_from(body)
        found = dict(attributes(body[8:]))
        packed = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
        if packed is not None:
            rows.append((index, socket.inet_ntoa(packed), prefix))
    return rows


def routes(connection: Connection) -> list[tuple[str, int, int]]:
    """Every IPv4 route of every table: (destination, prefix length, interface index or 0); the default is 0.0.0.0/0."""
    body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    rows = []
    for answer in connection.dump(Message(RTM_GETROUTE, NLM_F_DUMP, body, label="list routes")):
        found = dict(attributes(answer[12:]))
        destination = socket.inet_ntoa(found[RTA_DST]) if RTA_DST in found else "0.0.0.0"
        interface = struct.unpack("=I", found[RTA_OIF])[0] if RTA_OIF in found else 0
        rows.append((destination, answer[1], interface))
    return rows
