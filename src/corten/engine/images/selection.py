"""Which images a list or a prune means: pure filters over records.

Owns Docker's filter names, their errors and Go's ``path.Match``. Refuses to know containers: it is told which images
they use.
"""

import re
import time
from collections.abc import Collection
from typing import Final

from corten.api.filters import Filters
from corten.api.pattern import Pattern
from corten.engine.images.record import ImageRecord
from corten.engine.images.render import seconds
from corten.engine.images.store import ImageStore
from corten.errors import InvalidArgument
from corten.oci.reference import Reference

LIST_FILTERS: Final = frozenset(("dangling", "label", "before", "since", "reference", "until"))
PRUNE_FILTERS: Final = frozenset(("dangling", "label", "label!", "until"))
_UNIT: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


class Selection:
    """The filters of one request, checked; ``accepts`` says whether an image is meant."""

    def __init__(self, store: ImageStore, filters: Filters, accepted: Collection[str]) -> None:
        filters.check(accepted)
        self._store = store
        self._filters = filters
        self._patterns = [match_pattern(text) for text in filters.values("reference")]
        self.dangling = filters.flag("dangling")
        self._before = min((store.find(name).image.created for name in filters.values("before")), default=None)
        self._since = max((store.find(name).image.created for name in filters.values("since")), default=None)
        self._until = min((moment(text) for text in filters.values("until")), default=None)

    def accepts(self, image: ImageRecord) -> bool:
        """All filters but ``dangling`` and ``reference``, which depend on names."""
        if self._before is not None and image.created >= self._before:
            return False
        if self._since is not None and image.created <= self._since:
            return False
        if self._until is not None and image.created >= self._until:
            return False
        labels = image.labels or {}
        unwanted = (Filters({"label": [value]}) for value in self._filters.values("label!"))
        return self._filters.match_labels("label", labels) and not any(
            each.match_labels("label", labels) for each in unwanted
        )

    def names(self, image: ImageRecord) -> tuple[list[str], list[str]] | None:
        """The tags and digests to show; None when ``dangling`` or ``reference`` leaves the image out."""
        references = self._store.names(image.id)
        if self._patterns:
            references = [reference for reference in references if self._named(reference)]
            if not references:
                return None
        tags = [reference.familiar() for reference in references if reference.tag]
        digests = [reference.familiar() for reference in references if reference.digest]
        if self.dangling is not None and self.dangling != (not tags):
            return None
        return tags, digests

    def _named(self, reference: Reference) -> bool:
        return any(
            pattern.found(reference.familiar()) or pattern.found(reference.familiar_name())
            for pattern in self._patterns
        )


def moment(text: str, now: float | None = None) -> float:
    """``until``: a Unix time, an RFC 3339 time or date, or a Go duration before now; seconds since the epoch."""
    current = time.time() if now is None else now
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if text and not _DURATION.sub("", text):
        return current - sum(float(number) * _UNIT[unit] for number, unit in _DURATION.findall(text))
    for completed in (text, f"{text}Z", f"{text}T00:00:00Z"):
        try:
            return float(seconds(completed))
        except InvalidArgument:
            continue
    raise InvalidArgument(f"invalid filter 'until={text}': not a time or a duration")


def match_pattern(text: str) -> Pattern:
    """Go's ``path.Match`` pattern as an expression that must match the whole text; ``*`` stops at a slash."""
    result, position = "", 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "*":
            result += "[^/]*"
        elif character == "?":
            result += "[^/]"
        elif character == "[":
            end = text.find("]", position + (text[position : position + 1] == "^") + 1)
            if end < 0:
                raise InvalidArgument(f"invalid filter 'reference={text}': syntax error in pattern")
            body = text[position:end]
            negated = body.startswith("^")
            inner = re.sub(r"([\\\[&~|])", r"\\\1", body[negated:])
            result += f"[{'^' if negated else ''}{inner}]"
            position = end + 1
        elif character == "\\" and position < len(text):
            result += re.escape(text[position])
            position += 1
        else:
            result += re.escape(character)
    try:
        return Pattern(f"^(?:{result})$")
    except ValueError:
        raise InvalidArgument(f"invalid filter 'reference={text}': syntax error in pattern") from None
