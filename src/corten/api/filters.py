"""The ``filters`` query parameter: its two spellings, and what matching means; pure.

Clients send ``{"label": ["a=b"]}`` (docker-py) or ``{"label": {"a=b": true}}`` (the docker CLI); both mean the same.
"""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from corten.errors import InvalidArgument

_SPELLINGS: Final = dict[str, dict[str, bool] | list[str]]
_TRUE: Final = frozenset({"true", "1", "t", "True", "TRUE", "T"})
_FALSE: Final = frozenset({"false", "0", "f", "False", "FALSE", "F"})


class Filters:
    """Keys with their values, in the order given."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Collection[str]] | None = None) -> None:
        self._values = {key: list(found) for key, found in (values or {}).items()}

    @classmethod
    def parse(cls, text: str) -> "Filters":
        """From the query parameter; empty text means no filter.

        Raises:
            InvalidArgument: it is not a JSON object of lists or maps.
        """
        if not text:
            return cls()
        try:
            document = msgspec.json.decode(text, type=_SPELLINGS)
        except msgspec.MsgspecError as exc:
            raise InvalidArgument(f"invalid filter: {exc}") from exc
        return cls(
            {
                key: [name for name, on in found.items() if on] if isinstance(found, dict) else found
                for key, found in document.items()
            }
        )

    def __bool__(self) -> bool:
        return bool(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filters) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._values)))

    def has(self, key: str) -> bool:
        """Whether ``key`` was given at least one value."""
        return bool(self._values.get(key))

    def values(self, key: str) -> list[str]:
        """The values of ``key``; empty when it was not given."""
        return list(self._values.get(key, ()))

    def having(self, key: str, value: str) -> "Filters":
        """These filters with one value more."""
        return Filters({**self._values, key: [*self._values.get(key, ()), value]})

    def check(self, accepted: Collection[str]) -> None:
        """Raises InvalidArgument ``invalid filter 'x'`` for a key that is not accepted."""
        for key in self._values:
            if key not in accepted:
                raise InvalidArgument(f"invalid filter '{key}'")

    def flag(self, key: str, default: bool | None = None) -> bool | None:
        """A yes-or-no filter; ``default`` when it was not given.

        Raises:
            InvalidArgument: Docker's ``invalid filter 'dangling=[x]'``, also for contradicting values.
        """
        found = self.values(key)
        if not found:
            return default
        if set(found) <= _TRUE:
            return True
        if set(found) <= _FALSE:
            return False
        raise InvalidArgument(f"invalid filter '{key}=[{' '.join(found)}]'")

    def match_labels(self, key: str, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` has every ``name`` or ``name=value`` of ``key``."""
        for wanted in self.values(key):
            name, equals, value = wanted.partition("=")
            if name not in labels or (equals and labels[name] != value):
                return False
        return True

    def match_any(self, key: str, candidates: Collection[str]) -> bool:
        """Whether ``key`` was not given, or one of its values is a candidate."""
        wanted = self.values(key)
        return not wanted or any(value in candidates for value in wanted)
