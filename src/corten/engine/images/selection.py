"""Which images a list or a prune means: pure filters over records.

Owns Docker's filter names, their errors and Go's ``path.Match``. Refuses to know containers: it is told which images
they use.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from corten.engine.images.record import ImageRecord
from corten.engine.images.render import seconds
from corten.engine.images.store import ImageStore
from corten.errors import InvalidArgument
from corten.oci.reference import Reference

LIST_FILTERS: Final = frozenset(("dangling", "label", "before", "since", "reference", "until"))
PRUNE_FILTERS: Final = frozenset(("dangling", "label", "label!", "until"))
_TRUE: Final = frozenset(("true", "1", "t", "True", "TRUE", "T"))
_FALSE: Final = frozenset(("false", "0", "f", "False", "FALSE", "F"))
_UNIT: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")

Filters = Mapping[str, Sequence[str]]


class Selection:
    """The filters of one request, checked; ``accepts`` says whether an image is meant."""

    def __init__(self, store: ImageStore, filters: Filters, accepted: Iterable[str]) -> None:
        check_names(filters, accepted)
        self._store = store
        self._labels = list(filters.get("label", ()))
        self._not_labels = list(filters.get("label!", ()))
        self._patterns = [match_pattern(text) for text in filters.get("reference", ())]
        self.dangling = read_bool("dangling", filters.get("dangling", ()))
        self._before = min((store.find(name).image.created for name in filters.get("before", ())), default=None)
        self._since = max((store.find(name).image.created for name in filters.get("since", ())), default=None)
        self._until = min((moment(text) for text in filters.get("until", ())), default=None)

    def accepts(self, image: ImageRecord) -> bool:
        """All filters but ``dangling`` and ``reference``, which depend on names."""
        if self._before is not None and image.created >= self._before:
            return False
        if self._since is not None and image.created <= self._since:
            return False
        if self._until is not None and image.created >= self._until:
            return False
        labels = image.labels or {}
        return all(_has_label(labels, wanted) for wanted in self._labels) and not any(
            _has_label(labels, unwanted) for unwanted in self._not_labels
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
            pattern.match(reference.familiar()) or pattern.match(reference.familiar_name())
            for pattern in self._patterns
        )


def check_names(filters: Filters, accepted: Iterable[str]) -> None:
    """InvalidArgument with Docker's text for a filter nobody knows."""
    for name in filters:
        if name not in accepted:
            raise InvalidArgument(f"invalid filter '{name}'")


def read_bool(name: str, values: Sequence[str]) -> bool | None:
    """A boolean filter; None when it is absent."""
    if not values:
        return None
    if len(values) == 1 and values[0] in _TRUE:
        return True
    if len(values) == 1 and values[0] in _FALSE:
        return False
    raise InvalidArgument(f"invalid filter '{name}={list(values)}'")


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


def match_pattern(text: str) -> re.Pattern[str]:
    """Go's ``path.Match`` pattern as a regular expression that must match the whole text; ``*`` stops at a slash."""
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
    return re.compile(rf"(?:{result})\Z", re.DOTALL)


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
