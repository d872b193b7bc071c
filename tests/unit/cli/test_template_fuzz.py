"""Templates of any shape on data of any shape: a text, or one of the two errors, in bounded time and room.

An engine renders those of log tags, so a client must not be able to hold it up or to fill its memory.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corten.template.engine import MAX_OUTPUT, MAX_STEPS, Template, TemplateError
from corten.template.functions import FUNCTIONS, HEADER_FUNCTIONS
from corten.template.row import Row
from corten.template.tokens import ParseFailure
from corten.template.values import PLAIN, Struct, untyped

WORDS = [
    "{{", "}}", "{{-", "-}}", "{{/*", "*/}}", ".", "..", "$", "$x", "$x := ", "$i, $x := ", " = ", "|", "(", ")", ",", " ", "\n", "\t",
    "if ", "else ", "else if ", "end", "range ", "with ", "define ", "template ", "block ", "break", "continue",
    '"a"', '"%v %d %s %q %x %c %*d %.*f %U %t %T %[1]d"', '"%9999999999d"', "`raw`", "'c'", '"', "`", "'", "\\", "\\u12", "\ud800", "é", "\0",
    "0", "1", "-1", "1e3", "0x", "1_0", "1i", "99999999999999999999", "nil", "true", "false",
    ".Name", ".Labels", ".Labels.a", ".List", ".Missing", ".Deep.Deep", ".Number", *FUNCTIONS,
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=14).map("".join)
ACTIONS = st.lists(st.sampled_from([*WORDS[4:], " "]), max_size=8).map(lambda words: f"{{{{{' '.join(words)}}}}}")
CALLS = st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(st.sampled_from(WORDS[31:]), max_size=4)).map(
    lambda call: f"{{{{{call[0]} {' '.join(call[1])}}}}}"
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Name", "Labels", "List", "a", ""]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FIXED = {
    "Name": "web",
    "Labels": {"a": "b"},
    "List": [1, "x", None, {"Name": 2}],
    "Number": 1 << 40,
    "Deep": {"Deep": {}},
}


def rendered(text: str, data: object, *, strict: bool = False) -> str | None:
    try:
        template = Template(text, HEADER_FUNCTIONS if strict else FUNCTIONS)
        return template.render(data, strict=strict)
    except (ParseFailure, TemplateError):
        return None


@settings(max_examples=600)
@given(TEXTS | ACTIONS | CALLS, st.booleans())
@example('{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}', False)
@example('{{printf "%c" 99999999999999999999}}', False)
@example('{{printf "%.99999f" 1.5}}', False)
@example("{{range 99999999}}x{{end}}", False)
@example('{{pad "x" 999999999 999999999}}', False)
@example('{{printf "%999999999d" 1}}', False)
@example("{{" + "(" * 5000 + "}}", False)
@example("{{if 1}}" * 5000, False)
@example("{{" + "not " * 5000 + "1}}", False)
def test_fuzz_any_text_is_a_template_or_a_refusal(text: str, strict: bool) -> None:
    row = Row("*formatter.x", {name: (lambda value=value: value) for name, value in FIXED.items()})
    for data in (untyped(FIXED), Struct(FIXED, PLAIN), row, None):
        rendered(text, data, strict=strict)


@given(
    CALLS
    | st.sampled_from(["{{.}}", "{{json .}}", "{{range .}}{{.}}{{end}}", "{{.Name.a}}", "{{index . 0}}", "{{len .}}"]),
    DOCUMENTS,
)
def test_fuzz_any_data_is_shown_or_refused(text: str, document: object) -> None:
    rendered(text, untyped(document))
    if isinstance(document, dict):
        rendered(text, Struct(document, PLAIN))


@pytest.mark.parametrize(
    "text",
    [
        '{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}',
        "{{range 99999999}}x{{end}}",
        "{{range 9999}}{{range 9999}}{{end}}{{end}}",
        '{{pad "x" 999999999 1}}',
        '{{$x := "0123456789"}}{{range 60}}{{$x = print $x $x}}{{end}}{{$x}}',
    ],
)
def test_work_and_room_are_bounded(text: str) -> None:
    """Go's would go on for years, or until its memory is full."""
    with pytest.raises(TemplateError, match="exceeded maximum"):
        Template(text).render(None)


def test_what_people_write_is_far_from_the_bounds() -> None:
    text = "{{range .}}{{.}} {{end}}"
    assert len(Template(text).render([1] * 50_000)) == 100_000
    assert MAX_STEPS >= 1_000_000
    assert MAX_OUTPUT >= 16 << 20
