"""A template's text into tokens, by the rules of Go's text/template/parse; pure.

Knows delimiters, trim markers, comments and the tokens inside an action. What tokens mean is the parser's concern.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TEXT: Final = "text"
LEFT: Final = "left"
RIGHT: Final = "right"
SPACE: Final = "space"
FIELD: Final = "field"
VARIABLE: Final = "variable"
IDENTIFIER: Final = "identifier"
KEYWORD: Final = "keyword"
BOOL: Final = "bool"
NIL: Final = "nil"
DOT: Final = "dot"
STRING: Final = "string"
CHARACTER: Final = "character"
NUMBER: Final = "number"
OPEN: Final = "("
CLOSE: Final = ")"
PIPE: Final = "|"
DECLARE: Final = ":="
ASSIGN: Final = "="
COMMA: Final = ","
OTHER: Final = "other"  #: a character no action has a use for
EOF: Final = "EOF"
ERROR: Final = "error"

KEYWORDS: Final = frozenset(["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"])
SPACES: Final = " \t\r\n"


class Token:
    """One token: ``kind``, its text, its byte position and line."""

    __slots__ = ("kind", "line", "position", "value")

    def __init__(self, kind: str, value: str, position: int, line: int) -> None:
        self.kind = kind
        self.value = value
        self.position = position
        self.line = line

    def __str__(self) -> str:
        """How error texts show it."""
        if self.kind == EOF:
            return "EOF"
        if self.kind == ERROR:
            return self.value
        if self.kind in (KEYWORD, DOT, NIL):
            return f"<{self.value}>"
        if len(self.value) > 10:
            return quote(self.value[:10]) + "..."
        return quote(self.value)


def quote(text: str) -> str:
    """Go's ``%q``."""
    named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f",
             "\v": "\\v"}  # fmt: skip
    pieces = []
    for character in text:
        if character in named:
            pieces.append(named[character])
        elif character.isprintable():
            pieces.append(character)
        else:
            code = ord(character)
            pieces.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(pieces) + '"'


class _Failure(Exception):
    """The text cannot be cut further."""


