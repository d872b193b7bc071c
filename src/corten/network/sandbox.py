"""A container's network namespace: born, wired to a bridge, handed over as a descriptor.

Owns the order of the kernel's steps. Refuses to know which addresses are free and which ports are published.

unshare(2) changes the calling thread only, so each sandbox is made by a thread of its own that never comes back: when
it ends, its reference to the namespace goes with it and the descriptor is the only one left. Closing that descriptor
(and the end of the container) is all it takes to delete the veth pair: the kernel does it in the background, while an
explicit deletion would wait some 20 ms for an RCU grace period.
"""

import errno
import os
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Final

from corten.errors import Unavailable
from corten.linux.namespace import CLONE_NEWNET, unshare
from corten.linux.netlink import route
from corten.linux.netlink.message import ROUTE, Connection, NetlinkError
from corten.network.model import BridgeNetwork, Endpoint

INTERFACE: Final = "eth0"
LOOPBACK_INDEX: Final = 1
_INDEX_ATTEMPTS: Final = 8
_THREAD_NAMESPACE: Final = "/proc/thread-self/ns/net"
_IPV6_DEFAULT: Final = "/proc/sys/net/ipv6/conf/default/disable_ipv6"


def isolated() -> int:
    """A namespace with nothing but its loopback (mode ``none``); the descriptor belongs to the caller."""
    return _in_own_thread(lambda: _born(lambda inside, _: inside.execute([route.set_up(LOOPBACK_INDEX)])))


def bridged(network: BridgeNetwork, endpoint: Endpoint) -> int:
    """A namespace with ``eth0`` on the bridge; the descriptor belongs to the caller.

     (1) a socket in the engine's namespace, before leaving it
     (2) a new namespace; IPv6 off for interfaces to come (the bridge has none), loopback keeps ::1
     (3) veth pair: host side a port of the bridge, peer born inside as eth0
     (4) inside: loopback up, address, eth0 up, default route
     (5) host side: no link-local address, up, hairpin; the bridge learns the MAC at once. After (4), because a port
         forwards from the moment it is raised only if its other end is up already; later it has to wait for the
         kernel's link watch, and an entry for it is refused (EPERM)

    Unavailable when the kernel refuses; nothing is left then, because the namespace dies with the thread.
    """

    def build() -> int:
        with Connection(ROUTE) as host:  # (1)
            return _born(lambda inside, descriptor: _wire(host, inside, descriptor, network, endpoint))

    return _in_own_thread(build)


def of_process(pid: int) -> int:
    """The namespace of a running process (mode ``container:ID``); the descriptor belongs to the caller."""
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
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


def _in_own_thread(build: Callable[[], int]) -> int:
    outcome: list[int] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(build())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="network-sandbox", daemon=True)
    thread.start()
    thread.join()
    if not failures:
        return outcome[0]
    failure = failures[0]
    if isinstance(failure, OSError):
        raise Unavailable(f"network namespace cannot be made: {failure.strerror}") from failure
    raise failure


def _born(configure: Callable[[Connection, int], None]) -> int:
    unshare(CLONE_NEWNET)  # (2)
    descriptor = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Connection(ROUTE) as inside:
            configure(inside, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _disable_ipv6() -> None:
    try:
        switch = os.open(_IPV6_DEFAULT, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:  # a kernel without IPv6
        return
    try:
        os.write(switch, b"1")
    finally:
        os.close(switch)


def _wire(host: Connection, inside: Connection, descriptor: int, network: BridgeNetwork, endpoint: Endpoint) -> None:
    _disable_ipv6()
    index = _add_pair(host, descriptor, network, endpoint)  # (3)
    inside.execute(  # (4)
        [
            route.set_up(LOOPBACK_INDEX),
            route.add_address(index + 1, str(endpoint.address), network.subnet.prefixlen),
            route.set_up(index + 1),
            route.default_route(str(network.gateway), index + 1),
        ]
    )
    port = [route.set_up(index), route.hairpin(index), route.forward_to(endpoint.mac, index)]
    if os.path.exists(_IPV6_DEFAULT):
        port.insert(0, route.no_ipv6_autoconf(index))
    host.execute(port)  # (5)


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
