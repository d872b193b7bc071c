"""Whether a container's network wishes can be right: pure checks with Docker's texts, made when it is created.

Owns the conflicts between flags. Refuses to know what is allocated: that is found out at the start.
"""

import ipaddress
import re

from corten.api.types.network import EndpointSettings
from corten.engine.networks.request import ContainerNetworkRequest
from corten.errors import InvalidArgument, NotSupported
from corten.network import files, ports
from corten.network.model import ANY_ADDRESS, BRIDGE, HOST, NONE

_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE | re.ASCII)


def check(request: ContainerNetworkRequest) -> list[str]:
    """Refuse what cannot work (InvalidArgument, NotSupported) and return warnings for what will have no effect."""
    mode = request.driver_mode
    if mode.startswith("container:"):
        _check_joined(request)
    _check_others(request)
    for extra in request.extra_hosts:
        files.parse_extra_host(extra)
    for server in request.dns:
        _check_address(server)
    _check_mac(request)
    for name, endpoint in request.endpoints.items():
        if endpoint is not None:
            _check_endpoint(name, endpoint, mode)
    ports.exposed_ports([*request.exposed, *request.bindings])
    wished = ports.wishes(
        request.exposed, pairs(request), publish_all=request.publish_all and mode == BRIDGE, default_ip=ANY_ADDRESS
    )
    if wished and mode == HOST:
        return ["Published ports are discarded when using host network mode"]
    return []


def pairs(request: ContainerNetworkRequest) -> dict[str, list[tuple[str, str]]]:
    """``HostConfig.PortBindings`` as plain (host ip, host port) pairs."""
    return {
        port: [(binding.HostIp, binding.HostPort) for binding in bindings or ()]
        for port, bindings in request.bindings.items()
    }


def _check_joined(request: ContainerNetworkRequest) -> None:
    conflicts = (
        (request.hostname, "hostname and the network mode"),
        (request.dns, "dns and the network mode"),
        (request.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (_asks_for_mac(request), "mac-address and the network mode"),
        (request.bindings or request.publish_all, "port publishing and the container type network mode"),
        (request.exposed, "port exposing and the container type network mode"),
    )
    for given, text in conflicts:
        if given:
            raise InvalidArgument(f"conflicting options: {text}")


def _check_others(request: ContainerNetworkRequest) -> None:
    """Networks beside the one of the mode."""
    mode = request.driver_mode
    for name in request.endpoints:
        if name == mode or (mode.startswith("container:") and name.startswith("container:")):
            continue
        if mode.startswith("container:") or HOST in (mode, name):
            raise InvalidArgument(
                "container sharing network namespace with another container or host cannot be connected to any other "
                "network"
            )
        if NONE in (mode, name):
            raise InvalidArgument(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            )
        raise InvalidArgument(f"network {name} not found")


def _asks_for_mac(request: ContainerNetworkRequest) -> bool:
    return bool(request.mac_address) or any(one is not None and one.MacAddress for one in request.endpoints.values())


def _check_address(server: str) -> None:
    try:
        ipaddress.ip_address(server)
    except ValueError:
        raise InvalidArgument(f"bad nameserver address: {server}") from None


def _check_mac(request: ContainerNetworkRequest) -> None:
    asked = [request.mac_address, *(e.MacAddress for e in request.endpoints.values() if e is not None)]
    for mac in asked:
        if mac and not _MAC.fullmatch(mac):
            raise InvalidArgument(f"invalid MAC address: {mac}")


def _check_endpoint(name: str, endpoint: EndpointSettings, mode: str) -> None:
    wanted = endpoint.IPAMConfig
    addresses = wanted is not None and (wanted.IPv4Address or wanted.IPv6Address or wanted.LinkLocalIPs)
    if mode in (BRIDGE, HOST, NONE):
        if addresses:
            raise InvalidArgument("invalid config for network " + name + ": user specified IP address is supported on "
                                  "user defined networks only")  # fmt: skip
        if endpoint.Aliases:
            raise InvalidArgument("network-scoped aliases are only supported for user-defined networks")
    if endpoint.Links:
        raise NotSupported("Links are not supported yet")
    if endpoint.DriverOpts:
        raise NotSupported("DriverOpts of an endpoint are not supported yet")
