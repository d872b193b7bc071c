"""What `run` and `create` send, against what the docker CLI sent for the same words (tests/cli/golden)."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from tests.cli.golden.record_create import sparse

from corten.cli import options
from corten.cli.commands import create
from corten.cli.creation import body, flags
from corten.cli.session import CommandFailed

RECORDED = json.loads((Path(__file__).parent / "data" / "create_bodies.json").read_text())
#: Detaching is the verb's part, not the body's.
RECORDS = [record for record in RECORDED["records"] if "-d" not in record["command"].split()]


def built(record, folder, monkeypatch):
    for name, text in RECORDED["files"].items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RECORDED_HOME", "rh")
    table = flags.RUN if record["verb"] == "run" else flags.CREATE
    given, arguments = options.parse(table, shlex.split(record["command"]), interspersed=False)
    return create.checked(given, record["verb"], lambda: body.build(given, arguments[0], arguments[1:]))


@pytest.mark.parametrize("record", [r for r in RECORDS if "body" in r], ids=lambda r: f"{r['verb']} {r['command']}")
def test_body_is_dockers(record, tmp_path, monkeypatch):
    ours = json.loads(json.dumps(built(record, tmp_path, monkeypatch)).replace(str(tmp_path), "FOLDER"))
    assert sparse(ours) == record["body"]


@pytest.mark.parametrize(
    "record", [r for r in RECORDS if "error" in r and "TTY" not in r["error"]], ids=lambda r: r["command"]
)
def test_refusal_is_dockers(record, tmp_path, monkeypatch):
    with pytest.raises((options.UsageError, CommandFailed)) as refusal:
        built(record, tmp_path, monkeypatch)
    first = str(refusal.value).split("\n")[0]
    assert first
    assert first in record["error"]


def test_enough_was_recorded():
    assert sum("body" in record for record in RECORDS) > 150


def test_unset_variable_as_option_stays_bare_and_is_dropped_from_a_file(tmp_path, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    (tmp_path / "file").write_text("NOWHERE\nA=1\n")
    given, arguments = options.parse(
        flags.CREATE, ["-e", "NOWHERE", "--env-file", str(tmp_path / "file"), "i"], interspersed=False
    )
    assert body.build(given, arguments[0], [])["Env"] == ["A=1", "NOWHERE"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options"),
        (["--pid", "foo"], "--pid: invalid PID mode"),
        (["--memory-swappiness", "101"], "invalid value: 101. Valid memory swappiness range is 0-100"),
        (["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
        (["--network", "a", "--network", "a"], 'network "a" is specified multiple times'),
        (["--network", "a", "--network", "host"], "conflicting options: cannot attach both user-defined"),
        (["--rm", "--restart", "always"], "conflicting options: cannot specify both --restart and --rm"),
        (["--disable-content-trust=false"], "--disable-content-trust=false is not supported"),
        (["-p", "80-81:80-82"], "invalid ranges specified for container and host Ports: 80-82 and 80-81"),
        (["-v", "a::b"], "invalid spec: a::b: empty section between colons"),
        (["--cpu-count", "1"], '"--cpu-count" is only supported on a Docker daemon running on windows'),
    ],
)
def test_contradictions_are_refused(words, text):
    given, arguments = options.parse(flags.CREATE, [*words, "image"], interspersed=False)
    with pytest.raises(CommandFailed) as refusal:
        create.checked(given, "create", lambda: body.build(given, arguments[0], []))
    assert text in str(refusal.value)


def test_no_option_is_read_by_nobody():
    """Every flag of the table is named by the code that makes the request, or by its verb."""
    sources = "".join(
        Path(module.__file__ or os.devnull).read_text()
        for module in (body, create, __import__("corten.cli.commands.run", fromlist=["run"]))
    )
    unread = [flag.long for flag in flags.RUN if f'"{flag.long}"' not in sources and flag.long not in flags.WINDOWS]
    assert unread == []
