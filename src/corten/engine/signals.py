"""Signal names as Docker takes them (``9``, ``KILL``, ``SIGKILL``, ``RTMIN+3``); pure."""

import signal
from typing import Final

from corten.errors import InvalidArgument

_NAMES: Final = {
    **{
        member.name.removeprefix("SIG"): int(member) for member in signal.Signals if not member.name.startswith("SIGRT")
    },
    "IOT": 6,
    "POLL": 29,
    "STKFLT": 16,
    "CLD": 17,
    "RTMIN": 34,
    "RTMAX": 64,
    **{f"RTMIN+{offset}": 34 + offset for offset in range(1, 16)},
    **{f"RTMAX-{offset}": 64 - offset for offset in range(1, 15)},
}
HIGHEST: Final = 64


def parse_signal(text: str) -> int:
    """The number; raises InvalidArgument ``invalid signal: X``."""
    if text.isascii() and text.isdigit():
        number = int(text)
        if 1 <= number <= HIGHEST:
            return number
    else:
        found = _NAMES.get(text.upper().removeprefix("SIG"))
        if found is not None:
            return found
    raise InvalidArgument(f"invalid signal: {text}")
