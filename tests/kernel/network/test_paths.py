"""Which packets get through: every way to a published port, and no way to anything else."""

import contextlib
import os
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from corten.linux.netlink import libnftables
from corten.network import bridge, ipam, sandbox
from corten.network.firewall import Firewall
from corten.network.model import BridgeNetwork, Endpoint, Publication
from tests.kernel.network.topology import (
    HOST_ADDRESS,
    PATIENCE,
    arrives,
    ask_udp,
    get,
    http_server,
    inside,
    reachable,
    send_loopback_over,
    udp_echo,
)

pytestmark = pytest.mark.root

WEB, INNER = 8080, 80


class Plant:
    """One engine's bridge and table, and containers made by hand."""

    def __init__(self, suffix: str) -> None:
        self.network = bridge.ensure(f"ct{suffix}", wanted=None, pools=ipam.DEFAULT_POOLS, avoid=[], mtu=0)
        self.pool = ipam.Pool(self.network.subnet, self.network.gateway)
        self.firewall = Firewall(f"corten_{suffix}", self.network)
        self.firewall.load([])
        assert bridge.set_sysctls(self.network.interface, forward=True) == []
        self._open: list[int] = []

    def container(self) -> tuple[int, str]:
        address = self.pool.allocate()
        endpoint = Endpoint(address, ipam.mac_for(address), f"v{int(address):x}")
        self._open.append(sandbox.bare().bridged(self.network, endpoint))
        return self._open[-1], str(address)

    def close(self) -> None:
        self.firewall.close()
        for descriptor in self._open:
            os.close(descriptor)


@contextlib.contextmanager
def planted(suffix: str) -> Iterator[Plant]:
    plant = Plant(suffix)
    try:
        yield plant
    finally:
        plant.close()


@pytest.fixture
def plant(host: int) -> Iterator[Plant]:
    with planted("aaaaaa") as made:
        yield made


def publish(
    plant: Plant, address: str, *, host_ip: str = "0.0.0.0", protocol: str = "tcp", host_port: int = WEB
) -> Publication:
    publication = Publication(protocol, host_ip, host_port, address, INNER)
    plant.firewall.publish([publication])
    return publication


@pytest.mark.parametrize("bridge_netfilter", ["0", "1"])
def test_published_port_answers_from_everywhere(plant: Plant, neighbour: int, bridge_netfilter: str) -> None:
    """With and without br_netfilter, which sends bridged packets through the same rules."""
    _set_bridge_netfilter(bridge_netfilter)
    container, address = plant.container()
    other, other_address = plant.container()
    publish(plant, address)
    with http_server(container, INNER):
        assert inside(neighbour, lambda: get(HOST_ADDRESS, WEB)) == "hello 10.77.0.2"
        assert get("127.0.0.1", WEB) == f"hello {plant.network.gateway}"
        assert get(HOST_ADDRESS, WEB).startswith("hello ")
        assert get(str(plant.network.gateway), WEB).startswith("hello ")
        assert inside(container, lambda: get(HOST_ADDRESS, WEB)) == f"hello {plant.network.gateway}"
        assert inside(container, lambda: get(str(plant.network.gateway), WEB)) == f"hello {plant.network.gateway}"
        assert inside(other, lambda: get(HOST_ADDRESS, WEB)) == f"hello {plant.network.gateway}"
        assert inside(other, lambda: get(address, INNER)) == f"hello {other_address}"
        assert get(address, INNER) == f"hello {plant.network.gateway}"


def test_published_udp_port_answers_from_everywhere(plant: Plant, host: int, neighbour: int) -> None:
    container, address = plant.container()
    publish(plant, address, protocol="udp")
    with udp_echo(container, INNER):
        assert ask_udp(neighbour, HOST_ADDRESS, WEB) == b"PING"
        assert ask_udp(host, "127.0.0.1", WEB) == b"PING"
        assert ask_udp(host, HOST_ADDRESS, WEB) == b"PING"
        assert ask_udp(container, HOST_ADDRESS, WEB) == b"PING"


def test_nothing_else_of_a_container_is_reachable(plant: Plant, neighbour: int) -> None:
    """Also not for a neighbour that routes the bridge's subnet here, and not by a published port's inner number."""
    container, address = plant.container()
    publish(plant, address)
    with http_server(container, INNER), http_server(container, 9999):
        assert reachable(neighbour, HOST_ADDRESS, WEB, timeout=PATIENCE)
        assert not reachable(neighbour, address, INNER)
        assert not reachable(neighbour, address, 9999)
        assert not reachable(neighbour, HOST_ADDRESS, 9999)


