"""JSON text for processes that must start fast: the C scanner and encoder without the ``json`` package.

``import json`` costs as much as everything else ``corten ps`` does, because its decoder imports ``re``. The C module
behind it does not. Owns no document's meaning.
"""

from _json import encode_basestring, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: A decoded JSON document: whatever it holds is checked where it is used.
    Document = Any

SPACE = " \t\r\n"
#: What Go's encoding/json escapes beside what JSON demands (HTML safety), and the two line separators.
GO_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


class _ScannerContext:
    """The attributes ``_json.make_scanner`` reads (CPython Modules/_json.c, scanner_new)."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: "dict[str, str]" = {}


_scan = make_scanner(_ScannerContext())


def _unencodable(value: object) -> object:
    raise TypeError(f"a {type(value).__name__} has no JSON form")


_encode = make_encoder(None, _unencodable, encode_basestring, None, ":", ",", False, False, False)


def decode(text: "str | bytes") -> "Document":
    """The one document in ``text``.

    Raises:
        ValueError: it is no JSON, or something follows it.
    """
    if not isinstance(text, str):
        text = text.decode("utf-8", "replace")
    start = 0
    while start < len(text) and text[start] in SPACE:
        start += 1
    try:
        value, end = _scan(text, start)
    except StopIteration:
        raise ValueError("not a JSON document") from None
    if text[end:].strip(SPACE):
        raise ValueError("more than one JSON document")
    return value


def encode(value: "Document") -> str:
    """Compact text of a document, keys in their order."""
    return "".join(_encode(value, 0))


def go_encode(value: "Document") -> str:
    """Compact text as Go's ``json.Marshal`` gives it: ``<``, ``>`` and ``&`` are escaped."""
    text = encode(value)
    for character, escape in GO_ESCAPES:
        if character in text:
            text = text.replace(character, escape)
    return text


def indent(text: str, step: str = "    ", margin: str = "") -> str:
    """``text`` re-indented as Go's ``json.Indent`` does: every string and number stays as it was written."""
    pieces: list[str] = []
    depth = 0
    pending = False
    position = 0
    length = len(text)
    while position < length:
        character = text[position]
        if character in SPACE:
            position += 1
            continue
        if pending and character not in "]}":
            depth += 1
            pieces.append("\n" + margin + step * depth)
        if character == '"':
            end = _string_end(text, position)
            pieces.append(text[position:end])
            position = end
            pending = False
            continue
        if character in "]}":
            if not pending:
                depth -= 1
                pieces.append("\n" + margin + step * depth)
            pieces.append(character)
        elif character == ",":
            pieces.append(",\n" + margin + step * depth)
        else:
            pieces.append(": " if character == ":" else character)
        pending = character in "[{"
        position += 1
    return "".join(pieces)


def _string_end(text: str, start: int) -> int:
    """The index after the closing quote of the string that opens at ``start``."""
    end = start
    while True:
        end = text.index('"', end + 1)
        slashes = 0
        while text[end - 1 - slashes] == "\\":
            slashes += 1
        if slashes % 2 == 0:
            return end + 1
