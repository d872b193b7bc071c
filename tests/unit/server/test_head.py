"""Request heads: what is understood, and what is refused rather than guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.server.head import Head, HeadError, parse


def head(*lines: str, start: str = "GET /_ping HTTP/1.1") -> Head:
    return parse("\r\n".join([start, *lines, "", ""]).encode("latin-1"))


def test_a_plain_request():
    found = head("Host: x", "X-Thing: a", "x-thing: b")
    assert (found.method, found.target, found.length, found.keep_alive) == ("GET", "/_ping", 0, True)
    assert found.headers["x-thing"] == "a, b"


def test_lengths():
    assert head("Content-Length: 12").length == 12
    assert head("Transfer-Encoding: chunked", start="POST /build HTTP/1.1").length is None


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Content-Length: 5"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Content-Length: +5",),
        ("Content-Length: 5, 5",),
        ("Content-Length: -1",),
        ("Content-Length: 99999999999999999999",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding : chunked",),
    ],
)
def test_two_readings_of_a_length_are_refused(lines):
    """CVE-2024-41110's class: what two programs read differently, one of them can be made to miss."""
    with pytest.raises(HeadError) as caught:
        head(*lines, start="POST /containers/create HTTP/1.1")
    assert caught.value.status in (400, 501)


@pytest.mark.parametrize(
    ("start", "lines", "alive"),
    [
        ("GET / HTTP/1.1", (), True),
        ("GET / HTTP/1.1", ("Connection: close",), False),
        ("GET / HTTP/1.0", (), False),
        ("GET / HTTP/1.0", ("Connection: keep-alive",), True),
        ("POST / HTTP/1.1", ("Connection: Upgrade", "Upgrade: tcp"), True),
    ],
)
def test_keep_alive(start, lines, alive):
    assert head(*lines, start=start).keep_alive is alive


def test_upgrade_needs_both_headers():
    assert head("Connection: Upgrade", "Upgrade: TCP").upgrade == "tcp"
    assert head("Connection: keep-alive, upgrade", "Upgrade: h2c").upgrade == "h2c"
    assert head("Upgrade: tcp").upgrade == ""
    assert head("Connection: Upgrade").upgrade == ""


def test_expect_counts_for_http_1_1_only():
    assert head("Expect: 100-Continue", "Content-Length: 1").expects_continue
    assert not head("Expect: 100-continue", start="POST / HTTP/1.0").expects_continue


@pytest.mark.parametrize("raw", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
                                 b"\x16\x03\x01\x02\0\x01\r\n\r\n", b"GET http://x/ HTTP/1.1\r\n\r\n",
                                 b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\njunk"[:0] + b"x"])  # fmt: skip
def test_what_is_no_request_is_refused(raw):
    with pytest.raises(HeadError):
        parse(raw)


def test_http_2_preface_is_refused_in_words():
    with pytest.raises(HeadError):
        parse(b"PRI * HTTP/2.0\r\n\r\n")


@given(st.binary(max_size=120))
def test_bytes_never_crash_the_parser(raw):
    try:
        found = parse(raw + b"\r\n\r\n")
    except HeadError:
        return
    assert found.target.startswith("/") or found.target == "*"
