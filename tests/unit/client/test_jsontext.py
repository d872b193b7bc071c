"""JSON as Go prints it."""

from __future__ import annotations

import json

import pytest

from corten.client import jsontext


@pytest.mark.parametrize("value", [{}, [], [1, [2, {"a": []}]], {"a": {"b": None, 'c"\\': "x\n{[,:"}}, "s", 1.5])
def test_indent_is_gos(value):
    expected = json.dumps(value, indent=4, ensure_ascii=False)
    assert jsontext.indent(json.dumps(value, ensure_ascii=False)) == expected


def test_indent_keeps_what_was_written():
    assert jsontext.indent('{"a":"\\u003c","n":1e+03}') == '{\n    "a": "\\u003c",\n    "n": 1e+03\n}'


def test_go_escapes_html():
    assert jsontext.go_encode({"a": "<é>&\u2028"}) == '{"a":"\\u003cé\\u003e\\u0026\\u2028"}'


@pytest.mark.parametrize("text", ["", "{", "{}x", "[1,]", "nope"])
def test_no_json(text):
    with pytest.raises(ValueError, match=r"JSON|json|Expecting|Illegal"):
        jsontext.decode(text)
