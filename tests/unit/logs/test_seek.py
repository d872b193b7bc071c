"""Where reading begins: the same lines as reading everything, and only a little of the file read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.logs.encode import Decoder
from corten.logs.files import MAX_RECORD, Splitter
from corten.logs.json_file import Writer
from corten.logs.reader import Follower, Reader

NOW = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


@pytest.fixture
def big(tmp_path: Path) -> str:
    path = str(tmp_path / "log")
    writer = Writer(path, max_size=4_000_000, max_file=3)
    for n in range(0, 100_000, 10):
        writer.write("stdout", b"".join(b"%d\n" % (n + i) for i in range(10)), NOW + n * SECOND)
    writer.close()
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    read: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda *a: read.append(len(data := real(*a))) or data)
    return read


@pytest.mark.parametrize("first", [99_999, 99_000, 70_001, 50_005, 60_000])
def test_since_finds_its_place_by_bisection(big: str, counted: list[int], first: int) -> None:
    begin = (first + 9) // 10 * 10
    entries = Reader(big).read(since_ns=NOW + first * SECOND)
    found = next(entries, None)
    assert (found is None) is (begin >= 100_000)
    if found is not None:
        assert found[2] == b"%d\n" % begin
    assert sum(counted) < 3_000_000 < os.path.getsize(f"{big}.1")
    entries.close()


def test_since_and_until_of_the_middle_read_a_little(big: str, counted: list[int]) -> None:
    got = [int(e[2]) for e in Reader(big).read(since_ns=NOW + 60_000 * SECOND, until_ns=NOW + 60_010 * SECOND)]
    assert got == list(range(60_000, 60_020))
    assert sum(counted) < 3_000_000


def test_tail_and_since_take_the_later_place(big: str) -> None:
    assert len(list(Reader(big).read(tail=7, since_ns=NOW))) == 7
    assert len(list(Reader(big).read(tail=5000, since_ns=NOW + 99_980 * SECOND))) == 20


def test_a_follower_begins_at_since(big: str) -> None:
    follower = Follower(big, since_ns=NOW + 99_980 * SECOND)
    got = []
    while entries := follower.poll():
        got += [int(entry[2]) for entry in entries]
    assert got == list(range(99_980, 100_000))
    follower.close()


def test_a_clock_set_back_shows_what_was_written_last(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    writer = Writer(path, max_size=2000, max_file=9)
    for n in range(100):
        moment = n if n < 60 else n - 30  # half a minute back at line 60
        writer.write("stdout", b"%d\n" % n, NOW + moment * SECOND)
    writer.close()
    got = [int(entry[2]) for entry in Reader(path).read(since_ns=NOW + 45 * SECOND)]
    assert got[-25:] == list(range(75, 100))
    assert got == sorted(got)


def records(count: int) -> bytes:
    line = b'{"log":"%d\\n","stream":"stdout","time":"2023-11-14T22:13:%02d.%09dZ"}\n'
    return b"".join(line % (n, 20 + n // 10, n) for n in range(count))


@settings(max_examples=60)
@given(
    noise=st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=60)), max_size=6),
    cut=st.integers(0, 4000),
    tail=st.integers(-1, 50),
    since=st.integers(0, 8),
)
def test_fuzz_any_bytes_anywhere_never_end_the_reading(
    tmp_path_factory: pytest.TempPathFactory, noise: list[tuple[int, bytes]], cut: int, tail: int, since: int
) -> None:
    lines = records(40).splitlines(keepends=True)
    for place, junk in noise:
        lines.insert(place, junk + b"\n")
    data = b"".join(lines)[: cut or None]
    path = tmp_path_factory.mktemp("fuzz") / "log"
    path.write_bytes(data)
    wanted = [entry for line in data.split(b"\n")[:-1] if (entry := Decoder().decode(line)) is not None]
    begin = NOW + since * SECOND if since else 0
    got = list(Reader(str(path)).read(since_ns=begin, tail=tail))
    assert all(entry[1] >= begin for entry in got)
    if tail < 0:
        assert got == [entry for entry in wanted if entry[1] >= begin]
    else:
        assert got == [entry for entry in wanted if entry[1] >= begin][-len(got) :] if got else True
    follower = Follower(str(path), since_ns=begin, tail=tail)
    followed = []
    while entries := follower.poll():
        followed += entries
    follower.close()
    assert followed == got


@settings(max_examples=200)
@given(st.binary(max_size=300) | st.text('[]{}":,0123456789logstreamtimeattrs\\', max_size=200).map(str.encode))
def test_fuzz_the_decoder_takes_or_leaves_any_line(line: bytes) -> None:
    Decoder().decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"log":' + b"9" * 5000 + b"}",
        b'{"log":"x","stream":["stdout"],"time":"2023-11-14T22:13:20Z"}',
        b'{"log":"x","stream":"stdin","time":"2023-11-14T22:13:20Z"}',
        b'{"log":"x","stream":"stdout","time":"2023-11-14T22:13:20Z","attrs":[1]}',
        b'{"log":"x","stream":"stdout","time":{"a":1}}',
    ],
)
def test_damage_that_is_json_is_damage(line: bytes) -> None:
    assert Decoder().decode(line) is None


def test_a_line_without_an_end_is_not_gathered(tmp_path: Path) -> None:
    splitter = Splitter()
    for _ in range(20):
        assert splitter.feed(b"x" * 1_000_000) == []
        assert len(splitter._rest) <= MAX_RECORD
    assert splitter.feed(b"end\nnext\n") == [b"next"]
    path = tmp_path / "log"
    path.write_bytes(b"\0" * 9_000_000 + b"\n" + records(3))
    assert len(list(Reader(str(path)).read())) == 3
    assert len(list(Reader(str(path)).read(since_ns=NOW + 1))) == 2
