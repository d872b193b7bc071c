"""Tokens into a tree, by the grammar of Go's text/template/parse; pure. Errors have Go's words and line."""

from __future__ import annotations

from corten.template import lexer, nodes
from corten.template.lexer import Token
from corten.template.pipelines import Pipelines
from corten.template.tokens import Tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container


class Parser:
    """Parses one text. ``functions`` are the names that may be called; ``defined`` collects the named templates."""

    def __init__(self, text: str, functions: Container[str]) -> None:
        self._tokens = Tokens(text)
        self._pipelines = Pipelines(self._tokens, functions)
        self._loops = 0
        self.defined: dict[str, nodes.Block] = {}

    def parse(self) -> nodes.Block:
        """The whole text; raises ParseFailure."""
        block = nodes.Block(0)
        while self._tokens.peek().kind != lexer.EOF:
            if self._tokens.peek().kind == lexer.LEFT and self._tokens.keyword_after() == "define":
                self._tokens.next()
                self._tokens.skip_space()
                self._tokens.next()
                self._define()
                continue
            node = self._text_or_action()
            if isinstance(node, _Stop):
                raise self._tokens.failure(f"unexpected {node}")
            block.nodes.append(node)
        return block

    def _text_or_action(self) -> nodes.Node:
        token = self._tokens.next()
        if token.kind == lexer.TEXT:
            return nodes.Text(token.position, token.value)
        if token.kind == lexer.LEFT:
            return self._action()
        raise self._tokens.unexpected(token, "input")

    def _action(self) -> nodes.Node:
        token = self._tokens.skip_space()
        if token.kind == lexer.KEYWORD:
            self._tokens.next()
            return self._statement(token)
        return nodes.Action(token.position, self._pipelines.pipeline("command", lexer.RIGHT))

    def _statement(self, token: Token) -> nodes.Node:
        word = token.value
        if word in ("if", "with", "range"):
            return self._branch(word)
        if word == "end":
            self._tokens.expect(lexer.RIGHT, "end")
            return _Stop(token.position, "end")
        if word == "else":
            return self._else(token)
        if word in ("break", "continue"):
            closing = self._tokens.next_solid()
            if closing.kind != lexer.RIGHT:
                raise self._tokens.unexpected(closing, "{{" + word + "}}")
            if not self._loops:
                raise self._tokens.failure("{{" + word + "}} outside {{range}}")
            return nodes.Jump(token.position, word)
        if word == "block":
            return self._block()
        if word == "template":
            return self._template()
        raise self._tokens.unexpected(token, "command")  # define, which is at the top only

    def _else(self, token: Token) -> nodes.Node:
        following = self._tokens.skip_space()
        if following.kind == lexer.KEYWORD and following.value in ("if", "with"):
            return _Stop(token.position, "else", following.value)
        self._tokens.expect(lexer.RIGHT, "else")
        return _Stop(token.position, "else")

    def _branch(self, word: str) -> nodes.Branch:
        variables = len(self._pipelines.variables)
        pipeline = self._pipelines.pipeline(word, lexer.RIGHT)
        self._loops += word == "range"
        body, stop = self._until_stop()
        self._loops -= word == "range"
        otherwise: nodes.Block | None = None
        if stop.word == "else":
            if stop.chained and stop.chained == word:
                following = self._tokens.next()
                otherwise = nodes.Block(following.position)
                otherwise.nodes.append(self._branch(word))
            else:
                if stop.chained:
                    raise self._tokens.unexpected(self._tokens.next(), "else")
                otherwise, stop = self._until_stop()
                if stop.word != "end":
                    raise self._tokens.failure(f"expected end; found {stop}")
        del self._pipelines.variables[variables:]
        return nodes.Branch(pipeline.position, word, pipeline, body, otherwise)

    def _until_stop(self) -> tuple[nodes.Block, _Stop]:
        block = nodes.Block(self._tokens.peek().position)
        while self._tokens.peek().kind != lexer.EOF:
            node = self._text_or_action()
            if isinstance(node, _Stop):
                return block, node
            block.nodes.append(node)
        raise self._tokens.failure("unexpected EOF")

    def _define(self) -> None:
        name = self._name("define clause")
        self._tokens.expect(lexer.RIGHT, "define clause")
        self._named(name, "define clause")

    def _block(self) -> nodes.Call:
        position = self._tokens.skip_space().position
        name = self._name("block clause")
        pipeline = self._pipelines.pipeline("block clause", lexer.RIGHT)
        self._named(name, "block clause")
        return nodes.Call(position, name, pipeline)

    def _named(self, name: str, context: str) -> None:
        outer, self._pipelines.variables, loops, self._loops = self._pipelines.variables, ["$"], self._loops, 0
        body, stop = self._until_stop()
        self._pipelines.variables, self._loops = outer, loops
        if stop.word != "end":
            raise self._tokens.failure(f"unexpected {stop} in {context}")
        self.defined[name] = body

    def _template(self) -> nodes.Call:
        position = self._tokens.skip_space().position
        name = self._name("template clause")
        pipeline = None
        if self._tokens.skip_space().kind == lexer.RIGHT:
            self._tokens.next()
        else:
            pipeline = self._pipelines.pipeline("template clause", lexer.RIGHT)
        return nodes.Call(position, name, pipeline)

    def _name(self, context: str) -> str:
        token = self._tokens.next_solid()
        if token.kind != lexer.STRING:
            raise self._tokens.unexpected(token, context)
        return self._tokens.unquoted(token)


class _Stop(nodes.Node):
    """``{{end}}`` or ``{{else}}``, perhaps with the ``if`` or ``with`` that follows it."""

    __slots__ = ("chained", "word")

    def __init__(self, position: int, word: str, chained: str = "") -> None:
        super().__init__(position)
        self.word = word
        self.chained = chained

    def __str__(self) -> str:
        return "{{" + self.word + "}}"
