"""The window of versions and what a request gets outside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.version import MAXIMUM, MINIMUM, ApiVersion, negotiate
from corten.errors import InvalidArgument


def test_a_path_without_a_version_means_the_newest():
    assert negotiate(None) == MAXIMUM == ApiVersion(1, 51)


def test_the_whole_window_is_accepted():
    for minor in range(MINIMUM.minor, MAXIMUM.minor + 1):
        assert negotiate(f"1.{minor}") == (1, minor)


def test_too_new_has_dockers_text():
    with pytest.raises(InvalidArgument) as caught:
        negotiate("1.99")
    assert str(caught.value) == "client version 1.99 is too new. Maximum supported API version is 1.51"


def test_too_old_has_dockers_text():
    with pytest.raises(InvalidArgument) as caught:
        negotiate("1.9")
    assert str(caught.value) == (
        "client version 1.9 is too old. Minimum supported API version is 1.24, "
        "please upgrade your client to a newer version"
    )


def test_versions_compare_as_numbers():
    assert ApiVersion.parse("1.9") < ApiVersion.parse("1.10") < ApiVersion.parse("1.51")


@given(st.text(alphabet="0123456789.", max_size=12))
def test_anything_else_is_refused_never_a_crash(text):
    try:
        version = negotiate(text)
    except InvalidArgument:
        return
    assert str(version) == ".".join(str(int(part)) for part in text.split("."))
