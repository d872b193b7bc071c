"""Sizes, durations, tables, ports and progress; expected texts are the docker CLI's."""

from __future__ import annotations

import io
from typing import Any

import pytest

from corten.cli import listing, progress, table, units
from corten.cli.commands import images, ps
from corten.client.errors import ClientError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
     (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"),
     (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"),
     (729 * 86400, "24 months"), (730 * 86400, "2 years")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


def test_sizes() -> None:
    assert [units.size(n) for n in (0, 999, 1000, 1982291, 12345678900)] == ["0B", "999B", "1kB", "1.982MB", "12.35GB"]
    assert units.size(1982291, 3) == "1.98MB"
    assert units.binary_size(25276514304) == "23.54GiB"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1970-01-01T00:00:00Z", (0, 0)), ("2024-02-29T12:00:00.5Z", (1709208000, 500000000)),
     ("2026-11-24T05:08:20.071094546+01:00", (1795493300, 71094546)), ("0001-01-01T00:00:00Z", (-62135596800, 0)),
     ("2023-03-01T00:00:00-05:30", (1677648600, 0)), ("nonsense", None), ("", None)],
)  # fmt: skip
def test_times(text: str, value: tuple[int, int] | None) -> None:
    assert units.parse_time(text) == value


def test_tables() -> None:
    assert table.lay_out("A\tB\nlong cell here\tx\n") == "A                B\nlong cell here   x\n"
    assert table.lay_out("A\tB\n") == "A         B\n"
    # A column ends where a line has no cell in it.
    assert table.lay_out("a\tb\tc\nplain\nx\ty\n", minimum=2, padding=1) == "a b c\nplain\nx y\n"
    assert table.lay_out("\t\n") == "          \n"


def port(private: int, public: int = 0, ip: str = "", kind: str = "tcp") -> dict[str, Any]:
    found: dict[str, Any] = {"PrivatePort": private, "Type": kind}
    return found | ({"PublicPort": public, "IP": ip} if public else {})


@pytest.mark.parametrize(
    ("published", "text"),
    [
        ([], ""),
        ([port(80)], "80/tcp"),
        ([port(80), port(81), port(82), port(90)], "80-82/tcp, 90/tcp"),
        ([port(80, 8080, "0.0.0.0"), port(80, 8080, "::")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([port(number, number, "127.0.0.1", "udp") for number in (9002, 9000, 9001)],
         "127.0.0.1:9000-9002->9000-9002/udp"),
    ],
)  # fmt: skip
def test_ports(published: list[dict[str, Any]], text: str) -> None:
    assert ps.ports(published) == text


def test_names_of_images() -> None:
    image = {"RepoTags": ["a:1", "a:2", "h:5000/b:x"], "RepoDigests": ["a@sha256:1", "c@sha256:2"]}
    assert images.names_of(image, with_digests=False, digests=False) == [
        ("a", "1", "<none>"), ("a", "2", "<none>"), ("h:5000/b", "x", "<none>"), ("c", "<none>", ""),
    ]  # fmt: skip
    assert images.names_of(image, with_digests=True, digests=True) == [
        ("a", "1", "sha256:1"), ("a", "2", "sha256:1"), ("h:5000/b", "x", "<none>"), ("c", "<none>", "sha256:2"),
    ]  # fmt: skip
    assert images.names_of({}, with_digests=False, digests=False) == [("<none>", "<none>", "<none>")]


def test_filters() -> None:
    assert listing.filters(["a=b", "a=c", "label=x=y"]) == '{"a":{"b":true,"c":true},"label":{"x=y":true}}'
    with pytest.raises(ValueError, match="bad format of filter"):
        listing.filter_value("nothing")


def test_natural_order() -> None:
    assert sorted(["v10", "v2", "a", "v"], key=listing.natural) == ["a", "v", "v2", "v10"]


PULL: list[dict[str, Any]] = [
    {"status": "Pulling from library/x", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "abc"},
    {"status": "Downloading", "progressDetail": {"current": 500, "total": 1000}, "id": "abc"},
    {"status": "Pull complete", "progressDetail": {}, "id": "abc"},
    {"status": "Digest: sha256:1"},
]


def test_progress_without_a_terminal_leaves_bars_out() -> None:
    out = io.StringIO()
    assert progress.show([*PULL, {"aux": {"ID": "x"}}], out, is_terminal=False) == [{"ID": "x"}]
    assert out.getvalue() == (
        "latest: Pulling from library/x\nabc: Pulling fs layer\nabc: Pull complete\nDigest: sha256:1\n"
    )


def test_progress_on_a_terminal_rewrites_lines() -> None:
    out = io.StringIO()
    progress.show(PULL[1:3], out, is_terminal=True)
    bar = "[=========================>                         ]     500B/1kB"
    assert out.getvalue() == (
        f"\n\x1b[1A\x1b[2K\rabc: Pulling fs layer \r\x1b[1B\x1b[1A\x1b[2K\rabc: Downloading {bar}\r\x1b[1B"
    )


def test_progress_raises_what_the_engine_reports() -> None:
    with pytest.raises(ClientError, match="no space"):
        progress.show([{"errorDetail": {"message": "no space"}, "error": "no space"}], io.StringIO(), quiet=True)
