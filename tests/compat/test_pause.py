"""``pause`` and ``unpause``, and what every other verb makes of a paused container."""

from __future__ import annotations

import json
import time

import pytest
from tests.compat.conftest import Client

pytestmark = pytest.mark.root

COUNTER = ("sh", "-c", "while :; do echo tick; sleep 0.02; done")


def ticks(cli: Client, name: str) -> int:
    return cli("logs", name).stdout.count("tick")


def started(cli: Client, name: str, *flags: str) -> None:
    cli("run", "-d", "--name", name, *flags, "busybox", *COUNTER)
    for _ in range(200):
        if ticks(cli, name):
            return
        time.sleep(0.05)
    raise AssertionError("it never ticked")


def status(cli: Client, name: str) -> str:
    return cli.out("inspect", "-f", "{{.State.Status}} {{.State.Running}} {{.State.Paused}}", name)


def test_nothing_moves_while_it_is_paused(cli: Client) -> None:
    started(cli, "still")
    assert cli.out("pause", "still") == "still"
    assert status(cli, "still") == "paused true true"
    assert "(Paused)" in cli.out("ps", "--format", "{{.Status}}")
    before = ticks(cli, "still")
    time.sleep(0.3)
    assert ticks(cli, "still") == before
    assert cli.out("unpause", "still") == "still"
    assert status(cli, "still") == "running true false"
    for _ in range(100):
        if ticks(cli, "still") > before:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("it did not go on")


def test_refusals(cli: Client) -> None:
    started(cli, "one")
    cli("create", "--name", "two", "busybox", "true")
    identifier = cli.out("inspect", "-f", "{{.Id}}", "one")
    assert f"Container {identifier} is not paused" in cli.err("unpause", "one")
    cli("pause", "one")
    assert f"Container {identifier} is already paused" in cli.err("pause", "one")
    assert "is not running" in cli.err("pause", "two")
    assert "is not paused" in cli.err("unpause", "two")
    assert "No such container: three" in cli.err("pause", "three")
    assert "is paused, unpause the container before exec" in cli.err("exec", "one", "true")
    assert "cannot start a paused container, try unpause instead" in cli.err("start", "one")
    assert "remove" in cli.err("rm", "one")
    assert "paused container, unpause it first" in cli.err("attach", "one")
    assert "sleep" in cli.out("top", "one") or "sh -c" in cli.out("top", "one")
    result = cli("unpause", "one", "two", code=1)
    assert result.stdout == "one\n"
    assert "is not paused" in result.stderr


def test_ending_a_paused_container(cli: Client) -> None:
    started(cli, "ends")
    cli("pause", "ends")
    cli("stop", "-t", "1", "ends")
    assert status(cli, "ends") == "exited false false"
    cli("start", "ends")
    cli("pause", "ends")
    cli("restart", "-t", "1", "ends")
    assert status(cli, "ends") == "running true false"
    cli("pause", "ends")
    cli("kill", "ends")
    assert cli.out("wait", "ends") == "137"
    cli("start", "ends")
    cli("pause", "ends")
    assert cli.out("rm", "-f", "ends") == "ends"


def test_a_signal_wakes_it(cli: Client) -> None:
    """Any signal does, unless the container has a stop signal of its own: then that one and SIGKILL."""
    handler = "trap 'echo heard; exit 3' USR1; while :; do sleep 0.02; done"
    cli("run", "-d", "--name", "plain", "busybox", "sh", "-c", handler)
    cli("run", "-d", "--name", "own", "--stop-signal", "USR2", "busybox", "sh", "-c", handler)
    time.sleep(0.3)
    cli("pause", "plain", "own")
    cli("kill", "-s", "USR1", "plain")
    assert cli.out("wait", "plain") == "3"
    cli("kill", "-s", "USR1", "own")
    assert status(cli, "own") == "paused true true"
    cli("unpause", "own")
    assert cli.out("wait", "own") == "3"


def test_events(cli: Client) -> None:
    since = str(time.time())
    started(cli, "told")
    cli("pause", "told")
    cli("unpause", "told")
    cli("pause", "told")
    cli("kill", "told")
    cli("wait", "told")
    time.sleep(0.2)
    lines = cli.out("events", "--since", since, "--until", str(time.time()), "--filter", "container=told",
                    "--format", "{{json .}}").splitlines()  # fmt: skip
    actions = [json.loads(line)["Action"] for line in lines]
    assert actions[2:6] == ["pause", "unpause", "pause", "kill"]
    assert actions[6:] in (["unpause", "die"], ["die"])  # dockerd sometimes sees the end first
