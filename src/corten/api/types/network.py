"""Networks on the wire: list, inspect, create, and what a container's own inspect says of them (API 1.51).

Owns names, defaults and shapes; refuses to know how a network is made. ``None`` where Docker prints ``null``.
"""

import msgspec


class PortBinding(msgspec.Struct):
    """One host side of a container port; ``HostPort`` is a decimal text, empty for "any"."""

    HostIp: str = ""
    HostPort: str = ""


class Port(msgspec.Struct, omit_defaults=True):
    """One row of ``Ports`` in ``GET /containers/json``; without ``PublicPort`` the port is only exposed."""

    IP: str = ""
    PrivatePort: int = 0
    PublicPort: int = 0
    Type: str = ""


class EndpointIPAMConfig(msgspec.Struct, omit_defaults=True):
    """Addresses a client asked for."""

    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: list[str] | None = None


class EndpointSettings(msgspec.Struct):
    """A container's place in one network, as a request and as an answer."""

    IPAMConfig: EndpointIPAMConfig | None = None
    Links: list[str] | None = None
    Aliases: list[str] | None = None
    MacAddress: str = ""
    DriverOpts: dict[str, str] | None = None
    GwPriority: int = 0
    NetworkID: str = ""
    EndpointID: str = ""
    Gateway: str = ""
    IPAddress: str = ""
    IPPrefixLen: int = 0
    IPv6Gateway: str = ""
    GlobalIPv6Address: str = ""
    GlobalIPv6PrefixLen: int = 0
    DNSNames: list[str] | None = None


class NetworkingConfig(msgspec.Struct):
    """``NetworkingConfig`` of ``POST /containers/create``."""

    EndpointsConfig: dict[str, EndpointSettings] | None = None


class NetworkSettings(msgspec.Struct):
    """``NetworkSettings`` of ``GET /containers/{id}/json``; the flat fields speak of the default bridge only."""

    Bridge: str = ""
    SandboxID: str = ""
    SandboxKey: str = ""
    Ports: dict[str, list[PortBinding] | None] = {}
    HairpinMode: bool = False
    LinkLocalIPv6Address: str = ""
    LinkLocalIPv6PrefixLen: int = 0
    SecondaryIPAddresses: list[str] | None = None
    SecondaryIPv6Addresses: list[str] | None = None
    EndpointID: str = ""
    Gateway: str = ""
    GlobalIPv6Address: str = ""
    GlobalIPv6PrefixLen: int = 0
    IPAddress: str = ""
    IPPrefixLen: int = 0
    IPv6Gateway: str = ""
    MacAddress: str = ""
    Networks: dict[str, EndpointSettings] = {}


class NetworkSettingsSummary(msgspec.Struct):
    """``NetworkSettings`` of ``GET /containers/json``."""

    Networks: dict[str, EndpointSettings] = {}


class IPAMConfig(msgspec.Struct, omit_defaults=True):
    """One address pool."""

    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: dict[str, str] | None = None


class NetworkIPAM(msgspec.Struct):
    """The address management of a network."""

    Driver: str = "default"
    Options: dict[str, str] | None = None
    Config: list[IPAMConfig] | None = None


class ConfigReference(msgspec.Struct):
    """The configuration-only network another one copies."""

    Network: str = ""


class EndpointResource(msgspec.Struct):
    """One container in ``Containers`` of a network's inspect; addresses carry their prefix length."""

    Name: str = ""
    EndpointID: str = ""
    MacAddress: str = ""
    IPv4Address: str = ""
    IPv6Address: str = ""


class NetworkResource(msgspec.Struct, kw_only=True):
    """One network in ``GET /networks`` and ``GET /networks/{id}``."""

    Name: str
    Id: str
    Created: str
    Scope: str = "local"
    Driver: str
    EnableIPv4: bool = True
    EnableIPv6: bool = False
    IPAM: NetworkIPAM
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigFrom: ConfigReference = msgspec.field(default_factory=ConfigReference)
    ConfigOnly: bool = False
    Containers: dict[str, EndpointResource] = {}
    Options: dict[str, str] = {}
    Labels: dict[str, str] = {}


class NetworkPruneResponse(msgspec.Struct):
    """Answer of ``POST /networks/prune``."""

    NetworksDeleted: list[str] | None = None
