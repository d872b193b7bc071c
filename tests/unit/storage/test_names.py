"""Where names of archive entries lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CorruptData
from corten.storage.layer import name as whiteouts
from corten.tar import names


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a/b", b"a/b"), (b"./a/b/", b"a/b"), (b"/etc/x", b"etc/x"), (b"a//b/./c", b"a/b/c"), (b"a/../b", b"b"),
        (b".", b""), (b"./", b""), (b"/", b""), (b"a/b/../..", b""), (b"a..b/..c", b"a..b/..c"),
        (b".hidden", b".hidden"), (b"//a", b"a"),
    ],
)  # fmt: skip
def test_cleaning(name, path):
    assert names.clean(name) == path


@pytest.mark.parametrize("name", [b"..", b"../a", b"a/../../b", b"/../etc/passwd", b"./../x", b"a" * 4096, b"a\0b"])
def test_names_that_leave_the_root_or_cannot_be_are_refused(name):
    with pytest.raises(CorruptData):
        names.clean(name)


@given(st.lists(st.sampled_from([b"a", b"..", b".", b"", b"b..", b"..c"]), max_size=12).map(b"/".join))
def test_a_cleaned_name_never_climbs(name):
    try:
        path = names.clean(name)
    except CorruptData:
        return
    assert not path.startswith(b"/")
    assert not {b"..", b".", b""} & set(path.split(b"/")) or path == b""


@pytest.mark.parametrize("base", [b".wh.", b".wh..", b".wh..."])
def test_whiteouts_of_directions_are_refused(base):
    with pytest.raises(CorruptData):
        whiteouts.hidden(base)
