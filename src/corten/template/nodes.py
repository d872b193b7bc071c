"""The tree of a parsed template. ``str(node)`` is its source as Go writes it, which error texts show."""

from __future__ import annotations

from corten.template.lexer import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Node:
    """Base: the byte position of its first token."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class Literal(Node):
    """A constant: ``value`` and its source. ``kind`` is bool, number, string or nil."""

    __slots__ = ("kind", "text", "value")

    def __init__(self, position: int, kind: str, value: object, text: str) -> None:
        super().__init__(position)
        self.kind = kind
        self.value = value
        self.text = text

    def __str__(self) -> str:
        return self.text


class Dot(Node):
    """``.``"""

    __slots__ = ()

    def __str__(self) -> str:
        return "."


class Fields(Node):
    """``.A.B``"""

    __slots__ = ("names",)

    def __init__(self, position: int, names: Sequence[str]) -> None:
        super().__init__(position)
        self.names = list(names)

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """``$x.A``: names[0] is ``$x``."""

    __slots__ = ("names",)

    def __init__(self, position: int, names: Sequence[str]) -> None:
        super().__init__(position)
        self.names = list(names)

    def __str__(self) -> str:
        return ".".join(self.names)


class Chain(Node):
    """``(pipeline).A.B``"""

    __slots__ = ("names", "operand")

    def __init__(self, position: int, operand: Node, names: Sequence[str]) -> None:
        super().__init__(position)
        self.operand = operand
        self.names = list(names)

    def __str__(self) -> str:
        inner = f"({self.operand})" if isinstance(self.operand, Pipeline) else str(self.operand)
        return inner + "".join(f".{name}" for name in self.names)


class Function(Node):
    """The name of a function."""

    __slots__ = ("name",)

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name

    def __str__(self) -> str:
        return self.name


class Command(Node):
    """An operand and its arguments."""

    __slots__ = ("arguments",)

    def __init__(self, position: int, arguments: Sequence[Node]) -> None:
        super().__init__(position)
        self.arguments = list(arguments)

    def __str__(self) -> str:
        return " ".join(f"({item})" if isinstance(item, Pipeline) else str(item) for item in self.arguments)


class Pipeline(Node):
    """Commands, and the variables that take the last one's value."""

    __slots__ = ("assigns", "commands", "variables")

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.assigns = False
        self.variables: list[Variable] = []
        self.commands: list[Command] = []

    def __str__(self) -> str:
        names = ", ".join(str(variable) for variable in self.variables)
        head = f"{names} {'=' if self.assigns else ':='} " if names else ""
        return head + " | ".join(str(command) for command in self.commands)


class Text(Node):
    """Literal text."""

    __slots__ = ("text",)

    def __init__(self, position: int, text: str) -> None:
        super().__init__(position)
        self.text = text

    def __str__(self) -> str:
        return self.text


class Block(Node):
    """A sequence of nodes."""

    __slots__ = ("nodes",)

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.nodes: list[Node] = []

    def __str__(self) -> str:
        return "".join(str(node) for node in self.nodes)


class Action(Node):
    """A pipeline that prints or sets a variable."""

    __slots__ = ("pipeline",)

    def __init__(self, position: int, pipeline: Pipeline) -> None:
        super().__init__(position)
        self.pipeline = pipeline

    def __str__(self) -> str:
        return "{{" + str(self.pipeline) + "}}"


class Branch(Node):
    """``if``, ``with`` or ``range``."""

    __slots__ = ("body", "otherwise", "pipeline", "word")

    def __init__(self, position: int, word: str, pipeline: Pipeline, body: Block, otherwise: Block | None) -> None:
        super().__init__(position)
        self.word = word
        self.pipeline = pipeline
        self.body = body
        self.otherwise = otherwise

    def __str__(self) -> str:
        other = "{{else}}" + str(self.otherwise) if self.otherwise is not None else ""
        return "{{" + f"{self.word} {self.pipeline}" + "}}" + str(self.body) + other + "{{end}}"


class Jump(Node):
    """``break`` or ``continue``."""

    __slots__ = ("word",)

    def __init__(self, position: int, word: str) -> None:
        super().__init__(position)
        self.word = word

    def __str__(self) -> str:
        return "{{" + self.word + "}}"


class Call(Node):
    """``template "name" pipeline``."""

    __slots__ = ("name", "pipeline")

    def __init__(self, position: int, name: str, pipeline: Pipeline | None) -> None:
        super().__init__(position)
        self.name = name
        self.pipeline = pipeline

    def __str__(self) -> str:
        return "{{template " + quote(self.name) + (f" {self.pipeline}" if self.pipeline is not None else "") + "}}"