def test_containers_reach_other_hosts_masqueraded(plant: Plant, neighbour: int) -> None:
    container, _ = plant.container()
    with http_server(neighbour, 80):
        assert inside(container, lambda: get("10.77.0.2", 80)) == f"hello {HOST_ADDRESS}"


def test_without_inter_container_traffic_only_published_ports_connect(host: int) -> None:
    _set_bridge_netfilter("1")
    with planted("aaaaaa") as plant:
        Firewall(plant.firewall.name, plant.network, inter_container=False).load([])
        first, address = plant.container()
        second, _ = plant.container()
        publish(plant, address)
        with http_server(first, INNER):
            assert inside(second, lambda: get(str(plant.network.gateway), WEB)).startswith("hello ")
            assert not reachable(second, address, INNER)


def test_port_published_on_loopback_stays_on_this_host(plant: Plant, host: int, neighbour: int) -> None:
    """moby issue 45610: a neighbour sends packets for 127.0.0.1 to this host's MAC."""
    container, address = plant.container()
    publish(plant, address, host_ip="127.0.0.1")
    publish(plant, address, host_ip="127.0.0.1", protocol="udp")
    inside(neighbour, lambda: send_loopback_over("eth0", HOST_ADDRESS))
    with http_server(container, INNER):
        assert get("127.0.0.1", WEB).startswith("hello ")
        assert not reachable(neighbour, HOST_ADDRESS, WEB)
        assert not reachable(container, HOST_ADDRESS, WEB)
        assert not reachable(neighbour, "127.0.0.1", WEB)
    assert not arrives(neighbour, "127.0.0.1", WEB, at=container, inner=address, inner_port=INNER)


def test_wildcard_publication_is_not_reached_through_a_loopback_address(plant: Plant, neighbour: int) -> None:
    container, address = plant.container()
    publish(plant, address, protocol="udp")
    inside(neighbour, lambda: send_loopback_over("eth0", HOST_ADDRESS))
    assert arrives(neighbour, HOST_ADDRESS, WEB, at=container, inner=address, inner_port=INNER)
    assert not arrives(neighbour, "127.0.0.1", WEB, at=container, inner=address, inner_port=INNER)


def test_the_attack_on_loopback_publications_works_without_our_rule(plant: Plant, neighbour: int) -> None:
    """The two tests above can fail: without the rule in ``prerouting`` the same datagram arrives."""
    container, address = plant.container()
    publish(plant, address, host_ip="127.0.0.1", protocol="udp")
    inside(neighbour, lambda: send_loopback_over("eth0", HOST_ADDRESS))
    _replace_rules(plant, "prerouting", "meta l4proto { tcp, udp } fib daddr type local jump translate")
    assert arrives(neighbour, "127.0.0.1", WEB, at=container, inner=address, inner_port=INNER)


def test_container_cannot_reach_services_on_the_hosts_loopback(plant: Plant, host: int) -> None:
    """CVE-2020-8558: route_localnet is on at the bridge, and a container sends to 127.0.0.1 through its eth0."""
    container, _ = plant.container()
    inside(container, lambda: send_loopback_over("eth0", str(plant.network.gateway)))
    assert not arrives(container, "127.0.0.1", 6000, at=host, inner="127.0.0.1", inner_port=6000)
    _replace_rules(plant, "guard", "")
    assert arrives(container, "127.0.0.1", 6000, at=host, inner="127.0.0.1", inner_port=6000), "the test cannot fail"


def test_host_address_binding_answers_on_that_address_only(plant: Plant, neighbour: int) -> None:
    first, first_address = plant.container()
    second, second_address = plant.container()
    publish(plant, first_address, host_ip=HOST_ADDRESS)
    publish(plant, second_address, host_ip="127.0.0.1")
    with http_server(first, INNER), http_server(second, INNER):
        assert inside(neighbour, lambda: get(HOST_ADDRESS, WEB)) == "hello 10.77.0.2"
        assert get("127.0.0.1", WEB).startswith("hello ")
        assert not reachable(neighbour, str(plant.network.gateway), WEB)


