"""Regular expressions that clients send, searched for in time proportional to pattern times text; pure.

Go's ``regexp`` promises that, Python's ``re`` does not: one request with ``(a+)+$`` would hold the engine up for years.
The syntax is what RE2 and people share: literals, ``.``, classes, anchors, groups, ``|``, ``* + ? {m,n}`` (greedy or
not: it is only asked whether, not where), ``\\d \\w \\s \\b`` and their opposites, and ``(?i)`` at the beginning. What
is none of that is a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

_MOST: Final = 4000
"""States of one pattern; Go refuses repetitions beyond a thousand."""
_REPEAT: Final = 1000
_DEPTH: Final = 100
_SPACE: Final = frozenset(" \t\n\r\f\v")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}

Test = Callable[[str], bool]
#: On the characters before and after, "" at an end.
Edge = Callable[[str, str], bool]
#: What a character must be to go on, or None; an assertion, or None; the next states.
State = tuple[Test | None, Edge | None, list[int]]


class One(NamedTuple):
    """A character, or (``test`` None) a place."""

    test: Test | None
    edge: Edge | None


class Sequence(NamedTuple):
    """One after the other."""

    parts: list[Node]


class Choice(NamedTuple):
    """Any of them."""

    parts: list[Node]


class Repeat(NamedTuple):
    """``high`` -1: any number."""

    part: Node
    low: int
    high: int


Node = One | Sequence | Choice | Repeat


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


_KINDS: Final[dict[str, Test]] = {
    "d": lambda c: "0" <= c <= "9",
    "w": _is_word,
    "s": lambda c: c in _SPACE,
    "D": lambda c: not "0" <= c <= "9",
    "W": lambda c: not _is_word(c),
    "S": lambda c: c not in _SPACE,
}
_EDGES: Final[dict[str, Edge]] = {
    "^": lambda before, after: not before,
    "A": lambda before, after: not before,
    "$": lambda before, after: not after,
    "z": lambda before, after: not after,
    "b": lambda before, after: _is_word(before) != _is_word(after),
    "B": lambda before, after: _is_word(before) == _is_word(after),
}


class Pattern:
    """A compiled pattern; ValueError when it is none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._folds = text.startswith("(?i)")
        self._at = 4 if self._folds else 0
        self._depth = 0
        self._states: list[State] = []
        tree = self._alternatives()
        if self._at < len(text):
            raise ValueError(f"unexpected ) at {self._at}")
        self._end = self._state(None, None, [])
        self._start = self._build(tree, self._end)

    def found(self, text: str) -> bool:
        """Whether it is anywhere in ``text``."""
        current: set[int] = set()
        for position in range(len(text) + 1):
            before, after = text[position - 1 : position] if position else "", text[position : position + 1]
            current = self._closure({self._start, *current}, before, after)
            if self._end in current:
                return True
            reached = set()
            for number in current:
                test, _, following = self._states[number]
                if test is not None and after and test(after):
                    reached.update(following)
            current = reached
        return False

    def _closure(self, states: set[int], before: str, after: str) -> set[int]:
        """All states that are reached without a character."""
        seen = set(states)
        pending = list(states)
        while pending:
            test, edge, following = self._states[pending.pop()]
            if test is None and (edge is None or edge(before, after)):
                pending += [number for number in following if number not in seen]
                seen.update(following)
        return seen

    # -- states, each part in front of the state it goes on to

    def _state(self, test: Test | None, edge: Edge | None, following: list[int]) -> int:
        if len(self._states) >= _MOST:
            raise ValueError("the expression is too large")
        self._states.append((test, edge, following))
        return len(self._states) - 1

    def _build(self, node: Node, onward: int) -> int:
        if isinstance(node, Choice):
            return self._state(None, None, [self._build(part, onward) for part in node.parts])
        if isinstance(node, Sequence):
            for part in reversed(node.parts):
                onward = self._build(part, onward)
            return self._state(None, None, [onward])
        if isinstance(node, Repeat):
            return self._build_repeat(node, onward)
        return self._state(node.test, node.edge, [onward])

    def _build_repeat(self, node: Repeat, onward: int) -> int:
        start = onward
        if node.high < 0:
            start = self._state(None, None, [onward])
            self._states[start][2].append(self._build(node.part, start))
        for _ in range(node.high - node.low):
            start = self._state(None, None, [onward, self._build(node.part, start)])
        for _ in range(node.low):
            start = self._build(node.part, start)
        return start

    # -- the text

    def _alternatives(self) -> Node:
        self._depth += 1
        if self._depth > _DEPTH:
            raise ValueError("the expression is nested too deeply")
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        self._depth -= 1
        return Choice(parts) if len(parts) > 1 else parts[0]

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            part = self._atom()
            low, high = self._counts()
            parts.append(part if (low, high) == (1, 1) else Repeat(part, low, high))
        return Sequence(parts)

    def _counts(self) -> tuple[int, int]:
        """How often at least and at most (-1: any number) what was just read is wanted."""
        word = self._peek()
        counts = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}.get(word)
        if counts is not None:
            self._at += 1
        elif word == "{" and (close := self._text.find("}", self._at)) > 0:
            low, comma, high = self._text[self._at + 1 : close].partition(",")
            if not (low.isascii() and low.isdecimal() and (not high or (high.isascii() and high.isdecimal()))):
                return 1, 1  # as it stands, as in Go
            self._at = close + 1
            counts = int(low[:9]), (int(high[:9]) if high else -1) if comma else int(low[:9])
            if max(counts) > _REPEAT or (counts[1] >= 0 and counts[0] > counts[1]):
                raise ValueError("bad repetition")
        if counts is None:
            return 1, 1
        if self._peek() == "?":
            self._at += 1
        if self._peek() in ("*", "+", "?"):
            raise ValueError("nested repetition operator")
        return counts

    def _atom(self) -> Node:
        character = self._next()
        if character in "*+?":
            raise ValueError(f"nothing to repeat at {self._at - 1}")
        if character == "(":
            self._group()
            inner = self._alternatives()
            if self._next() != ")":
                raise ValueError("missing )")
            return inner
        if character in _EDGES and character in "^$":
            return One(None, _EDGES[character])
        if character == "\\":
            return self._escaped()
        test: Test = self._class() if character == "[" else self._any if character == "." else character.__eq__
        return One(self._folded(test), None)

    @staticmethod
    def _any(character: str) -> bool:
        return character != "\n"

    def _group(self) -> None:
        rest = self._text[self._at :]
        if not rest.startswith("?"):
            return
        name, close, _ = rest.removeprefix("?P<").removeprefix("?<").partition(">")
        if rest.startswith("?:"):
            self._at += 2
        elif rest.startswith(("?P<", "?<")) and close and name.isidentifier():
            self._at += rest.index(">") + 1
        else:
            raise ValueError("an unsupported group")

    def _escaped(self) -> Node:
        character = self._next()
        if character in _EDGES and character.isalpha():
            return One(None, _EDGES[character])
        return One(self._folded(self._kind(character)), None)

    def _folded(self, test: Test) -> Test:
        return (lambda character: test(character.lower()) or test(character.upper())) if self._folds else test

    def _kind(self, character: str) -> Test:
        if character in _KINDS:
            return _KINDS[character]
        if character.isalnum() and character not in _ESCAPES:
            raise ValueError(f"an unsupported escape \\{character}")
        return _ESCAPES.get(character, character).__eq__

    def _class(self) -> Test:
        negated = self._peek() == "^"
        self._at += negated
        tests: list[Test] = []
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._next()
            if low == "\\":
                tests.append(self._kind(self._next()))
                continue
            if self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._next()
                if high == "\\" or low > high:
                    raise ValueError("a bad range")
                tests.append(lambda c, low=low, high=high: low <= c <= high)  # type: ignore[misc]
            else:
                tests.append(low.__eq__)
        self._at += 1
        return lambda character: any(test(character) for test in tests) != negated

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise ValueError("the expression ends too soon")
        self._at += 1
        return character


def found(pattern: str, text: str) -> bool:
    """Whether ``pattern`` is somewhere in ``text``; False when it is no pattern."""
    try:
        return Pattern(pattern).found(text)
    except ValueError:
        return False
