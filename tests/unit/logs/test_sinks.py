"""What syslog and the journal get, byte by byte as dockerd 20.10 sends it, and sockets that are slow or gone."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.logs import journald
from corten.logs.json_file import PIECE
from corten.logs.outbox import Outbox
from corten.logs.pieces import Cutter
from corten.logs.syslog import Formatter, facility, parse_address
from corten.shim.log import Remote

#: 2026-11-05 10:18:31.025232 UTC
NOW = 1_793_873_911_025_232_999


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("", b"<158>Nov  5 10:18:31 d24ba6d6b280[8521]: out\n"),
        ("rfc3164", b"<158>Nov  5 10:18:31 vm d24ba6d6b280[8521]: out\n"),
        ("rfc5424", b"<158>1 2026-11-05T10:18:31Z vm d24ba6d6b280 8521 d24ba6d6b280 - out\n"),
        ("rfc5424micro", b"<158>1 2026-11-05T10:18:31.025232Z vm d24ba6d6b280 8521 d24ba6d6b280 - out\n"),
    ],
)
def test_formats(chosen: str, message: bytes) -> None:
    formatter = Formatter(chosen, facility("local3"), "d24ba6d6b280", host="vm", pid=8521)
    assert formatter.message("stdout", b"out", NOW) == message
    assert formatter.message("stderr", b"err", NOW).startswith(b"<155>")


def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX+3:30")
    time.tzset()
    formatter = Formatter("rfc5424", 3, "t", host="vm", pid=1)
    assert formatter.message("stdout", b"", NOW).startswith(b"<30>1 2026-11-05T06:48:31-03:30 vm")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("", "", 0)),
        ("udp://127.0.0.1", ("udp", "127.0.0.1", 514)),
        ("tcp://log.example:1514", ("tcp", "log.example", 1514)),
        ("tcp://[::1]:6000", ("tcp", "::1", 6000)),
        ("udp://[::1]", ("udp", "::1", 514)),
        ("unix:///dev/log", ("unix", "/dev/log", 0)),
        ("unixgram:///run/x", ("unixgram", "/run/x", 0)),
    ],
)
def test_addresses(text: str, found: tuple[str, str, int]) -> None:
    assert parse_address(text) == found


def test_journal_fields() -> None:
    assert journald.field_name("my.lab-el") == "MY_LAB_EL"
    assert journald.field_name("9a_b.C") == "9A_B_C"
    assert journald.field_name("__x") == "X"
    assert journald.field("A", b"one\ntwo") == b"A\n\x07\0\0\0\0\0\0\0one\ntwo\n"
    encoder = journald.Encoder(journald.fields({"CONTAINER_NAME": "jj", "": "dropped"}), "e")
    whole = encoder.message("stderr", b"\xffx", None, NOW).split(b"\n")
    assert {b"MESSAGE=\xffx", b"PRIORITY=3", b"CONTAINER_NAME=jj", b"CONTAINER_LOG_ORDINAL=1"} < set(whole)
    assert b"SYSLOG_TIMESTAMP=2026-11-05T10:18:31.025232999Z" in whole
    first = encoder.message("stdout", b"x", ("id", 1, False), NOW)
    last = encoder.message("stdout", b"y", ("id", 2, True), NOW)
    assert b"CONTAINER_PARTIAL_MESSAGE=true\n" in first
    assert b"CONTAINER_PARTIAL_MESSAGE" not in last
    assert b"CONTAINER_PARTIAL_ID=id\nCONTAINER_PARTIAL_ORDINAL=2\nCONTAINER_PARTIAL_LAST=true\n" in last


@pytest.mark.parametrize("size", [1, 100, 4096, PIECE, 65536])
def test_pieces_are_dockers_whatever_the_reads(size: int) -> None:
    data = b"out\n\n" + b"x" * 40000 + b"\n" + b"y" * PIECE + b"\nend"
    cutter = Cutter()
    got = [item for start in range(0, len(data), size) for item in cutter.feed(data[start : start + size])]
    got += cutter.finish()
    shapes = [(len(text), part and part[1:]) for text, part in got]
    assert shapes == [
        (3, None), (0, None), (PIECE, (1, False)), (PIECE, (2, False)), (7232, (3, True)),
        (PIECE, (1, False)), (0, (2, True)), (3, (1, False)),
    ]  # fmt: skip
    assert len({part[0] for _, part in got if part}) == 3


@given(st.lists(st.binary(max_size=200)))
def test_fuzz_pieces_lose_nothing(chunks: list[bytes]) -> None:
    cutter = Cutter()
    got = [item for chunk in chunks for item in cutter.feed(chunk)] + list(cutter.finish())
    text = b"".join(line + (b"" if part and not part[2] else b"\n") for line, part in got)
    assert text == b"".join(chunks)


def listening(path: Path, kind: int) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(str(path))
    made.setblocking(False)
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made


def test_a_datagram_socket_that_comes_back_gets_what_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.logs.outbox._RETRY", 0.0)
    outbox = Outbox(("unixgram", str(tmp_path / "s")))
    assert not outbox.send(b"one")
    assert not outbox.idle
    with listening(tmp_path / "s", socket.SOCK_DGRAM) as server:
        assert outbox.flush()
        assert server.recv(100) == b"one"
    (tmp_path / "s").unlink()
    assert not outbox.send(b"two")
    with listening(tmp_path / "s", socket.SOCK_DGRAM) as server:
        assert outbox.flush()
        assert server.recv(100) == b"two"
        assert outbox.send(b"x" * 10_000_000)  # no datagram is that long
        assert outbox.lost == 1
    outbox.close()


def test_a_stream_that_breaks_in_a_message_gets_it_again_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corten.logs.outbox._RETRY", 0.0)
    server = listening(tmp_path / "s", socket.SOCK_STREAM)
    outbox = Outbox(("unix", str(tmp_path / "s")))
    message = bytes(range(256)) * 8000
    assert not outbox.send(message)
    server.accept()[0].close()
    outbox.flush()  # it breaks
    outbox.flush()
    second = server.accept()[0]
    second.setblocking(False)
    got = b""
    while not outbox.flush():
        got += second.recv(1 << 20)
    while len(got) < len(message):
        got += second.recv(1 << 20)
    assert got == message
    second.close()
    outbox.close()
    server.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("corten.shim.log.time", made)
    return made


def plain(stream: str, text: bytes, part: object, now_ns: int) -> bytes:
    return text


def test_a_dead_sink_costs_messages_and_never_time(tmp_path: Path, clock: Clock) -> None:
    remote = Remote("x", Outbox(("unixgram", str(tmp_path / "s"))), plain, None, 10_000, blocking=True)
    remote.write("stdout", b"line\n" * 3000, NOW)
    remote.work()
    assert remote.throttles()  # it may be slow only
    clock.now += 2
    assert not remote.throttles()
    remote.write("stdout", b"line\n" * 3000, NOW)
    assert remote.lost == 3000
    assert remote.owes()
    remote.close()
    assert remote.lost > 3000


def test_a_slow_sink_slows_the_container_and_loses_nothing(tmp_path: Path) -> None:
    with listening(tmp_path / "s", socket.SOCK_DGRAM) as server:
        remote = Remote("x", Outbox(("unixgram", str(tmp_path / "s"))), plain, None, 10_000, blocking=True)
        sent, got = 0, 0
        while sent < 5000:
            if not remote.throttles():
                remote.write("stdout", b"".join(b"%d\n" % (sent + i) for i in range(500)), NOW)
                sent += 500
            remote.work()
            try:
                for _ in range(3):
                    assert server.recv(100) == b"%d" % got
                    got += 1
            except BlockingIOError:
                pass
        while remote.owes() or got < sent:
            remote.work()
            assert server.recv(100) == b"%d" % got
            got += 1
        assert remote.lost == 0
        remote.close()


def test_non_blocking_drops_at_its_limit(tmp_path: Path) -> None:
    with listening(tmp_path / "s", socket.SOCK_DGRAM):
        remote = Remote("x", Outbox(("unixgram", str(tmp_path / "s"))), plain, None, 1000, blocking=False)
        for _ in range(100):
            remote.write("stdout", b"line\n" * 100, NOW)
            assert not remote.throttles()
        assert 9000 < remote.lost < 10_000
        remote.close()
