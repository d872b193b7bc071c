"""A container's network namespace: born, wired to a bridge, handed over as a descriptor.

Owns the order of the kernel's steps. Refuses to know which addresses are free and which ports are published.

unshare(2) changes the calling thread only, so each namespace is made by a thread of its own that never comes back: when
it ends, its reference to the namespace goes with it and the descriptors are the only ones left. A netlink socket opened
there stays in that namespace, so the rest can be done from any thread. Closing the descriptors (and the end of the
container) is all it takes to delete the veth pair: the kernel does it in the background, while an explicit deletion
would wait some 20 ms for an RCU grace period.
"""

import errno
import os
import secrets
import socket
import threading
from contextlib import ExitStack
from typing import Final

from corten.errors import Unavailable
from corten.linux import procfs
from corten.linux.namespace import CLONE_NEWNET, setns, unshare
from corten.linux.netlink import route
from corten.linux.netlink.message import ROUTE, Connection, NetlinkError
from corten.network.model import BridgeNetwork, Endpoint

INTERFACE: Final = "eth0"
LOOPBACK_INDEX: Final = 1
_INDEX_ATTEMPTS: Final = 8
_THREAD_NAMESPACE: Final = "/proc/thread-self/ns/net"
_IPV6_DEFAULT: Final = "/proc/sys/net/ipv6/conf/default/disable_ipv6"


class Bare:
    """A namespace with nothing but its loopback, which is up, and a socket to configure it."""

    __slots__ = ("_inside", "descriptor")

    def __init__(self, descriptor: int, inside: Connection) -> None:
        self.descriptor = descriptor
        self._inside = inside

    def isolated(self) -> int:
        """Hand it over as it is (mode ``none``); the descriptor belongs to the caller."""
        self._inside.close()
        return self.descriptor

    def bridged(self, network: BridgeNetwork, endpoint: Endpoint) -> int:
        """Hand it over with ``eth0`` on the bridge; the descriptor belongs to the caller.

         (1) veth pair: host side a port of the bridge, peer born inside as eth0
         (2) inside: address, eth0 up, default route
         (3) host side: no link-local address, up, hairpin; the bridge learns the MAC at once. After (2), because a port
             forwards from the moment it is raised only if its other end is up already; later it has to wait for the
             kernel's link watch, and an entry for it is refused (EPERM)

        Unavailable when the kernel refuses; nothing is left then, because the namespace is closed.
        """
        try:
            with Connection(ROUTE) as host, self._inside as inside:
                _wire(host, inside, self.descriptor, network, endpoint)
        except OSError as error:
            os.close(self.descriptor)
            raise Unavailable(f"network interface cannot be made: {error.strerror}") from error
        return self.descriptor

    def close(self) -> None:
        """Give the namespace up."""
        self._inside.close()
        os.close(self.descriptor)


def bare(existing: int | None = None) -> Bare:
    """Make a namespace in a thread of its own, or make the one behind the descriptor ``existing`` such a bare one.

    Unavailable when the kernel refuses.
    """
    made: list[Bare] = []
    failures: list[OSError] = []

    def run() -> None:
        try:
            made.append(_born(existing))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="network-namespace", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise Unavailable(f"network namespace cannot be made: {failures[0].strerror}") from failures[0]
    return made[0]


def of_process(pid: int, start_ticks: int) -> int:
    """The namespace of a running process (mode ``container:ID``); the descriptor belongs to the caller."""
    try:
        return procfs.namespace(pid, "net", start_ticks)
    except ProcessLookupError:
        raise Unavailable(f"cannot join the network of process {pid}: it has ended") from None
    except OSError as error:
        raise Unavailable(f"cannot join the network of process {pid}: {os.strerror(error.errno or 0)}") from error


def hold_port(protocol: str, host_ip: str, port: int) -> int:
    """A bound socket that keeps host processes off a published port; raises OSError as bind(2) does.

    No packet reaches it: the destination is rewritten before local delivery, and TCP does not even listen. TCP binds
    with SO_REUSEADDR, so that old connections in TIME_WAIT do not matter, and then clears it: two sockets that both
    have it, neither listening yet, would share the port.
    """
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    holder = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC)
    try:
        if protocol == "tcp":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        holder.bind((host_ip, port))
        if protocol == "tcp":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        holder.close()
        raise
    return holder.detach()


def _born(existing: int | None) -> Bare:
    if existing is None:
        unshare(CLONE_NEWNET)
    else:
        setns(existing, CLONE_NEWNET)
    with ExitStack() as undo:
        descriptor = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        undo.callback(os.close, descriptor)
        inside = Connection(ROUTE)
        undo.callback(inside.close)
        _disable_ipv6()
        inside.execute([route.set_up(LOOPBACK_INDEX)])
        undo.pop_all()
    return Bare(descriptor, inside)


def _disable_ipv6() -> None:
    """No IPv6 on interfaces to come, as the bridge has none; loopback keeps ::1."""
    try:
        switch = os.open(_IPV6_DEFAULT, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:  # a kernel without IPv6
        return
    try:
        os.write(switch, b"1")
    finally:
        os.close(switch)


def _wire(host: Connection, inside: Connection, descriptor: int, network: BridgeNetwork, endpoint: Endpoint) -> None:
    index = _add_pair(host, descriptor, network, endpoint)  # (1)
    inside.execute(  # (2)
        [
            route.add_address(index + 1, str(endpoint.address), network.subnet.prefixlen),
            route.set_up(index + 1),
            route.default_route(str(network.gateway), index + 1),
        ]
    )
    port = [route.set_up(index), route.hairpin(index)]
    if os.path.exists(_IPV6_DEFAULT):
        port.insert(0, route.no_ipv6_autoconf(index))
    host.execute(port)  # (3)
    try:
        host.execute([route.forward_to(endpoint.mac, index)])
    except NetlinkError as error:
        # The port forwards only from the kernel's next link watch on: the bridge learns from the first frame instead.
        if error.errno != errno.EPERM:
            raise


def _add_pair(host: Connection, descriptor: int, network: BridgeNetwork, endpoint: Endpoint) -> int:
    for attempt in range(_INDEX_ATTEMPTS):
        # Even numbers from 2^20 up: far from what the kernel counts up itself, and a pair is always n and n + 1.
        index = (1 << 20) + 2 * secrets.randbelow(1 << 28)
        pair = route.create_veth(
            endpoint.veth, index, master=network.index, mtu=network.mtu, peer=INTERFACE, peer_index=index + 1,
            peer_mac=endpoint.mac, netns=descriptor,
        )  # fmt: skip
        try:
            host.execute([pair])
        except NetlinkError as error:
            if error.errno in (errno.EBUSY, errno.EEXIST) and attempt + 1 < _INDEX_ATTEMPTS:
                continue
            raise
        return index
    raise AssertionError("the loop returns or raises")
