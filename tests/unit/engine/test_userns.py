"""Modes of --userns, /etc/subuid and /etc/subgid with dockerd's texts, and who gets which ids."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.types.container import HostConfig
from corten.engine import userns
from corten.engine.record import IdMap
from corten.errors import InvalidArgument, Unavailable

USERS = {"alice": 1000, "dockremap": 111, "root": 0, "odd": 1500}
GROUPS = {"alice": 1000, "dockremap": 113, "root": 0, "staff": 50}


def by_number(table: dict[str, int], number: int) -> str:
    return next(name for name, value in table.items() if value == number) if number in table.values() else table["?"]  # type: ignore[return-value]


LOOKUP = userns.Lookup(
    user=lambda name: SimpleNamespace(pw_name=name, pw_uid=USERS[name]),  # type: ignore[arg-type]
    uid=lambda number: SimpleNamespace(pw_name=by_number(USERS, number)),  # type: ignore[arg-type]
    group=lambda name: SimpleNamespace(gr_gid=GROUPS[name]),  # type: ignore[arg-type]
    gid=lambda number: SimpleNamespace(gr_name=by_number(GROUPS, number)),  # type: ignore[arg-type]
)


@pytest.mark.parametrize(
    ("mode", "size"),
    [("", 0), ("host", 0), ("auto", 65536), ("auto:size=1", 1), ("auto:size=16777216", 16777216)],
)
def test_modes(mode: str, size: int) -> None:
    assert userns.auto_size(mode) == size


@pytest.mark.parametrize(
    "mode",
    ["Host", "auto:", "auto:size", "auto:size=", "auto:size=0", "auto:size=-1", "auto:size=1e3", "auto:size=0x10",
     "auto:size=99999999999999999999", "auto:size=\uff11", "auto:size=16777217", "keep-id", "container:x", "remap"],
)  # fmt: skip
def test_what_is_no_mode(mode: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid userns mode: "):
        userns.auto_size(mode)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"Privileged": True}, "privileged mode is incompatible with user namespaces."),
        ({"NetworkMode": "host"}, "cannot share the host's network namespace when user namespaces are enabled"),
        ({"PidMode": "host"}, "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_what_cannot_be_had_together(fields: dict[str, Any], text: str) -> None:
    for mode, remapped in (("", True), ("auto", False), ("auto:size=9", True)):
        with pytest.raises(InvalidArgument) as refused:
            userns.check(HostConfig(UsernsMode=mode, **fields), remapped=remapped)
        assert text in str(refused.value)
    userns.check(HostConfig(UsernsMode="host", **fields), remapped=True)
    userns.check(HostConfig(**fields), remapped=False)


@pytest.mark.parametrize(
    ("setting", "name"),
    [("default", "dockremap"), ("alice", "alice"), ("1000", "alice"), ("alice:staff", "alice"), ("odd:50", "odd"),
     ("root", "root"), ("0:0", "root")],
)  # fmt: skip
def test_whose_ranges(setting: str, name: str) -> None:
    assert userns.user_of(setting, LOOKUP) == name


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("a:b:c", 'Invalid user/group specification in --userns-remap: "a:b:c"'),
        ("7", "Uid 7 has no entry in /etc/passwd"),
        ("ghost", 'Error during uid lookup for "ghost": no such user'),
        ("alice:ghost", 'Error during gid lookup for "ghost": no such group'),
        ("alice:7", "Gid 7 has no entry in /etc/group"),
        ("odd", 'Error during gid lookup for "odd": no such group'),
        ("1500", "Gid 1500 has no entry in /etc/group"),
    ],
)
def test_who_there_is_not(setting: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        userns.user_of(setting, LOOKUP)
    assert str(refused.value) == text


def test_the_default_user_is_not_made_but_the_way_is_told() -> None:
    nobody = userns.Lookup(user=lambda name: {}[name])  # type: ignore[index]
    with pytest.raises(
        InvalidArgument, match=r"Can't create ID mappings: .*useradd .* dockremap.*usermod --add-subuids"
    ):
        userns.user_of("default", nobody)


def test_all_ranges_of_a_user_one_after_the_other() -> None:
    subuid = "# comment\nbob:1:1\nalice:300000:10\n\nalice:200000:5\n1000:9:9\n"
    found = userns.maps_of("alice", 1000, [subuid, "alice:70000:3\n"])
    assert found == IdMap(uids=((0, 9, 9),), gids=((0, 70000, 3),))  # the number's lines before the name's
    found = userns.maps_of("alice", 1, [subuid, "alice:70000:3\n"])
    assert found.uids == ((0, 200000, 5), (5, 300000, 10))


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["", ""], 'no subuid ranges found for user "alice": give it some with `usermod'),
        (["alice:1:1", "bob:1:1"], 'no subgid ranges found for user "alice"'),
        (["alice:1", ""], "Format not correct for /etc/subuid file"),
        (["alice:1:1", "alice:1:1:1"], "Format not correct for /etc/subgid file"),
        (["alice:x:1", ""], "String to int conversion failed during subuid/gid parsing of /etc/subuid"),
        (["alice:-1:1", ""], "String to int conversion failed"),
    ],
)
def test_files_that_give_no_map(texts: list[str], text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        userns.maps_of("alice", 1000, texts)
    assert text in str(refused.value)


def test_the_pool_of_auto() -> None:
    assert userns.pool(["containers:1000:50\n", "containers:1020:100\n"]) == [(1020, 30)]
    assert userns.pool(["", ""]) == [(524288, 1879048192 - 524288)]
    claimed = userns.pool(["lxd:524288:65536\n", "alice:1000000:65536\n"])
    assert claimed[:2] == [(589824, 1000000 - 589824), (1065536, 1879048192 - 1065536)]


def test_ranges_are_given_lowest_first_and_to_one_only() -> None:
    spans = [(1000, 100), (5000, 1000)]
    first = userns.choose(spans, [], 60)
    assert first.uids == ((0, 1000, 60),)
    assert userns.choose(spans, [(1000, 60)], 60).uids == ((0, 5000, 60),)
    assert userns.choose(spans, [(1000, 60)], 40).uids == ((0, 1060, 40),)
    with pytest.raises(Unavailable, match="no range of 2000 ids is left for --userns auto"):
        userns.choose(spans, [], 2000)


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=6)


@given(SPANS, SPANS)
def test_what_is_left_is_what_was_not_taken(spans: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    def members(items: list[tuple[int, int]]) -> set[int]:
        return {number for start, count in items for number in range(start, start + count)}

    assert members(userns.without(spans, taken)) == members(spans) - members(taken)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_files_end_in_maps_or_a_refusal(subuid: str, subgid: str) -> None:
    """Fuzz: whatever stands there, no range is invented."""
    try:
        found = userns.maps_of("alice", 1000, [subuid, subgid])
    except InvalidArgument:
        return
    assert all(count > 0 and str(start) in subuid.replace("0", "") + subuid for _, start, count in found.uids)
