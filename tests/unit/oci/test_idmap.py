"""Id maps: what the kernel would refuse with EINVAL is refused with its reason."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidArgument
from corten.oci import idmap


def entry(inside: int, outside: int, size: int) -> dict[str, int]:
    return {"containerID": inside, "hostID": outside, "size": size}


def test_translation() -> None:
    maps = idmap.parse([entry(0, 1000, 1), entry(1, 100000, 10)], [entry(0, 2000, 5)], "linux")
    assert [maps.uid(0), maps.uid(1), maps.uid(10)] == [1000, 100000, 100009]
    assert maps.gid(4) == 2004
    for ask in (lambda: maps.uid(11), lambda: maps.gid(5), lambda: maps.uid(-1)):
        with pytest.raises(InvalidArgument, match="is not mapped"):
            ask()
    assert maps == idmap.parse([entry(1, 100000, 10), entry(0, 1000, 1)], [entry(0, 2000, 5)], "linux")
    assert idmap.document(maps.gids) == [entry(0, 2000, 5)]


@pytest.mark.parametrize(
    ("uids", "text"),
    [
        ([], "no uid mappings found|gidMappings without"),
        ([entry(0, 0, 0)], "size at least 1"),
        ([entry(-1, 0, 1)], "must be ids"),
        ([entry(0, 4294967295, 1)], "past the last id"),
        ([entry(0, 0, 2), entry(1, 9, 1)], "overlap at 1"),
        ([entry(0, 0, 2), entry(2, 1, 1)], "overlap at 1"),
        ([{"containerID": "0", "hostID": 0, "size": 1}], "must be ids"),
        ([{"containerID": True, "hostID": 0, "size": 1}], "must be ids"),
        ([7], "must be ids"),
        ([entry(n, n, 1) for n in range(341)], "at most 340"),
        ("0:0:1", "a list"),
    ],
)
def test_what_is_no_map(uids: Any, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        idmap.parse(uids, [entry(0, 0, 1)], "linux")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 33) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["containerID", "hostID", "size"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_any_document_is_a_bijection_or_a_refusal(uids: Any, gids: Any) -> None:
    try:
        maps = idmap.parse(uids, gids, "linux")
    except InvalidArgument:
        return
    for ranges in (maps.uids, maps.gids):
        outside = [identifier for _, first, size in ranges for identifier in (first, first + size - 1)]
        assert all(0 <= identifier < 0xFFFFFFFF for identifier in outside)
        starts = sorted(ranges)
        assert all(a[0] + a[2] <= b[0] for a, b in itertools.pairwise(starts))
