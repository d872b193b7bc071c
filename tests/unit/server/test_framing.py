"""Bodies cut anywhere, and response heads."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.server.framing import ChunkedBody, FixedBody, FramingError, chunk, response_head

WIRE = b"5\r\nhello\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
BODY = b"hello0123456789"


def read(decoder, wire: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """The payload, and what is left after the body."""
    payload, rest = b"", b""
    bounds = [0, *sorted(cuts), len(wire)]
    for start, end in pairwise(bounds):
        data = rest + wire[start:end]
        pieces, taken = decoder.feed(data)
        payload += b"".join(pieces)
        rest = data[taken:]
    return payload, rest


@pytest.mark.parametrize("cut", range(len(WIRE)))
def test_a_chunked_body_is_the_same_cut_at_every_byte(cut):
    decoder = ChunkedBody()
    assert read(decoder, WIRE + b"GET", [cut]) == (BODY, b"GET")
    assert decoder.done


def test_a_chunked_body_one_byte_at_a_time():
    decoder = ChunkedBody()
    assert read(decoder, WIRE, list(range(len(WIRE)))) == (BODY, b"")
    assert decoder.done


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=6), st.lists(st.integers(0, 300), max_size=6))
def test_what_is_chunked_comes_back(pieces, cuts):
    wire = b"".join(map(chunk, pieces)) + b"0\r\n\r\n" + b"after"
    decoder = ChunkedBody()
    assert read(decoder, wire, [min(cut, len(wire)) for cut in cuts]) == (b"".join(pieces), b"after")
    assert decoder.done


@given(st.binary(max_size=60))
def test_bytes_never_crash_the_decoder(data):
    decoder = ChunkedBody()
    try:
        _, taken = decoder.feed(data)
    except FramingError:
        return
    assert 0 <= taken <= len(data)


@pytest.mark.parametrize(
    "wire",
    [b"5\nhello\r\n", b"g\r\n", b"\r\n", b"-5\r\nhello", b"0x5\r\nhello", b"5 5\r\n", b"3\r\nhello\r\n",
     b"1" * 16 + b"\r\n", b"5;" + b"x" * 5000, b"0\r\n" + b"a: b\r\n" * 5000],
)  # fmt: skip
def test_malformed_chunks_are_refused(wire):
    with pytest.raises(FramingError):
        ChunkedBody().feed(wire)


def test_a_fixed_body_ends_where_it_says():
    decoder = FixedBody(5)
    assert decoder.feed(b"hel") == ([b"hel"], 3)
    assert not decoder.done
    assert decoder.feed(b"loGET") == ([b"lo"], 2)
    assert decoder.done
    assert FixedBody(0).done


def test_a_response_head():
    assert response_head(101, [("Upgrade", "tcp")], "UPGRADED") == b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n"
    assert response_head(404, {}).startswith(b"HTTP/1.1 404 Not Found\r\n")


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb"])
def test_a_header_value_cannot_add_a_header(value):
    with pytest.raises(ValueError, match="line break"):
        response_head(200, {"A": value})
