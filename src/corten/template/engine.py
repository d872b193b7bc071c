"""Executes a parsed template on data; pure. Errors carry the place and the words of Go's text/template (exec.go)."""

from __future__ import annotations

from corten.template import nodes, values
from corten.template.functions import ANY, FUNCTIONS, INT, STRING
from corten.template.lexer import quote
from corten.template.parser import Parser
from corten.template.row import Row
from corten.template.tokens import ParseFailure
from corten.template.values import NO_VALUE, Nil, NoValue, Number, Struct, TypedMap, show, truth, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from corten.template.functions import Function

MAX_DEPTH: Final = 100
#: Statements, and characters: where Go's would go on until it is killed.
MAX_STEPS: Final = 1_000_000
MAX_OUTPUT: Final = 16 << 20


class TemplateError(ValueError):
    """The template cannot be executed on this data; the message is Go's."""


class Template:
    """A parsed text; ParseFailure when it is none."""

    def __init__(self, text: str, functions: Mapping[str, Function] = FUNCTIONS) -> None:
        parser = Parser(text, functions)
        self.text = text
        self.functions = functions
        try:
            self.body = parser.parse()
        except RecursionError:
            raise ParseFailure("template: max expression depth exceeded") from None
        self.defined = parser.defined

    def render(self, data: object, *, strict: bool = False) -> str:
        """The output for ``data``; ``strict`` makes an absent map key an error. Raises TemplateError."""
        run = _Run(self, strict=strict)
        run.variables.append(["$", data])
        try:
            run.walk(data, run.template.body)
        except RecursionError:
            raise TemplateError("template: exceeded maximum template depth") from None
        return "".join(run.pieces)


class _Jump(Exception):
    """``break`` or ``continue``."""


class _Missing:
    """No value comes from the stage before."""


_MISSING: Final = _Missing()


