"""Help pages, laid out as the docker CLI does; pure but for the terminal's width."""

from __future__ import annotations

import os

from corten.cli import catalog, summaries
from corten.cli.catalog import Command
from corten.cli.options import REPEATED, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "corten"
DEFAULT_WIDTH = 80
#: What a format option takes is the same for every list, so its help is written once.
LIST_FORMAT = (
    "Shape of the output:\n'table':            Columns with headers (default)\n"
    "'table TEMPLATE':   Columns of a Go template\n'json':             One JSON document a line\n"
    "'TEMPLATE':         What the Go template gives"
)
ITEM_FORMAT = "Shape of the output:\n'json':             JSON\n'TEMPLATE':         What the Go template gives"


def command(row: Command, called: str) -> str:
    """The page of one command as it was called."""
    from corten.cli.main import load

    _, flags = load(row)
    lines = [f"Usage:  {PROGRAM} {called} {row.arguments}".rstrip(), "", summaries.COMMANDS[row.words]]
    if row.aliases:
        names = [row.words, *row.aliases]
        lines += ["", "Aliases:", "  " + ", ".join(f"{PROGRAM} {name}" for name in names)]
    visible = [flag for flag in flags if not flag.hidden]
    if visible:
        lines += ["", "Options:", options(visible)]
    return "\n".join(lines) + "\n"


def group(word: str) -> str:
    """The page of a management group."""
    rows = [row for row in catalog.COMMANDS if row.words.startswith(f"{word} ") and row.code]
    lines = [f"Usage:  {PROGRAM} {word} COMMAND", "", summaries.GROUPS[word], "", "Commands:"]
    lines += _table([(row.words.split()[1], summaries.COMMANDS[row.words]) for row in rows])
    lines += ["", f"Run '{PROGRAM} {word} COMMAND --help' for more information on a command."]
    return "\n".join(lines) + "\n"


def program(flags: Sequence[Flag]) -> str:
    """The page of the program itself."""
    ready = [row for row in catalog.COMMANDS if row.code]
    top = {
        name: summaries.COMMANDS[row.words] for row in ready for name in (row.words, *row.aliases) if " " not in name
    }
    others = sorted((name, text) for name, text in top.items() if name not in catalog.COMMON)
    lines = [f"Usage:  {PROGRAM} [OPTIONS] COMMAND", "", "A container engine", "", "Common Commands:"]
    lines += _table([(name, top[name]) for name in catalog.COMMON])
    lines += ["", "Management Commands:", *_table(sorted(summaries.GROUPS.items()))]
    lines += ["", "Commands:", *_table(others), "", "Global Options:", options(flags)]
    lines += ["", f"Run '{PROGRAM} COMMAND --help' for more information on a command."]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(11, *(len(name) + 1 for name, _ in rows))
    return [f"  {name:<{width}} {text}" for name, text in rows]


def options(flags: Sequence[Flag], width: int = 0) -> str:
    """The options block: names in one column, texts wrapped beside them."""
    width = width or _terminal_width()
    rows = []
    for flag in sorted(flags, key=lambda flag: flag.long):
        name = f"  -{flag.short}, --{flag.long}" if flag.short else f"      --{flag.long}"
        if flag.kind != "bool":
            name += f" {'int' if flag.kind == 'int64' else flag.kind}"
        rows.append((name, flag.text + _default(flag)))
    column = max(len(name) for name, _ in rows) + 3
    lines = []
    for name, text in rows:
        wrapped = [line for paragraph in text.split("\n") for line in _wrap(paragraph, width - 1 - column)]
        lines.append(f"{name:<{column}}{wrapped[0]}")
        lines += [" " * column + line for line in wrapped[1:]]
    return "\n".join(lines)


def _default(flag: Flag) -> str:
    if flag.default_text:
        return f" (default {flag.default_text})"
    value = flag.default
    if flag.kind in REPEATED or value in (None, False, 0, ""):
        return ""
    if value is True:
        return " (default true)"
    return f' (default "{value}")' if isinstance(value, str) else f" (default {value})"


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > max(width, 24):
            lines.append(word)
        else:
            lines[-1] += (" " if lines[-1] else "") + (word or "")
            if not word:
                lines[-1] += " "
    return lines


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(1).columns or DEFAULT_WIDTH
    except OSError:
        return DEFAULT_WIDTH
