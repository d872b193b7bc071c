"""Tokens into a tree, by the grammar of Go's text/template/parse; pure. Errors have Go's words and line."""

from __future__ import annotations

from corten.template import lexer, nodes
from corten.template.lexer import Lexer, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

_ENDS_OPERAND = (lexer.RIGHT, lexer.CLOSE, lexer.PIPE)
_STARTS_OPERAND = frozenset((
    lexer.BOOL, lexer.CHARACTER, lexer.DOT, lexer.FIELD, lexer.IDENTIFIER, lexer.NUMBER, lexer.NIL, lexer.STRING,
    lexer.VARIABLE, lexer.OPEN,
))  # fmt: skip


class ParseFailure(ValueError):
    """The text is no template; the message is Go's."""


class Parser:
    """Parses one text. ``functions`` are the names that may be called; ``defined`` collects the named templates."""

    def __init__(self, text: str, functions: Container[str]) -> None:
        self._tokens = Lexer(text).run()
        self._at = 0
        self._functions = functions
        self._variables = ["$"]
        self._loops = 0
        self._line = 1
        self.defined: dict[str, nodes.Block] = {}

    def parse(self) -> nodes.Block:
        """The whole text; raises ParseFailure."""
        block = nodes.Block(0)
        while self._peek().kind != lexer.EOF:
            if self._peek().kind == lexer.LEFT and self._keyword_after() == "define":
                self._next()
                self._skip_space()
                self._next()
                self._define()
                continue
            node = self._text_or_action()
            if isinstance(node, _Stop):
                raise self._failure(f"unexpected {node}")
            block.nodes.append(node)
        return block

    def _failure(self, message: str) -> ParseFailure:
        return ParseFailure(f"template: :{self._line}: {message}")

    def _unexpected(self, token: Token, context: str) -> ParseFailure:
        if token.kind == lexer.ERROR:
            return self._failure(str(token))
        return self._failure(f"unexpected {token} in {context}")

    # -- tokens --

    def _peek(self) -> Token:
        token = self._tokens[self._at]
        self._line = token.line
        return token

    def _next(self) -> Token:
        token = self._peek()
        if token.kind not in (lexer.EOF, lexer.ERROR):
            self._at += 1
        return token

    def _skip_space(self) -> Token:
        while self._peek().kind == lexer.SPACE:
            self._at += 1
        return self._peek()

    def _next_solid(self) -> Token:
        self._skip_space()
        return self._next()

    def _keyword_after(self) -> str:
        """The keyword that begins the action at the next token, if one does."""
        at = self._at + 1
        while self._tokens[at].kind == lexer.SPACE:
            at += 1
        return self._tokens[at].value if self._tokens[at].kind == lexer.KEYWORD else ""

    def _expect(self, kind: str, context: str) -> Token:
        token = self._next_solid()
        if token.kind != kind:
            raise self._unexpected(token, context)
        return token

    # -- statements --

    def _text_or_action(self) -> nodes.Node:
        token = self._next()
        if token.kind == lexer.TEXT:
            return nodes.Text(token.position, token.value)
        if token.kind == lexer.LEFT:
            return self._action()
        raise self._unexpected(token, "input")

    def _action(self) -> nodes.Node:
        token = self._skip_space()
        if token.kind == lexer.KEYWORD:
            self._next()
            return self._statement(token)
        return nodes.Action(token.position, self._pipeline("command", lexer.RIGHT))

    def _statement(self, token: Token) -> nodes.Node:
        word = token.value
        if word in ("if", "with", "range"):
            return self._branch(word)
        if word == "end":
            self._expect(lexer.RIGHT, "end")
            return _Stop(token.position, "end")
        if word == "else":
            return self._else(token)
        if word in ("break", "continue"):
            closing = self._next_solid()
            if closing.kind != lexer.RIGHT:
                raise self._unexpected(closing, "{{" + word + "}}")
            if not self._loops:
                raise self._failure("{{" + word + "}} outside {{range}}")
            return nodes.Jump(token.position, word)
        if word == "block":
            return self._block()
        if word == "template":
            return self._template()
        raise self._unexpected(token, "command")  # define, which is at the top only

    def _else(self, token: Token) -> nodes.Node:
        following = self._skip_space()
        if following.kind == lexer.KEYWORD and following.value in ("if", "with"):
            return _Stop(token.position, "else", following.value)
        self._expect(lexer.RIGHT, "else")
        return _Stop(token.position, "else")

    def _branch(self, word: str) -> nodes.Branch:
        variables = len(self._variables)
        pipeline = self._pipeline(word, lexer.RIGHT)
        self._loops += word == "range"
        body, stop = self._until_stop()
        self._loops -= word == "range"
        otherwise: nodes.Block | None = None
        if stop.word == "else":
            if stop.chained and stop.chained == word:
                following = self._next()
                otherwise = nodes.Block(following.position)
                otherwise.nodes.append(self._branch(word))
            else:
                if stop.chained:
                    raise self._unexpected(self._next(), "else")
                otherwise, stop = self._until_stop()
                if stop.word != "end":
                    raise self._failure(f"expected end; found {stop}")
        del self._variables[variables:]
        return nodes.Branch(pipeline.position, word, pipeline, body, otherwise)

    def _until_stop(self) -> tuple[nodes.Block, _Stop]:
        block = nodes.Block(self._peek().position)
        while self._peek().kind != lexer.EOF:
            node = self._text_or_action()
            if isinstance(node, _Stop):
                return block, node
            block.nodes.append(node)
        raise self._failure("unexpected EOF")

    def _define(self) -> None:
        name = self._name("define clause")
        self._expect(lexer.RIGHT, "define clause")
        self._named(name, "define clause")

    def _block(self) -> nodes.Call:
        position = self._skip_space().position
        name = self._name("block clause")
        pipeline = self._pipeline("block clause", lexer.RIGHT)
        self._named(name, "block clause")
        return nodes.Call(position, name, pipeline)

    def _named(self, name: str, context: str) -> None:
        outer, self._variables, loops, self._loops = self._variables, ["$"], self._loops, 0
        body, stop = self._until_stop()
        self._variables, self._loops = outer, loops
        if stop.word != "end":
            raise self._failure(f"unexpected {stop} in {context}")
        self.defined[name] = body

    def _template(self) -> nodes.Call:
        position = self._skip_space().position
        name = self._name("template clause")
        pipeline = None
        if self._skip_space().kind == lexer.RIGHT:
            self._next()
        else:
            pipeline = self._pipeline("template clause", lexer.RIGHT)
        return nodes.Call(position, name, pipeline)

    def _name(self, context: str) -> str:
        token = self._next_solid()
        if token.kind != lexer.STRING:
            raise self._unexpected(token, context)
        return self._unquoted(token)

    # -- pipelines --

    def _pipeline(self, context: str, closing: str) -> nodes.Pipeline:
        pipeline = nodes.Pipeline(self._skip_space().position)
        self._declarations(pipeline, context)
        while True:
            token = self._next_solid()
            if token.kind == closing:
                self._check(pipeline, context)
                return pipeline
            if token.kind not in _STARTS_OPERAND:
                raise self._unexpected(token, context)
            self._at -= 1
            pipeline.commands.append(self._command())

    def _declarations(self, pipeline: nodes.Pipeline, context: str) -> None:
        while self._skip_space().kind == lexer.VARIABLE:
            start = self._at
            variable = self._next()
            operator = self._skip_space()
            if operator.kind in (lexer.ASSIGN, lexer.DECLARE):
                self._next()
                pipeline.assigns = operator.kind == lexer.ASSIGN
                self._declare(pipeline, variable)
                return
            if operator.kind == lexer.COMMA:
                self._next()
                self._declare(pipeline, variable)
                if context == "range" and len(pipeline.variables) < 2:
                    follows = self._skip_space().kind
                    if follows in (lexer.VARIABLE, lexer.RIGHT, lexer.CLOSE):
                        continue
                    raise self._failure("range can only initialize variables")
                raise self._failure(f"too many declarations in {context}")
            self._at = start
            return

    def _declare(self, pipeline: nodes.Pipeline, token: Token) -> None:
        pipeline.variables.append(nodes.Variable(token.position, [token.value]))
        if not pipeline.assigns:
            self._variables.append(token.value)

    def _check(self, pipeline: nodes.Pipeline, context: str) -> None:
        if not pipeline.commands:
            raise self._failure(f"missing value for {context}")
        for index, command in enumerate(pipeline.commands[1:], 2):
            if isinstance(command.arguments[0], (nodes.Literal, nodes.Dot)):
                raise self._failure(f"non executable command in pipeline stage {index}")

    def _command(self) -> nodes.Command:
        command = nodes.Command(self._skip_space().position, [])
        while True:
            self._skip_space()
            operand = self._operand()
            if operand is not None:
                command.arguments.append(operand)
            token = self._next()
            if token.kind == lexer.SPACE:
                continue
            if token.kind in (lexer.RIGHT, lexer.CLOSE):
                self._at -= 1
            elif token.kind != lexer.PIPE:
                raise self._unexpected(token, "operand")
            break
        if not command.arguments:
            raise self._failure("empty command")
        return command

    def _operand(self) -> nodes.Node | None:
        node = self._term()
        if node is None or self._peek().kind != lexer.FIELD:
            return node
        position = self._peek().position
        names = []
        while self._peek().kind == lexer.FIELD:
            names.append(self._next().value[1:])
        if isinstance(node, nodes.Fields):
            return nodes.Fields(position, [*node.names, *names])
        if isinstance(node, nodes.Variable):
            return nodes.Variable(position, [*node.names, *names])
        if isinstance(node, (nodes.Literal, nodes.Dot)):
            raise self._failure(f"unexpected . after term {lexer.quote(str(node))}")
        return nodes.Chain(position, node, names)

    def _term(self) -> nodes.Node | None:
        token = self._next_solid()
        kind = token.kind
        if kind == lexer.IDENTIFIER:
            if token.value not in self._functions:
                raise self._failure(f"function {lexer.quote(token.value)} not defined")
            return nodes.Function(token.position, token.value)
        if kind == lexer.DOT:
            return nodes.Dot(token.position)
        if kind == lexer.FIELD:
            return nodes.Fields(token.position, [token.value[1:]])
        if kind == lexer.VARIABLE:
            if token.value not in self._variables:
                raise self._failure(f"undefined variable {lexer.quote(token.value)}")
            return nodes.Variable(token.position, [token.value])
        if kind == lexer.OPEN:
            return self._pipeline("parenthesized pipeline", lexer.CLOSE)
        literal = self._literal(token)
        if literal is None and kind not in (lexer.EOF, lexer.ERROR):
            self._at -= 1
        return literal

    def _literal(self, token: Token) -> nodes.Literal | None:
        text = token.value
        if token.kind == lexer.NIL:
            return nodes.Literal(token.position, "nil", None, text)
        if token.kind == lexer.BOOL:
            return nodes.Literal(token.position, "bool", text == "true", text)
        if token.kind == lexer.NUMBER:
            return nodes.Literal(token.position, "number", lexer.number(text), text)
        if token.kind == lexer.CHARACTER:
            content = self._unquoted(token)
            if len(content) != 1:
                raise self._failure(f"malformed character constant: {text}")
            return nodes.Literal(token.position, "number", ord(content), text)
        if token.kind == lexer.STRING:
            return nodes.Literal(token.position, "string", self._unquoted(token), text)
        return None

    def _unquoted(self, token: Token) -> str:
        try:
            return unquote(token.value)
        except (ValueError, IndexError):
            raise self._failure("invalid syntax") from None


class _Stop(nodes.Node):
    """``{{end}}`` or ``{{else}}``, perhaps with the ``if`` or ``with`` that follows it."""

    __slots__ = ("chained", "word")

    def __init__(self, position: int, word: str, chained: str = "") -> None:
        super().__init__(position)
        self.word = word
        self.chained = chained

    def __str__(self) -> str:
        return "{{" + self.word + "}}"


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
