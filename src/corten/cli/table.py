"""Text with tabs laid out in columns, as Go's text/tabwriter does with Docker's settings; pure.

A column is a block of neighbouring lines that have a tab-terminated cell in it; its width is that of its widest cell
plus the padding, and at least the minimum. The last cell of a line belongs to no column.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def lay_out(text: str, *, minimum: int = 10, padding: int = 3) -> str:
    """``text`` with its tabs replaced by spaces. Docker's lists have a minimum of 10 and a padding of 3."""
    lines = [line.split("\t") for line in text.split("\n")]
    pieces: list[str] = []
    _columns(lines, 0, len(lines), [], (minimum, padding), pieces)
    return "\n".join(pieces)


def of_rows(rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as a table, each line ended by a line feed."""
    return lay_out("".join("\t".join(row) + "\n" for row in rows))


def _columns(
    lines: list[list[str]], start: int, end: int, widths: list[int], sizes: tuple[int, int], pieces: list[str]
) -> None:
    """Lay out the block ``start`` to ``end``, whose first ``len(widths)`` columns are known."""
    column = len(widths)
    minimum, padding = sizes
    this = start
    while this < end:
        if column >= len(lines[this]) - 1:
            this += 1
            continue
        _write(lines, start, this, widths, pieces)
        start = this
        width = minimum
        while this < end and column < len(lines[this]) - 1:
            width = max(width, len(lines[this][column]) + padding)
            this += 1
        _columns(lines, start, this, [*widths, width], sizes, pieces)
        start = this
    _write(lines, start, end, widths, pieces)


def _write(lines: list[list[str]], start: int, end: int, widths: list[int], pieces: list[str]) -> None:
    for line in lines[start:end]:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        pieces.append("".join(padded + line[len(widths) :]))
