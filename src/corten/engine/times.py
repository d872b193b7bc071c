"""Moments as clients write them: Unix seconds with a fraction, RFC 3339, or a duration before now; pure."""

import re
from datetime import UTC, datetime
from typing import Final

from corten.errors import InvalidArgument

_UNITS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PIECE: Final = re.compile(r"(\d{1,19}(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNIX: Final = re.compile(r"(-?\d{1,19})(?:\.(\d{1,9})\d*)?\Z", re.ASCII)


def parse_duration(text: str) -> int:
    """Go's ``1h30m`` in ns. Raises InvalidArgument."""
    pieces = _PIECE.findall(text)
    if not text or "".join(number + unit for number, unit in pieces) != text:
        raise InvalidArgument(f'time: invalid duration "{text}"')
    return sum(int(float(number) * _UNITS[unit]) for number, unit in pieces)


def parse_time(text: str, now_ns: int) -> int:
    """ns since the epoch of ``1700000000.5``, ``2023-01-02T15:04:05Z`` or ``10m`` (ago). Raises InvalidArgument."""
    found = _UNIX.match(text)
    if found is not None:
        seconds, fraction = found.groups()
        return int(seconds) * 10**9 + int((fraction or "").ljust(9, "0"))
    if _PIECE.match(text):
        return now_ns - parse_duration(text)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 10**6) * 1000
    except (OverflowError, ValueError):
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"') from None
