"""Living beside iptables, ufw, firewalld and dockerd.

Owns what is looked at and added outside the engine's own table. Refuses to know that table.

In netfilter every base chain is asked and one drop is final, so accepting in our table cannot help against a
``FORWARD`` chain of iptables whose policy is drop (dockerd and ufw set that). Two rules are put in front of it, in a
form that iptables-nft itself can print (``-i BRIDGE -j ACCEPT``, ``-o BRIDGE -j ACCEPT``). They open nothing that our
table does not filter again. A host with legacy iptables is reported, not changed.
"""

from typing import Any, Final

from corten.linux.netlink import libnftables

LEGACY_TABLES: Final = "/proc/net/ip_tables_names"


def open_forward_chain(interface: str) -> list[str]:
    """Let the bridge's traffic pass an iptables-nft ``FORWARD`` chain that drops; returns warnings."""
    warnings = []
    try:
        objects = libnftables.query("list table ip filter")
    except OSError:  # no such table: nobody uses iptables-nft here
        objects = []
    missing = missing_accepts(objects, interface)
    if missing:
        rules = "".join(f'insert rule ip filter FORWARD {side} "{interface}" counter accept\n' for side in missing)
        try:
            libnftables.run(rules)
        except OSError as error:
            warnings.append(f"iptables drops forwarded packets and could not be told to let {interface} pass: {error}")
    if _legacy_filter():
        warnings.append(
            "legacy iptables rules are loaded: if their FORWARD policy is DROP, add "
            f"`iptables-legacy -I FORWARD -i {interface} -j ACCEPT` and the same with -o"
        )
    return warnings


def missing_accepts(objects: list[dict[str, Any]], interface: str) -> list[str]:
    """Which of ``iifname`` and ``oifname`` still need a rule: none when ``FORWARD`` is absent or accepts.

    ``objects`` is ``list table ip filter`` in nft's JSON schema (libnftables-json(5)).
    """
    chains = [item["chain"] for item in objects if "chain" in item]
    if not any(chain["name"] == "FORWARD" and chain.get("policy") == "drop" for chain in chains):
        return []
    present = set()
    for rule in (item["rule"] for item in objects if "rule" in item):
        expressions = rule.get("expr", [])
        if rule["chain"] != "FORWARD" or not any("accept" in expression for expression in expressions):
            continue
        matches = [expression["match"] for expression in expressions if "match" in expression]
        if len(matches) == 1 and matches[0].get("op") == "==" and matches[0].get("right") == interface:
            present.add(matches[0]["left"].get("meta", {}).get("key"))
    return [side for side in ("iifname", "oifname") if side not in present]


def _legacy_filter() -> bool:
    try:
        with open(LEGACY_TABLES, encoding="ascii") as file:
            return "filter" in file.read().split()
    except OSError:
        return False