class _Run:
    """One execution: the output so far, the variables in scope and the node that errors name."""

    def __init__(self, template: Template, *, strict: bool) -> None:
        self.template = template
        self.strict = strict
        self.pieces: list[str] = []
        self.variables: list[list[object]] = []
        self.node: nodes.Node = template.body
        self.name = ""
        self.depth = 0
        self.steps = 0
        self.size = 0

    def fail(self, message: str) -> TemplateError:
        before = self.template.text.encode("utf-8", "surrogatepass")[: self.node.position]
        line = before.count(b"\n") + 1
        column = len(before) - (before.rfind(b"\n") + 1)
        where = f"template: :{line}:{column}: executing {quote(self.name)} at <{self.node}>"
        return TemplateError(f"{where}: {message}")

    # -- statements --

    def write(self, text: str) -> None:
        self.size += len(text)
        if self.size > MAX_OUTPUT:
            raise self.fail(f"exceeded maximum output ({MAX_OUTPUT})")
        self.pieces.append(text)

    def walk(self, dot: object, node: nodes.Node) -> None:
        self.node = node
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise self.fail(f"exceeded maximum number of steps ({MAX_STEPS})")
        if isinstance(node, nodes.Text):
            self.write(node.text)
        elif isinstance(node, nodes.Block):
            for item in node.nodes:
                self.walk(dot, item)
        elif isinstance(node, nodes.Action):
            value = self.pipeline(dot, node.pipeline)
            if not node.pipeline.variables:
                self.node = node
                self.write("<no value>" if value is None else show(value))
        elif isinstance(node, nodes.Branch):
            mark = len(self.variables)
            if node.word == "range":
                self._range(dot, node)
            else:
                self._choose(dot, node)
            del self.variables[mark:]
        elif isinstance(node, nodes.Call):
            self._template(dot, node)
        elif isinstance(node, nodes.Jump):
            raise _Jump(node.word)

    def _choose(self, dot: object, node: nodes.Branch) -> None:
        value = self.pipeline(dot, node.pipeline)
        if truth(value):
            self.walk(value if node.word == "with" else dot, node.body)
        elif node.otherwise is not None:
            self.walk(dot, node.otherwise)

    def _range(self, dot: object, node: nodes.Branch) -> None:
        value = self.pipeline(dot, node.pipeline)
        pairs = self._pairs(value)
        mark = len(self.variables)
        for key, item in pairs:
            self._set_loop_variables(node.pipeline, key, item)
            try:
                self.walk(item, node.body)
            except _Jump as jump:
                if str(jump) == "break":
                    break
            finally:
                del self.variables[mark:]
        if not pairs and node.otherwise is not None:
            self.walk(dot, node.otherwise)

    def _set_loop_variables(self, pipeline: nodes.Pipeline, key: object, item: object) -> None:
        """With two variables the first is the key; with one it is the element."""
        names = [variable.names[0] for variable in pipeline.variables]
        given = [item] if len(names) == 1 else [key, item]
        for name, value in zip(names, given, strict=False):
            if pipeline.assigns:
                self._assign(name, value)
                continue
            next(variable for variable in reversed(self.variables) if variable[0] == name)[1] = value

    def _pairs(self, value: object) -> Sequence[tuple[object, object]]:
        if isinstance(value, list):
            return list(enumerate(value))
        if isinstance(value, dict):
            return sorted(value.items())
        if isinstance(value, int) and not isinstance(value, bool):
            if value > MAX_STEPS:
                raise self.fail(f"exceeded maximum number of steps ({MAX_STEPS})")
            return [(number, number) for number in range(value)]
        if value is None or isinstance(value, (Nil, NoValue)):
            return ()
        raise self.fail(f"range can't iterate over {show(value)}")

    def _template(self, dot: object, node: nodes.Call) -> None:
        body = self.template.defined.get(node.name)
        if body is None:
            raise self.fail(f"template {quote(node.name)} not defined")
        if self.depth >= MAX_DEPTH:
            raise self.fail(f"exceeded maximum template depth ({MAX_DEPTH})")
        value = self.pipeline(dot, node.pipeline) if node.pipeline is not None else NO_VALUE
        outer = self.variables, self.name
        self.variables, self.name = [["$", value]], node.name
        self.depth += 1
        self.walk(value, body)
        self.depth -= 1
        self.variables, self.name = outer

    # -- pipelines --

    def pipeline(self, dot: object, node: nodes.Pipeline) -> object:
        """The last command's value, set to the pipeline's variables."""
        self.node = node
        value: object = _MISSING
        for command in node.commands:
            value = self._command(dot, command, value)
        for variable in node.variables:
            if node.assigns:
                self._assign(variable.names[0], value)
            else:
                self.variables.append([variable.names[0], value])
        return value

    def _assign(self, name: str, value: object) -> None:
        for variable in reversed(self.variables):
            if variable[0] == name:
                variable[1] = value
                return
        raise self.fail(f"undefined variable: {name}")

    def _command(self, dot: object, command: nodes.Command, final: object) -> object:
        first = command.arguments[0]
        if isinstance(first, (nodes.Fields, nodes.Chain, nodes.Variable)):
            return self._path(dot, first, command.arguments, final)
        if isinstance(first, nodes.Function):
            return self._call(dot, first, command, command.arguments, final)
        if not isinstance(first, nodes.Pipeline):
            self.node = first
        if len(command.arguments) > 1 or final is not _MISSING:
            raise self.fail(f"can't give argument to non-function {first}")
        if isinstance(first, nodes.Pipeline):
            return self._nested(dot, first)
        if isinstance(first, nodes.Dot):
            return dot
        assert isinstance(first, nodes.Literal)
        if first.kind == "nil":
            raise self.fail("nil is not a command")
        return first.value

    def _nested(self, dot: object, node: nodes.Pipeline) -> object:
        return self.pipeline(dot, node)

    def _path(
        self,
        dot: object,
        node: nodes.Fields | nodes.Chain | nodes.Variable,
        arguments: Sequence[nodes.Node],
        final: object,
    ) -> object:
        """Fields after a start; only the last of them may take arguments."""
        self.node = node
        if isinstance(node, nodes.Fields):
            receiver, names = dot, node.names
        elif isinstance(node, nodes.Variable):
            receiver, names = self._variable(node.names[0]), node.names[1:]
            if not names:
                if len(arguments) > 1 or final is not _MISSING:
                    raise self.fail(f"can't give argument to non-function {node}")
                return receiver
        else:
            if isinstance(node.operand, nodes.Literal):
                raise self.fail(f"indirection through explicit nil in {node}")
            receiver, names = self.argument(dot, ANY, node.operand), node.names
        in_map = False
        for name in names[:-1]:
            before = receiver
            receiver = self._field(dot, receiver, name, node, (), _MISSING, in_map=in_map)
            in_map = isinstance(before, dict)
        return self._field(dot, receiver, names[-1], node, arguments, final, in_map=in_map)

    def _variable(self, name: str) -> object:
        for variable in reversed(self.variables):
            if variable[0] == name:
                return variable[1]
        raise self.fail(f"undefined variable: {name}")

    def _field(
        self, dot: object, receiver: object, name: str, node: nodes.Node, arguments: Sequence[nodes.Node],
        final: object, *, in_map: bool,
    ) -> object:  # fmt: skip
        """One step of a path. ``in_map``: the receiver is an element of an untyped map, an ``interface {}``."""
        kind = "interface {}" if in_map and not isinstance(receiver, Struct) else type_name(receiver)
        if isinstance(receiver, NoValue) or (receiver is None and not in_map):
            if self.strict:
                raise self.fail(f"nil data; no entry for key {quote(name)}")
            return NO_VALUE
        if receiver is None or receiver is values.NIL_POINTER:
            raise self.fail(f"nil pointer evaluating {kind}.{name}")
        has_arguments = len(arguments) > 1 or final is not _MISSING
        if isinstance(receiver, Row):
            return self._row_field(dot, receiver, name, node, arguments, final)
        if isinstance(receiver, Struct):
            try:
                value = receiver.field(name)
            except KeyError:
                raise self.fail(f"can't evaluate field {name} in type {kind}") from None
            if has_arguments:
                raise self.fail(f"{name} has arguments but cannot be invoked as function")
            return value
        if isinstance(receiver, dict) or receiver is values.NIL_MAP:
            if has_arguments:
                raise self.fail(f"{name} is not a method but has arguments")
            found = receiver if isinstance(receiver, dict) else {}
            if isinstance(receiver, TypedMap) and receiver.key_type != STRING:
                raise self.fail(f"can't evaluate field {name} in type {kind}")
            if name not in found and self.strict:
                raise self.fail(f"map has no entry for key {quote(name)}")
            return found.get(name, NO_VALUE)
        raise self.fail(f"can't evaluate field {name} in type {kind}")

    def _row_field(
        self, dot: object, receiver: Row, name: str, node: nodes.Node, arguments: Sequence[nodes.Node], final: object
    ) -> object:
        """A list's row: all its fields are methods in Go, most of them without parameters."""
        method = receiver.methods.get(name)
        if method is None and name not in receiver.fields:
            raise self.fail(f"can't evaluate field {name} in type {receiver.kind}")
        wanted = 0 if method is None else 1
        count = max(0, len(arguments) - 1) + (final is not _MISSING)
        if count != wanted:
            raise self.fail(f"wrong number of args for {name}: want {wanted} got {count}")
        if method is None:
            value = receiver.fields[name]()
            return values.NIL_POINTER if value is None else value
        value = self._checked(final, STRING) if final is not _MISSING else self.argument(dot, STRING, arguments[1])
        return method(str(value))

    # -- calls --

    def _call(
        self, dot: object, node: nodes.Function, whole: nodes.Node, arguments: Sequence[nodes.Node], final: object
    ) -> object:
        """A function's value; what the function itself complains of is said of the ``whole`` command."""
        self.node = node
        function = self.template.functions[node.name]
        operands = arguments[1:]
        count = len(operands) + (final is not _MISSING)
        fixed = len(function.parameters) - function.variadic
        if function.variadic and count < fixed:
            raise self.fail(f"wrong number of args for {node.name}: want at least {fixed} got {len(operands)}")
        if not function.variadic and count != fixed:
            raise self.fail(f"wrong number of args for {node.name}: want {fixed} got {count}")
        if node.name in ("and", "or"):
            return self._short_circuit(dot, node.name, operands, final)
        kinds = [function.parameters[min(index, len(function.parameters) - 1)] for index in range(count)]
        given = [self.argument(dot, kind, operand) for kind, operand in zip(kinds, operands, strict=False)]
        if final is not _MISSING:
            given.append(self._checked(final, kinds[-1]))
        if sum(len(value) for value in given if isinstance(value, str)) > MAX_OUTPUT:
            raise self.fail(f"exceeded maximum size of a value ({MAX_OUTPUT})")
        try:
            return function.call(*given)
        except (OverflowError, ValueError) as error:
            self.node = whole
            text = str(error)
            if node.name == "call" and operands:
                text = text.replace("non-function", f"non-function {operands[0]}")
            raise self.fail(f"error calling {node.name}: {text}") from None

    def _short_circuit(self, dot: object, name: str, operands: Sequence[nodes.Node], final: object) -> object:
        value: object = NO_VALUE
        for operand in operands:
            value = self.argument(dot, ANY, operand)
            if truth(value) == (name == "or"):
                return value
        return value if final is _MISSING else final

    def argument(self, dot: object, kind: str, node: nodes.Node) -> object:
        """The value of an operand for a parameter of type ``kind``."""
        self.node = node
        if isinstance(node, nodes.Literal):
            return self._constant(node, kind)
        if isinstance(node, nodes.Dot):
            return self._checked(dot, kind)
        if isinstance(node, nodes.Pipeline):
            return self._checked(self._nested(dot, node), kind)
        if isinstance(node, nodes.Function):
            return self._checked(self._call(dot, node, node, (), _MISSING), kind)
        assert isinstance(node, (nodes.Fields, nodes.Variable, nodes.Chain))
        return self._checked(self._path(dot, node, (node,), _MISSING), kind)

    def _constant(self, node: nodes.Literal, kind: str) -> object:
        if node.kind == "nil":
            if kind != ANY:
                raise self.fail(f"cannot assign nil to {kind}")
            return None
        if kind == STRING and node.kind != "string":
            raise self.fail(f"expected string; found {node}")
        if kind == INT and (node.kind != "number" or not isinstance(node.value, int)):
            raise self.fail(f"expected integer; found {node}")
        return node.value

    def _checked(self, value: object, kind: str) -> object:
        if kind == ANY:
            return value
        if value is None or isinstance(value, NoValue):
            raise self.fail(f"invalid value; expected {kind}")
        fits = isinstance(value, str) if kind == STRING else isinstance(value, int) and not isinstance(value, bool)
        if not fits or (isinstance(value, Number) and kind == STRING):
            raise self.fail(f"wrong type for value; expected {kind}; got {type_name(value)}")
        return value
