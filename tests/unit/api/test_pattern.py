"""Searching as Python's ``re`` does, but in bounded time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.api.pattern import Pattern, found

ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "1",
        "_",
        "-",
        ".",
        "[ab]",
        "[^a]",
        "[a-c1]",
        r"\d",
        r"\w",
        r"\W",
        r"\.",
        "^",
        "$",
        r"\b",
        "[-a]",
        "[]a]",
        "é",
    ]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3).map("".join)
    | st.tuples(inner, inner).map("|".join)
    | inner.map(lambda text: f"({text})")
    | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,}", "*?"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=600)
@given(PATTERNS, st.text(alphabet="ab1_-.cé\n", max_size=8))
def test_what_is_found_is_what_re_finds(pattern: str, text: str) -> None:
    expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
    assert Pattern(pattern).found(text) is expected


@given(st.text(alphabet="ab()[]{}|*+?^$\\.-,:1P<>d", max_size=14), st.text(max_size=5))
def test_fuzz_any_text_is_a_pattern_or_is_not_found(pattern: str, text: str) -> None:
    assert found(pattern, text) in (True, False)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "^(a|a)*$",
        "(" * 90 + "a" + ")*" * 90 + "b",
        "(a*)*b",
        "a*" * 40 + "b",
        "(?:a?){100}a{100}",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
    ],
)
def test_hostile_patterns_cost_no_more_than_others(pattern: str) -> None:
    """With ``re`` this test would not end."""
    assert found(pattern, "a" * 60 + "-") is False


@pytest.mark.parametrize(
    "pattern",
    [
        "(" * 500,
        "(",
        ")",
        "[",
        "[b-a]",
        "a**",
        "*",
        "\\",
        "a{5000}",
        "((a{999}){999}){999}",
        "(?=a)",
        r"\p{L}",
        "a{2,1}",
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Pattern(pattern)
    assert found(pattern, "aaa") is False


def test_letters_of_either_case() -> None:
    assert found("(?i)^WEB-[a-c]$", "web-B")
    assert not found("^WEB", "web")
    assert not found("a(?i)b", "aB")
