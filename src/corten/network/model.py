"""The values networks are described with; plain, without the wire's types and without the kernel."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

ANY_ADDRESS: Final = "0.0.0.0"
PROTOCOLS: Final = {"tcp": 6, "udp": 17}

BRIDGE: Final = "bridge"
HOST: Final = "host"
NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class BridgeNetwork:
    """A bridge as it is: its interface, subnet, the gateway address it carries and the MTU of its ports.

    ``managed`` tells a bridge of this engine from one the administrator made (``--bridge NAME``).
    """

    interface: str
    index: int
    subnet: IPv4Network
    gateway: IPv4Address
    mtu: int
    managed: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's interface before it exists: names, addresses."""

    address: IPv4Address
    mac: str
    veth: str


@dataclass(frozen=True, slots=True)
class Publication:
    """A host address and port that leads to a container's; ``host_ip`` :data:`ANY_ADDRESS` is every local address."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    container_port: int
