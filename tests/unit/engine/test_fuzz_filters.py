"""Filters of every list and prune, of any shape: refused with a text of our own, or answered with yes or no."""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.engine.test_selection import record

from corten.api.filters import Filters
from corten.engine.containers import prune, selection
from corten.engine.containers.selection import Resolved
from corten.engine.images import search
from corten.engine.images.selection import LIST_FILTERS, PRUNE_FILTERS, Selection, match_pattern, moment
from corten.engine.images.store import ImageStore
from corten.engine.networks.catalog import ACCEPTED_FILTERS, Catalog
from corten.engine.times import parse_time
from corten.errors import CortenError

KEYS = sorted(
    {
        *selection.ACCEPTED,
        *prune.ACCEPTED,
        *LIST_FILTERS,
        *PRUNE_FILTERS,
        *ACCEPTED_FILTERS,
        "stars",
        "is-official",
        "is-automated",
        "x",
    }
)
VALUES = st.text(max_size=8) | st.sampled_from(
    ["", "[", "(", "a**", "(?P<", "\\", "*", "[^", "[]", "[a-", "true", "False", "9" * 5000, "-1", "+0", "80/tcp", "8-9/udp", "65536", "9-8", "٣",
     "running", "healthy", "label=x", "a=b=c", "=", "1h", "1h30m", "-1h", "1e9", "99999999999999999999", "2020-01-01", "2020-01-01T25:00:00Z", "0001-01-01T00:00:00Z",
     "9999-12-31T23:59:59.999999999Z", "inf", "nan", "1.1.1", "\ud800", "\0", "sha256:", "name:tag@sha256:0"]
)  # fmt: skip
SPELLINGS = st.lists(VALUES, max_size=2) | st.dictionaries(VALUES, st.booleans(), max_size=2)
FILTERS = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), SPELLINGS, max_size=3)


def parsed(document: Any) -> Filters | None:
    try:
        return Filters.parse(json.dumps(document))
    except CortenError:
        return None


@settings(max_examples=500)
@given(FILTERS)
def test_fuzz_filters_of_containers(document: dict[str, Any]) -> None:
    filters = parsed(document)
    if filters is None:
        return
    try:
        selection.check(filters)
        assert selection.matches(record(), filters, Resolved()) in (True, False)
    except CortenError:
        pass
    try:
        assert prune.selected(record(), filters, 50) in (True, False)
    except CortenError:
        pass


@settings(max_examples=500)
@given(FILTERS)
@example({"until": ["9" * 5000]})
def test_fuzz_filters_of_images_and_networks(document: dict[str, Any]) -> None:
    filters = parsed(document)
    if filters is None:
        return
    store = ImageStore(None)  # type: ignore[arg-type]
    for accepted in (LIST_FILTERS, PRUNE_FILTERS):
        try:
            Selection(store, filters, accepted)
        except CortenError:
            pass
    catalog = Catalog("/x", inter_container=True, masquerade=True, bind_address="")
    try:
        assert isinstance(catalog.matching(filters, []), list)
    except CortenError:
        pass


@given(VALUES)
def test_fuzz_moments_and_patterns(text: str) -> None:
    for read in (
        lambda: parse_time(text, time.time_ns()),
        lambda: moment(text),
        lambda: match_pattern(text).found("name:tag"),
        lambda: search._stars(text),
    ):
        try:
            read()
        except CortenError:
            pass
