"""Digests are checked before they can become paths."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidArgument
from corten.oci.digest import Digest, chain_id, chain_ids, is_digest

EMPTY = "sha256:" + hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid checksum digest format"),
        ("sha256", "invalid checksum digest format"),
        ("sha256:", "invalid checksum digest format"),
        ("sha256:../../../etc/passwd", "invalid checksum digest format"),
        ("sha256:abc", "invalid checksum digest length"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("sha256:" + "a" * 64 + "\n", "invalid checksum digest format"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("../x:" + "a" * 64, "invalid checksum digest format"),
    ],
)
def test_cve_2024_3727_malformed_digests_are_refused(text, message):
    with pytest.raises(InvalidArgument) as caught:
        Digest(text)
    assert str(caught.value) == message


@given(st.text())
def test_no_text_that_passes_can_leave_a_directory(text):
    if is_digest(text):
        digest = Digest(text)
        assert "/" not in digest.hex
        assert "." not in digest.hex
        assert set(digest.hex) <= set("0123456789abcdef")


@given(st.binary())
def test_digest_of_bytes(data):
    assert Digest.of(data).hex == hashlib.sha256(data).hexdigest()
    assert Digest.of(data).algorithm == "sha256"


def test_chain_ids_follow_the_image_spec():
    first, second, third = (Digest.of(name) for name in (b"a", b"b", b"c"))
    over = Digest("sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest())
    assert chain_ids([first, second, third])[:2] == [first, over]
    assert chain_ids([first, second, third])[2] == chain_id(over, third)
    assert chain_ids([]) == []
