"""JSON as the command line prints and sends it: UTF-8, Go's escapes, Go's indentation.

Decoding is :func:`corten.api.document.decode`; both do without the ``json`` package, whose import of ``re`` costs as
much as everything else ``corten ps`` does. Owns no document's meaning.
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder

from corten.api.document import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: A decoded JSON document: whatever it holds is checked where it is used.
    Document = Any

__all__ = ["decode", "encode", "go_encode", "indent"]

SPACE = " \t\r\n"
#: What Go's encoding/json escapes beside what JSON demands (HTML safety), and the two line separators.
GO_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


def _unencodable(value: object) -> object:
    raise TypeError(f"a {type(value).__name__} has no JSON form")


_encode = make_encoder(None, _unencodable, encode_basestring, None, ":", ",", False, False, False)


def encode(value: Document) -> str:
    """Compact text of a document, keys in their order."""
    return "".join(_encode(value, 0))


def go_encode(value: Document) -> str:
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
