"""``--storage-opt``: how much a container may write into its own layer; pure. Grammar and texts are Docker's."""

import re
from collections.abc import Mapping
from typing import Final

from corten.errors import InvalidArgument

_SIZE: Final = re.compile(r"(\d{1,19}(?:\.\d+)?) ?([kmgtp]?)i?b?\Z", re.IGNORECASE | re.ASCII)
_UNITS: Final = {unit: 1 << 10 * power for power, unit in enumerate(("", "k", "m", "g", "t", "p"))}


def tree_limit(options: Mapping[str, str] | None) -> int:
    """Bytes, 0 for no limit.

    Raises:
        InvalidArgument: an option that is none, a size that is none.
    """
    size = 0
    for name, value in (options or {}).items():
        if name.lower() != "size":
            raise InvalidArgument(f"unknown option {name}")
        found = _SIZE.match(value)
        size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else -1
        if not 0 <= size < 1 << 63:
            raise InvalidArgument(f"invalid size: '{value}'")
    return size
