"""The comparison of transcripts finds what differs and nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.compat.transcripts.compare import Difference, Outcome, Tokens, differences, flatten
from tests.compat.transcripts.known import KNOWN

ID = "0123456789ab" * 5 + "cdef"
OTHER = "ba9876543210" * 5 + "cdef"


def compare(theirs: str, ours: str) -> list[Difference]:
    tokens = Tokens({"/var/lib/docker": "data"}), Tokens({"/tmp/x/data": "data"})
    return differences(Outcome(0, theirs, ""), Outcome(0, ours, ""), tokens)


def test_what_changes_from_run_to_run_is_equal() -> None:
    theirs = f"{ID}\n{ID[:12]}  2020-01-02T03:04:05.123Z  /var/lib/docker/a  172.17.0.2\n"
    ours = f"{OTHER}\n{OTHER[:12]}  2026-01-02T03:04:05.9Z   /tmp/x/data/a  172.18.0.9\n"
    assert compare(theirs, ours) == []


def test_an_id_is_not_its_beginning() -> None:
    assert compare(ID, OTHER[:12]) != []


def test_never_is_not_a_time() -> None:
    assert compare("0001-01-01T00:00:00Z", "2026-01-02T03:04:05Z") != []


def test_members_are_compared_by_name_kind_and_value() -> None:
    found = compare('[{"A": null, "B": 1, "C": {"x": []}}]', '[{"A": [], "B": 1, "D": 2}]')
    assert [(item.where, item.theirs, item.ours) for item in found] == [
        ("[0].A", "null", "[]"),
        ("[0].C.x", "[]", "(missing)"),
        ("[0].D", "(missing)", "2"),
    ]


def test_exit_codes_and_lines() -> None:
    tokens = Tokens({}), Tokens({})
    found = differences(Outcome(1, "a\n", "x\n"), Outcome(0, "a\nb\n", "x\n"), tokens)
    assert [item.where for item in found] == ["exit", "out 2"]


def test_flatten_keeps_empty_containers() -> None:
    assert dict(flatten({"a": {}, "b": [{"c": False}]})) == {".a": "{}", ".b[0].c": "false"}


def test_every_reason_is_in_the_documents() -> None:
    text = (Path(__file__).parents[2] / "docs/compatibility.md").read_text()
    missing = {row.reason for row in KNOWN if f"- {row.reason[0].upper()}{row.reason[1:]}." not in text}
    assert not missing
