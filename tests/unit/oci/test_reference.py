"""References read and print as Docker's do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidArgument
from corten.oci.digest import Digest
from corten.oci.reference import Reference, check_tag, parse_any

D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/library/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/debian:1", "docker.io/library/debian:1", "debian:1"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("library/user/app", "docker.io/library/user/app", "library/user/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("[::1]:5000/a:t", "[::1]:5000/a:t", "[::1]:5000/a:t"),
        ("example.com/a", "example.com/a", "example.com/a"),
        ("Upper/a", "Upper/a", "Upper/a"),
        ("debian@" + D, "docker.io/library/debian@" + D, "debian@" + D),
        ("debian:12@" + D, "docker.io/library/debian:12@" + D, "debian:12@" + D),
        ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f", "a__b/c--d.e_f"),
    ],
)
def test_normal_and_familiar_forms(text, full, familiar):
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar() == familiar


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("Debian", "invalid reference format: repository name (library/Debian) must be lowercase"),
        ("user/App:1", "invalid reference format: repository name (user/App) must be lowercase"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a:", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a@sha256:abc", "invalid reference format"),
        ("a:" + "t" * 129, "invalid reference format"),
        ("https://example.com/a", "invalid reference format"),
        ("debian\n", "invalid reference format"),
        ("x/" + "a" * 256, "repository name must not be more than 255 characters"),
    ],
)
def test_refusals_have_dockers_text(text, message):
    with pytest.raises(InvalidArgument) as caught:
        Reference.parse(text)
    assert str(caught.value) == message


def test_tags_and_digests_are_exchanged():
    reference = Reference.parse("debian")
    assert reference.with_default_tag().familiar() == "debian:latest"
    assert Reference.parse("debian@" + D).with_default_tag().tag is None
    assert reference.with_tag("x").with_digest(Digest(D)).familiar() == "debian@" + D
    assert Reference.parse("debian:12@" + D).bare() == reference
    with pytest.raises(InvalidArgument, match="invalid tag format"):
        check_tag("-x")


def test_image_ids_are_told_from_names():
    assert parse_any("b" * 64) == Digest.from_hex("b" * 64)
    assert parse_any(D) == Digest(D)
    assert parse_any("debian") == Reference.parse("debian")


@given(st.from_regex(r"[a-zA-Z0-9.:/@_-]{1,40}", fullmatch=True))
def test_what_is_accepted_is_a_fixed_point(text):
    try:
        reference = Reference.parse(text)
    except InvalidArgument:
        return
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar()) == reference
