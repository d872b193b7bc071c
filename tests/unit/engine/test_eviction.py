"""Which images go when the disk runs full."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from corten.engine.images.eviction import Candidate, order
from corten.oci.digest import Digest

LATER = 1000.0


def digest(number: int) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}")


def image(number: int, *, parent: int = -1, named: bool = True, used: float = 0, held: bool = False) -> Candidate:
    return Candidate(digest(number), digest(parent) if parent >= 0 else "", named, used, held)


def test_nameless_ones_first_then_the_longest_unused() -> None:
    images = [image(1, used=5), image(2, used=3), image(3, used=9, named=False), image(4, used=7, named=False)]
    assert order(images, LATER) == [digest(4), digest(3), digest(2), digest(1)]


def test_what_is_built_on_goes_after_what_was_built() -> None:
    images = [image(1, used=1), image(2, used=8, parent=1), image(3, used=5, parent=2, named=False), image(4, used=6)]
    assert order(images, LATER) == [digest(3), digest(4), digest(2), digest(1)]


def test_what_is_held_stays_with_everything_below_it() -> None:
    images = [image(1), image(2, parent=1), image(3, parent=2, held=True), image(4, parent=1), image(5)]
    assert sorted(order(images, LATER)) == sorted([digest(4), digest(5)])


def test_what_was_used_a_moment_ago_stays_with_everything_below_it() -> None:
    images = [image(1, used=3), image(2, parent=1, used=8), image(3, used=7), image(4, used=6)]
    assert order(images, 7) == [digest(4), digest(3)]


def test_a_parent_that_is_not_there_is_nobody() -> None:
    assert order([image(1, parent=77)], LATER) == [digest(1)]


NODES = st.lists(
    st.tuples(st.integers(-1, 30), st.booleans(), st.floats(0, 10), st.booleans()), max_size=30
)  # parent (an earlier one, or none), named, last use, held


@given(NODES)
def test_any_forest(nodes: list[tuple[int, bool, float, bool]]) -> None:
    images = [
        image(number, parent=parent if parent < number else -1, named=named, used=used, held=held)
        for number, (parent, named, used, held) in enumerate(nodes)
    ]
    by_id = {one.id: one for one in images}
    chosen = order(images, LATER)
    assert len(set(chosen)) == len(chosen)
    assert not any(by_id[one].held for one in chosen)
    gone: set[str] = set()
    for one in chosen:
        assert not any(other.parent == one and other.id not in gone for other in images)
        free = [
            other for other in images
            if other.id not in gone and not other.held
            and not any(child.parent == other.id and child.id not in gone for child in images)
        ]  # fmt: skip
        assert one == min(free, key=lambda other: (other.named, other.last_use, other.id)).id
        gone.add(one)
    left = [other for other in images if other.id not in gone]
    assert all(other.held or any(child.parent == other.id for child in left) for other in left)
