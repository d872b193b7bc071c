"""Command line words into option values, from flag tables that are data; pure.

Rules are those of the flag package the docker CLI uses (GNU style): ``--name value``, ``--name=value``, ``-n value``,
``-nvalue``, ``-n=value``, combined shorts, booleans that take a value only after ``=``, ``--`` ends the options, and a
command that passes its arguments to a program stops at the first argument. Error texts are those a docker user knows.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
INT_BITS = {"int": 64, "int64": 64, "uint16": 16, "uint": 64}
#: Kinds whose values add up, in the order they were given.
REPEATED = frozenset(
    {"list", "strings", "map", "filter", "mount", "ulimit", "network", "gpu-request", "stringToString"}
)


class UsageError(Exception):
    """The command line is wrong; shown with the command's usage line."""


class Flag:
    """One option. ``kind`` is the word help prints; ``default`` is the value when it is absent.

    ``check`` refuses one value (raises ValueError with the reason) or returns what is kept of it.
    """

    __slots__ = ("check", "default", "default_text", "hidden", "kind", "long", "short", "text")

    def __init__(
        self, long: str, short: str, kind: str, text: str, default: object = None, *,
        shown: str = "", hidden: bool = False, check: Callable[[str], object] | None = None,
    ) -> None:  # fmt: skip
        self.long = long
        self.short = short
        self.kind = kind
        self.text = text
        self.hidden = hidden
        self.check = check
        self.default_text = shown
        if default is None and kind == "bool":
            default = False
        elif default is None and kind in INT_BITS:
            default = 0
        elif default is None and kind not in REPEATED:
            default = ""
        self.default = default

    @property
    def label(self) -> str:
        """How messages name it: ``-m, --memory`` or ``--name``."""
        return f"-{self.short}, --{self.long}" if self.short else f"--{self.long}"

    def convert(self, value: str) -> object:
        """One word as a value.

        Raises:
            UsageError: it is none.
        """
        try:
            if self.kind == "bool":
                return parse_bool(value)
            if self.kind in INT_BITS:
                return parse_int(value, self.kind)
            return self.check(value) if self.check is not None else value
        except ValueError as error:
            raise UsageError(f'invalid argument "{value}" for "{self.label}" flag: {error}') from None


class Options:
    """What was given, by the flags' long names; ``changed`` holds those that were set at all."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.changed: set[str] = set()
        self._values: dict[str, object] = {
            flag.long: [] if flag.kind in REPEATED and flag.default is None else flag.default for flag in flags
        }

    def set(self, flag: Flag, value: object) -> None:
        """Take one converted value."""
        self.changed.add(flag.long)
        if flag.kind in REPEATED:
            kept = self._values[flag.long]
            assert isinstance(kept, list)
            kept.append(value)
        else:
            self._values[flag.long] = value

    def flag(self, name: str) -> bool:
        """A boolean."""
        return self._values[name] is True

    def text(self, name: str) -> str:
        """A string."""
        value = self._values[name]
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """An integer (bytes and durations too)."""
        value = self._values[name]
        return value if isinstance(value, int) else 0

    def texts(self, name: str) -> list[str]:
        """A repeated string."""
        value = self._values[name]
        return [str(item) for item in value] if isinstance(value, list) else []

    def items(self, name: str) -> list[object]:
        """A repeated value of another kind."""
        value = self._values[name]
        return list(value) if isinstance(value, list) else []


def parse_bool(value: str) -> bool:
    """Go's ``strconv.ParseBool``."""
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def parse_int(value: str, kind: str = "int") -> int:
    """Go's ``strconv.ParseInt`` with base 0 (0x, 0o, 0b and underscores are understood)."""
    function = "ParseUint" if kind.startswith("u") else "ParseInt"
    failure = f'strconv.{function}: parsing "{value}": '
    try:
        digits = value.lstrip("+-")
        octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
        number = int(value, 8) if octal else int(value, 0)
    except ValueError:
        raise ValueError(f"{failure}invalid syntax") from None
    if value != value.strip() or (function == "ParseUint" and value[:1] in "+-"):
        raise ValueError(f"{failure}invalid syntax")
    bits = INT_BITS[kind]
    low, high = (0, (1 << bits) - 1) if function == "ParseUint" else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if not low <= number <= high:
        raise ValueError(f"{failure}value out of range")
    return number


class HelpRequested(Exception):
    """``--help`` (or ``-h`` where that is no option of the command) was given."""


def parse(flags: Sequence[Flag], words: Sequence[str], *, interspersed: bool = True) -> tuple[Options, list[str]]:
    """Options and arguments of ``words``.

    Raises:
        UsageError: with the text that a docker user knows.
        HelpRequested: the command's help is wanted.
    """
    options = Options(flags)
    arguments: list[str] = []
    by_long = {flag.long: flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if len(word) < 2 or word[0] != "-":
            arguments.append(word)
            if not interspersed:
                break
        elif word == "--":
            break
        elif word[1] == "-":
            _parse_long(by_long, options, word, rest)
        else:
            _parse_shorts(by_short, options, word, rest)
    return options, arguments + rest


def _parse_long(by_long: dict[str, Flag], options: Options, word: str, rest: list[str]) -> None:
    name, separator, value = word[2:].partition("=")
    if not name or name[0] == "-":
        raise UsageError(f"bad flag syntax: {word}")
    flag = by_long.get(name)
    if flag is None:
        if name == "help":
            raise HelpRequested
        raise UsageError(f"unknown flag: --{name}")
    if separator:
        options.set(flag, flag.convert(value))
    elif flag.kind == "bool":
        options.set(flag, True)
    elif rest:
        options.set(flag, flag.convert(rest.pop(0)))
    else:
        raise UsageError(f"flag needs an argument: {word}")


def _parse_shorts(by_short: dict[str, Flag], options: Options, word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        flag = by_short.get(letters[0])
        if flag is None:
            if letters[0] == "h":
                raise HelpRequested
            raise UsageError(f"unknown shorthand flag: '{letters[0]}' in -{letters}")
        after = letters[1:]
        if len(after) > 1 and after[0] == "=":
            options.set(flag, flag.convert(after[1:]))
            return
        if flag.kind == "bool":
            options.set(flag, True)
            letters = after
        elif after:
            options.set(flag, flag.convert(after))
            return
        elif rest:
            options.set(flag, flag.convert(rest.pop(0)))
            return
        else:
            raise UsageError(f"flag needs an argument: '{letters[0]}' in -{letters}")
