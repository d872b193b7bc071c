"""JSON for processes whose start-up time counts: the ``json`` package's C parts without the package.

``json`` imports ``re`` and doubles the start-up time of a runtime or a command line. Owns nothing but the two
functions; what a document means is the caller's.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_FLOATS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Scanner:
    """What ``_json.make_scanner`` wants to be told: the attributes of ``json.JSONDecoder``."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _FLOATS.__getitem__
    memo: dict[str, str] = {}  # noqa: RUF012  the C scanner keeps its own


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


_scan: Final = _json.make_scanner(_Scanner)  # type: ignore[arg-type]
_encode: Final = _json.make_encoder(
    None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, True
)  # fmt: skip


def decode(text: str | bytes) -> Any:
    """One JSON document; raises ValueError."""
    if isinstance(text, (bytes, bytearray)):
        text = bytes(text).decode("utf-8", "surrogatepass")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _scan(text, start)
    except StopIteration as error:
        raise ValueError(f"invalid JSON at character {error.value}") from None
    except SystemError:  # the C scanner raises json's own error only when that package was imported before
        raise ValueError("invalid JSON") from None
    if text[end:].strip(" \t\r\n"):
        raise ValueError(f"invalid JSON: something follows the document at character {end}")
    return value


def encode(value: object) -> str:
    """The JSON of ``value``, ASCII, without spaces."""
    return "".join(_encode(value, 0))
