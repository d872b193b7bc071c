import pytest

from corten.engine.images.render import seconds, timestamp
from corten.engine.images.selection import match_pattern, moment
from corten.errors import InvalidArgument


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("busy*", "busybox", True),
        ("busy*", "a/busybox", False),
        ("*/busybox", "a/busybox", True),
        ("b?x", "box", True),
        ("b[a-o]x", "box", True),
        ("b[^a-o]x", "box", False),
        ("busybox:*", "busybox:1.2", True),
        ("a\\*b", "a*b", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns_are_those_of_go(pattern: str, text: str, *, matches: bool) -> None:
    assert match_pattern(pattern).found(text) is matches


def test_a_broken_pattern() -> None:
    with pytest.raises(InvalidArgument, match="syntax error in pattern"):
        match_pattern("a[b")


def test_until() -> None:
    assert moment("1000") == 1000.0
    assert moment("1h30m", now=10_000) == 10_000 - 5400
    assert moment("1970-01-01T00:01:00Z") == 60.0
    assert moment("1970-01-02") == 86400.0
    with pytest.raises(InvalidArgument, match="until=soon"):
        moment("soon")


def test_times_keep_gos_nanoseconds() -> None:
    assert seconds("2024-01-02T03:04:05.123456789Z") == 1704164645
    assert seconds("2024-01-02T03:04:05+02:00") == 1704157445
    assert seconds(None) == 0
    assert timestamp(0) == "0001-01-01T00:00:00Z"
    assert timestamp(1704164645_120000000) == "2024-01-02T03:04:05.12Z"
