"""Compressed rotation: what is on disk, what readers and followers see of it, and what a crash leaves."""

from __future__ import annotations

import functools
import gzip
import os
import random
from pathlib import Path

import pytest
from tests.unit.logs.follow import assert_followed

from corten.logs.compress import Compressor
from corten.logs.json_file import Writer
from corten.logs.reader import Reader

NOW = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def numbers(path: Path, **selection: int) -> list[int]:
    return [int(entry[2]) for entry in Reader(str(path)).read(**selection)]


def write(writer: Writer, first: int, count: int, *, work: bool = True) -> None:
    for number in range(first, first + count):
        writer.write("stdout", b"%d\n" % number, NOW + number * SECOND)
        while work and writer.work() >= 0:
            pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    writer = Writer(str(tmp_path / "log"), max_size=1500, max_file=4, compress=True)
    write(writer, 0, 200)
    writer.close()
    return tmp_path / "log"


def test_rotated_files_are_gzip_and_the_oldest_goes(path: Path) -> None:
    assert sorted(os.listdir(path.parent)) == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]
    assert gzip.decompress((path.parent / "log.1.gz").read_bytes()).count(b"\n") > 10
    kept = numbers(path)
    assert kept == list(range(kept[0], 200))


@pytest.mark.parametrize("tail", [1, 5, 30, 60, 80, 1000])
def test_tail_reaches_into_compressed_files(path: Path, tail: int) -> None:
    assert numbers(path, tail=tail) == numbers(path)[-tail:]


def test_since_reaches_into_compressed_files(path: Path) -> None:
    kept = numbers(path)
    for first in range(kept[0], 200, 7):
        assert numbers(path, since_ns=NOW + first * SECOND) == list(range(first, 200))


def test_a_follower_crosses_compression_without_a_line_twice_or_lost(tmp_path: Path) -> None:
    rng = random.Random(5)
    writer = Writer(str(tmp_path / "log"), max_size=2000, max_file=50, compress=True)
    written = functools.partial(write, writer)
    assert_followed(writer, lambda first, count: written(first, count, work=rng.random() < 0.7), rng, lines=1500)


def test_a_crash_between_the_two_forms_shows_every_line_once(path: Path) -> None:
    (path.parent / "log.1").write_bytes(gzip.decompress((path.parent / "log.1.gz").read_bytes()))
    (path.parent / "log.gz.new").write_bytes(b"half")
    assert numbers(path)[-1] == 199
    assert len(set(numbers(path))) == len(numbers(path))
    writer = Writer(str(path), max_size=1500, max_file=4, compress=True)
    while writer.work() >= 0:
        pass
    writer.close()
    assert sorted(os.listdir(path.parent)) == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]


def test_a_compressed_file_cut_short_gives_what_there_is(path: Path) -> None:
    whole = (path.parent / "log.2.gz").read_bytes()
    before = numbers(path)
    for size in (0, 5, 20, 50, len(whole) // 2, len(whole) - 1):
        (path.parent / "log.2.gz").write_bytes(whole[:size])
        got = numbers(path)
        assert got[-1] == 199
        assert set(got) <= set(before)


def test_rotation_overtakes_compression_and_nothing_is_mixed_up(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = Writer(str(path), max_size=300_000, max_file=3, compress=True)
    for start in range(0, 40_000, 500):
        writer.write("stdout", b"".join(b"%d\n" % n for n in range(start, start + 500)), NOW)
        writer.work()  # one slice of 64 KiB for 35 kB written: rotation comes first, again and again
    kept = numbers(path)
    assert kept == list(range(kept[0], 40_000))
    while writer.work() >= 0:
        pass
    assert numbers(path) == kept
    writer.close()


def test_a_full_disk_leaves_the_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    (tmp_path / "log.1").write_bytes(b"x" * 1000)
    compressor = Compressor(str(path), 3)
    monkeypatch.setattr("corten.logs.compress._write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    compressor.step()
    assert not compressor.busy
    assert os.listdir(tmp_path) == ["log.1"]
