from ipaddress import IPv4Address, IPv4Network

import pytest

from corten.network import coexistence, firewall
from corten.network.model import BridgeNetwork, Publication

NETWORK = BridgeNetwork("ct0a1b2c", 7, IPv4Network("172.17.0.0/16"), IPv4Address("172.17.0.1"), 1500)


def test_elements_have_the_kernels_layout() -> None:
    wild = firewall.element(Publication("tcp", "0.0.0.0", 8080, "172.17.0.2", 80))
    assert (wild.set_name, wild.key.hex(), wild.data.hex()) == ("published", "060000001f900000", "ac11000200500000")
    bound = firewall.element(Publication("udp", "127.0.0.1", 53, "172.17.0.2", 53))
    assert (bound.set_name, bound.key.hex()) == ("published_at", "7f0000011100000000350000")


def test_rules_name_no_port_and_elements_are_grouped() -> None:
    publications = [Publication("tcp", "0.0.0.0", 8000 + n, "172.17.0.2", 80) for n in range(130)]
    publications.append(Publication("udp", "127.0.0.1", 53, "172.17.0.3", 5353))
    text = firewall.ruleset("corten_x", NETWORK, publications, inter_container=True, masquerade=True)
    rules, _, elements = text.partition("}\nadd element")
    assert "8000" not in rules
    assert elements.count("add element ip corten_x") + 1 == 4
    assert "127.0.0.1 . udp . 53 : 172.17.0.3 . 5353" in elements


def test_options_change_the_rules() -> None:
    open_rules = firewall.ruleset("t", NETWORK, [], inter_container=True, masquerade=True)
    closed = firewall.ruleset("t", NETWORK, [], inter_container=False, masquerade=False)
    assert 'iifname "ct0a1b2c" accept' in open_rules
    assert 'iifname "ct0a1b2c" drop' in closed
    assert 'oifname != "ct0a1b2c" masquerade' in open_rules
    assert 'oifname != "ct0a1b2c" masquerade' not in closed


def rule(key: str, interface: str, verdict: str = "accept", chain: str = "FORWARD") -> dict[str, object]:
    match = {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": interface}}
    return {"rule": {"chain": chain, "expr": [match, {"counter": {}}, {verdict: None}]}}


DROPS: dict[str, object] = {"chain": {"name": "FORWARD", "policy": "drop"}}


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([], []),
        ([{"chain": {"name": "FORWARD", "policy": "accept"}}], []),
        ([DROPS], ["iifname", "oifname"]),
        ([DROPS, rule("iifname", "corten0")], ["oifname"]),
        ([DROPS, rule("iifname", "corten0"), rule("oifname", "corten0")], []),
        ([DROPS, rule("iifname", "corten0", "drop"), rule("oifname", "other")], ["iifname", "oifname"]),
        ([DROPS, rule("iifname", "corten0", chain="INPUT")], ["iifname", "oifname"]),
    ],
)
def test_what_an_iptables_forward_chain_still_lacks(objects: list[dict[str, object]], expected: list[str]) -> None:
    assert coexistence.missing_accepts(objects, "corten0") == expected
