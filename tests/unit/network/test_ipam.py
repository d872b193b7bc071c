from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidArgument, Unavailable
from corten.network import ipam


def pool(subnet: str = "172.17.0.0/16", **more: IPv4Network) -> ipam.Pool:
    network = IPv4Network(subnet)
    return ipam.Pool(network, network[1], **more)


def test_the_lowest_free_address_comes_first() -> None:
    leases = pool()
    assert [str(leases.allocate()) for _ in range(3)] == ["172.17.0.2", "172.17.0.3", "172.17.0.4"]
    leases.release(IPv4Address("172.17.0.3"))
    leases.release(IPv4Address("172.17.0.2"))
    assert [str(leases.allocate()) for _ in range(3)] == ["172.17.0.2", "172.17.0.3", "172.17.0.5"]


def test_reserved_and_foreign_addresses() -> None:
    leases = pool("10.0.0.0/29")
    leases.reserve(IPv4Address("10.0.0.3"))
    leases.reserve(IPv4Address("10.9.9.9"))
    assert [str(leases.allocate()) for _ in range(4)] == ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    with pytest.raises(Unavailable, match="no available IPv4 addresses"):
        leases.allocate()
    leases.release(IPv4Address("10.0.0.1"))
    with pytest.raises(Unavailable):
        leases.allocate()


def test_a_fixed_range_inside_the_subnet() -> None:
    leases = pool("10.0.0.0/24", within=IPv4Network("10.0.0.128/30"))
    assert [str(leases.allocate()) for _ in range(4)] == ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131"]


@given(st.lists(st.one_of(st.none(), st.integers(0, 13)), max_size=60))
def test_no_address_is_given_twice(steps: list[int | None]) -> None:
    leases = pool("10.0.0.0/28")
    held: set[IPv4Address] = set()
    for step in steps:
        if step is None:
            if len(held) < 13:
                address = leases.allocate()
                assert address not in held
                assert address == min(set(leases.subnet.hosts()) - held - {leases.gateway})
                held.add(address)
        else:
            address = IPv4Address("10.0.0.1") + step
            leases.release(address)
            held.discard(address)
        assert leases.in_use() == len(held)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], "172.17.0.0/16"),
        (["0.0.0.0/0"], "172.17.0.0/16"),
        (["172.17.0.0/16"], "172.18.0.0/16"),
        (["172.17.5.0/24", "172.18.0.1/32"], "172.19.0.0/16"),
        (["172.16.0.0/12"], "192.168.0.0/20"),
        (["172.16.0.0/12", "192.168.0.0/24"], "192.168.16.0/20"),
    ],
)
def test_the_default_subnet_overlaps_no_route(taken: list[str], expected: str) -> None:
    assert str(ipam.free_subnet(ipam.DEFAULT_POOLS, map(IPv4Network, taken))) == expected


def test_there_are_dockers_thirty_one_subnets() -> None:
    assert len(list(ipam.candidates(ipam.DEFAULT_POOLS))) == 31
    with pytest.raises(Unavailable, match="fully subnetted"):
        ipam.free_subnet(ipam.DEFAULT_POOLS, [IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")])


def test_pools_of_the_configuration() -> None:
    assert ipam.parse_pools([("10.1.0.0/16", 24)]) == ((IPv4Network("10.1.0.0/16"), 24),)
    assert ipam.parse_pools([]) == ipam.DEFAULT_POOLS
    for base, size in (("nonsense", 24), ("10.1.0.0/16", 8), ("10.1.0.0/16", 31)):
        with pytest.raises(InvalidArgument, match="default-address-pool"):
            ipam.parse_pools([(base, size)])


def test_mac_follows_the_address() -> None:
    assert ipam.mac_for(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"
