"""Lists as Docker prints them: a table of default columns, a table of a template, a template per row, or JSON.

Owns the meaning of ``--format``. A command describes its rows as functions by field name; which template language the
rest of the format is in is :mod:`corten.template`'s concern, imported only when there is a template.
"""

from __future__ import annotations

from corten.cli import table
from corten.client.errors import ClientError
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from corten.template.row import Field


class Layout:
    """What a list has when no format is given: ``columns`` of (field, header), and the field that ``-q`` prints.

    ``headers`` adds those of fields that are in no default column; ``raw`` is Docker's old ``--format raw``.
    """

    __slots__ = ("columns", "headers", "kind", "quiet", "raw")

    def __init__(
        self, kind: str, columns: Sequence[tuple[str, str]], quiet: str, headers: Mapping[str, str], raw: str = ""
    ) -> None:
        self.kind = kind
        self.columns = columns
        self.quiet = quiet
        self.headers = headers
        self.raw = raw


def render(layout: Layout, rows: Sequence[Row], format_text: str, *, quiet: bool) -> str:
    """The list's text, ready to be written."""
    if quiet and format_text in ("", "table", "raw"):
        prefix = f"{layout.quiet.lower()}: " if format_text == "raw" else ""
        return "".join(f"{prefix}{row.text(layout.quiet)}\n" for row in rows)
    if format_text in ("", "table"):
        cells = [[row.text(name) for name, _ in layout.columns] for row in rows]
        return table.of_rows([[header for _, header in layout.columns], *cells])
    return _templated(layout, rows, format_text)


def _templated(layout: Layout, rows: Sequence[Row], format_text: str) -> str:
    from corten.template.engine import Template, TemplateError
    from corten.template.functions import HEADER_FUNCTIONS
    from corten.template.tokens import ParseFailure

    is_table = format_text.startswith("table")
    text = format_text[5:].strip() if is_table else format_text
    if format_text == "json":
        text = "{{json .}}"
    elif format_text == "raw" and layout.raw:
        text = layout.raw
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    try:
        template = Template(text)
        lines = [template.render(row) + "\n" for row in rows]
        if not is_table:
            return "".join(lines)
        headers = {header[0]: header[1] for header in layout.columns} | dict(layout.headers)
        head = Template(text, HEADER_FUNCTIONS).render(_headers(headers))
    except ParseFailure as error:
        raise ClientError(f"template parsing error: {error}") from None
    except TemplateError as error:
        raise ClientError(f"template parsing error: {error}") from None
    return table.lay_out("".join([head + "\n", *lines]))


def _headers(headers: Mapping[str, str]) -> Row:
    """The first row of a table: each field is its own title, ``.Label "x"`` the last word of x."""
    return Row("formatter.SubHeaderContext", {name: _constant(title) for name, title in headers.items()},
               {"Label": _label_title})  # fmt: skip


def _constant(text: str) -> Field:
    return lambda: text


def _label_title(name: str) -> str:
    return name.replace(".", " ").split(" ")[-1].replace("-", " ").replace("_", " ")


def joined_labels(labels: object) -> str:
    """``a=b,c=d``."""
    if not isinstance(labels, dict):
        return ""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def short_id(identifier: str, *, whole: bool = False) -> str:
    """The first twelve digits of an id, without its algorithm; ``whole`` leaves it as it is."""
    return identifier if whole else identifier.rpartition(":")[2][:12]


def ellipsis(text: str, width: int) -> str:
    """At most ``width`` characters, the last of them … when something was cut."""
    return text if len(text) <= width else text[: width - 1] + "…"


def filter_value(value: str) -> str:
    """One ``-f`` value; ValueError with Docker's reason when it is none."""
    if "=" not in value:
        raise ValueError("bad format of filter (expected name=value)")
    return value


def filters(values: Sequence[str]) -> str:
    """``-f`` values as the API's JSON, empty when there are none."""
    if not values:
        return ""
    from corten.api.document import encode

    chosen: dict[str, dict[str, bool]] = {}
    for value in values:
        name, _, wanted = value.partition("=")
        chosen.setdefault(name.strip().lower(), {})[wanted.strip()] = True
    return encode(chosen)


def natural(text: str) -> list[tuple[int, str, int]]:
    """A sort key that counts digits as numbers: ``v2`` before ``v10``."""
    parts: list[tuple[int, str, int]] = []
    at = 0
    while at < len(text):
        end = at
        is_number = text[at].isdigit()
        while end < len(text) and text[end].isdigit() == is_number:
            end += 1
        parts.append((0, "", int(text[at:end])) if is_number else (1, text[at:end], 0))
        at = end
    return parts
