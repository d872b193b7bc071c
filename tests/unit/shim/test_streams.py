"""Streams and clients on real pipes and sockets, the process played by the test."""

from __future__ import annotations

import os
import socket
import struct
import time

import pytest

from corten.shim.attach import LIMIT, DetachKeys
from corten.shim.loop import Loop
from corten.shim.stdio import Streams


class Log:
    lost = 0
    path = "/log"
    full = False

    def __init__(self) -> None:
        self.data = {"stdout": b"", "stderr": b""}
        self.finished: list[str] = []

    def write(self, stream: str, chunk: bytes, now_ns: int) -> None:
        self.data[stream] += chunk

    def finish(self, stream: str, now_ns: int) -> None:
        self.finished.append(stream)

    def throttles(self) -> bool:
        return self.full

    def work(self) -> float:
        return 0.01 if self.full else -1.0

    def owes(self) -> bool:
        return False

    def reopen(self) -> None: ...
    def close(self) -> None: ...


class Owner:
    def __init__(self) -> None:
        self.events: list[str] = []

    def output_ended(self) -> None:
        self.events.append("ended")

    def detached(self) -> None:
        self.events.append("detached")

    def log_lost(self, lines: int) -> None:
        self.events.append(f"lost {lines}")


class Stage:
    """The test's side: ``stdin`` is read from, ``stdout`` and ``stderr`` are written to."""

    def __init__(self, *, stdin: bool = True, stdin_once: bool = True, terminal: bool = False) -> None:
        self.loop, self.log, self.owner = Loop(), Log(), Owner()
        self.streams = Streams(
            self.loop, self.owner, self.log, is_terminal=terminal, takes_input=stdin, stdin_once=stdin_once
        )
        self.stdin, self._stdin = os.pipe()
        self._stdout, self.stdout = os.pipe()
        self._stderr, self.stderr = os.pipe()
        self.clients: list[socket.socket] = []

    def open(self) -> None:
        self.streams.open(stdin=self._stdin, stdout=self._stdout, stderr=self._stderr)

    def attach(self, early: bytes = b"", **options: object) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.clients.append(theirs)
        options = {"stdin": True, "stdout": True, "stderr": True, "framed": True, **options}
        self.streams.attach(ours.detach(), options, early)
        return theirs

    def settle(self, seconds: float = 0.05) -> None:
        deadline = time.monotonic() + seconds
        self.loop.after(seconds, lambda: None)
        while time.monotonic() < deadline:
            self.loop.turn()

    def close(self) -> None:
        self.streams.close()
        for client in self.clients:
            client.close()
        self.settle(0.01)
        for descriptor in (self.stdin, self.stdout, self.stderr, self._stdin, self._stdout, self._stderr):
            try:
                os.close(descriptor)
            except OSError:  # the streams', or closed by the test
                pass


@pytest.fixture
def make_stage():
    made: list[Stage] = []

    def make(**options: bool) -> Stage:
        made.append(Stage(**options))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(make_stage) -> Stage:
    made = make_stage()
    made.open()
    return made


def received(client: socket.socket) -> bytes:
    data = b""
    try:
        while chunk := client.recv(1 << 20):
            data += chunk
    except BlockingIOError:
        pass
    return data


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        stream, length = struct.unpack_from("!BxxxI", data)
        assert len(data) >= 8 + length
        found.append((stream, data[8 : 8 + length]))
        data = data[8 + length :]
    return found


