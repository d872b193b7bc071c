"""``network`` verbs; what the engine cannot do yet it refuses itself."""

from __future__ import annotations

import sys

from corten.cli import listing
from corten.cli.listing import Layout
from corten.cli.options import Flag
from corten.client.errors import ClientError, ResponseError
from corten.client.transport import quote
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

LS_FLAGS: Final = (
    Flag("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")', check=listing.filter_value),
    Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
    Flag("no-trunc", "", "bool", "Do not truncate the output"),
    Flag("quiet", "q", "bool", "Only display network IDs"),
)
CREATE_FLAGS: Final = (
    Flag("attachable", "", "bool", "Enable manual container attachment"),
    Flag("aux-address", "", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
    Flag("driver", "d", "string", "Driver to manage the Network", "bridge"),
    Flag("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
    Flag("internal", "", "bool", "Restrict external access to the network"),
    Flag("ip-range", "", "strings", "Allocate container ip from a sub-range"),
    Flag("ipam-driver", "", "string", "IP Address Management Driver", "default"),
    Flag("ipam-opt", "", "map", "Set IPAM driver specific options"),
    Flag("ipv4", "", "bool", "Enable or disable IPv4 address assignment", True),
    Flag("ipv6", "", "bool", "Enable or disable IPv6 address assignment"),
    Flag("label", "", "list", "Set metadata on a network"),
    Flag("opt", "o", "map", "Set driver specific options"),
    Flag("subnet", "", "strings", "Subnet in CIDR format that represents a network segment"),
)
CONNECT_FLAGS: Final = (
    Flag("alias", "", "strings", "Add network-scoped alias for the container"),
    Flag("driver-opt", "", "strings", "Driver options for the network"),
    Flag("gw-priority", "", "int", "Highest gw-priority provides the default gateway"),
    Flag("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")'),
    Flag("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")'),
    Flag("link", "", "list", "Add link to another container"),
    Flag("link-local-ip", "", "strings", "Add a link-local address for the container"),
)
DISCONNECT_FLAGS: Final = (Flag("force", "f", "bool", "Force the container to disconnect from a network"),)
RM_FLAGS: Final = (Flag("force", "f", "bool", "Do not error if the network does not exist"),)

_KIND: Final = "*network.networkContext"
_COLUMNS: Final = (("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER"), ("Scope", "SCOPE"))
_HEADERS: Final = {
    "CreatedAt": "CREATED AT", "IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS",
}  # fmt: skip


def ls(session: Session, given: Options, arguments: list[str]) -> int:
    """List networks, by name."""
    networks = session.client.get("/networks", {"filters": listing.filters(given.texts("filter"))})
    quiet = given.flag("quiet")
    chosen = given.text("format") or ("" if quiet else session.config.text("networksFormat"))
    ordered = sorted(networks, key=lambda network: listing.natural(network["Name"]))
    rows = [_row(network, whole=given.flag("no-trunc")) for network in ordered]
    raw = "network_id: {{.ID}}\\nname: {{.Name}}\\ndriver: {{.Driver}}\\nscope: {{.Scope}}\\n"
    sys.stdout.write(listing.render(Layout(_KIND, _COLUMNS, "ID", _HEADERS, raw), rows, chosen, quiet=quiet))
    return 0


def _row(network: dict[str, Any], *, whole: bool) -> Row:
    def flag(name: str) -> str:
        return "true" if network.get(name) else "false"

    return Row(
        _KIND,
        {
            "CreatedAt": lambda: _created(network.get("Created", "")),
            "Driver": lambda: network["Driver"],
            "ID": lambda: listing.short_id(network["Id"], whole=whole),
            "IPv4": lambda: flag("EnableIPv4"),
            "IPv6": lambda: flag("EnableIPv6"),
            "Internal": lambda: flag("Internal"),
            "Labels": lambda: listing.joined_labels(network.get("Labels")),
            "Name": lambda: network["Name"],
            "Scope": lambda: network.get("Scope", ""),
        },
        {"Label": lambda name: str((network.get("Labels") or {}).get(name, ""))},
    )


def _created(text: str) -> str:
    from corten.template.values import Time, show

    return show(Time(text)) if text else ""


def create(session: Session, given: Options, arguments: list[str]) -> int:
    """Create a network and print its id."""
    from corten.cli.commands.volumes import pairs

    body = {
        "Name": arguments[0],
        "Driver": given.text("driver"),
        "Attachable": given.flag("attachable"),
        "Internal": given.flag("internal"),
        "EnableIPv4": given.flag("ipv4"),
        "EnableIPv6": given.flag("ipv6"),
        "Labels": pairs(given.texts("label")),
        "Options": pairs(given.texts("opt")),
        "IPAM": {
            "Driver": given.text("ipam-driver"),
            "Options": pairs(given.texts("ipam-opt")),
            "Config": _pools(given),
        },
    }
    answer = session.client.call("POST", "/networks/create", body=body)
    if answer.get("Warning"):
        session.complain(f"WARNING: {answer['Warning']}")
    session.print(answer["Id"])
    return 0


def _pools(given: Options) -> list[dict[str, Any]]:
    """One document per subnet; ranges, gateways and auxiliary addresses go to the subnet that holds them."""
    subnets, ranges, gateways = (_split(given.texts(name)) for name in ("subnet", "ip-range", "gateway"))
    auxiliary = given.texts("aux-address")
    if not subnets and (ranges or gateways or auxiliary):
        raise ClientError("every ip-range or gateway must have a corresponding subnet")
    import ipaddress

    try:
        nets = [ipaddress.ip_network(subnet, strict=False) for subnet in subnets]
        pools: list[dict[str, Any]] = [{"Subnet": subnet} for subnet in subnets]
        for key, values in (("IPRange", ranges), ("Gateway", gateways)):
            for value in values:
                _pool_of(nets, pools, value)[key] = value
        for pair in auxiliary:
            name, _, address = pair.partition("=")
            _pool_of(nets, pools, address).setdefault("AuxiliaryAddresses", {})[name] = address
    except ValueError as error:
        raise ClientError(f"invalid subnet: {error}") from None
    return pools


def _pool_of(nets: list[Any], pools: list[dict[str, Any]], value: str) -> dict[str, Any]:
    import ipaddress

    address = ipaddress.ip_address(value.partition("/")[0])
    for net, pool in zip(nets, pools, strict=True):
        if address in net:
            return pool
    raise ClientError(f"no matching subnet for {value}")


def _split(values: list[str]) -> list[str]:
    return [part for value in values for part in value.split(",")]


def connect(session: Session, given: Options, arguments: list[str]) -> int:
    """Connect a container to a network."""
    from corten.cli.commands.volumes import pairs

    network, container = arguments
    settings = {
        "IPAMConfig": {
            "IPv4Address": given.text("ip"),
            "IPv6Address": given.text("ip6"),
            "LinkLocalIPs": _split(given.texts("link-local-ip")),
        },
        "Links": given.texts("link"),
        "Aliases": _split(given.texts("alias")),
        "DriverOpts": pairs(_split(given.texts("driver-opt"))),
        "GwPriority": given.number("gw-priority"),
    }
    body = {"Container": container, "EndpointConfig": settings}
    session.client.call("POST", f"/networks/{quote(network)}/connect", body=body)
    return 0


def disconnect(session: Session, given: Options, arguments: list[str]) -> int:
    """Disconnect a container from a network."""
    network, container = arguments
    body = {"Container": container, "Force": given.flag("force")}
    session.client.call("POST", f"/networks/{quote(network)}/disconnect", body=body)
    return 0


def rm(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove networks; each failure is said, the others are removed."""
    code = 0
    for name in arguments:
        try:
            session.client.call("DELETE", f"/networks/{quote(name)}")
            session.print(name)
        except ResponseError as error:
            if given.flag("force") and error.status == 404:
                continue
            session.complain(str(error))
            code = 1
    return code
