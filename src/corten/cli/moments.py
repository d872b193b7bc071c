"""Points in time as a user writes them, for ``--since`` and ``--until``; pure but for the clock and the time zone.

Forms (Docker's): seconds since the epoch with a fraction, RFC 3339 with its shortened forms
(``2006-01-02``, ``2006-01-02T15``, ``…:04``, ``…:05``, ``….999``; without a zone the user's own), and an age in Go's
notation (``1h30m``, ``10s``).
"""

from __future__ import annotations

import time

from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_UNITS: Final = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_DIGITS: Final = frozenset("0123456789")


def to_seconds(text: str) -> str:
    """``seconds.nanoseconds`` since the epoch; ClientError when the form is none of ours."""
    if text and _DIGITS.issuperset(text.replace(".", "", 1)) and text[0] != ".":
        return text
    try:
        nanoseconds = time.time_ns() - _age(text) if _looks_like_age(text) else _date(text)
    except ValueError:
        raise ClientError(f'failed to parse value as time or duration: "{text}"') from None
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


def _looks_like_age(text: str) -> bool:
    return bool(text) and text[-1] in "hms" and "T" not in text and ":" not in text


def _age(text: str) -> int:
    total, rest = 0.0, text.lstrip("+-")
    while rest:
        length = 0
        while length < len(rest) and (rest[length] in _DIGITS or rest[length] == "."):
            length += 1
        number, rest = float(rest[:length]), rest[length:]
        unit = next((name for name in ("ms", "us", "µs", "ns", "h", "m", "s") if rest.startswith(name)), None)
        if unit is None:
            raise ValueError(text)
        total += number * _UNITS[unit]
        rest = rest[len(unit) :]
    return int(-total if text.startswith("-") else total)


def _date(text: str) -> int:
    day, _, clock = text.partition("T") if "T" in text else text.partition(" ")
    year, month, date = (int(part) for part in day.split("-"))
    clock, offset = _zone(clock)
    parts = clock.split(":") if clock else []
    hour, minute = (int(parts[index]) if len(parts) > index else 0 for index in (0, 1))
    second, _, fraction = (parts[2] if len(parts) > 2 else "0").partition(".")
    fields = (year, month, date, hour, minute, int(second), 0, 1, -1)
    nanoseconds = int(fraction[:9].ljust(9, "0")) if fraction else 0
    if offset is None:
        return int(time.mktime(fields)) * 10**9 + nanoseconds
    return (_utc(fields) - offset) * 10**9 + nanoseconds


def _zone(clock: str) -> tuple[str, int | None]:
    """The clock without its zone, and the zone's offset in seconds (None: the user's own)."""
    if clock.endswith(("Z", "z")):
        return clock[:-1], 0
    for sign in "+-":
        head, found, tail = clock.rpartition(sign)
        if found:
            hours, _, minutes = tail.partition(":")
            seconds = int(hours) * 3600 + int(minutes or "0") * 60
            return head, seconds if sign == "+" else -seconds
    return clock, None


def _utc(fields: tuple[int, int, int, int, int, int, int, int, int]) -> int:
    """timegm(3): days since the epoch by the civil calendar."""
    year, month, day = fields[:3]
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError(fields)
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return days * 86400 + fields[3] * 3600 + fields[4] * 60 + fields[5]
