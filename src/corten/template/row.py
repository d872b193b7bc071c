"""An object whose members are functions: a list's row, or what a log tag may name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Field = Callable[[], object]


class Row:
    """One object as its template sees it: ``fields`` by name, ``methods`` that take arguments.

    ``kind`` is the type that error texts name, e.g. ``*formatter.ContainerContext``. A field whose name is in
    ``hidden`` does not appear in the row's JSON.
    """

    __slots__ = ("fields", "hidden", "kind", "methods")

    def __init__(
        self,
        kind: str,
        fields: Mapping[str, Field],
        methods: Mapping[str, Callable[[str], str]] | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self.kind = kind
        self.fields = fields
        self.methods = methods or {}
        self.hidden = hidden

    def text(self, name: str) -> str:
        """A field for a cell."""
        return str(self.fields[name]())

    def document(self) -> dict[str, object]:
        """What JSON shows: every field, by name."""
        return {name: self.fields[name]() for name in sorted(self.fields) if name not in self.hidden}
