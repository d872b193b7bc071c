"""Pipelines: commands, their operands and the variables they declare; by the grammar of text/template/parse, pure."""

from __future__ import annotations

from corten.template import lexer, nodes
from corten.template.lexer import Token
from corten.template.tokens import Tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

_STARTS_OPERAND = frozenset((
    lexer.BOOL, lexer.CHARACTER, lexer.DOT, lexer.FIELD, lexer.IDENTIFIER, lexer.NUMBER, lexer.NIL, lexer.STRING,
    lexer.VARIABLE, lexer.OPEN,
))  # fmt: skip


class Pipelines:
    """Reads pipelines off ``tokens``. ``functions`` may be called; ``variables`` are those in sight."""

    def __init__(self, tokens: Tokens, functions: Container[str]) -> None:
        self._tokens = tokens
        self._functions = functions
        self.variables = ["$"]

    def pipeline(self, context: str, closing: str) -> nodes.Pipeline:
        """Everything up to the token ``closing``, which is taken."""
        pipeline = nodes.Pipeline(self._tokens.skip_space().position)
        self._declarations(pipeline, context)
        while True:
            token = self._tokens.next_solid()
            if token.kind == closing:
                self._check(pipeline, context)
                return pipeline
            if token.kind not in _STARTS_OPERAND:
                raise self._tokens.unexpected(token, context)
            self._tokens.at -= 1
            pipeline.commands.append(self._command())

    def _declarations(self, pipeline: nodes.Pipeline, context: str) -> None:
        while self._tokens.skip_space().kind == lexer.VARIABLE:
            start = self._tokens.at
            variable = self._tokens.next()
            operator = self._tokens.skip_space()
            if operator.kind in (lexer.ASSIGN, lexer.DECLARE):
                self._tokens.next()
                pipeline.assigns = operator.kind == lexer.ASSIGN
                self._declare(pipeline, variable)
                return
            if operator.kind == lexer.COMMA:
                self._tokens.next()
                self._declare(pipeline, variable)
                if context == "range" and len(pipeline.variables) < 2:
                    follows = self._tokens.skip_space().kind
                    if follows in (lexer.VARIABLE, lexer.RIGHT, lexer.CLOSE):
                        continue
                    raise self._tokens.failure("range can only initialize variables")
                raise self._tokens.failure(f"too many declarations in {context}")
            self._tokens.at = start
            return

    def _declare(self, pipeline: nodes.Pipeline, token: Token) -> None:
        pipeline.variables.append(nodes.Variable(token.position, [token.value]))
        if not pipeline.assigns:
            self.variables.append(token.value)

    def _check(self, pipeline: nodes.Pipeline, context: str) -> None:
        if not pipeline.commands:
            raise self._tokens.failure(f"missing value for {context}")
        for index, command in enumerate(pipeline.commands[1:], 2):
            if isinstance(command.arguments[0], (nodes.Literal, nodes.Dot)):
                raise self._tokens.failure(f"non executable command in pipeline stage {index}")

    def _command(self) -> nodes.Command:
        command = nodes.Command(self._tokens.skip_space().position, [])
        while True:
            self._tokens.skip_space()
            operand = self._operand()
            if operand is not None:
                command.arguments.append(operand)
            token = self._tokens.next()
            if token.kind == lexer.SPACE:
                continue
            if token.kind in (lexer.RIGHT, lexer.CLOSE):
                self._tokens.at -= 1
            elif token.kind != lexer.PIPE:
                raise self._tokens.unexpected(token, "operand")
            break
        if not command.arguments:
            raise self._tokens.failure("empty command")
        return command

    def _operand(self) -> nodes.Node | None:
        node = self._term()
        if node is None or self._tokens.peek().kind != lexer.FIELD:
            return node
        position = self._tokens.peek().position
        names = []
        while self._tokens.peek().kind == lexer.FIELD:
            names.append(self._tokens.next().value[1:])
        if isinstance(node, nodes.Fields):
            return nodes.Fields(position, [*node.names, *names])
        if isinstance(node, nodes.Variable):
            return nodes.Variable(position, [*node.names, *names])
        if isinstance(node, (nodes.Literal, nodes.Dot)):
            raise self._tokens.failure(f"unexpected . after term {lexer.quote(str(node))}")
        return nodes.Chain(position, node, names)

    def _term(self) -> nodes.Node | None:
        token = self._tokens.next_solid()
        kind = token.kind
        if kind == lexer.IDENTIFIER:
            if token.value not in self._functions:
                raise self._tokens.failure(f"function {lexer.quote(token.value)} not defined")
            return nodes.Function(token.position, token.value)
        if kind == lexer.DOT:
            return nodes.Dot(token.position)
        if kind == lexer.FIELD:
            return nodes.Fields(token.position, [token.value[1:]])
        if kind == lexer.VARIABLE:
            if token.value not in self.variables:
                raise self._tokens.failure(f"undefined variable {lexer.quote(token.value)}")
            return nodes.Variable(token.position, [token.value])
        if kind == lexer.OPEN:
            return self.pipeline("parenthesized pipeline", lexer.CLOSE)
        literal = self._literal(token)
        if literal is None and kind not in (lexer.EOF, lexer.ERROR):
            self._tokens.at -= 1
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
            content = self._tokens.unquoted(token)
            if len(content) != 1:
                raise self._tokens.failure(f"malformed character constant: {text}")
            return nodes.Literal(token.position, "number", ord(content), text)
        if token.kind == lexer.STRING:
            return nodes.Literal(token.position, "string", self._tokens.unquoted(token), text)
        return None
