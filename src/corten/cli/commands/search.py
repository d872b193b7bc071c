"""``search``: repositories of a registry by a word."""

from __future__ import annotations

import sys

from corten.cli import credentials, listing
from corten.cli.listing import Layout
from corten.cli.options import Flag
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

SEARCH_FLAGS: Final = (
    Flag("filter", "f", "filter", 'Filter output (e.g. "stars=3")', check=listing.filter_value),
    Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
    Flag("limit", "", "int", "Max number of search results"),
    Flag("no-trunc", "", "bool", "Don't truncate output"),
)
_KIND: Final = "*registry.searchContext"
_COLUMNS: Final = (
    ("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL"),
)  # fmt: skip
_WIDTH: Final = 45
_DEPRECATED: Final = (
    'WARNING: the "is-automated" filter is deprecated, and searching for "is-automated=true" will not yield any '
    "results in future."
)


def search(session: Session, given: Options, arguments: list[str]) -> int:
    """Print what the registry finds."""
    (term,) = arguments
    wanted = given.texts("filter")
    if any(value.partition("=")[0].strip().lower() == "is-automated" for value in wanted):
        session.complain(_DEPRECATED)
    limit = given.number("limit")
    query = {"term": term, "limit": str(limit) if limit > 0 else "", "filters": listing.filters(wanted)}
    headers = credentials.header(session.config, credentials.server_of(term))
    found = session.client.call("GET", "/images/search", query, None, headers)
    rows = [_row(entry, whole=given.flag("no-trunc"), as_json=given.text("format") == "json") for entry in found]
    sys.stdout.write(listing.render(Layout(_KIND, _COLUMNS, "Name", {}), rows, given.text("format"), quiet=False))
    return 0


def _row(entry: dict[str, Any], *, whole: bool, as_json: bool) -> Row:
    text = str(entry.get("description") or "").replace("\n", " ").replace("\r", " ")
    official = bool(entry.get("is_official"))
    mark = ("true" if official else "false") if as_json else "[OK]" if official else ""
    return Row(
        _KIND,
        {
            "Description": lambda: text if whole else listing.ellipsis(text, _WIDTH),
            "IsOfficial": lambda: mark,
            "Name": lambda: entry.get("name", ""),
            "StarCount": lambda: str(entry.get("star_count", 0)),
        },
    )
