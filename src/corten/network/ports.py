"""Published ports: Docker's notations, and who holds which host port.

Owns the parsing of ``80/tcp`` and ``8000-8010`` and the table of allocated host ports of this engine. Refuses to know
the kernel: whether a host process holds a port is asked of the ``hold`` function that is passed in.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from corten.errors import CortenError, InvalidArgument, NotSupported
from corten.network.model import ANY_ADDRESS, PROTOCOLS, Publication

DEFAULT_EPHEMERAL: Final = (32768, 60999)


class PortTaken(CortenError):
    """A host port is held by another container or by a host process; the text is Docker's."""


class HostPortBusy(Exception):
    """A process outside this engine holds the port; ``reason`` is errno's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wish:
    """One binding a client asked for: ``first`` to ``last`` are the host ports to try, 0 to 0 is any free one."""

    protocol: str
    container_port: int
    host_ip: str
    first: int
    last: int


def parse_range(text: str) -> tuple[int, int]:
    """``80`` or ``8000-8010`` as a pair; empty is (0, 0). ValueError outside 0 to 65535 or when it runs backwards."""
    if not text:
        return 0, 0
    first, dash, last = text.partition("-")
    low, high = _number(first), _number(last if dash else first)
    if high < low:
        raise ValueError(text)
    return low, high


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(text)
    return int(text)


def split_port(text: str) -> tuple[int, int, str]:
    """``80/tcp``, ``80`` (tcp) or ``8000-8010/udp`` as (first, last, protocol); InvalidArgument with Docker's text."""
    number, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    try:
        first, last = parse_range(number)
    except ValueError:
        raise InvalidArgument(f'invalid port specification: "{number}"') from None
    if first == 0 or protocol not in ("tcp", "udp", "sctp"):
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return first, last, protocol


def exposed_ports(texts: Iterable[str]) -> list[tuple[int, str]]:
    """Every (port, protocol) of ``Config.ExposedPorts``, ranges spelt out, in numerical order."""
    found: set[tuple[int, str]] = set()
    for text in texts:
        first, last, protocol = split_port(text)
        found.update((port, protocol) for port in range(first, last + 1))
    return sorted(found)


def wishes(exposed: Iterable[str], bindings: Mapping[str, Sequence[tuple[str, str]]], *, publish_all: bool,
           default_ip: str) -> list[Wish]:  # fmt: skip
    """What is to be published: ``bindings`` maps ``80/tcp`` to (host ip, host port) pairs.

    ``publish_all`` adds an ephemeral port for every exposed or bound port that has no pair. An empty host address is
    ``default_ip``. NotSupported for SCTP and IPv6 addresses.
    """
    wanted: list[Wish] = []
    bound = set()
    for text, pairs in bindings.items():
        first, last, protocol = split_port(text)
        for port in range(first, last + 1):
            for host_ip, host_port in pairs:
                bound.add((port, protocol))
                wanted.append(_wish(protocol, port, host_ip or default_ip, host_port))
    if publish_all:
        for port, protocol in exposed_ports([*exposed, *bindings]):
            if (port, protocol) not in bound:
                wanted.append(_wish(protocol, port, default_ip, ""))
    # Fixed ports first, so that an ephemeral one never takes what the same container asks for by number.
    return sorted(wanted, key=lambda wish: (wish.first == 0, wish.container_port, wish.protocol, wish.first))


def _wish(protocol: str, container_port: int, host_ip: str, host_port: str) -> Wish:
    if protocol not in PROTOCOLS:
        raise NotSupported(f"publishing {container_port}/{protocol}: the protocol {protocol} is not supported yet")
    if ":" in host_ip:
        raise NotSupported(
            f"publishing {container_port}/{protocol} on [{host_ip.strip('[]')}]: IPv6 is not supported yet"
        )
    octets = host_ip.split(".")
    if len(octets) != 4 or not all(o.isascii() and o.isdigit() and len(o) <= 3 and int(o) <= 255 for o in octets):
        raise InvalidArgument(f"invalid IP address: {host_ip}")
    try:
        first, last = parse_range(host_port)
    except ValueError:
        raise InvalidArgument(f'invalid port specification: "{host_port}"') from None
    return Wish(protocol, container_port, host_ip, first, last)


