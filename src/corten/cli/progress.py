"""Shows the progress messages of pull, push, load and import as Docker does.

On a terminal every id has a line that is rewritten in place; elsewhere each change of status is one line and bars are
left out. Follows moby's pkg/jsonmessage. Owns no connection: it takes decoded messages.
"""

from __future__ import annotations

import os
import time

from corten.cli import units
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final, TextIO

    Message = dict[str, Any]

_BAR: Final = 50
_BAR_NEEDS: Final = 110  #: columns from which a bar is drawn


def show(
    messages: Iterable[Message], out: TextIO, *, is_terminal: bool | None = None, quiet: bool = False
) -> list[Any]:
    """Write the messages; the auxiliary documents among them. ClientError when one of them is an error.

    ``is_terminal`` None asks ``out``; ``quiet`` writes nothing.
    """
    if is_terminal is None:
        is_terminal = out.isatty()
    auxiliary: list[Any] = []
    lines: dict[str, int] = {}
    for message in messages:
        if message.get("aux") is not None:
            auxiliary.append(message["aux"])
            continue
        if quiet:
            _raise_for(message)
            continue
        up = _place(message, lines, out, is_terminal=is_terminal)
        _show_one(message, out, is_terminal=is_terminal)
        if up and is_terminal:
            out.write(f"\x1b[{up}B")
        out.flush()
    return auxiliary


def _place(message: Message, lines: dict[str, int], out: TextIO, *, is_terminal: bool) -> int:
    """Move the cursor to the line of the message's id; how many lines up that is."""
    name = message.get("id") or ""
    if not name or ("progressDetail" not in message and not message.get("progress")):
        # A line that belongs to no id moves all others away.
        lines.clear()
        return 0
    if name not in lines:
        lines[name] = len(lines)
        if is_terminal:
            out.write("\n")
    up = len(lines) - lines[name]
    if is_terminal and up:
        out.write(f"\x1b[{up}A")
    return up


def _show_one(message: Message, out: TextIO, *, is_terminal: bool) -> None:
    _raise_for(message)
    detail = message.get("progressDetail")
    stream = message.get("stream") or ""
    ending = ""
    if is_terminal and not stream and detail is not None:
        ending = "\r"
        out.write(f"\x1b[2K{ending}")
    elif detail is not None and bar(detail, 0):
        return
    if message.get("id"):
        out.write(f"{message['id']}: ")
    status = message.get("status") or ""
    if detail is not None and is_terminal:
        out.write(f"{status} {bar(detail, _columns(out))}{ending}")
    elif message.get("progress"):
        out.write(f"{status} {message['progress']}{ending}")
    elif stream:
        out.write(f"{stream}{ending}")
    else:
        out.write(f"{status}{ending}\n")


def _columns(out: TextIO) -> int:
    try:
        return os.get_terminal_size(out.fileno()).columns
    except (OSError, ValueError):
        return 200


def bar(detail: Message, columns: int) -> str:
    """``[==>   ]  1.2MB/5MB`` for ``{"current", "total", "start", "units"}``, empty when nothing is known."""
    current, total, unit = detail.get("current") or 0, detail.get("total") or 0, detail.get("units") or ""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{current} {unit}" if unit else f"{units.size(current):>8}"
    half = min(_BAR, int(current / total * 100) // 2)
    drawn = f"[{'=' * half}>{' ' * (_BAR - half)}] " if columns > _BAR_NEEDS else ""
    if detail.get("hidecounts"):
        numbers = ""
    elif unit:
        numbers = f"{current}/{total} {unit}" if current <= total else f"{current} {unit}"
    else:
        numbers = f"{units.size(current):>8}/{units.size(total)}" if current <= total else f"{units.size(current):>8}"
    left = ""
    start = detail.get("start") or 0
    if columns > _BAR and current > 0 and start > 0 and half < _BAR:
        left = f" {_seconds(round((time.time() - start) / current * (total - current)))}"
    return drawn + numbers + left


def _seconds(count: int) -> str:
    """Go's ``Duration.String`` of whole seconds: ``1m5s``."""
    hours, rest = divmod(count, 3600)
    minutes, seconds = divmod(rest, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"


def _raise_for(message: Message) -> None:
    failure = message.get("errorDetail") or ({"message": message["error"]} if message.get("error") else None)
    if failure:
        raise ClientError(str(failure.get("message", "")))
