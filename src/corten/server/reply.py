"""What a route hands back: a whole response as a value; pure."""

from typing import Any, Final, NamedTuple

import msgspec

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"

_encoder: Final = msgspec.json.Encoder()


class Reply(NamedTuple):
    """Status, body and its type, and headers beyond those every response has."""

    status: int = 200
    payload: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def json(value: Any, status: int = 200) -> Reply:
    """``value`` (a struct or plain data) as JSON, with the line feed Docker's encoder ends with."""
    return Reply(status, encode(value) + b"\n", JSON)


def encode(value: Any) -> bytes:
    """``value`` as JSON bytes."""
    return _encoder.encode(value)


#: Success without a body.
NO_CONTENT: Final = Reply(204)
CREATED: Final = Reply(201)
EMPTY: Final = Reply(200)
