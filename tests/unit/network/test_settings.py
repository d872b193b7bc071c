import pytest

from corten.api.types.network import EndpointIPAMConfig, EndpointSettings, Port, PortBinding
from corten.engine.networks import settings, validation
from corten.engine.networks.catalog import Catalog
from corten.engine.networks.record import EndpointRecord, PublishedPort
from corten.engine.networks.request import ContainerNetworkRequest
from corten.errors import InvalidArgument, NoSuchNetwork, NotSupported

RECORD = EndpointRecord(
    mode="bridge", network="bridge", network_id="n" * 64, endpoint_id="e" * 64, sandbox_id="s" * 64, ip="172.17.0.2",
    prefix=16, gateway="172.17.0.1", mac="02:42:ac:11:00:02", veth="ct1", name="web",
    ports=(PublishedPort("tcp", 80, "0.0.0.0", 8080), PublishedPort("tcp", 80, "127.0.0.1", 9090)),
)  # fmt: skip


def request(**fields: object) -> ContainerNetworkRequest:
    return ContainerNetworkRequest(**{"container_id": "c", "name": "web", "hostname": "web", **fields})  # type: ignore[arg-type]


def test_ports_of_a_running_container() -> None:
    asked = request(
        exposed=["443/tcp"], bindings={"80/tcp": [PortBinding("", "8080"), PortBinding("127.0.0.1", "9090")]}
    )
    assert settings.network_settings(RECORD, asked).Ports == {
        "80/tcp": [PortBinding("0.0.0.0", "8080"), PortBinding("127.0.0.1", "9090")],
        "443/tcp": None,
    }
    assert settings.summary_ports(RECORD, asked) == [
        Port("0.0.0.0", 80, 8080, "tcp"),
        Port("127.0.0.1", 80, 9090, "tcp"),
        Port("", 443, 0, "tcp"),
    ]


def test_a_container_that_does_not_run_shows_its_network_without_addresses() -> None:
    shown = settings.network_settings(None, request(exposed=["80/tcp"]))
    assert shown.Ports == {}
    assert shown.Networks == {"bridge": EndpointSettings()}
    assert settings.summary_ports(None, request(exposed=["80/tcp"])) == []


def test_host_and_joined_networks() -> None:
    record = EndpointRecord(mode="host", network="host", network_id="n", endpoint_id="e")
    shown = settings.network_settings(record, request(mode="host", exposed=["80/tcp"]))
    assert (shown.Ports, list(shown.Networks), shown.IPAddress) == ({}, ["host"], "")
    joined = request(mode="container:abc", hostname="")
    assert settings.network_settings(EndpointRecord(mode="container:abc"), joined).Networks == {}


def test_requests_that_are_refused() -> None:
    for fields, text in (
        ({"mode": "container:a"}, "conflicting options: hostname and the network mode"),
        ({"mode": "container:a", "hostname": "", "dns": ["10.0.0.1"]}, "conflicting options: dns and the network mode"),
        (
            {"mode": "container:a", "hostname": "", "bindings": {"80/tcp": [PortBinding()]}},
            "port publishing and the container",
        ),
        ({"mode": "container:a", "hostname": "", "exposed": ["80/tcp"]}, "port exposing and the container type"),
        ({"extra_hosts": ["nonsense"]}, "bad format for add-host"),
        ({"dns": ["x"]}, "bad nameserver address: x"),
        ({"dns": ["10.0.0.1\nsearch evil"]}, "bad nameserver address"),
        ({"mac_address": "02:42"}, "invalid MAC address: 02:42"),
        ({"bindings": {"80/tcp": [PortBinding("", "x")]}}, 'invalid port specification: "x"'),
        ({"endpoints": {"bridge": EndpointSettings(Aliases=["db"])}}, "aliases are only supported for user-defined"),
        (
            {"endpoints": {"bridge": EndpointSettings(IPAMConfig=EndpointIPAMConfig(IPv4Address="172.17.0.9"))}},
            "user specified IP address is supported on user defined networks only",
        ),
    ):
        with pytest.raises(InvalidArgument, match=text.replace("[", r"\[")):
            validation.check(request(**fields))
    with pytest.raises(NotSupported, match="sctp"):
        validation.check(request(bindings={"80/sctp": [PortBinding()]}))


def test_requests_that_are_fine() -> None:
    assert (
        validation.check(request(bindings={"80/tcp": [PortBinding("", "8000-8010")]}, exposed=["80/tcp", "90/sctp"]))
        == []
    )
    assert validation.check(request(mode="host", bindings={"80/tcp": [PortBinding()]})) == [
        "Published ports are discarded when using host network mode"
    ]


def test_networks_are_found_by_name_id_and_beginning() -> None:
    catalog = Catalog("/run/corten", inter_container=True, masquerade=True, bind_address="")
    identity = catalog.id_of("host")
    assert [catalog.find(reference) for reference in ("host", identity, identity[:12])] == ["host"] * 3
    for reference in ("", "hos", "zz"):
        with pytest.raises(NoSuchNetwork, match=f"network {reference} not found"):
            catalog.find(reference)
    with pytest.raises(NoSuchNetwork):
        catalog.find("bridge")
    assert catalog.id_of("host") != Catalog("/other", inter_container=True, masquerade=True, bind_address="").id_of(
        "host"
    )
