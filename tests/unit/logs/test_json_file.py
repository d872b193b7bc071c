"""The json-file log: Docker's lines, rotation, reading from both ends, following."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
from tests.unit.logs.follow import assert_followed

from corten.logs.encode import Decoder, encode_lines, escape, format_time, parse_time, suffix
from corten.logs.json_file import PIECE, Writer
from corten.logs.reader import Follower, Reader

NOW = 1_700_000_000_123_456_000


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def written(path: Path, *chunks: bytes, finish: bool = True) -> list[str]:
    writer = Writer(str(path))
    for chunk in chunks:
        writer.write("stdout", chunk, NOW)
    if finish:
        writer.finish("stdout", NOW)
    writer.close()
    return [line["log"] for line in lines_of(path)]


def test_line_is_dockers_byte_for_byte(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "log"))
    writer.write("stderr", b'a\t"b"\\ <&>\r\n', NOW)
    writer.close()
    expected = rb'{"log":"a\u0009\"b\"\\ \u003c\u0026\u003e\r\n",'
    expected += b'"stream":"stderr","time":"2023-11-14T22:13:20.123456Z"}'
    assert (tmp_path / "log").read_bytes() == expected + b"\n"


def test_what_dockerd_wrote_for_the_same_bytes(tmp_path: Path) -> None:
    """Recorded from dockerd 20.10: texts of the first three lines, sizes of the texts of the cut ones."""
    data = b'tab\there <>& "q" \\ \001\177\r\nbad \377\342\202 x\355\240\200\n\342\200\250|\303\274\n'
    data += b"a" * 16383 + b"\n" + b"b" * 16384 + b"\n" + b"c" * 40000 + b"\nend"
    got = written(tmp_path / "log", data)
    raw = [line.partition(b'","stream"')[0] for line in (tmp_path / "log").read_bytes().splitlines()]
    assert raw[:3] == [
        b'{"log":"tab\\u0009here \\u003c\\u003e\\u0026 \\"q\\" \\\\ \\u0001\x7f\\r\\n',
        b'{"log":"bad \\ufffd\\ufffd\\ufffd x\\ufffd\\ufffd\\ufffd\\n',
        '{"log":"\\u2028|ü\\n'.encode(),
    ]
    assert [len(text) for text in got[3:]] == [16384, 16384, 1, 16384, 16384, 7233, 3]
    assert got[-1] == "end"


def test_attributes_stand_between_stream_and_time() -> None:
    line = bytes(encode_lines(b"x\n", suffix("stdout", 0, b'{"a":"b"}')))
    assert line == b'{"log":"x\\n","stream":"stdout","attrs":{"a":"b"},"time":"1970-01-01T00:00:00Z"}\n'


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff", "\ufffd"),
        (b"\xe2\x82", "\ufffd\ufffd"),  # Go counts bytes, not sequences
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        ("ü€😀\u2028".encode(), "ü€😀\u2028"),
        (b"\\ufffd", "\\ufffd"),
        (bytes(range(0x20)).replace(b"\n", b""), "".join(map(chr, range(0x20))).replace("\n", "")),
        (b"\x7f", "\x7f"),
    ],
)
def test_escape_and_back(raw: bytes, text: str) -> None:
    assert json.loads(b'"' + escape(raw) + b'"') == text
    assert b"\n" not in escape(raw)


def test_invalid_utf8_is_an_escape_as_gos_encoder_writes_it() -> None:
    assert escape(b"a\xffb") == b"a\\ufffdb"
    assert escape("\u2028\u2029".encode()) == b"\\u2028\\u2029"


def test_random_bytes_survive_as_json(tmp_path: Path) -> None:
    rng = random.Random(7)
    data = rng.randbytes(300_000)
    cuts = sorted(rng.sample(range(len(data)), 50))
    chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    got = "".join(written(tmp_path / "log", *chunks))
    expected = [bytes(line).decode("utf-8", "corten.go-replace") for line in data.splitlines(keepends=True)]
    assert got.count("\n") == data.count(b"\n")
    assert got.replace("\ufffd", "") == "".join(expected).replace("\\ufffd", "")


@pytest.mark.parametrize(
    ("sizes", "pieces"),
    [
        ((PIECE - 1,), [PIECE]),
        ((PIECE,), [PIECE, 1]),
        ((2 * PIECE + 5,), [PIECE, PIECE, 6]),
        ((3, PIECE + 1, 2), [4, PIECE, 2, 3]),
    ],
)
@pytest.mark.parametrize("read_size", [100, 4096, PIECE, 65536])
def test_long_lines_are_cut_like_dockers(
    tmp_path: Path, sizes: tuple[int, ...], pieces: list[int], read_size: int
) -> None:
    data = b"".join(b"x" * size + b"\n" for size in sizes)
    got = written(tmp_path / "log", *(data[i : i + read_size] for i in range(0, len(data), read_size)))
    assert [len(line) for line in got] == pieces
    assert "".join(got).encode() == data


def test_unfinished_line_waits_for_its_end_or_the_streams(tmp_path: Path) -> None:
    assert written(tmp_path / "a", b"one\ntwo", finish=False) == ["one\n"]
    assert written(tmp_path / "b", b"one\ntw", b"o\nthree") == ["one\n", "two\n", "three"]


def test_pieces_of_a_line_carry_its_first_time(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "log"))
    writer.write("stdout", b"x" * PIECE, NOW)
    writer.write("stdout", b"end\nnext\n", NOW + 1_000_000_000)
    writer.close()
    times = [line["time"][17:19] for line in lines_of(tmp_path / "log")]
    assert times == ["20", "20", "21"]


def test_rotation_happens_after_the_line_that_crosses_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = Writer(str(path), max_size=1000, max_file=3)
    for start in range(0, 100, 10):
        writer.write("stdout", b"".join(b"%d\n" % n for n in range(start, start + 10)), NOW)
    writer.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    for name in ("log.1", "log.2"):
        size = (tmp_path / name).stat().st_size
        assert 1000 <= size < 1000 + 100
    kept = [int(entry[2]) for entry in Reader(str(path)).read()]
    assert kept == list(range(kept[0], 100))
    assert kept[0] > 0


def test_one_file_starts_over(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "log"), max_size=300, max_file=1)
    for n in range(50):
        writer.write("stdout", b"%d\n" % n, NOW)
    writer.close()
    assert os.listdir(tmp_path) == ["log"]
    assert (tmp_path / "log").stat().st_size < 400


def test_torn_line_does_not_damage_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"log":"whole\\n","stream":"stdout","time":"2023-11-14T22:13:20Z"}\n{"log":"to')
    writer = Writer(str(path))
    writer.write("stdout", b"after\n", NOW)
    writer.close()
    assert [entry[2] for entry in Reader(str(path)).read()] == [b"whole\n", b"after\n"]


def test_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "log"), max_size=0)
    os.dup2(os.open("/dev/full", os.O_WRONLY), writer._file)
    writer.write("stdout", b"a\nb\n", NOW)
    assert writer.lost == 2
    writer.close()


@pytest.fixture
def hundred(tmp_path: Path) -> str:
    path = str(tmp_path / "log")
    writer = Writer(path, max_size=700, max_file=50)
    for n in range(100):
        writer.write("stdout" if n % 2 else "stderr", b"line %d\n" % n, NOW + n * 1_000_000_000)
    writer.close()
    return path


@pytest.mark.parametrize("tail", [-1, 0, 1, 2, 8, 9, 10, 50, 99, 100, 101, 1000])
def test_tail(hundred: str, tail: int) -> None:
    expected = list(range(100))[-tail:] if tail > 0 else list(range(100)) if tail < 0 else []
    assert [int(entry[2].split()[1]) for entry in Reader(hundred).read(tail=tail)] == expected


def test_tail_reads_only_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "log")
    writer = Writer(path, max_size=0)
    writer.write("stdout", b"0123456789\n" * 100_000, NOW)
    writer.close()
    read = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda *a: read.append(len(data := real(*a))) or data)
    assert len(list(Reader(path).read(tail=10))) == 10
    assert sum(read) < 200_000 < os.path.getsize(path)


def test_since_and_until(hundred: str) -> None:
    second = 1_000_000_000
    got = [int(e[2].split()[1]) for e in Reader(hundred).read(since_ns=NOW + 10 * second, until_ns=NOW + 20 * second)]
    assert got == list(range(10, 21))
    assert [e[0] for e in Reader(hundred).read(tail=2)] == ["stderr", "stdout"]


def test_corrupt_lines_are_skipped(hundred: str) -> None:
    with open(hundred, "ab") as file:
        file.write(b'garbage\n{}\n[1]\n{"log":1,"stream":"stdout","time":"2023-11-14T22:13:20Z"}\n\0\0\0\n')
    assert len(list(Reader(hundred).read())) == 100


def test_no_log_has_no_entries(tmp_path: Path) -> None:
    assert list(Reader(str(tmp_path / "none")).read()) == []
    assert list(Reader(str(tmp_path / "none")).read(tail=5)) == []


def test_follower_misses_nothing_over_rotations(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "log"), max_size=2000, max_file=100)

    def write(first: int, count: int) -> None:
        writer.write("stdout", b"".join(b"%d\n" % i for i in range(first, first + count)), NOW)

    assert_followed(writer, write, random.Random(3), lines=3000)


def test_follower_goes_on_at_the_oldest_when_it_is_overtaken(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    writer = Writer(path, max_size=500, max_file=2)
    follower = Follower(path)
    for n in range(200):
        writer.write("stdout", b"%d\n" % n, NOW)
    got = []
    while entries := follower.poll():
        got += [int(entry[2]) for entry in entries]
    assert got[-1] == 199
    assert got == sorted(set(got))
    follower.close()
    writer.close()


def test_follower_is_woken_and_starts_at_the_tail(hundred: str) -> None:
    import select

    follower = Follower(hundred, tail=3)
    assert [int(entry[2].split()[1]) for entry in follower.poll()] == [97, 98, 99]
    assert follower.poll() == []
    assert select.select([follower.fileno()], [], [], 0)[0] == []
    writer = Writer(hundred, max_size=700, max_file=50)
    writer.write("stdout", b"more\n", NOW)
    assert select.select([follower.fileno()], [], [], 5)[0]
    assert [entry[2] for entry in follower.poll()] == [b"more\n"]
    follower.close()
    writer.close()


def test_follower_waits_for_a_log_that_does_not_exist_yet(tmp_path: Path) -> None:
    follower = Follower(str(tmp_path / "log"), tail=0)
    assert follower.poll() == []
    writer = Writer(str(tmp_path / "log"))
    writer.write("stdout", b"first\n", NOW)
    assert [entry[2] for entry in follower.poll()] == [b"first\n"]
    follower.close()
    writer.close()


def test_follower_ends_at_until(hundred: str) -> None:
    follower = Follower(hundred, until_ns=NOW + 5_000_000_000)
    got = []
    while entries := follower.poll():
        got += entries
    assert len(got) == 6
    assert follower.ended
    follower.close()


@pytest.mark.parametrize("nanoseconds", [0, 1, NOW, 1_700_000_000_000_000_000, 1_700_000_000_100_000_000])
def test_times_round_trip(nanoseconds: int) -> None:
    text = format_time(nanoseconds).decode()
    assert parse_time(text) == nanoseconds
    assert not text.removesuffix("Z").endswith("0") or "." not in text


def test_times_with_offsets() -> None:
    assert parse_time("2023-11-14T23:13:20.5+01:00") == parse_time("2023-11-14T22:13:20.500Z")
    for bad in ("", "2023-11-14", "2023-11-14T22:13:20", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20.1234567891Z"):
        with pytest.raises(ValueError, match=r"not an RFC 3339|invalid"):
            parse_time(bad)


def test_decoder_refuses_what_is_no_entry() -> None:
    assert Decoder().decode(b'{"log":"x","stream":"stdout"}') is None


def test_throughput_is_that_of_a_chunk_not_of_a_line(tmp_path: Path) -> None:
    data = b"".join(b"%d\n" % n for n in range(500_000))
    writer = Writer(str(tmp_path / "log"))
    begin = time.process_time()
    for start in range(0, len(data), 65536):
        writer.write("stdout", data[start : start + 65536], NOW)
    spent = time.process_time() - begin
    writer.close()
    assert 500_000 / spent > 1_000_000  # a loop over lines reaches 200,000 to 300,000 here
