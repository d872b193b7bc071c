"""What --link gives: variables, names, and the one line of /etc/hosts that is ours."""

from __future__ import annotations

import pytest

from corten.engine.spec import links
from corten.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", ("web", "web")),
        ("web:db", ("web", "db")),
        ("/web:/client/db", ("/web", "db")),
        ("web:", ("web", "")),
    ],
)
def test_a_link_is_container_and_alias(text: str, expected: tuple[str, str]) -> None:
    assert links.parse_link(text) == expected


@pytest.mark.parametrize("text", ["", "a:b:c"])
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(InvalidArgument):
        links.parse_link(text)


def test_variables_as_docker_names_them() -> None:
    """Recorded from dockerd: ``--link web:db-a`` of a container that exposes 80, 443-445/udp and sets four variables."""
    ports = [(443, "udp"), (444, "udp"), (80, "tcp"), (445, "udp")]
    found = links.variables("/client/db-a", "db-a", "172.17.0.2", ports, ["FOO=bar", "HOME=/x", "PATH=/y", "BARE"])
    assert sorted(found) == [
        "DB_A_ENV_FOO=bar",
        "DB_A_NAME=/client/db-a",
        "DB_A_PORT=tcp://172.17.0.2:80",
        "DB_A_PORT_443_UDP=udp://172.17.0.2:443",
        "DB_A_PORT_443_UDP_ADDR=172.17.0.2",
        "DB_A_PORT_443_UDP_END=udp://172.17.0.2:445",
        "DB_A_PORT_443_UDP_PORT=443",
        "DB_A_PORT_443_UDP_PORT_END=445",
        "DB_A_PORT_443_UDP_PORT_START=443",
        "DB_A_PORT_443_UDP_PROTO=udp",
        "DB_A_PORT_443_UDP_START=udp://172.17.0.2:443",
        "DB_A_PORT_444_UDP=udp://172.17.0.2:444",
        "DB_A_PORT_444_UDP_ADDR=172.17.0.2",
        "DB_A_PORT_444_UDP_PORT=444",
        "DB_A_PORT_444_UDP_PROTO=udp",
        "DB_A_PORT_445_UDP=udp://172.17.0.2:445",
        "DB_A_PORT_445_UDP_ADDR=172.17.0.2",
        "DB_A_PORT_445_UDP_PORT=445",
        "DB_A_PORT_445_UDP_PROTO=udp",
        "DB_A_PORT_80_TCP=tcp://172.17.0.2:80",
        "DB_A_PORT_80_TCP_ADDR=172.17.0.2",
        "DB_A_PORT_80_TCP_PORT=80",
        "DB_A_PORT_80_TCP_PROTO=tcp",
    ]


def test_the_default_port_is_the_lowest_and_tcp_first() -> None:
    found = links.variables("/c/a", "a", "10.0.0.1", [(53, "udp"), (53, "tcp"), (80, "tcp")], [])
    assert found[0] == "A_PORT=tcp://10.0.0.1:53"


def test_only_the_line_of_the_alias_is_rewritten() -> None:
    text = "127.0.0.1\tlocalhost\n# 10.0.0.9 db\n10.0.0.2\tdb 1234 web\n10.0.0.3\tmine db2\n"
    moved = links.rewrite_hosts(text, "db", "10.0.0.7\tdb 1234 web\n")
    assert moved == text.replace("10.0.0.2", "10.0.0.7")
    assert links.rewrite_hosts(text, "db", "") == text.replace("10.0.0.2\tdb 1234 web\n", "")
