"""Words of the command line and of ``daemon.json`` as values; pure."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from corten.engine.config import RuntimeConfig, Ulimit
from corten.engine.runtimes import OWN
from corten.errors import InvalidArgument

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_POWERS: Final = {unit: 1024**power for power, unit in enumerate(("", "k", "m", "g", "t", "p"))}
_TRUE: Final = frozenset({"1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false"})


def _bad(word: str, name: str, why: str) -> InvalidArgument:
    return InvalidArgument(f'invalid argument "{word}" for "{name}": {why}')


def text(word: str, _: str) -> str:
    return word


def flag(word: str, name: str) -> bool:
    """Go's spellings of a boolean."""
    lower = word.lower()
    if lower not in _TRUE and lower not in _FALSE:
        raise _bad(word, name, f'strconv.ParseBool: parsing "{word}": invalid syntax')
    return lower in _TRUE


def number(word: str, name: str) -> int:
    """A whole number that is not negative; no option means anything below 0."""
    if not word.isascii() or not word.isdigit() or len(word) > 12:
        raise _bad(word, name, f'strconv.ParseInt: parsing "{word}": invalid syntax')
    return int(word)


def size(word: str, name: str) -> int:
    """``64m`` in bytes; units are binary."""
    match = _SIZE.fullmatch(word)
    if match is None:
        raise _bad(word, name, f"invalid size: '{word}'")
    return int(float(match[1]) * _POWERS[match[2].lower()])


def percent(word: str, name: str) -> int:
    """``90%`` or ``90``; 0 is off."""
    digits = word.removesuffix("%")
    if not digits.isascii() or not digits.isdigit() or int(digits) > 100:
        raise _bad(word, name, "expected a percentage from 0% to 100%")
    return int(digits)


def mapping(words: Sequence[str], name: str) -> dict[str, str]:
    """``key=value`` words."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise _bad(word, name, "expected key=value")
        found[key] = value
    return found


def ulimit(word: str, name: str) -> Ulimit:
    """``nofile=soft[:hard]``; -1 is unlimited."""
    key, equals, limits = word.partition("=")
    soft, colon, hard = limits.partition(":")
    try:
        found = Ulimit(key, int(soft), int(hard if colon else soft))
    except ValueError:
        raise _bad(word, name, "expected name=soft[:hard]") from None
    if not equals or not key or (found.hard != -1 and not -1 < found.soft <= found.hard):
        raise _bad(word, name, "ulimit soft limit must be less than or equal to hard limit")
    return found


def runtime(word: str, name: str) -> RuntimeConfig:
    """``name=path``, with dockerd's texts."""
    key, equals, path = word.partition("=")
    if not equals or not key.strip() or not path.strip():
        raise _bad(word, name, f"invalid runtime argument: {word}")
    return checked_runtime(RuntimeConfig(key.strip().lower(), path.strip()))


def checked_runtime(given: RuntimeConfig) -> RuntimeConfig:
    """One that does not take the name of our own and has a program."""
    if given.name == OWN:
        raise InvalidArgument(f"runtime name '{OWN}' is reserved")
    if not given.path:
        raise InvalidArgument(f"runtime {given.name}: either a runtimeType or a path must be configured")
    return given


def pool(word: str, name: str) -> tuple[str, int]:
    """``base=10.0.0.0/8,size=24``."""
    fields = mapping(word.split(","), name)
    if fields.keys() != {"base", "size"}:
        raise _bad(word, name, "expected base=CIDR,size=BITS")
    return checked_pool(fields["base"], number(fields["size"], name), name)


def checked_pool(base: str, bits: int, name: str) -> tuple[str, int]:
    """An address pool whose parts fit each other."""
    try:
        network = ipaddress.IPv4Network(base)
    except ValueError as exc:
        raise _bad(base, name, f"invalid base pool {base!r}: {exc}") from None
    if not network.prefixlen <= bits <= 30:
        raise _bad(base, name, f"the size must lie between the base's {network.prefixlen} and 30")
    return (str(network), bits)
