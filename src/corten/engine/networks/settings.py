"""What Docker shows of a container's network, computed from its record: pure.

Owns the JSON of ``NetworkSettings`` and of ``Ports``. Refuses to know what is allocated now.

Only IPv4 is published, so every binding is listed once, with ``0.0.0.0`` or the address that was asked for; Docker adds
a second one for ``::`` where its proxy process listens there. The network namespace has no file of its own:
``SandboxKey`` is that of the first process.
"""

from corten.api.types.network import (
    EndpointResource,
    EndpointSettings,
    NetworkSettings,
    NetworkSettingsSummary,
    Port,
    PortBinding,
)
from corten.engine.networks.record import EndpointRecord
from corten.engine.networks.request import ContainerNetworkRequest
from corten.network.model import BRIDGE
from corten.network.ports import exposed_ports


def network_name(request: ContainerNetworkRequest) -> str:
    """The network a container names; empty for ``container:ID``."""
    mode = request.driver_mode
    return "" if mode.startswith("container:") else mode


def network_settings(
    record: EndpointRecord | None, request: ContainerNetworkRequest, *, pid: int = 0
) -> NetworkSettings:
    """``NetworkSettings`` of inspect; ``record`` is None and ``pid`` 0 while the container does not run."""
    networks = _networks(record, request)
    if record is None:
        return NetworkSettings(Networks=networks)
    settings = NetworkSettings(
        SandboxID=record.sandbox_id,
        SandboxKey=f"/proc/{pid}/ns/net" if pid else "",
        Ports=port_map(record, request) if record.mode == BRIDGE else {},
        Networks=networks,
    )
    if record.mode == BRIDGE:
        settings.EndpointID = record.endpoint_id
        settings.Gateway = record.gateway
        settings.IPAddress = record.ip
        settings.IPPrefixLen = record.prefix
        settings.MacAddress = record.mac
    return settings


def network_summary(record: EndpointRecord | None, request: ContainerNetworkRequest) -> NetworkSettingsSummary:
    """``NetworkSettings`` of the container list."""
    return NetworkSettingsSummary(Networks=_networks(record, request))


def _networks(record: EndpointRecord | None, request: ContainerNetworkRequest) -> dict[str, EndpointSettings]:
    name = network_name(request)
    if not name:
        return {}
    asked = request.endpoints.get(name) or request.endpoints.get(request.mode) or EndpointSettings()
    endpoint = EndpointSettings(
        IPAMConfig=asked.IPAMConfig, Links=asked.Links, Aliases=asked.Aliases, DriverOpts=asked.DriverOpts,
        GwPriority=asked.GwPriority,
    )  # fmt: skip
    if record is not None:
        endpoint.NetworkID = record.network_id
        endpoint.EndpointID = record.endpoint_id
        endpoint.Gateway = record.gateway
        endpoint.IPAddress = record.ip
        endpoint.IPPrefixLen = record.prefix
        endpoint.MacAddress = record.mac
    return {name: endpoint}


def _exposed(request: ContainerNetworkRequest) -> list[tuple[int, str]]:
    return exposed_ports([*request.exposed, *request.bindings])


def port_map(record: EndpointRecord, request: ContainerNetworkRequest) -> dict[str, list[PortBinding] | None]:
    """``NetworkSettings.Ports``: null for a port that is exposed and not published."""
    ports: dict[str, list[PortBinding] | None] = {f"{port}/{protocol}": None for port, protocol in _exposed(request)}
    for published in record.ports:
        key = f"{published.container_port}/{published.protocol}"
        bindings = ports.get(key) or []
        ports[key] = [*bindings, PortBinding(HostIp=published.host_ip, HostPort=str(published.host_port))]
    return ports


def summary_ports(record: EndpointRecord | None, request: ContainerNetworkRequest) -> list[Port]:
    """``Ports`` of the container list: nothing while the container does not run or has no network of its own."""
    if record is None or record.mode != BRIDGE:
        return []
    rows = [
        Port(IP=p.host_ip, PrivatePort=p.container_port, PublicPort=p.host_port, Type=p.protocol) for p in record.ports
    ]
    published = {(p.container_port, p.protocol) for p in record.ports}
    rows += [Port(PrivatePort=port, Type=proto) for port, proto in _exposed(request) if (port, proto) not in published]
    return rows


def endpoint_resource(record: EndpointRecord) -> EndpointResource:
    """One entry of ``Containers`` in a network's inspect."""
    return EndpointResource(
        Name=record.name, EndpointID=record.endpoint_id, MacAddress=record.mac,
        IPv4Address=f"{record.ip}/{record.prefix}" if record.ip else "",
    )  # fmt: skip
