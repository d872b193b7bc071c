"""Hosts made of network namespaces: the engine's own, a neighbour, containers; and what runs in them.

A thread that entered a namespace makes its sockets there, so servers and clients need no process.
"""

import contextlib
import http.client
import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from corten.linux.namespace import CLONE_NEWNET, setns, unshare
from corten.linux.netlink import route
from corten.linux.netlink.message import ROUTE, Connection
from corten.network import sandbox

Result = TypeVar("Result")

HOST_ADDRESS = "10.77.0.1"
#: Seconds for a connection that must come about: a first SYN that is lost is sent again after one.
PATIENCE = 10.0
NEIGHBOUR_ADDRESS = "10.77.0.2"


def inside(descriptor: int, work: Callable[[], Result]) -> Result:
    """Run ``work`` in a thread that has entered the namespace."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            setns(descriptor, CLONE_NEWNET)
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "the work in the namespace hangs"
    if failures:
        raise failures[0]
    return results[0]


@contextlib.contextmanager
def private_namespace() -> Iterator[None]:
    """The calling thread in a fresh namespace with its loopback up; threads it starts are born there too."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        with Connection(ROUTE) as connection:
            connection.execute([route.set_up(1)])
        yield
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)


@contextlib.contextmanager
def neighbour() -> Iterator[int]:
    """Another host on a cable to this one; it routes everything, also loopback addresses, through this one."""
    descriptor = sandbox.bare().isolated()
    with Connection(ROUTE) as connection:
        cable = route.create_veth(
            "lan0",
            4001,
            master=0,
            mtu=1500,
            peer="eth0",
            peer_index=4002,
            peer_mac="02:00:00:00:00:02",
            netns=descriptor,
        )
        connection.execute([cable, route.set_up(4001), route.add_address(4001, HOST_ADDRESS, 24)])

    def configure() -> None:
        with Connection(ROUTE) as connection:
            connection.execute(
                [
                    route.add_address(4002, NEIGHBOUR_ADDRESS, 24),
                    route.set_up(4002),
                    route.default_route(HOST_ADDRESS, 4002),
                ]
            )

    inside(descriptor, configure)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"hello {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        pass


@contextlib.contextmanager
def http_server(descriptor: int, port: int, *, address: str = "0.0.0.0") -> Iterator[None]:
    """An HTTP server in the namespace; it answers with the caller's address."""
    server = inside(descriptor, lambda: http.server.ThreadingHTTPServer((address, port), _Answer))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def udp_echo(descriptor: int, port: int) -> Iterator[None]:
    """A UDP server in the namespace that sends back what it gets, in capitals."""
    listener = inside(descriptor, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    listener.bind(("0.0.0.0", port))
    listener.settimeout(0.05)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                data, sender = listener.recvfrom(2048)
                listener.sendto(data.upper(), sender)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        listener.close()


def get(address: str, port: int, *, timeout: float = 2) -> str:
    """The body of an HTTP GET."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def reachable(descriptor: int, address: str, port: int, *, timeout: float = 0.5) -> bool:
    """Whether a TCP connection from the namespace comes about."""

    def attempt() -> bool:
        try:
            socket.create_connection((address, port), timeout=timeout).close()
        except OSError:
            return False
        return True

    return inside(descriptor, attempt)


def ask_udp(descriptor: int, address: str, port: int, *, source_port: int = 0) -> bytes:
    """One datagram from the namespace and its answer; b"" when none comes."""

    def attempt() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.7)
            client.bind(("0.0.0.0", source_port))
            client.connect((address, port))
            client.send(b"ping")
            try:
                return client.recv(2048)
            except OSError:
                return b""

    return inside(descriptor, attempt)


def arrives(sender: int, address: str, port: int, *, at: int, inner: str, inner_port: int) -> bool:
    """Whether a datagram from one namespace to ``address:port`` gets to a socket on ``inner`` in another, one way."""
    receiver = inside(at, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, contextlib.suppress(OSError):
            for _ in range(2):  # the first may wait for a neighbour entry
                client.sendto(b"attack", (address, port))

    with receiver:
        receiver.bind((inner, inner_port))
        receiver.settimeout(0.5)
        inside(sender, send)
        try:
            return receiver.recv(64) == b"attack"
        except TimeoutError:
            return False


def send_loopback_over(interface: str, gateway: str) -> None:
    """Make the calling thread's namespace send packets for 127.0.0.0/8 to ``gateway``, as an attacker's host does."""
    with open(f"/proc/sys/net/ipv4/conf/{interface}/route_localnet", "wb") as file:
        file.write(b"1")
    # The local table is asked first, and its entries name loopback as the only way.
    for entry in ("local 127.0.0.0/8", "local 127.0.0.1", "broadcast 127.255.255.255"):
        command = ["ip", "route", "del", *entry.split(), "dev", "lo", "table", "local"]
        subprocess.run(command, check=True)
    subprocess.run(["ip", "route", "add", "127.0.0.0/8", "via", gateway, "dev", interface], check=True)
