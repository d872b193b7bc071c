"""Frames and descriptors over a socket pair."""

from __future__ import annotations

import os
import socket

import pytest

from corten.shim import protocol
from corten.shim.protocol import Channel, ClosedError


@pytest.fixture
def pair():
    first, second = (Channel(side) for side in socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
    yield first, second
    first.close()
    second.close()


def drain(channel: Channel) -> list[tuple[dict, list[int]]]:
    frames = []
    while got := channel.receive():
        frames += got
    return frames


def test_frames_keep_order_and_content(pair) -> None:
    for number in range(100):
        pair[0].send({"seq": number, "text": "ü" * number})
    assert [m["seq"] for m, _ in drain(pair[1])] == list(range(100))


def test_descriptors_arrive_with_their_frame_among_others(pair) -> None:
    reader, writer = os.pipe()
    pair[0].send({"a": 1})
    pair[0].send({"b": 1}, [reader, writer])
    pair[0].send({"c": 1})
    pair[0].send({"d": 1}, [writer])
    frames = drain(pair[1])
    assert [(list(m), len(fds)) for m, fds in frames] == [(["a"], 0), (["b"], 2), (["c"], 0), (["d"], 1)]
    os.write(frames[3][1][0], b"x")
    assert os.read(frames[1][1][0], 1) == b"x"
    assert not any(os.get_inheritable(fd) for _, fds in frames for fd in fds)
    for fd in [reader, writer, *(fd for _, fds in frames for fd in fds)]:
        os.close(fd)


def test_queue_survives_a_full_socket_and_keeps_descriptors(pair) -> None:
    reader, writer = os.pipe()
    total = 200
    for number in range(total):
        pair[0].send({"seq": number, "pad": "x" * 10_000}, [writer] if number % 10 == 0 else [])
    assert pair[0].want_write()
    os.close(writer)  # queued ones are duplicates
    got = []
    while len(got) < total:
        pair[0].flush()
        got += pair[1].receive()
    assert [m["seq"] for m, _ in got] == list(range(total))
    assert [len(fds) for _, fds in got] == [1 if n % 10 == 0 else 0 for n in range(total)]
    for _, fds in got:
        for fd in fds:
            os.close(fd)
    os.close(reader)


def test_end_of_stream_comes_after_the_frames(pair) -> None:
    pair[0].send({"last": 1})
    pair[0].close()
    assert pair[1].receive() == [({"last": 1}, [])]
    with pytest.raises(ClosedError):
        pair[1].receive()


def test_sending_to_the_dead_is_found_by_the_reader(pair) -> None:
    pair[1].close()
    pair[0].send({"a": 1})
    with pytest.raises(ClosedError):
        pair[0].receive()


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1x", b'\0\0\0\x09{"fds":1}', b'\0\0\0\x0a{"fds":-1}'],
)
def test_nonsense_is_refused(raw: bytes) -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.send(raw)
    with pytest.raises(ValueError):  # noqa: PT011
        channel.receive()
    channel.close()
    theirs.close()


def test_closing_gives_back_descriptors_on_their_way(pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    reader, writer = os.pipe()
    for _ in range(100):
        pair[0].send({"pad": "x" * 10_000}, [writer])
    os.close(reader)
    os.close(writer)
    pair[1].receive()  # incomplete ones stay inside
    pair[0].close()
    for _, fds in _until_closed(pair[1]):
        for fd in fds:
            os.close(fd)
    pair[1].close()
    assert len(os.listdir("/proc/self/fd")) <= before


def _until_closed(channel: Channel) -> list:
    frames = []
    try:
        while True:
            frames += channel.receive()
    except ClosedError:
        return frames


def test_roles_name_descriptors_in_order() -> None:
    assert protocol.named(["a", "b", "a"], [1, 2, 3]) == {"a": [1, 3], "b": [2]}
    with pytest.raises(ValueError, match="roles"):
        protocol.named(["a"], [])
