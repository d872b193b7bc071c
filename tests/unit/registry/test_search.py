"""Which registry a search term names."""

from __future__ import annotations

import pytest

from corten.errors import InvalidArgument
from corten.registry.search import split


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("word", ("docker.io", "word")),
        ("library/word", ("docker.io", "word")),
        ("user/word", ("docker.io", "user/word")),
        ("docker.io/word", ("docker.io", "word")),
        ("index.docker.io/library/word", ("docker.io", "word")),
        ("localhost/word", ("localhost", "word")),
        ("h:5000/a/b", ("h:5000", "a/b")),
        ("h.test/", ("h.test", "")),
        ("", ("docker.io", "")),
    ],
)
def test_terms(term: str, expected: tuple[str, str]) -> None:
    assert split(term) == expected


@pytest.mark.parametrize("term", ["https://h/word", "word://"])
def test_addresses_are_no_terms(term: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid repository name"):
        split(term)
