"""The tokens of one text, read one after the other, and the errors that name its lines; pure."""

from __future__ import annotations

from corten.template import lexer
from corten.template.lexer import Lexer, Token


class ParseFailure(ValueError):
    """The text is no template; the message is Go's."""


class Tokens:
    """A place in the tokens of ``text``; ``at`` may be put back to where it was."""

    def __init__(self, text: str) -> None:
        self._tokens = Lexer(text).run()
        self._line = 1
        self.at = 0

    def failure(self, message: str) -> ParseFailure:
        """Go's error, with the line of the last token looked at."""
        return ParseFailure(f"template: :{self._line}: {message}")

    def unexpected(self, token: Token, context: str) -> ParseFailure:
        """The error of a token that ``context`` cannot go on with."""
        if token.kind == lexer.ERROR:
            return self.failure(str(token))
        return self.failure(f"unexpected {token} in {context}")

    def peek(self) -> Token:
        """The next token, which stays."""
        token = self._tokens[self.at]
        self._line = token.line
        return token

    def next(self) -> Token:
        """The next token; the last one is given again and again."""
        token = self.peek()
        if token.kind not in (lexer.EOF, lexer.ERROR):
            self.at += 1
        return token

    def skip_space(self) -> Token:
        """The next token that is no space, which stays."""
        while self.peek().kind == lexer.SPACE:
            self.at += 1
        return self.peek()

    def next_solid(self) -> Token:
        """The next token that is no space."""
        self.skip_space()
        return self.next()

    def keyword_after(self) -> str:
        """The keyword that begins the action at the next token, if one does."""
        at = self.at + 1
        while self._tokens[at].kind == lexer.SPACE:
            at += 1
        return self._tokens[at].value if self._tokens[at].kind == lexer.KEYWORD else ""

    def expect(self, kind: str, context: str) -> Token:
        """The next solid token, which must be a ``kind``."""
        token = self.next_solid()
        if token.kind != kind:
            raise self.unexpected(token, context)
        return token

    def unquoted(self, token: Token) -> str:
        """What a string or character token stands for."""
        try:
            return unquote(token.value)
        except (ValueError, IndexError):
            raise self.failure("invalid syntax") from None


_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_WIDTHS = {"x": 2, "u": 4, "U": 8}


def unquote(text: str) -> str:
    """Go's ``strconv.Unquote``; raises ValueError."""
    inner = text[1:-1]
    if text[0] == "`":
        return inner.replace("\r", "")
    pieces = bytearray()
    at = 0
    while at < len(inner):
        if inner[at] != "\\":
            pieces += inner[at].encode()
            at += 1
            continue
        escape = inner[at + 1]
        if escape in _NAMED and not (escape in "'\"" and escape != text[0]):
            pieces += _NAMED[escape].encode()
            at += 2
        elif escape in _WIDTHS:
            end = at + 2 + _WIDTHS[escape]
            code = int(inner[at + 2 : end], 16)
            pieces += bytes((code,)) if escape == "x" else chr(code).encode()
            at = end
        else:
            pieces += bytes((int(inner[at + 1 : at + 4], 8),))
            at += 4
    return pieces.decode("utf-8", "replace")
