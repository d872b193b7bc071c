"""``--storage-opt``."""

from __future__ import annotations

import pytest

from corten.engine.spec.storage import tree_limit
from corten.errors import InvalidArgument


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("10G", 10 << 30),
        ("1.5g", 3 << 29),
        ("512", 512),
        ("20 MB", 20 << 20),
        ("1KiB", 1024),
        ("0", 0),
        ("5p", 5 << 50),
    ],
)
def test_sizes_are_dockers(size: str, expected: int) -> None:
    assert tree_limit({"SIZE": size}) == expected


@pytest.mark.parametrize("size", ["", "abc", "-1", "1e3", "10 X", "9" * 30, "99999999999999999999p", "1..5", "٣"])
def test_what_is_no_size(size: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid size: '"):
        tree_limit({"size": size})


def test_other_options_are_none() -> None:
    assert tree_limit(None) == tree_limit({}) == 0
    with pytest.raises(InvalidArgument, match="unknown option foo"):
        tree_limit({"foo": "1"})
