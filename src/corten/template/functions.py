"""The functions templates may call: Go's own and Docker's; pure.

Each takes evaluated arguments and returns a value; ValueError carries Go's reason. ``and`` and ``or`` are listed for
their signature: the evaluator decides what of their arguments is evaluated at all.
"""

from __future__ import annotations

from corten.template import values
from corten.template.printf import sprintf
from corten.template.row import Row
from corten.template.values import NO_VALUE, Nil, NoValue, TypedMap, equal, less, show, truth, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

ANY: Final = "interface {}"
STRING: Final = "string"
INT: Final = "int"


class Function:
    """A function and the types of its parameters; the last one repeats when it is ``variadic``."""

    __slots__ = ("call", "parameters", "variadic")

    def __init__(self, call: Callable[..., object], *parameters: str, variadic: bool = False) -> None:
        self.call = call
        self.parameters = parameters
        self.variadic = variadic


def _eq(first: object, *others: object) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any(equal(first, other) for other in others)


def sprint(*operands: object) -> str:
    """Go's ``Sprint``: a space between operands when neither is a string."""
    text = ""
    for index, value in enumerate(operands):
        if index and not isinstance(value, str) and not isinstance(operands[index - 1], str):
            text += " "
        text += _bare(value)
    return text


def _bare(value: object) -> str:
    return "<nil>" if isinstance(value, NoValue) else show(value)


def _len(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, (list, dict)):
        return len(value)
    if isinstance(value, Nil) and value is not values.NIL_POINTER:
        return 0
    if value is None or isinstance(value, NoValue):
        raise ValueError("reflect: call of reflect.Value.Type on zero Value")
    raise ValueError(f"len of type {type_name(value)}")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, dict):
            if isinstance(value, TypedMap) and value.key_type != STRING:
                raise ValueError(f"value has type {type_name(key)}; should be {value.key_type}")
            if not isinstance(key, str):
                raise ValueError(f"value has type {type_name(key)}; should be string")
            value = value.get(key, value.zero if isinstance(value, TypedMap) else NO_VALUE)
        elif value is values.NIL_MAP:
            value = ""
        elif isinstance(value, (list, str)) or value is values.NIL_SLICE:
            sequence = value if isinstance(value, list) else value.encode() if isinstance(value, str) else []
            if not isinstance(key, int) or isinstance(key, bool):
                raise ValueError(f"cannot index slice/array with type {type_name(key)}")
            if not 0 <= key < len(sequence):
                raise ValueError(f"index out of range: {key}")
            value = sequence[key]
        elif value is None or isinstance(value, (NoValue, Nil)):
            raise ValueError("index of untyped nil" if not isinstance(value, Nil) else "index of nil pointer")
        else:
            raise ValueError(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: object, *indexes: object) -> object:
    if isinstance(value, str):
        # Go's strings are bytes.
        part = _slice(list(value.encode("utf-8", "surrogateescape")), *indexes) if len(indexes) < 3 else None
        if not isinstance(part, list):
            raise ValueError("cannot 3-index slice a string")
        return bytes(part).decode("utf-8", "surrogateescape")
    if not isinstance(value, list):
        raise ValueError(f"can't slice item of type {type_name(value)}")
    if len(indexes) > 3:
        raise ValueError(f"too many slice indexes: {len(indexes)}")
    bounds = [0, len(value)]
    for place, index in enumerate(indexes[:2]):
        if not isinstance(index, int) or isinstance(index, bool):
            raise ValueError(f"cannot index slice/array with type {type_name(index)}")
        if not 0 <= index <= len(value):
            raise ValueError(f"index out of range: {index}")
        bounds[place] = index
    if bounds[0] > bounds[1]:
        raise ValueError(f"invalid slice index: {bounds[0]} > {bounds[1]}")
    return value[bounds[0] : bounds[1]]


def to_json(value: object) -> str:
    """Compact JSON as Go's encoder gives it without HTML escapes; a list's row marshals itself, with them."""
    text = encode(values.document(value))
    if isinstance(value, Row):
        for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
            text = text.replace(character, escape)
    return text