def test_two_engines_in_one_namespace_are_apart(host: int, neighbour: int) -> None:
    with planted("aaaaaa") as one, planted("bbbbbb") as two:
        assert not one.network.subnet.overlaps(two.network.subnet)
        first, first_address = one.container()
        second, second_address = two.container()
        publish(one, first_address)
        publish(two, second_address, host_port=9090)
        with http_server(first, INNER), http_server(second, INNER):
            assert inside(neighbour, lambda: get(HOST_ADDRESS, WEB)).startswith("hello ")
            assert inside(neighbour, lambda: get(HOST_ADDRESS, 9090)).startswith("hello ")
            assert not reachable(first, second_address, INNER)
            assert not reachable(second, first_address, INNER)
            assert reachable(first, HOST_ADDRESS, 9090, timeout=PATIENCE)
            publish(one, first_address, host_ip="127.0.0.1", protocol="udp")
            inside(second, lambda: send_loopback_over("eth0", str(two.network.gateway)))
            assert not arrives(second, "127.0.0.1", WEB, at=first, inner=first_address, inner_port=INNER)


def test_withdrawn_port_is_closed_and_its_flows_are_forgotten(plant: Plant, neighbour: int) -> None:
    """A UDP client that keeps its source port reaches the next owner of the port, not the address of the last one."""
    first, first_address = plant.container()
    second, second_address = plant.container()
    publication = publish(plant, first_address, protocol="udp")
    with udp_echo(first, INNER):
        assert ask_udp(neighbour, HOST_ADDRESS, WEB, source_port=5555) == b"PING"
    plant.firewall.withdraw([publication])
    plant.firewall.forget_flows(first_address)
    publish(plant, second_address, protocol="udp")
    with udp_echo(second, INNER):
        assert ask_udp(neighbour, HOST_ADDRESS, WEB, source_port=5555) == b"PING"
    plant.firewall.withdraw([Publication("udp", "0.0.0.0", WEB, second_address, INNER)])
    plant.firewall.forget_flows(second_address)
    with udp_echo(second, INNER):
        assert ask_udp(neighbour, HOST_ADDRESS, WEB, source_port=5555) == b""


def test_reload_keeps_what_lives_and_drops_the_rest(plant: Plant, neighbour: int) -> None:
    container, address = plant.container()
    kept = publish(plant, address)
    publish(plant, "172.17.99.99", host_port=7070)
    plant.firewall.load([kept])
    with http_server(container, INNER):
        assert reachable(neighbour, HOST_ADDRESS, WEB, timeout=PATIENCE)
    elements = libnftables.run(f"list map ip {plant.firewall.name} published")
    assert "7070" not in elements
    assert str(WEB) in elements


def test_an_address_that_is_given_again_works_at_once(plant: Plant, host: int) -> None:
    """The bridge still knows the MAC at the old port while the old namespace lives."""
    first, address = plant.container()
    with http_server(first, INNER):
        assert get(address, INNER).startswith("hello ")
    plant.pool.release(IPv4Address(address))
    endpoint = Endpoint(plant.pool.allocate(), ipam.mac_for(IPv4Address(address)), "vsecond")
    second = sandbox.bare().bridged(plant.network, endpoint)
    try:
        with http_server(second, INNER):
            assert get(address, INNER, timeout=0.5).startswith("hello ")
    finally:
        os.close(second)


def test_adopting_a_bridge_keeps_its_address(host: int) -> None:
    made = bridge.ensure("ctaaaaaa", wanted=None, pools=ipam.DEFAULT_POOLS, avoid=[], mtu=0)
    found = bridge.ensure("ctaaaaaa", wanted=None, pools=ipam.DEFAULT_POOLS, avoid=[], mtu=0)
    assert found == made
    assert isinstance(found, BridgeNetwork)
    bridge.remove("ctaaaaaa")
    bridge.remove("ctaaaaaa")


def test_unload_leaves_nothing(plant: Plant) -> None:
    plant.firewall.unload()
    plant.firewall.unload()
    assert libnftables.run("list tables") == ""


def _replace_rules(plant: Plant, chain: str, rule: str) -> None:
    where = f"ip {plant.firewall.name} {chain}"
    libnftables.run(f"flush chain {where}\n" + (f"add rule {where} {rule}\n" if rule else ""))


def _set_bridge_netfilter(value: str) -> None:
    try:
        with open("/proc/sys/net/bridge/bridge-nf-call-iptables", "w", encoding="ascii") as file:
            file.write(value)
    except OSError:
        pytest.skip("this kernel has no br_netfilter")
