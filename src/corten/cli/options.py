"""Flags as data, and the one parser for them: the semantics of Go's pflag, which Docker's command line has.

Owns how words become values. Refuses to know what a value means: commands turn values into requests.

A boolean may be written ``-d``, ``--detach``, ``--detach=false``; short flags combine (``-it``), the last may carry
its value (``-p80:80``, ``-p=80``); ``--`` ends flags. Where a command line is not *interspersed* the first word that is
no flag ends them too: what follows belongs to the container's program.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    Value = bool | int | float | str | list[str] | None
    Values = dict[str, Value]

BOOL: Final = "bool"
STRING: Final = "string"
INT: Final = "int"
FLOAT: Final = "float"
LIST: Final = "list"  #: may be repeated; each occurrence is one item
CSV: Final = "csv"  #: may be repeated; each occurrence is split at commas

INITIAL: Final[dict[str, Value]] = {BOOL: False, STRING: "", INT: 0, FLOAT: 0.0}

TRUE: Final = frozenset(("1", "t", "T", "true", "TRUE", "True"))
FALSE: Final = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class UsageError(Exception):
    """The words do not fit the command's flags; the text is pflag's."""


class Flag:
    """One flag. ``shown`` is the type's name in help; a flag without help text is hidden."""

    __slots__ = ("default", "kind", "name", "short", "shown", "text")

    def __init__(
        self, name: str, short: str = "", kind: str = STRING, text: str = "", default: Value = None, shown: str = ""
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.text = text
        self.default = default
        self.shown = shown or {BOOL: "", LIST: "list", CSV: "strings", INT: "int", FLOAT: "float"}.get(kind, "string")

    def initial(self) -> Value:
        """The value of a flag that was not given."""
        if self.kind in (LIST, CSV):
            return []
        if self.default is not None:
            return self.default
        return INITIAL[self.kind]


HELP: Final = Flag("help", "", BOOL, "")


class Command:
    """What a verb accepts: ``low`` and ``high`` bound its arguments (``high`` -1: any number)."""

    __slots__ = ("flags", "high", "interspersed", "low", "short", "usage")

    def __init__(
        self,
        usage: str,
        short: str,
        flags: Sequence[Flag] = (),
        *,
        low: int = 0,
        high: int = -1,
        interspersed: bool = True,
    ) -> None:
        self.usage = usage
        self.short = short
        self.flags = flags
        self.low = low
        self.high = high
        self.interspersed = interspersed

    def parse(self, words: Sequence[str]) -> tuple[Values, list[str], frozenset[str]]:
        """Values by flag name, the arguments, and the names that were given; raises UsageError."""
        return parse((*self.flags, HELP), words, interspersed=self.interspersed)

    def check(self, arguments: Sequence[str], path: str) -> None:
        """Refuse a wrong number of arguments with Docker's text; raises UsageError."""
        count = len(arguments)
        if self.low <= count and (self.high < 0 or count <= self.high):
            return
        raise UsageError(f"'{path}' {_wanted(self.low, self.high)}")

    def help(self, path: str) -> str:
        """The text of ``--help``, laid out as Docker's."""
        lines = [f"Usage:  {self.usage}", "", self.short]
        shown = sorted((flag for flag in self.flags if flag.text), key=lambda flag: flag.name)
        if shown:
            lines += ["", "Options:", *_flag_lines(shown)]
        return "\n".join(lines)


def parse(
    flags: Iterable[Flag], words: Sequence[str], *, interspersed: bool
) -> tuple[Values, list[str], frozenset[str]]:
    """See :meth:`Command.parse`."""
    long = {flag.name: flag for flag in flags}
    short = {flag.short: flag for flag in long.values() if flag.short}
    values: Values = {flag.name: flag.initial() for flag in long.values()}
    given: set[str] = set()
    arguments: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments += rest
            break
        if word == "-" or not word.startswith("-"):
            arguments.append(word)
            if not interspersed:
                arguments += rest
                break
        elif word.startswith("--"):
            _long(word, rest, long, values, given)
        else:
            _short(word, rest, short, values, given)
    return values, arguments, frozenset(given)


def _long(word: str, rest: list[str], long: dict[str, Flag], values: Values, given: set[str]) -> None:
    name, equals, text = word[2:].partition("=")
    flag = long.get(name)
    if flag is None:
        raise UsageError(f"unknown flag: --{name}")
    if not equals:
        if flag.kind == BOOL:
            text = "true"
        elif rest:
            text = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: --{name}")
    _store(flag, text, f"--{name}", values, given)


def _short(word: str, rest: list[str], short: dict[str, Flag], values: Values, given: set[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = short.get(letter)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
        if letters.startswith("="):
            text, letters = letters[1:], ""
        elif flag.kind == BOOL:
            text = "true"
        elif letters:
            text, letters = letters, ""
        elif rest:
            text = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in {word}")
        _store(flag, text, f"-{letter}, --{flag.name}", values, given)


def _store(flag: Flag, text: str, shown: str, values: Values, given: set[str]) -> None:
    try:
        value = _convert(flag.kind, text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "{shown}" flag: {error}') from None
    if isinstance(value, list):
        held = values[flag.name]
        values[flag.name] = [*held, *value] if isinstance(held, list) else value
    else:
        values[flag.name] = value
    given.add(flag.name)


def _convert(kind: str, text: str) -> Value:
    if kind == BOOL:
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    if kind == INT:
        try:
            return int(text, 0)
        except ValueError:
            raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if kind == FLOAT:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax') from None
    if kind == CSV:
        return text.split(",") if text else []
    return [text] if kind == LIST else text


def _wanted(low: int, high: int) -> str:
    def plural(count: int) -> str:
        return f"{count} argument{'' if count == 1 else 's'}"

    if high == 0:
        return "accepts no arguments"
    if low == high:
        return f"requires {plural(low)}"
    if high < 0:
        return f"requires at least {plural(low)}"
    if low == 0:
        return f"requires at most {plural(high)}"
    return f"requires at least {low} and at most {plural(high)}"


def _flag_lines(flags: Sequence[Flag]) -> list[str]:
    left = [
        f"  {f'-{flag.short}, ' if flag.short else '    '}--{flag.name}{f' {flag.shown}' if flag.shown else ''}"
        for flag in flags
    ]
    width = max(len(text) for text in left) + 3
    lines = []
    for text, flag in zip(left, flags, strict=True):
        default = flag.default
        ending = ""
        if default and default is not True and f"(default {default}" not in flag.text:
            ending = f' (default "{default}")' if flag.kind == STRING else f" (default {default})"
        lines.append(f"{text:<{width}}{flag.text}{ending}")
    return lines
