r"""Docker's json-file line format, both directions; bytes in, bytes out, no file.

One line of the file is ``{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.678Z"}`` and a newline.
Escapes are those of Docker's writer (moby, daemon/logger/jsonfilelog/jsonlog): ``\\ \" \n \r``, every other control
character and ``< > &`` as ``\u00xx``, U+2028 and U+2029 as escapes, and each byte that is not UTF-8 as ``\ufffd``.
Times are Go's RFC3339Nano: UTC, the fraction without trailing zeros.

A whole chunk of lines is escaped at once with ``bytes.replace``; a loop over lines costs twenty times as much.
"""

from __future__ import annotations

import codecs
from time import gmtime

from corten.oci.document import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    #: (stream, time in nanoseconds since the epoch, text as the container wrote it, newline included, attributes)
    Entry: TypeAlias = "tuple[str, int, bytes, dict[str, str]]"

_HEAD = b'{"log":"'
_SAFE = bytes(c for c in range(0x20, 0x7F) if c not in b'\\"<>&') + b"\n\x7f"
_ESCAPES = {
    **{c: b"\\u%04x" % c for c in range(0x20) if c != 0x0A},
    **{c: b"\\u%04x" % c for c in b"<>&"},
    0x0D: b"\\r",
    0x22: b'\\"',
    0x5C: b"\\\\",
}
_NANO = 1_000_000_000
_STREAMS = ("stdout", "stderr")
_NONE: dict[str, str] = {}


def _go_replace(error: UnicodeError) -> tuple[str, int]:
    """Each undecodable byte becomes one escape, as Go's decoder counts them (Python would take a sequence as one)."""
    assert isinstance(error, UnicodeDecodeError)
    return "\\ufffd" * (error.end - error.start), error.end


codecs.register_error("corten.go-replace", _go_replace)


def escape(text: bytes) -> bytes:
    """``text`` as the inside of a JSON string, except that newlines stay as they are."""
    odd = text.translate(None, _SAFE)
    if not odd:
        return text
    present = set(odd)
    if 0x5C in present:  # first: the other escapes bring backslashes of their own
        text = text.replace(b"\\", b"\\\\")
        present.discard(0x5C)
    beyond = False
    for byte in present:
        if byte in _ESCAPES:
            text = text.replace(bytes((byte,)), _ESCAPES[byte])
        else:
            beyond = True
    if beyond:
        text = text.decode("utf-8", "corten.go-replace").encode()
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return text


def suffix(stream: str, time_ns: int, attributes: bytes = b"") -> bytes:
    """What follows a line's text; ``attributes`` is a JSON object or nothing."""
    extra = b',"attrs":' + attributes if attributes else b""
    return b'","stream":"%b"%b,"time":"%b"}\n' % (stream.encode(), extra, format_time(time_ns))


def encode_lines(lines: bytes, end: bytes) -> memoryview:
    """The records of complete ``lines`` (the last byte is a newline), all with the same ``end`` (:func:`suffix`)."""
    records = (_HEAD + escape(lines)).replace(b"\n", b"\\n" + end + _HEAD)
    return memoryview(records)[: -len(_HEAD)]


def encode_piece(text: bytes, end: bytes) -> bytes:
    """The record of a piece of a line: there is no newline in its text."""
    return _HEAD + escape(text) + end


def format_time(time_ns: int) -> bytes:
    """RFC3339Nano as Go prints it."""
    seconds, fraction = divmod(time_ns, _NANO)
    text = b"%04d-%02d-%02dT%02d:%02d:%02d" % gmtime(seconds)[:6]
    return text + (b".%09d" % fraction).rstrip(b"0") + b"Z" if fraction else text + b"Z"


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time with up to nine digits of fraction and an offset; ValueError."""
    if len(text) < 20 or text[4] + text[7] + text[10] + text[13] + text[16] != "--T::":
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    rest = text[19:]
    fraction, offset = 0, 0
    if rest[0] == ".":
        digits = len(rest) - len(rest[1:].lstrip("0123456789")) - 1
        if not 1 <= digits <= 9:
            raise ValueError(f"not an RFC 3339 time: {text!r}")
        fraction = int(rest[1 : 1 + digits]) * 10 ** (9 - digits)
        rest = rest[1 + digits :]
    if rest != "Z":
        if len(rest) != 6 or rest[0] not in "+-" or rest[3] != ":":
            raise ValueError(f"not an RFC 3339 time: {text!r}")
        offset = int(rest[0] + "1") * (int(rest[1:3]) * 3600 + int(rest[4:6]) * 60)
    days = _days(int(text[:4]), int(text[5:7]), int(text[8:10]))
    seconds = days * 86400 + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
    return (seconds - offset) * _NANO + fraction


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar; years are counted from March, so that leap days come last."""
    year -= month < 3
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 719469


class Decoder:
    """Lines of the file to entries. Keeps the last time it met: neighbours usually share it."""

    __slots__ = ("_nanoseconds", "_text")

    def __init__(self) -> None:
        self._text = ""
        self._nanoseconds = 0

    def decode(self, line: bytes) -> Entry | None:
        """One entry, or None for a damaged line (a torn write, a stranger's edit), which is to be skipped."""
        try:
            record = decode(line)
            text, stream, time = record["log"], record["stream"], record["time"]
            if time != self._text:
                self._nanoseconds = parse_time(time)
                self._text = time
            attributes = record.get("attrs") or _NONE
            if stream not in _STREAMS or not isinstance(attributes, dict):
                return None
            return stream, self._nanoseconds, text.encode("utf-8", "surrogatepass"), attributes
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
