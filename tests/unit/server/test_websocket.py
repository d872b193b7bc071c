"""RFC 6455: the handshake, frames cut anywhere, and everything a client may not send."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Forbidden, InvalidArgument
from corten.server import websocket
from corten.server.websocket import BINARY, CLOSE, PING, PONG, TEXT, FrameError, FrameReader

HEADERS = {"host": "x:2375", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}


def client_frame(opcode: int, payload: bytes, *, final: bool = True, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    size = len(payload)
    second = size if size < 126 else 126 if size < 1 << 16 else 127
    extended = b"" if size < 126 else struct.pack("!H" if size < 1 << 16 else "!Q", size)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes((opcode | (0x80 if final else 0), 0x80 | second)) + extended + mask + masked


def test_the_handshake_of_the_rfc() -> None:
    fields = dict(websocket.accept("websocket", HEADERS))
    assert fields == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }
    chosen = websocket.accept("websocket", {**HEADERS, "sec-websocket-protocol": "one"})
    assert chosen[-1] == ("Sec-WebSocket-Protocol", "one")


@pytest.mark.parametrize(
    ("upgrade", "changes", "error"),
    [
        ("", {}, InvalidArgument),
        ("tcp", {}, InvalidArgument),
        ("websocket", {"sec-websocket-version": "12"}, websocket.VersionError),
        ("websocket", {"sec-websocket-key": "abc"}, InvalidArgument),
        ("websocket", {"sec-websocket-key": ""}, InvalidArgument),
        ("websocket", {"sec-websocket-protocol": "a, b"}, InvalidArgument),
    ],
)
def test_what_is_no_handshake(upgrade: str, changes: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        websocket.accept(upgrade, {**HEADERS, **changes})


def test_cross_site_websocket_hijacking_is_refused() -> None:
    websocket.accept("websocket", {**HEADERS, "origin": "http://X:2375"})
    for origin in ("http://evil.example", "http://x:80", "null", "http://x:2375.evil.example"):
        with pytest.raises(Forbidden):
            websocket.accept("websocket", {**HEADERS, "origin": origin})


@given(
    frames=st.lists(
        st.tuples(st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=125)),
        max_size=6,
    ),
    cuts=st.lists(st.integers(0, 2000), max_size=20),
    mask=st.binary(min_size=4, max_size=4),
)
def test_fuzz_frames_survive_any_cut(frames: list[tuple[int, bytes]], cuts: list[int], mask: bytes) -> None:
    wire = b"".join(client_frame(opcode, payload, mask=mask) for opcode, payload in frames)
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    reader = FrameReader()
    got = [item for a, b in pairwise(places) for item in reader.feed(wire[a:b])]
    data = b"".join(payload for opcode, payload in got if opcode == BINARY)
    assert data == b"".join(payload for opcode, payload in frames if opcode in (TEXT, BINARY))
    assert [item for item in got if item[0] != BINARY] == [item for item in frames if item[0] not in (TEXT, BINARY)]


@given(st.lists(st.binary(max_size=40)))
def test_fuzz_any_bytes_are_frames_or_refused(chunks: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for chunk in chunks:
            for opcode, payload in reader.feed(chunk):
                assert opcode in (BINARY, CLOSE, PING, PONG)
                assert len(payload) <= sum(map(len, chunks))
    except FrameError:
        pass


@pytest.mark.parametrize("size", [126, 65535, 65536, 70_000])
@pytest.mark.parametrize("step", [1000, 4093, 100_000])
def test_long_frames_are_unmasked_whatever_the_cuts(size: int, step: int) -> None:
    payload = bytes(range(251)) * (size // 251 + 1)
    wire = client_frame(BINARY, payload[:size])
    reader = FrameReader()
    got = [item for start in range(0, len(wire), step) for item in reader.feed(wire[start : start + step])]
    assert b"".join(piece for _, piece in got) == payload[:size]


def test_a_fragmented_message_with_a_ping_in_it() -> None:
    wire = client_frame(TEXT, b"one ", final=False) + client_frame(PING, b"?") + client_frame(0, b"two")
    assert FrameReader().feed(wire) == [(BINARY, b"one "), (PING, b"?"), (BINARY, b"two")]


def test_a_frame_longer_than_memory_is_passed_on_as_it_comes() -> None:
    reader = FrameReader()
    head = bytes((0x82, 0xFF)) + struct.pack("!Q", 1 << 40) + b"\0\0\0\0"
    assert reader.feed(head + b"begin") == [(BINARY, b"begin")]
    assert reader.feed(b"more") == [(BINARY, b"more")]
    assert reader._pending == b""


@pytest.mark.parametrize(
    "wire",
    [
        b"\x82\x05hello",  # not masked
        b"\xc2\x80\0\0\0\0",  # a reserved bit
        b"\x83\x80\0\0\0\0",  # an opcode of the future
        b"\x8b\x80\0\0\0\0",
        b"\x09\x80\0\0\0\0",  # a fragmented ping
        b"\x89\xfe\x00\x7e\0\0\0\0",  # a long one
        b"\x80\x80\0\0\0\0",  # a continuation of nothing
        client_frame(TEXT, b"a", final=False) + client_frame(TEXT, b"b"),
        b"\x82\xfe\x00\x05\0\0\0\0",  # a short length in its long form
        b"\x82\xff\0\0\0\0\0\0\x00\xff\0\0\0\0",
        b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0",
    ],
)
def test_violations_are_refused(wire: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(wire)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_servers_frames(size: int) -> None:
    wire = websocket.frame(BINARY, b"x" * size)
    head = {0: b"\x82\x00", 125: b"\x82\x7d", 126: b"\x82\x7e\x00\x7e", 65535: b"\x82\x7e\xff\xff"}
    assert wire.startswith(head.get(size, b"\x82\x7f\0\0\0\0\0\1\0\0"))
    assert wire.endswith(b"x" * size)
