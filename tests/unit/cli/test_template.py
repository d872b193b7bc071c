"""The template language against a table of what the docker CLI 28.2.2 printed (``inspect --format`` of one container)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corten.template.engine import Template, TemplateError
from corten.template.functions import HEADER_FUNCTIONS
from corten.template.row import Row
from corten.template.tokens import ParseFailure
from corten.template.values import EVENT, NETWORK, Struct, show, untyped

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "docker_templates.json").read_text())


def docker_inspect(text: str) -> tuple[str, str]:
    """Output and error as ``inspect`` gives them: Docker's types first, then the bare document."""
    try:
        template = Template(text)
    except ParseFailure as error:
        return "", f"template parsing error: {error}\n"
    try:
        return template.render(Struct(TABLE["document"])) + "\n", ""
    except TemplateError:
        pass
    try:
        return template.render(untyped(TABLE["document"]), strict=True) + "\n", ""
    except TemplateError as error:
        return "\n", f"template parsing error: {error}\n"


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["template"][:60])
def test_as_docker(case: dict[str, Any]) -> None:
    assert docker_inspect(case["template"]) == (case["output"], case["error"])


def row() -> Row:
    return Row(
        "*formatter.ContainerContext",
        {"Names": lambda: "one", "Ports": lambda: "80->80", "None": lambda: None},
        {"Label": lambda name: {"kind": "x"}.get(name, "")},
    )


# Recorded with `docker ps --format`.
@pytest.mark.parametrize(
    ("text", "output"),
    [
        ('{{.Names}} {{.Label "kind"}}', "one x"),
        ('{{"kind" | .Label}}', "x"),
        ("{{json .}}", '{"Names":"one","None":null,"Ports":"80-\\u003e80"}'),
        ("{{json .Ports}}", '"80->80"'),
    ],
)
def test_rows(text: str, output: str) -> None:
    assert Template(text).render(row()) == output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{.X}}", "<.X>: can't evaluate field X in type *formatter.ContainerContext"),
        ("{{.Label}}", "<.Label>: wrong number of args for Label: want 1 got 0"),
        ("{{.Label 1}}", "<1>: expected string; found 1"),
        ("{{.Names 1}}", "<.Names>: wrong number of args for Names: want 0 got 1"),
        ("{{.Names.Foo}}", "<.Names.Foo>: can't evaluate field Foo in type string"),
    ],
)
def test_errors_of_rows(text: str, reason: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text).render(row())
    assert str(caught.value).endswith(reason)


def test_header_functions_leave_headers_alone() -> None:
    text = '{{json .Names}} {{lower .Names}} {{join (split .Names "") "-"}} {{pad .Names 2 3}}{{truncate .Names 2}}'
    header = Row("x", {"Names": lambda: "NAMES"})
    assert Template(text, HEADER_FUNCTIONS).render(header) == "NAMES NAMES NAMES   NAMES   NAMES"


def test_shapes() -> None:
    event = Struct({"Type": "network", "timeNano": 5, "Actor": {"Attributes": {"b": "1", "a": "2"}}}, EVENT)
    assert Template("[{{.ID}}] {{.TimeNano}} {{.Actor.Attributes}}").render(event) == "[] 5 map[a:2 b:1]"
    network = Struct({"Created": "2026-11-24T04:22:02.34Z"}, NETWORK)
    assert Template("{{.Created}}").render(network) == "2026-11-24 04:22:02.34 +0000 UTC"


def test_untyped_null_prints_as_no_value_and_inside_as_nil() -> None:
    assert Template("{{.a}} {{.b}}").render({"a": None, "b": [None]}) == "<no value> [<nil>]"


# fmt.Println of Go 1.24.
@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (-0.5, "-0.5"), (100000.0, "100000"), (1e6, "1e+06"), (123456789.0, "1.23456789e+08"),
     (0.0001, "0.0001"), (0.00001, "1e-05"), (1e21, "1e+21"), (12.25, "12.25")],
)  # fmt: skip
def test_floats(value: float, text: str) -> None:
    assert show(value) == text


def test_recursion_ends() -> None:
    with pytest.raises(TemplateError, match="exceeded maximum template depth"):
        Template('{{define "t"}}{{template "t"}}{{end}}{{template "t"}}').render({})
