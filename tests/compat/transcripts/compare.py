"""What two engines printed for the same command, made comparable; pure.

Ids, times, addresses and places become tokens. JSON is compared member by member: first the names and kinds of all members, then the
values. Lines of text are compared as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_AGO = r"(?:Less than a second|About a[n]? (?:minute|hour)|\d+ (?:seconds?|minutes?|hours?))"
_TOKENS = (
    ("time", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?(?: [A-Z]{3,4})?")),
    ("zero", re.compile(r"0001-01-01T00:00:00Z")),
    ("digest", re.compile(r"\b[0-9a-f]{64}\b")),
    ("short", re.compile(r"\b[0-9a-f]{12}\b(?![0-9a-f])")),
    ("mac", re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b")),
    ("address", re.compile(r"\b172\.\d+\.\d+\.\d+\b")),
    ("ago", re.compile(_AGO + r"(?= ago| \(|$|\s{2,})| Up " + _AGO)),
    ("port", re.compile(r"\b(?:49|3[2-9]|4\d|5\d|60)\d{3}\b")),
)
_SPACES = re.compile(r" {2,}")


@dataclass
class Tokens:
    """What one engine's transcripts are read with; ``places`` are its directories, by name."""

    places: dict[str, str]

    def text(self, line: str) -> str:
        """``line`` with what changes from run to run replaced."""
        for place, name in self.places.items():
            line = line.replace(place, f"<{name}>")
        for kind, pattern in _TOKENS:
            line = pattern.sub(lambda match, kind=kind: _token(kind, match[0]), line)
        return _SPACES.sub("  ", line.rstrip())


def _token(kind: str, value: str) -> str:
    return "<never>" if value.startswith("0001-01-01") else f"<{kind}>"


@dataclass(frozen=True)
class Outcome:
    """What one command did."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Difference:
    """``where`` is ``exit``, ``out N``, ``err N`` (line numbers) or the path of a JSON member."""

    where: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.where}: docker {self.theirs!r}, corten {self.ours!r}"


def differences(theirs: Outcome, ours: Outcome, tokens: tuple[Tokens, Tokens]) -> list[Difference]:
    """Everything in which ``ours`` is not ``theirs``."""
    found = []
    if theirs.code != ours.code:
        found.append(Difference("exit", str(theirs.code), str(ours.code)))
    found += _compare("out", theirs.out, ours.out, tokens)
    found += _compare("err", theirs.err, ours.err, tokens)
    return found


def _compare(what: str, theirs: str, ours: str, tokens: tuple[Tokens, Tokens]) -> Iterator[Difference]:
    documents = _documents(theirs), _documents(ours)
    if documents[0] is not None and documents[1] is not None:
        left, right = (dict(flatten(document)) for document in documents)
        left, right = (
            {path: side.text(value) for path, value in flat.items()}
            for flat, side in zip((left, right), tokens, strict=True)
        )
        for path in sorted(left.keys() | right.keys()):
            if left.get(path) != right.get(path):
                yield Difference(path, left.get(path, "(missing)"), right.get(path, "(missing)"))
        return
    lines = [[side.text(line) for line in text.splitlines()] for text, side in zip((theirs, ours), tokens, strict=True)]
    for number in range(max(map(len, lines))):
        pair = [side[number] if number < len(side) else "(missing)" for side in lines]
        if pair[0] != pair[1]:
            yield Difference(f"{what} {number + 1}", pair[0], pair[1])


def _documents(text: str) -> Any:
    """A JSON document, or several a line each; None for what is text."""
    if not text.strip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return None


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """``(path, value as JSON)`` of every leaf; an empty object or list is a leaf."""
    if isinstance(value, dict) and value:
        for key, member in value.items():
            yield from flatten(member, f"{path}.{key}")
    elif isinstance(value, list) and value:
        for number, member in enumerate(value):
            yield from flatten(member, f"{path}[{number}]")
    else:
        yield path or ".", json.dumps(value)
