"""Sizes, CPUs and durations as docker's options take them."""

from __future__ import annotations

import pytest

from corten.cli import quantities


@pytest.mark.parametrize(
    ("text", "count"),
    [("64m", 64 << 20), ("1.5g", 3 << 29), ("512", 512), ("1kb", 1024), ("2MiB", 2 << 20), ("0", 0), ("1 k", None)],
)
def test_size(text, count):
    if count is None:
        assert quantities.size(text) == 1024
    else:
        assert quantities.size(text) == count


@pytest.mark.parametrize("text", ["abc", "", "-1", "1x", "1_0", "nan", "k"])
def test_no_size(text):
    with pytest.raises(ValueError, match=r"^invalid size: "):
        quantities.size(text)


@pytest.mark.parametrize(
    ("text", "count"), [("1.5", 1_500_000_000), (".25", 250_000_000), ("2", 2_000_000_000), ("1/2", 500_000_000)]
)
def test_cpus(text, count):
    assert quantities.nano_cpus(text) == count


def test_no_cpus():
    with pytest.raises(ValueError, match=r"^failed to parse x as a rational number$"):
        quantities.nano_cpus("x")
    with pytest.raises(ValueError, match=r"^value is too precise$"):
        quantities.nano_cpus("0.0000000001")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("1m30s", 90 * 10**9), ("500ms", 5 * 10**8), ("0", 0), ("1.5h", 5400 * 10**9), ("-2s", -2 * 10**9), ("1us", 1000)],
)
def test_duration(text, nanoseconds):
    assert quantities.duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "invalid duration"), ("5", "missing unit"), ("5x", "unknown unit"), ("s", "invalid duration")],
)
def test_no_duration(text, reason):
    with pytest.raises(ValueError, match=rf"^time: {reason}"):
        quantities.duration(text)
