"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_attacks_md_names_is_there() -> None:
    """Files by their path or name, functions by their beginning."""
    rows = [line for line in (ROOT / "docs/attacks.md").read_text().splitlines() if line.startswith("| ")][1:]
    files = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(rows) > 25
    for row in rows:
        words = re.findall(r"`([^`]+)`", row.split("|")[3])
        assert words, row
        named = [word for word in words if word.endswith(".py") and "*" not in word]
        text = "".join((ROOT / "tests" / word if "/" in word else files[word]).read_text() for word in named)
        for word in words:
            if word.endswith("_*"):
                assert f"def {'' if word.startswith('test_') else 'test_'}{word[:-1]}" in text, word


def test_every_cve_that_a_test_carries_is_listed() -> None:
    listed = set(re.findall(r"(\d{4}-\d{4,5})", (ROOT / "docs/attacks.md").read_text()))
    carried = {
        f"{year}-{number}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_cve\w+)", path.read_text())
        for year, number in re.findall(r"(\d{4})_(\d{4,5})(?=_|$)", name)
    }
    assert carried - listed == set()
