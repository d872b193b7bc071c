"""Query parameters by Docker's rules."""

import pytest

from corten.api.query import MAX_PARAMETERS, Query
from corten.errors import InvalidArgument


@pytest.mark.parametrize("text", ["1", "true", "True", "t", "yes", "anything", "2"])
def test_flags_are_true_for_anything_that_is_no_no(text):
    assert Query.parse(f"all={text}").flag("all")


@pytest.mark.parametrize("text", ["", "0", "no", "No", "false", "False", "none", "%20false%20"])
def test_flags_are_false_for_the_spellings_of_no(text):
    assert not Query.parse(f"all={text}").flag("all", default=True)


def test_an_absent_flag_has_its_default():
    assert Query.parse("").flag("rm", default=True)
    assert not Query.parse("").flag("rm")


def test_the_first_of_repeated_values_counts_and_all_can_be_had():
    query = Query.parse("names=a%2Fb&names=c+d&empty=")
    assert query.text("names") == "a/b"
    assert query.texts("names") == ["a/b", "c d"]
    assert "empty" in query
    assert query.text("nothing", "x") == "x"


def test_numbers():
    query = Query.parse("t=10&minus=-1&empty=&bad=ten")
    assert query.number("t") == 10
    assert query.number("minus") == -1
    assert query.number("empty") is None
    assert query.number("nothing") is None
    with pytest.raises(InvalidArgument, match='parsing "ten": invalid syntax'):
        query.number("bad")


@pytest.mark.parametrize(
    ("text", "ns"),
    [("1", 10**9), ("1.5", 1_500_000_000), ("1700000000.000000001", 1700000000 * 10**9 + 1), ("0", 0),
     ("1.1234567891", 1_123_456_789)],
)  # fmt: skip
def test_timestamps_keep_their_nanoseconds(text, ns):
    assert Query.parse(f"since={text}").timestamp("since") == ns


@pytest.mark.parametrize("text", ["yesterday", "1.", "1e9", "2024-01-01T00:00:00Z", "1.x"])
def test_what_is_no_timestamp_is_refused(text):
    with pytest.raises(InvalidArgument, match="since"):
        Query.parse(f"since={text}").timestamp("since")


def test_a_query_of_too_many_parameters_is_refused():
    with pytest.raises(InvalidArgument):
        Query.parse("&".join(["a=1"] * (MAX_PARAMETERS + 1)))
