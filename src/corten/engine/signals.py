"""Signal names as Docker takes them (``9``, ``KILL``, ``SIGKILL``, ``RTMIN+3``); pure."""

import re
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
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,19}\Z", re.ASCII)
_LARGEST: Final = (1 << 63) - 1


def parse_signal(text: str) -> int:
    """The number. As in Docker any number but 0 is one, whether this kernel has it (:func:`is_sendable`) or not.

    Raises:
        InvalidArgument: ``invalid signal: X``.
    """
    number = int(text) if _NUMBER.match(text) else _NAMES.get(text.upper().removeprefix("SIG"), 0)
    if not number or abs(number) > _LARGEST:
        raise InvalidArgument(f"invalid signal: {text}")
    return number


def is_sendable(number: int) -> bool:
    """Whether it is a signal of Linux that programs may be sent: not of those the C library keeps for itself."""
    return number in _NAMES.values()


def sendable(text: str) -> int:
    """The number of a signal that is to be sent.

    Raises:
        InvalidArgument: it is none, or none of Linux.
    """
    number = parse_signal(text)
    if not is_sendable(number):
        raise InvalidArgument(f"the linux daemon does not support signal {number}")
    return number