Hold = Callable[[str, str, int], int]
"""(protocol, host ip, port) -> a descriptor that keeps the port from host processes; HostPortBusy when one has it."""


class PortTable:
    """Which host ports this engine has given out, each with the descriptor that holds it."""

    def __init__(self, hold: Hold, ephemeral: tuple[int, int] = DEFAULT_EPHEMERAL) -> None:
        self._hold = hold
        self._first, self._last = ephemeral
        self._cursor = self._first
        self._held: dict[tuple[str, int], dict[str, int]] = {}

    def claim(self, wish: Wish, address: str) -> Publication:
        """Take a host port for ``wish`` on behalf of the container at ``address``; PortTaken with Docker's text."""
        if wish.first == 0:
            return self._claim_ephemeral(wish, address)
        if wish.first == wish.last:
            return self._claim_fixed(wish, address, wish.first)
        for port in range(wish.first, wish.last + 1):
            try:
                return self._claim_fixed(wish, address, port)
            except PortTaken:
                continue
        raise PortTaken(f"Bind for {wish.host_ip}:{wish.first}-{wish.last} failed: all ports are allocated")

    def _claim_fixed(self, wish: Wish, address: str, port: int) -> Publication:
        if not self._free(wish.protocol, wish.host_ip, port):
            raise PortTaken(f"Bind for {wish.host_ip}:{port} failed: port is already allocated")
        publication = Publication(wish.protocol, wish.host_ip, port, address, wish.container_port)
        try:
            self._take(publication)
        except HostPortBusy as busy:
            target = f"{wish.host_ip}:{port}:{address}:{wish.container_port}/{wish.protocol}"
            raise PortTaken(f"failed to bind host port for {target}: {busy.reason}") from busy
        return publication

    def _claim_ephemeral(self, wish: Wish, address: str) -> Publication:
        span = self._last - self._first + 1
        for _ in range(span):
            port = self._cursor
            self._cursor = port + 1 if port < self._last else self._first
            if not self._free(wish.protocol, wish.host_ip, port):
                continue
            publication = Publication(wish.protocol, wish.host_ip, port, address, wish.container_port)
            try:
                self._take(publication)
            except HostPortBusy:
                continue
            return publication
        raise PortTaken(f"Bind for {wish.host_ip}:{self._first}-{self._last} failed: all ports are allocated")

    def adopt(self, publication: Publication) -> bool:
        """Take a port that a running container already has; False when it could not be held against the host."""
        try:
            self._take(publication)
        except HostPortBusy:
            self._held.setdefault((publication.protocol, publication.host_port), {})[publication.host_ip] = -1
            return False
        return True

    def _free(self, protocol: str, host_ip: str, port: int) -> bool:
        holders = self._held.get((protocol, port))
        if not holders:
            return True
        return host_ip != ANY_ADDRESS and ANY_ADDRESS not in holders and host_ip not in holders

    def _take(self, publication: Publication) -> None:
        descriptor = self._hold(publication.protocol, publication.host_ip, publication.host_port)
        self._held.setdefault((publication.protocol, publication.host_port), {})[publication.host_ip] = descriptor

    def release(self, publication: Publication) -> int:
        """Forget a port and return the descriptor that held it, for the caller to close (-1 when there is none)."""
        holders = self._held.get((publication.protocol, publication.host_port), {})
        descriptor = holders.pop(publication.host_ip, -1)
        if not holders:
            self._held.pop((publication.protocol, publication.host_port), None)
        return descriptor

    def descriptors(self) -> list[int]:
        """Every descriptor that holds a port."""
        return [descriptor for holders in self._held.values() for descriptor in holders.values() if descriptor >= 0]
