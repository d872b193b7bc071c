"""The command line of corten-runtime as tables: runc's commands and flags. Parses, executes nothing."""

from __future__ import annotations

from corten.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

SWITCH: Final = 0
VALUE: Final = 1
LIST: Final = 2

Table = dict[str, int]
_UNITS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}

GLOBAL: Final[Table] = {
    "root": VALUE, "log": VALUE, "log-format": VALUE, "debug": SWITCH, "systemd-cgroup": SWITCH, "rootless": VALUE,
    "help": SWITCH, "version": SWITCH, "cgroup-manager": VALUE,
}  # fmt: skip
# "no-subreaper" takes away what this runtime never does.
_CREATE: Final[Table] = {
    "bundle": VALUE, "console-socket": VALUE, "pidfd-socket": VALUE, "pid-file": VALUE, "no-pivot": SWITCH,
    "no-new-keyring": SWITCH, "preserve-fds": VALUE,
}  # fmt: skip
COMMANDS: Final[Mapping[str, Table]] = {
    "create": _CREATE,
    "run": {**_CREATE, "detach": SWITCH, "keep": SWITCH, "no-subreaper": SWITCH},
    "start": {},
    "state": {},
    "kill": {"all": SWITCH},
    "delete": {"force": SWITCH},
    "events": {"interval": VALUE, "stats": SWITCH},
    "checkpoint": {},
    "restore": {},
    "exec": {
        "console-socket": VALUE, "cwd": VALUE, "env": LIST, "tty": SWITCH, "user": VALUE, "additional-gids": LIST,
        "process": VALUE, "detach": SWITCH, "pid-file": VALUE, "process-label": VALUE, "apparmor": VALUE,
        "no-new-privs": SWITCH, "cap": LIST, "preserve-fds": VALUE, "cgroup": LIST, "ignore-paused": SWITCH,
        "no-subreaper": SWITCH, "pidfd-socket": VALUE,
    },
    "ps": {"format": VALUE},
    "list": {"format": VALUE, "quiet": SWITCH},
    "pause": {},
    "resume": {},
    "update": {
        "resources": VALUE, "memory": VALUE, "memory-swap": VALUE, "memory-reservation": VALUE, "cpu-quota": VALUE,
        "cpu-period": VALUE, "cpu-burst": VALUE, "cpu-share": VALUE, "cpu-rt-period": VALUE, "cpu-rt-runtime": VALUE,
        "cpu-idle": VALUE, "cpuset-cpus": VALUE, "cpuset-mems": VALUE, "pids-limit": VALUE, "blkio-weight": VALUE,
        "l3-cache-schema": VALUE, "mem-bw-schema": VALUE,
    },
    "features": {},
    "spec": {"bundle": VALUE, "rootless": SWITCH},
}  # fmt: skip
_SHORT: Final[Mapping[str, str]] = {
    "b": "bundle", "d": "detach", "t": "tty", "e": "env", "u": "user", "p": "process", "a": "all", "f": "format",
    "q": "quiet", "r": "resources", "c": "cap", "g": "additional-gids", "h": "help", "v": "version",
}  # fmt: skip


class Options:
    """Parsed flags of one table: a switch is in ``switches``, values by name, lists by name."""

    __slots__ = ("lists", "switches", "values")

    def __init__(self) -> None:
        self.switches: set[str] = set()
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}

    def number(self, name: str) -> int | None:
        """The value of flag ``name`` as an integer."""
        text = self.values.get(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            raise InvalidArgument(f'invalid value "{text}" for flag -{name}: parse error') from None

    def choice(self, name: str, known: Sequence[str]) -> str:
        """The value of flag ``name``, the first of ``known`` when it is not given."""
        value = self.values.get(name) or known[0]
        if value not in known:
            raise InvalidArgument(f'invalid {name}: "{value}" (must be {" or ".join(known)})')
        return value


def size(text: str, name: str) -> int:
    """Bytes, with a unit of 1024 if it has one (``64m``); -1 is unlimited."""
    digits = text.lower().removesuffix("b")
    unit = _UNITS.get(digits[-1:], 1)
    number = digits[:-1] if unit > 1 else digits
    if text == "-1":
        return -1
    if not number.isascii() or not number.isdecimal():
        raise InvalidArgument(f'invalid value "{text}" for flag -{name}: invalid size')
    return int(number) * unit


def parse(arguments: Sequence[str], table: Table) -> tuple[Options, list[str]]:
    """Flags of ``table`` up to the first argument that is none; returns them and the rest."""
    options = Options()
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word == "--":
            return options, list(arguments[index + 1 :])
        if not word.startswith("-") or word == "-":
            break
        index += 1
        name, equals, value = word.lstrip("-").partition("=")
        name = _resolve(name, table)
        kind = table.get(name)
        if kind is None:
            raise InvalidArgument(f"flag provided but not defined: -{name}")
        if kind == SWITCH:
            if not equals or value.lower() in ("true", "1", "t"):
                options.switches.add(name)
            continue
        if not equals:
            if index >= len(arguments):
                raise InvalidArgument(f"flag needs an argument: -{name}")
            value = arguments[index]
            index += 1
        if kind == LIST:
            options.lists.setdefault(name, []).append(value)
        else:
            options.values[name] = value
    return options, list(arguments[index:])


def _resolve(name: str, table: Table) -> str:
    if name in table or len(name) != 1:
        return name
    if name == "f" and "force" in table:
        return "force"
    return _SHORT.get(name, name)