def encode(value: object) -> str:
    """JSON text with characters beyond ASCII as they are."""
    from _json import encode_basestring, make_encoder

    encoder = make_encoder(None, lambda item: str(item), encode_basestring, None, ":", ",", False, False, False)
    return "".join(encoder(value, 0)).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _join(items: object, separator: str) -> str:
    if not isinstance(items, list):
        if isinstance(items, Nil):
            return ""
        raise ValueError(f"expected slice, got {type_name(items)}")
    return separator.join(show(item) for item in items)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


_WIDEST: Final = 1_000_000


def _title(text: str) -> str:
    """``strings.Title``: the first letter of each word in upper case, the rest untouched."""
    pieces = []
    before = " "
    for character in text:
        pieces.append(character if before.isalnum() or before in "_'" else character.upper())
        before = character
    return "".join(pieces)


def _pad(text: str, before: int, after: int) -> str:
    if max(before, after) > _WIDEST:
        raise ValueError(f"exceeded maximum width ({_WIDEST})")
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text.encode("utf-8", "surrogateescape")[:length].decode("utf-8", "surrogateescape")


def _html(*operands: object) -> str:
    text = sprint(*operands)
    for character, entity in (
        ("&", "&amp;"),
        ("'", "&#39;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&#34;"),
        ("\0", "�"),
    ):
        text = text.replace(character, entity)
    return text


_JS: Final = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _js(*operands: object) -> str:
    return "".join(
        _JS.get(character) or (f"\\u{ord(character):04X}" if not character.isprintable() else character)
        for character in sprint(*operands)
    )


_UNRESERVED: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")


def _urlquery(*operands: object) -> str:
    return "".join(
        chr(byte) if byte in _UNRESERVED else "+" if byte == 0x20 else f"%{byte:02X}"
        for byte in sprint(*operands).encode("utf-8", "surrogateescape")
    )


def _call(function: object, *_: object) -> object:
    if function is None or isinstance(function, (NoValue, Nil)):
        raise ValueError("call of nil")
    raise ValueError(f"non-function of type {type_name(function)}")


def _last(*operands: object) -> object:
    return operands[-1]


FUNCTIONS: Final[Mapping[str, Function]] = {
    "and": Function(_last, ANY, ANY, variadic=True),
    "call": Function(_call, ANY, ANY, variadic=True),
    "eq": Function(_eq, ANY, ANY, variadic=True),
    "ge": Function(lambda left, right: not less(left, right), ANY, ANY),
    "gt": Function(lambda left, right: not less(left, right) and not equal(left, right), ANY, ANY),
    "html": Function(_html, ANY, variadic=True),
    "index": Function(_index, ANY, ANY, variadic=True),
    "join": Function(_join, ANY, STRING),
    "js": Function(_js, ANY, variadic=True),
    "json": Function(to_json, ANY),
    "le": Function(lambda left, right: less(left, right) or equal(left, right), ANY, ANY),
    "len": Function(_len, ANY),
    "lower": Function(lambda text: text.lower(), STRING),
    "lt": Function(less, ANY, ANY),
    "ne": Function(lambda left, right: not equal(left, right), ANY, ANY),
    "not": Function(lambda value: not truth(value), ANY),
    "or": Function(_last, ANY, ANY, variadic=True),
    "pad": Function(_pad, STRING, INT, INT),
    "print": Function(sprint, ANY, variadic=True),
    "printf": Function(lambda pattern, *rest: sprintf(pattern, list(rest)), STRING, ANY, variadic=True),
    "println": Function(lambda *operands: " ".join(_bare(value) for value in operands) + "\n", ANY, variadic=True),
    "slice": Function(_slice, ANY, ANY, variadic=True),
    "split": Function(_split, STRING, STRING),
    "title": Function(_title, STRING),
    "truncate": Function(_truncate, STRING, INT),
    "upper": Function(lambda text: text.upper(), STRING),
    "urlquery": Function(_urlquery, ANY, variadic=True),
}

#: For a table's header: functions that would spoil it leave it as it is.
HEADER_FUNCTIONS: Final[Mapping[str, Function]] = {
    **FUNCTIONS,
    "join": Function(lambda text, _: text, STRING, STRING),
    "json": Function(_last, STRING),
    "lower": Function(_last, STRING),
    "split": Function(lambda text, _: text, STRING, STRING),
    "title": Function(_last, STRING),
    "truncate": Function(lambda text, _: text, STRING, INT),
    "upper": Function(_last, STRING),
}
