import pytest

from corten.errors import InvalidArgument
from corten.network import files
from corten.network.files import Resolver


def test_hosts_as_docker_writes_it() -> None:
    text = files.hosts(
        hostname="web", domainname="", address="172.17.0.2", extra=[("db", "10.0.0.9"), ("up", "host-gateway")],
        host_gateway="172.17.0.1",
    )  # fmt: skip
    assert text == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        "10.0.0.9\tdb\n"
        "172.17.0.1\tup\n"
        "172.17.0.2\tweb\n"
    )


@pytest.mark.parametrize(
    ("hostname", "domainname", "expected"),
    [("web", "", "web"), ("web", "lan", "web.lan web"), ("web.lan", "", "web.lan web")],
)
def test_names_of_the_own_address(hostname: str, domainname: str, expected: str) -> None:
    assert files.host_names(hostname, domainname) == expected


def test_hosts_without_an_address_has_no_line_of_its_own() -> None:
    assert "web" not in files.hosts(hostname="web", domainname="", address="", extra=[], host_gateway="")


def test_host_mode_appends_to_the_hosts_own_file() -> None:
    assert files.host_mode_hosts("127.0.0.1 box", extra=[("db", "::5")], host_gateway="") == "127.0.0.1 box\n::5\tdb\n"
    assert files.host_mode_hosts("", extra=[], host_gateway="") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db:10.0.0.1", ("db", "10.0.0.1")),
        ("db=10.0.0.1", ("db", "10.0.0.1")),
        ("db:::1", ("db", "::1")),
        ("db=[::1]", ("db", "::1")),
        ("db:[::1]", ("db", "::1")),
        ("up:host-gateway", ("up", "host-gateway")),
    ],
)
def test_extra_hosts(text: str, expected: tuple[str, str]) -> None:
    assert files.parse_extra_host(text) == expected


@pytest.mark.parametrize(
    "text", ["db", ":10.0.0.1", "db:", "db:300.1.1.1", "a b:10.0.0.1", "db\n:10.0.0.1", "db:10.0.0.1\n6.6.6.6 bank"]
)
def test_wrong_extra_hosts(text: str) -> None:
    with pytest.raises(InvalidArgument, match="add-host"):
        files.parse_extra_host(text)


def test_unknown_host_gateway_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="host-gateway"):
        files.hosts(hostname="a", domainname="", address="", extra=[("up", "host-gateway")], host_gateway="")


OF_THE_HOST = files.parse_resolv_conf(
    """# made by hand
nameserver 127.0.0.1
nameserver 10.0.0.53 ; the office
nameserver fe80::1%eth0
domain old.example
search corp.example lab.example
options ndots:2 timeout:1
options rotate
nonsense
"""
)


def test_parsing_resolv_conf() -> None:
    assert OF_THE_HOST == Resolver(  # noqa: SIM300 - a constant, and the subject
        ("127.0.0.1", "10.0.0.53", "fe80::1%eth0"), ("corp.example", "lab.example"), ("ndots:2", "timeout:1", "rotate")
    )


def resolver(*, shared: bool = False, **flags: list[str]) -> Resolver:
    given = {"dns": [], "search": [], "options": [], **flags}
    return files.container_resolver(
        OF_THE_HOST, dns=given["dns"], search=given["search"], options=given["options"], shared=shared
    )


def test_loopback_and_ipv6_servers_are_left_out_behind_the_bridge() -> None:
    assert resolver().nameservers == ("10.0.0.53",)
    assert resolver(shared=True).nameservers == OF_THE_HOST.nameservers


def test_flags_win_one_by_one() -> None:
    assert resolver(dns=["127.0.0.5"]) == Resolver(("127.0.0.5",), OF_THE_HOST.search, OF_THE_HOST.options)
    assert resolver(search=["."]).search == ()
    assert resolver(options=["ndots:5"]).options == ("ndots:5",)


def test_no_public_server_is_made_up() -> None:
    none = files.container_resolver(Resolver(("127.0.0.53",)), dns=[], search=[], options=[], shared=False)
    assert none.nameservers == ()
    assert files.uses_systemd_stub(Resolver(("127.0.0.53",)))
    assert not files.uses_systemd_stub(Resolver(("127.0.0.53", "10.0.0.1")))


def test_text_of_resolv_conf() -> None:
    lines = files.resolv_conf(Resolver(("10.0.0.53",), ("a", "b"), ("ndots:1",))).splitlines()
    assert lines[1:] == ["nameserver 10.0.0.53", "search a b", "options ndots:1"]
    assert lines[0].startswith("#")
    assert files.parse_resolv_conf(files.resolv_conf(OF_THE_HOST)) == OF_THE_HOST
