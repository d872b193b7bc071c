"""Interleaved timing: variant 1, variant 2, ..., again; medians, tenth percentiles and ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Row:
    """One line of the table. ``values`` are per variant, in ``unit``; the ratio is our median by the peer's."""

    name: str
    ours: str
    peer: str
    target: float
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""
    higher_is_better: bool = False

    def median(self, variant: str) -> float:
        return statistics.median(self.values[variant])

    def low(self, variant: str) -> float:
        """The tenth percentile: the best estimate of a quiet machine."""
        ordered = sorted(self.values[variant])
        return ordered[len(ordered) // 10]

    @property
    def ratio(self) -> float:
        return self.median(self.ours) / self.median(self.peer)

    @property
    def met(self) -> bool:
        return self.ratio >= self.target if self.higher_is_better else self.ratio <= self.target

    def document(self) -> dict[str, object]:
        """What is kept: every single value, and what the table says of them."""
        return {
            "row": self.name,
            "ours": self.ours,
            "peer": self.peer,
            "unit": self.unit,
            "target": self.target,
            "ratio": round(self.ratio, 4),
            "met": self.met,
            "note": self.note,
            "medians": {name: round(self.median(name), 4) for name in self.values},
            "values": {name: [round(value, 4) for value in values] for name, values in self.values.items()},
        }


def milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def interleave(variants: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Call every variant once a round, in turn; each gives its value (a time, a rate). Warm-up rounds are dropped."""
    values: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + warm_up):
        for name, action in variants.items():
            value = action()
            if turn >= warm_up:
                values[name].append(value)
    return values


def timed(actions: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """As ``interleave`` for actions whose duration is the value, in milliseconds."""
    return interleave(
        {name: (lambda action=action: milliseconds(action)) for name, action in actions.items()}, rounds, warm_up
    )


def table(rows: list[Row]) -> str:
    """The rows as text, widest column first."""
    head = ("row", "ours", "peer", "unit", "ratio", "target", "")
    lines = [head]
    for row in rows:
        sign = ">=" if row.higher_is_better else "<="
        lines.append(
            (
                row.name,
                f"{row.median(row.ours):.4g}",
                f"{row.median(row.peer):.4g} ({row.peer})",
                row.unit,
                f"{row.ratio:.3f}",
                f"{sign} {row.target:g}",
                "met" if row.met else "MISSED",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text += [f"{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join(text)
