"""WWW-Authenticate, read: RFC 9110 section 11.6.1, as registries write it.

Owns the grammar only. Refuses to know what a challenge is answered with.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

MAX_HEADER: Final = 8192
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$))")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BARE: Final = re.compile(r'[^\s,"]+')
_SPACE: Final = re.compile(r"[ \t]*")
_SEPARATOR: Final = re.compile(r"[ \t,]*")


class Challenge(NamedTuple):
    """One challenge: ``scheme`` in lower case, parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Every well-formed challenge of the WWW-Authenticate lines, in order; what cannot be read ends its line."""
    found: list[Challenge] = []
    for header in headers:
        found.extend(_parse_line(header[:MAX_HEADER]))
    return found


def _parse_line(line: str) -> list[Challenge]:
    challenges: list[tuple[str, dict[str, str]]] = []
    position = _skip(_SEPARATOR, line, 0)
    while position < len(line):
        token = _TOKEN.match(line, position)
        if token is None:
            break
        after = _skip(_SPACE, line, token.end())
        if line[after : after + 1] == "=" and challenges:
            read = _value(line, _skip(_SPACE, line, after + 1))
            if read is None:
                break
            value, position = read
            challenges[-1][1].setdefault(token.group().lower(), value)
        else:
            challenges.append((token.group().lower(), {}))
            # RFC 9110: a scheme may carry one token68 instead of parameters (Negotiate does).
            blob = _TOKEN68.match(line, after)
            position = blob.end() if blob is not None and after > token.end() else after
        position = _skip(_SEPARATOR, line, position)
    return [Challenge(scheme, parameters) for scheme, parameters in challenges]


def _value(line: str, position: int) -> tuple[str, int] | None:
    quoted = _QUOTED.match(line, position)
    if quoted is not None:
        return re.sub(r"\\(.)", r"\1", quoted.group(1)), quoted.end()
    token = _BARE.match(line, position)
    return (token.group(), token.end()) if token is not None else None


def _skip(pattern: re.Pattern[str], line: str, position: int) -> int:
    match = pattern.match(line, position)
    return match.end() if match is not None else position
