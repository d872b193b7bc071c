"""The filters parameter in both spellings."""

import pytest

from corten.api.filters import Filters
from corten.errors import InvalidArgument


@pytest.mark.parametrize("text", ['{"label":["a=b","c"]}', '{"label":{"a=b":true,"c":true,"d":false}}'])
def test_lists_and_maps_mean_the_same(text):
    assert Filters.parse(text) == Filters({"label": ["a=b", "c"]})


def test_no_text_is_no_filter():
    assert not Filters.parse("")
    assert Filters.parse("").match_any("status", ["running"])


@pytest.mark.parametrize("text", ["x", "[]", '{"a":1}', '{"a":"b"}', '{"a":[1]}'])
def test_other_documents_are_refused(text):
    with pytest.raises(InvalidArgument, match="invalid filter"):
        Filters.parse(text)


def test_an_unknown_key_has_dockers_text():
    with pytest.raises(InvalidArgument, match=r"^invalid filter 'nonsense'$"):
        Filters({"nonsense": ["1"]}).check({"label"})


def test_labels_are_anded():
    filters = Filters({"label": ["a=b", "c"]})
    assert filters.match_labels("label", {"a": "b", "c": "", "d": "e"})
    assert not filters.match_labels("label", {"a": "x", "c": ""})
    assert not filters.match_labels("label", {"a": "b"})


def test_flags_contradict_or_not():
    assert Filters({"dangling": ["true"]}).flag("dangling") is True
    assert Filters({"dangling": ["0"]}).flag("dangling") is False
    assert Filters().flag("dangling") is None
    for values in (["true", "false"], ["maybe"]):
        with pytest.raises(InvalidArgument, match="invalid filter 'dangling="):
            Filters({"dangling": values}).flag("dangling")


def test_having_adds_without_changing():
    filters = Filters({"a": ["1"]})
    assert filters.having("a", "2").values("a") == ["1", "2"]
    assert filters.values("a") == ["1"]
