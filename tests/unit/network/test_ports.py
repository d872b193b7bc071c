import pytest

from corten.errors import InvalidArgument, NotSupported
from corten.network.model import Publication
from corten.network.ports import (
    HostPortBusy,
    PortTable,
    PortTaken,
    Wish,
    exposed_ports,
    parse_range,
    split_port,
    wishes,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", (0, 0)), ("80", (80, 80)), ("8000-8010", (8000, 8010)), ("0", (0, 0)), ("65535", (65535, 65535))],
)
def test_ranges(text: str, expected: tuple[int, int]) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize("text", ["a", "80-", "-80", "81-80", "65536", "+80", " 80", "8_0", "٨٠", "1-2-3", "-"])
def test_wrong_ranges(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - callers give the text their own words
        parse_range(text)


def test_port_specifications() -> None:
    assert split_port("80") == (80, 80, "tcp")
    assert split_port("80/TCP") == (80, 80, "tcp")
    assert split_port("53/udp") == (53, 53, "udp")
    for text in ("0/tcp", "80/icmp", "80/", "/tcp", "x/tcp"):
        with pytest.raises(InvalidArgument, match="invalid port specification"):
            split_port(text)
    assert exposed_ports(["90-91/udp", "80/tcp", "80/tcp"]) == [(80, "tcp"), (90, "udp"), (91, "udp")]


def test_wishes_fixed_before_ephemeral() -> None:
    found = wishes(
        ["443/tcp", "80/tcp"],
        {"80/tcp": [("", ""), ("127.0.0.1", "8080")], "22/tcp": []},
        publish_all=True,
        default_ip="0.0.0.0",
    )
    assert found == [
        Wish("tcp", 80, "127.0.0.1", 8080, 8080),
        Wish("tcp", 22, "0.0.0.0", 0, 0),
        Wish("tcp", 80, "0.0.0.0", 0, 0),
        Wish("tcp", 443, "0.0.0.0", 0, 0),
    ]


@pytest.mark.parametrize(
    ("port", "pair", "error"),
    [
        ("80/sctp", ("", "80"), NotSupported),
        ("80/tcp", ("::", "80"), NotSupported),
        ("80/tcp", ("[::1]", "80"), NotSupported),
        ("80/tcp", ("999.1.1.1", "80"), InvalidArgument),
        ("80/tcp", ("localhost", "80"), InvalidArgument),
        ("80/tcp", ("1.2.3", "80"), InvalidArgument),
        ("80/tcp", ("1.2.3.4; drop", "80"), InvalidArgument),
        ("80/tcp", ("", "http"), InvalidArgument),
        ("80/tcp", ("", "99999"), InvalidArgument),
    ],
)
def test_wishes_that_are_refused(port: str, pair: tuple[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        wishes([], {port: [pair]}, publish_all=False, default_ip="0.0.0.0")


class Host:
    """Host processes hold the ports in ``busy``."""

    def __init__(self, *busy: int) -> None:
        self.busy = set(busy)
        self.count = 100

    def hold(self, protocol: str, host_ip: str, port: int) -> int:
        if port in self.busy:
            raise HostPortBusy("address already in use")
        self.count += 1
        return self.count


def claim(table: PortTable, first: int, last: int = 0, host_ip: str = "0.0.0.0", protocol: str = "tcp") -> Publication:
    return table.claim(Wish(protocol, 80, host_ip, first, last or first), "172.17.0.2")


def test_wildcard_and_addresses_exclude_each_other() -> None:
    table = PortTable(Host().hold)
    claim(table, 80, host_ip="127.0.0.1")
    claim(table, 80, host_ip="10.0.0.1")
    claim(table, 80, protocol="udp")
    for host_ip in ("0.0.0.0", "127.0.0.1"):
        with pytest.raises(PortTaken, match=f"Bind for {host_ip}:80 failed: port is already allocated"):
            claim(table, 80, host_ip=host_ip)
    wild = claim(table, 81)
    with pytest.raises(PortTaken):
        claim(table, 81, host_ip="127.0.0.1")
    assert table.release(wild) > 100
    assert table.release(wild) == -1
    claim(table, 81, host_ip="127.0.0.1")


def test_ranges_take_the_first_free_port() -> None:
    table = PortTable(Host(8001).hold)
    assert [claim(table, 8000, 8002).host_port for _ in range(2)] == [8000, 8002]
    with pytest.raises(PortTaken, match=r"Bind for 0\.0\.0\.0:8000-8002 failed: all ports are allocated"):
        claim(table, 8000, 8002)


def test_ephemeral_ports_go_round() -> None:
    table = PortTable(Host(40001).hold, (40000, 40003))
    taken = [claim(table, 0) for _ in range(3)]
    assert [p.host_port for p in taken] == [40000, 40002, 40003]
    with pytest.raises(PortTaken, match="all ports are allocated"):
        claim(table, 0)
    table.release(taken[1])
    assert claim(table, 0).host_port == 40002


def test_host_process_on_the_port() -> None:
    with pytest.raises(PortTaken) as refused:
        claim(PortTable(Host(80).hold), 80)
    assert str(refused.value) == "failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: address already in use"


def test_adopted_ports_are_taken_even_if_the_host_has_them() -> None:
    table = PortTable(Host(80).hold)
    publication = Publication("tcp", "0.0.0.0", 80, "172.17.0.2", 80)
    assert not table.adopt(publication)
    with pytest.raises(PortTaken, match="already allocated"):
        claim(table, 80)
    assert table.descriptors() == []
    assert table.release(publication) == -1
