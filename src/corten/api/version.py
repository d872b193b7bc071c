"""The window of API versions and how a request picks one; pure.

Owns the numbers and Docker's texts for a version outside the window. What a version changes in a body is data in
:mod:`corten.api.gates`.
"""

import re
from typing import Final, NamedTuple

from corten.errors import InvalidArgument

_TEXT: Final = re.compile(r"(\d{1,4})\.(\d{1,4})\Z")


class ApiVersion(NamedTuple):
    """``1.51`` as two numbers, so that 1.9 < 1.10."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> "ApiVersion":
        """From ``1.51``.

        Raises:
            InvalidArgument: it is not two decimal numbers.
        """
        match = _TEXT.match(text)
        if match is None:
            raise InvalidArgument(f"invalid API version {text!r}: write it as in {MAXIMUM}")
        return cls(int(match[1]), int(match[2]))


#: What the engine announces, and the oldest it accepts.
MAXIMUM: Final = ApiVersion(1, 51)
MINIMUM: Final = ApiVersion(1, 24)


def negotiate(text: str | None) -> ApiVersion:
    """The version of a request from its path prefix (``1.47``); a path without one means the newest.

    Raises:
        InvalidArgument: Docker's texts for a version outside the window.
    """
    if text is None:
        return MAXIMUM
    version = ApiVersion.parse(text)
    if version > MAXIMUM:
        raise InvalidArgument(f"client version {text} is too new. Maximum supported API version is {MAXIMUM}")
    if version < MINIMUM:
        raise InvalidArgument(
            f"client version {text} is too old. Minimum supported API version is {MINIMUM}, "
            "please upgrade your client to a newer version"
        )
    return version