class Lexer:
    """Cuts one text; ``tokens`` ends with EOF or ERROR."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self.tokens: list[Token] = []

    def run(self) -> list[Token]:
        """All tokens."""
        trim = False
        try:
            while self._at < len(self._text):
                self._literal(trim=trim)
                if self._at < len(self._text):
                    trim = self._action()
            self._emit(EOF, self._at)
        except _Failure as failure:
            self.tokens.append(Token(ERROR, str(failure), self._at, self._line(self._at)))
        return self.tokens

    def _line(self, at: int) -> int:
        return 1 + self._text.count("\n", 0, at)

    def _emit(self, kind: str, end: int) -> None:
        position = len(self._text[: self._at].encode("utf-8", "surrogatepass"))
        self.tokens.append(Token(kind, self._text[self._at : end], position, self._line(self._at)))
        self._at = end

    def _literal(self, *, trim: bool) -> None:
        """Text up to the next action; ``trim`` drops the white space before it."""
        if trim:
            while self._at < len(self._text) and self._text[self._at] in SPACES:
                self._at += 1
        end = self._text.find("{{", self._at)
        if end < 0:
            end = len(self._text)
        stop = end
        if self._text[end + 2 : end + 3] == "-" and self._text[end + 3 : end + 4] in tuple(SPACES):
            while stop > self._at and self._text[stop - 1] in SPACES:
                stop -= 1
        if stop > self._at:
            self._emit(TEXT, stop)
        self._at = end

    def _action(self) -> bool:
        """One action; whether the text after it is trimmed."""
        trimmed = self._text[self._at + 2 : self._at + 3] == "-" and self._text[self._at + 3 : self._at + 4] in tuple(
            SPACES
        )
        after = self._at + (4 if trimmed else 2)
        if self._text.startswith("/*", after - (1 if trimmed else 0)) or self._text.startswith("/*", after):
            return self._comment(after)
        self._emit(LEFT, after)
        self._depth = 0
        while True:
            ended, trim = self._right()
            if ended:
                return trim
            self._inside()

    def _comment(self, start: int) -> bool:
        end = self._text.find("*/", start)
        if end < 0:
            raise _Failure("unclosed comment")
        rest = end + 2
        trim = self._text[rest : rest + 1] in tuple(SPACES) and self._text.startswith("-}}", rest + 1)
        if trim:
            rest += 2
        if not self._text.startswith("}}", rest):
            raise _Failure("comment ends before closing delimiter")
        self._at = rest + 2
        return trim

    def _right(self) -> tuple[bool, bool]:
        """Whether the action ends here, and with a trim marker."""
        at = self._at
        trim = self._text[at : at + 1] in tuple(SPACES) and self._text.startswith("-}}", at + 1)
        if not trim and not self._text.startswith("}}", at):
            return False, False
        if self._depth:
            raise _Failure("unclosed left paren")
        if trim:
            self._at += 2
        self._emit(RIGHT, self._at + 2)
        return True, trim

    def _inside(self) -> None:
        text, at = self._text, self._at
        if at >= len(text):
            raise _Failure("unclosed action")
        character = text[at]
        if character in SPACES:
            self._spaces()
        elif character in "|=,()":
            self._mark(character)
        elif character == ":":
            if text[at + 1 : at + 2] != "=":
                raise _Failure("expected :=")
            self._emit(DECLARE, at + 2)
        elif character in "\"`'":
            self._quoted(character)
        elif character == "$":
            self._name(VARIABLE)
        elif character == "." and not text[at + 1 : at + 2].isdigit():
            self._name(FIELD)
        elif character in "+-." or character.isdigit():
            self._number()
        elif character == "_" or character.isalpha():
            self._word()
        elif " " < character < "\x7f":
            self._emit(OTHER, at + 1)
        else:
            raise _Failure(f"unrecognized character in action: U+{ord(character):04X} {_shown(character)}")

    def _mark(self, character: str) -> None:
        if character in "()":
            self._depth += 1 if character == "(" else -1
            if self._depth < 0:
                raise _Failure("unexpected right paren")
        self._emit(character, self._at + 1)

    def _spaces(self) -> None:
        end = self._at
        while end < len(self._text) and self._text[end] in SPACES:
            end += 1
        # A trim marker begins with a space, which is the action's end and no space of it.
        if self._text.startswith("-}}", end) and end > self._at:
            end -= 1
            if end == self._at:
                return
        self._emit(SPACE, end)

    def _quoted(self, mark: str) -> None:
        what = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}[mark]
        end = self._at + 1
        while True:
            if end >= len(self._text) or (self._text[end] == "\n" and mark != "`"):
                raise _Failure(f"unterminated {what}")
            if self._text[end] == mark:
                break
            end += 2 if self._text[end] == "\\" and mark != "`" else 1
        self._emit(CHARACTER if mark == "'" else STRING, end + 1)

    def _name(self, kind: str) -> None:
        """A field or a variable: its mark and the letters after it."""
        end = self._at + 1
        while end < len(self._text) and _is_letter(self._text[end]):
            end += 1
        if end == self._at + 1 and kind == FIELD:
            self._terminated(end)
            self._emit(DOT, end)
            return
        self._terminated(end)
        self._emit(kind, end)

    def _word(self) -> None:
        end = self._at
        while end < len(self._text) and _is_letter(self._text[end]):
            end += 1
        self._terminated(end)
        word = self._text[self._at : end]
        if word in KEYWORDS:
            self._emit(KEYWORD, end)
        elif word in ("true", "false"):
            self._emit(BOOL, end)
        else:
            self._emit(NIL if word == "nil" else IDENTIFIER, end)

    def _terminated(self, end: int) -> None:
        rest = self._text[end : end + 1]
        if rest and rest not in SPACES and rest not in ".,|:)(=" and not self._text.startswith("}}", end):
            raise _Failure(f"bad character U+{ord(rest):04X} {_shown(rest)}")

    def _number(self) -> None:
        end = _number_end(self._text, self._at)
        if end < len(self._text) and _is_letter(self._text[end]):
            raise _Failure(f"bad number syntax: {quote(self._text[self._at : end + 1])}")
        text = self._text[self._at : end]
        if number(text) is None:
            raise _Failure(f"bad number syntax: {quote(text)}")
        self._emit(NUMBER, end)


def _number_end(text: str, at: int) -> int:
    """Where the number that begins at ``at`` ends: sign, digits of its base, fraction, exponent."""
    if text[at] in "+-":
        at += 1
    digits, exponent = "0123456789_", "eE"
    if text[at : at + 1] == "0" and text[at + 1 : at + 2] in tuple("xXoObB"):
        base = text[at + 1].lower()
        digits, exponent = {"x": "0123456789abcdefABCDEF_", "o": "01234567_", "b": "01_"}[base], "pP"
        at += 2
    at = _skip(text, at, digits)
    if text[at : at + 1] == ".":
        at = _skip(text, at + 1, digits)
    if text[at : at + 1] and text[at] in exponent:
        at += 1
        if text[at : at + 1] and text[at] in "+-":
            at += 1
        at = _skip(text, at, "0123456789_")
    return at


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def number(text: str) -> int | float | None:
    """A numeric constant's value; None when it is none."""
    digits = text.lstrip("+-")
    try:
        if len(digits) > 1 and digits[0] == "0" and digits[1:].replace("_", "").isdigit():
            return int(text, 8)
        return int(text, 0)
    except ValueError:
        pass
    try:
        return float.fromhex(text) if digits[:2] in ("0x", "0X") else float(text)
    except ValueError:
        return None


def _is_letter(character: str) -> bool:
    return character == "_" or character.isalnum()


def _shown(character: str) -> str:
    return f"'{character}'" if character.isprintable() else ""