def at_end(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_output_goes_to_the_log_and_to_every_client_framed_or_raw(stage: Stage) -> None:
    framed, raw = stage.attach(), stage.attach(framed=False)
    only_errors = stage.attach(stdout=False)
    os.write(stage.stdout, b"out\n")
    stage.settle()
    os.write(stage.stderr, b"err\n")
    stage.settle()
    assert frames(received(framed)) == [(1, b"out\n"), (2, b"err\n")]
    assert received(raw) == b"out\nerr\n"
    assert frames(received(only_errors)) == [(2, b"err\n")]
    assert stage.log.data == {"stdout": b"out\n", "stderr": b"err\n"}


def test_input_of_several_clients_arrives_in_order(stage: Stage) -> None:
    first, second = stage.attach(early=b"early "), stage.attach()
    first.send(b"one ")
    stage.settle()
    second.send(b"two")
    stage.settle()
    assert os.read(stage.stdin, 100) == b"early one two"


def test_output_waits_for_a_log_that_is_full_and_goes_on(stage: Stage) -> None:
    stage.log.full = True
    os.write(stage.stdout, b"one\n")
    stage.settle()
    os.write(stage.stdout, b"two\n")
    stage.settle()
    assert stage.log.data["stdout"] == b"one\n"
    stage.log.full = False
    stage.settle()
    assert stage.log.data["stdout"] == b"one\ntwo\n"


def test_lost_lines_are_told_at_every_doubling(stage: Stage) -> None:
    for stage.log.lost in (1, 2, 3, 5, 7, 11):
        os.write(stage.stdout, b"x\n")
        stage.settle(0.02)
    assert stage.owner.events == ["lost 1", "lost 3", "lost 7"]


def test_half_close_ends_stdin_and_leaves_output(stage: Stage) -> None:
    client = stage.attach()
    client.send(b"last words")
    client.shutdown(socket.SHUT_WR)
    stage.settle()
    assert os.read(stage.stdin, 100) == b"last words"
    assert os.read(stage.stdin, 100) == b""
    os.write(stage.stdout, b"answer")
    stage.settle()
    assert frames(received(client)) == [(1, b"answer")]


def test_half_close_before_the_start_still_delivers(make_stage) -> None:
    stage = make_stage()
    client = stage.attach(early=b"a")
    client.send(b"b" * 10)
    client.shutdown(socket.SHUT_WR)
    stage.settle()
    stage.open()
    stage.settle()
    assert os.read(stage.stdin, 100) == b"a" + b"b" * 10
    assert os.read(stage.stdin, 100) == b""


def test_half_close_detaches_where_stdin_is_kept_open(make_stage) -> None:
    stage = make_stage(stdin_once=False)
    stage.open()
    client = stage.attach()
    client.shutdown(socket.SHUT_WR)
    stage.settle()
    assert at_end(client)
    os.set_blocking(stage.stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(stage.stdin, 1)


def test_a_client_without_stdin_may_shut_its_side(stage: Stage) -> None:
    client = stage.attach(stdin=False)
    client.shutdown(socket.SHUT_WR)
    stage.settle()
    os.write(stage.stdout, b"still here")
    stage.settle()
    assert frames(received(client)) == [(1, b"still here")]
    assert stage.streams.takes_input


def test_input_the_process_does_not_read_is_held_back_and_complete(stage: Stage) -> None:
    client = stage.attach()
    data = os.urandom(1_000_000)
    sent = 0
    got = b""
    os.set_blocking(stage.stdin, False)
    for _ in range(10):
        try:
            sent += client.send(data[sent:])
        except BlockingIOError:
            pass
        stage.settle(0.01)
    assert sent < len(data)  # bounded: pipe, one chunk, socket buffers
    closed = False
    while len(got) < len(data):
        if sent < len(data):
            try:
                sent += client.send(data[sent:])
            except BlockingIOError:
                pass
        elif not closed:
            client.close()  # hang-up while input still waits
            closed = True
        stage.settle(0.002)
        try:
            got += os.read(stage.stdin, 65536)
        except BlockingIOError:
            pass
    assert got == data
    stage.settle()
    assert os.read(stage.stdin, 1) == b""


def test_a_waiting_loop_sleeps_when_a_client_hangs_up_with_input_pending(stage: Stage) -> None:
    client = stage.attach()
    for _ in range(8):
        try:
            client.send(b"x" * 65536)
        except BlockingIOError:
            break
        stage.settle(0.01)
    client.close()
    stage.settle(0.01)
    begin = time.process_time()
    stage.settle(0.3)
    assert time.process_time() - begin < 0.1


def test_slow_client_holds_the_output_at_the_limit_and_gets_all(stage: Stage) -> None:
    slow, fast = stage.attach(), stage.attach(framed=False)
    os.set_blocking(stage.stdout, False)
    sent = 0
    fast_got = b""
    for _ in range(200):
        try:
            sent += os.write(stage.stdout, b"%06d\n" % (sent // 7) * 1000)
        except BlockingIOError:
            pass
        stage.settle(0.001)
        fast_got += received(fast)
    assert sent < LIMIT + 1_000_000
    before = sent
    got = b""
    for _ in range(50):
        got += received(slow)
        stage.settle(0.002)
        fast_got += received(fast)
        try:
            sent += os.write(stage.stdout, b"x" * 1000)
        except BlockingIOError:
            pass
    got += received(slow)
    assert sent > before
    assert b"".join(chunk for _, chunk in frames(got)) == stage.log.data["stdout"] == fast_got


def test_dead_process_is_drained_whatever_clients_do(stage: Stage) -> None:
    slow = stage.attach()
    os.set_blocking(stage.stdout, False)
    for _ in range(100):
        try:
            os.write(stage.stdout, b"y" * 60_000)
        except BlockingIOError:
            pass
        stage.settle(0.001)
    os.close(stage.stdout)
    os.close(stage.stderr)
    assert stage.streams.hurry()
    stage.streams.release()
    got = b""
    for _ in range(100):
        got += received(slow)
        stage.settle(0.001)
    assert b"".join(chunk for _, chunk in frames(got)) == stage.log.data["stdout"]
    assert at_end(slow)
    assert stage.owner.events == ["ended"]
    assert sorted(stage.log.finished) == ["stderr", "stdout"]


def test_a_slow_client_that_ended_its_input_gets_all_output(make_stage) -> None:
    stage = make_stage()
    stage.open()
    client = stage.attach(framed=False)
    client.shutdown(socket.SHUT_WR)
    data = bytes(range(256)) * 3000
    for start in range(0, len(data), 32768):
        os.write(stage.stdout, data[start : start + 32768])
        stage.settle(0.01)
    os.close(stage.stdout)
    os.close(stage.stderr)
    stage.streams.hurry()
    stage.streams.release()
    stage.settle()
    got, piece = b"", b"-"
    while piece:
        try:
            piece = client.recv(65536)
            got += piece
        except BlockingIOError:
            stage.settle(0.005)
    assert got == data


def test_release_does_not_reset_a_peer_with_unread_input(stage: Stage) -> None:
    client = stage.attach()
    os.write(stage.stdout, b"the end")
    stage.settle()
    client.send(b"z" * 100)
    stage.streams.release()
    stage.settle()
    assert frames(received(client)) == [(1, b"the end")]
    assert at_end(client)


def test_client_that_left_is_forgotten(stage: Stage) -> None:
    before = len(os.listdir("/proc/self/fd"))
    client = stage.attach()
    other = stage.attach(stdin=False)
    client.close()
    other.close()
    os.write(stage.stdout, b"x")
    stage.settle()
    assert len(os.listdir("/proc/self/fd")) < before + 1
    assert stage.log.data["stdout"] == b"x"


@pytest.mark.parametrize(
    ("chunks", "passed", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"a\x10\x11b"], b"a", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10x\x11"], b"\x10x\x11", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x10"], b"", False),
    ],
)
def test_detach_keys(chunks: list[bytes], passed: bytes, detached: bool) -> None:
    keys = DetachKeys(b"\x10\x11")
    results = [keys.feed(chunk) for chunk in chunks]
    assert b"".join(data for data, _ in results) == passed
    assert results[-1][1] is detached


def test_terminal_detaches_by_keys_and_reports_it(make_stage) -> None:
    stage = make_stage(terminal=True)
    master, slave = os.openpty()
    stage.streams.open(console=master)
    client = stage.attach(detach_keys=[16, 17])
    os.write(slave, b"prompt$ ")
    stage.settle()
    assert received(client) == b"prompt$ "  # never framed
    client.send(b"\x10\x11")
    stage.settle()
    assert at_end(client)
    assert stage.owner.events == ["detached"]
    stage.streams.resize(33, 101)
    assert os.get_terminal_size(slave) == (101, 33)
    os.close(slave)
    assert stage.streams.hurry()


def test_terminal_closed_and_opened_again_goes_on(make_stage) -> None:
    stage = make_stage(terminal=True, stdin=False)
    master, slave = os.openpty()
    name = os.ttyname(slave)
    stage.streams.open(console=master)
    os.write(slave, b"one\n")
    stage.settle()
    os.close(slave)
    stage.settle()
    again = os.open(name, os.O_RDWR | os.O_NOCTTY)
    os.write(again, b"two\n")
    stage.settle(0.5)
    assert stage.log.data["stdout"] == b"one\r\ntwo\r\n"
    os.close(again)
