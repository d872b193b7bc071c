"""Sizes, durations and times in the words a user of Docker reads; pure.

Follows github.com/docker/go-units (HumanSize, BytesSize, HumanDuration) and Go's ``time.Time.String``.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DECIMAL: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_DAYS_BEFORE_MONTH: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def size(count: float, precision: int = 4) -> str:
    """Bytes in powers of 1000: ``1.98MB``."""
    return _scaled(count, 1000.0, DECIMAL, precision)


def binary_size(count: float) -> str:
    """Bytes in powers of 1024: ``3.84GiB``."""
    return _scaled(count, 1024.0, BINARY, 4)


def _scaled(count: float, base: float, names: tuple[str, ...], precision: int) -> str:
    index = 0
    while count >= base and index < len(names) - 1:
        count /= base
        index += 1
    return f"{count:.{precision}g}{names[index]}"


def duration(seconds: float) -> str:
    """A length of time, roughly: ``Less than a second``, ``About an hour``, ``3 weeks``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if whole < 120:
        return "About a minute"
    if whole < 3600:
        return f"{whole // 60} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for limit, unit, name in ((336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{int(seconds / 3600 / 24 / 365)} years"


def ago(seconds_since_epoch: float) -> str:
    """How long ago a moment was: ``3 hours ago``."""
    return f"{duration(time.time() - seconds_since_epoch)} ago"


def moment(seconds_since_epoch: float) -> str:
    """Local time as Go's ``Time.String``: ``2026-11-24 04:22:08 +0000 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(int(seconds_since_epoch)))


def parse_time(text: str) -> tuple[int, int] | None:
    """An RFC 3339 time as (seconds since the epoch, nanoseconds); None when it is none.

    By hand: the modules that know dates cost more start-up time than a whole command may take.
    """
    try:
        year, month, day = int(text[0:4]), int(text[5:7]), int(text[8:10])
        hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
        rest = text[19:]
        nanoseconds = 0
        if rest.startswith("."):
            digits = 1
            while digits < len(rest) and rest[digits].isdigit():
                digits += 1
            nanoseconds = int(rest[1:digits][:9].ljust(9, "0"))
            rest = rest[digits:]
        offset = 0 if rest in ("Z", "z") else int(rest[0] + "1") * (int(rest[1:3]) * 3600 + int(rest[4:6]) * 60)
    except (ValueError, IndexError):
        return None
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719162
    leap = month > 2 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    days += _DAYS_BEFORE_MONTH[month - 1] + leap + day - 1
    return days * 86400 + hour * 3600 + minute * 60 + second - offset, nanoseconds
