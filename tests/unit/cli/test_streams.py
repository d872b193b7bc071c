"""Detach keys and frames, cut anywhere."""

from __future__ import annotations

import os

import pytest

from corten.cli import streams
from corten.client.errors import ClientError


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", b"\x10\x11"), ("ctrl-a,d", b"\x01d"), ("ctrl-@", b"\0"), ("ctrl-\\,ctrl-_", b"\x1c\x1f"), ("x", b"x")],
)
def test_keys(text, keys):
    assert streams.parse_keys(text) == keys


@pytest.mark.parametrize("text", ["foo", "ctrl-", "ctrl-A", "a,,b", "é"])
def test_no_keys(text):
    with pytest.raises(ClientError, match=r"^Invalid detach keys "):
        streams.parse_keys(text)


@pytest.mark.parametrize(
    ("typed", "passed", "detached"),
    [
        (b"abc", b"abc", False),
        (b"a\x10b", b"a\x10b", False),
        (b"a\x10\x11rest", b"a", True),
        (b"\x10\x10\x11", b"\x10", True),
        (b"\x11\x10", b"\x11", False),
    ],
)
def test_detach_keys_cut_anywhere(typed, passed, detached):
    for cut in range(len(typed) + 1):
        keys = streams.DetachKeys(b"\x10\x11")
        first, done = keys.feed(typed[:cut])
        second, done = (b"", True) if done else keys.feed(typed[cut:])
        assert (first + second, done) == (passed, detached)


def test_without_keys_everything_passes():
    assert streams.DetachKeys(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


def frame(kind: int, payload: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def test_frames_go_where_they_belong_cut_anywhere(monkeypatch):
    written: list[tuple[int, bytes]] = []
    monkeypatch.setattr(os, "write", lambda descriptor, data: (written.append((descriptor, data)), len(data))[1])
    data = frame(1, b"out") + frame(2, b"err") + frame(1, b"")
    for cut in range(len(data)):
        written.clear()
        sink = streams.Sink(framed=True)
        sink.feed(data[:cut])
        sink.feed(data[cut:])
        assert written == [(1, b"out"), (2, b"err")]


def test_an_error_frame_is_an_error():
    with pytest.raises(ClientError, match=r"^error from daemon in stream: gone$"):
        streams.Sink(framed=True).feed(frame(3, b"gone"))
