"""A request's query string read by Docker's rules, which differ by parameter type; pure.

Docker ignores names it does not know, takes the first of repeated values, and reads a boolean as true for any text that
is not one of a few spellings of no (moby ``api/server/httputils/form.go``).
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from corten.errors import InvalidArgument

_NO: Final = frozenset({"", "0", "no", "false", "none"})
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}\Z")
_TIMESTAMP: Final = re.compile(r"(-?\d{1,11})(?:\.(\d{1,9})\d*)?\Z")

#: More parameters than any client sends; a longer query is refused before it is decoded.
MAX_PARAMETERS: Final = 1000


class Query:
    """Parameters by name, each with its values in order."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, list[str]] | None = None) -> None:
        self._values = dict(values or {})

    @classmethod
    def parse(cls, text: str) -> "Query":
        """From the text after ``?``.

        Raises:
            InvalidArgument: too many parameters.
        """
        values: dict[str, list[str]] = {}
        if text:
            try:
                pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
            except ValueError as exc:
                raise InvalidArgument(f"invalid query: more than {MAX_PARAMETERS} parameters") from exc
            for name, value in pairs:
                values.setdefault(name, []).append(value)
        return cls(values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """The first value; ``default`` when the parameter is absent."""
        found = self._values.get(name)
        return found[0] if found else default

    def texts(self, name: str) -> list[str]:
        """Every value of a parameter that may be repeated."""
        return list(self._values.get(name, ()))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean: everything but ``0 no false none`` and the empty text is true."""
        found = self._values.get(name)
        return default if not found else found[0].strip().lower() not in _NO

    def number(self, name: str) -> int | None:
        """A whole number; None when it is absent or empty.

        Raises:
            InvalidArgument: it is not one (Go's text, as clients see it from Docker).
        """
        found = self.text(name)
        if not found:
            return None
        if _NUMBER.match(found) is None:
            raise InvalidArgument(f'strconv.Atoi: parsing "{found}": invalid syntax')
        return int(found)

    def timestamp(self, name: str) -> int | None:
        """``seconds[.fraction]`` since the epoch, in ns; None when it is absent or empty.

        Raises:
            InvalidArgument: it is not one.
        """
        found = self.text(name)
        if not found:
            return None
        match = _TIMESTAMP.match(found)
        if match is None:
            raise InvalidArgument(f'invalid value for "{name}": strconv.ParseInt: parsing "{found}": invalid syntax')
        fraction = int(match[2].ljust(9, "0")) if match[2] else 0
        return int(match[1]) * 10**9 + fraction
