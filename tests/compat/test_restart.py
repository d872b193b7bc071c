"""Restart policies as a client sees them."""

from __future__ import annotations

import json
import time

import pytest
from tests.compat.conftest import Client

pytestmark = pytest.mark.root


def until(cli: Client, name: str, status: str) -> dict[str, object]:
    """``inspect``'s document once the container has ``status``."""
    for _ in range(400):
        found: dict[str, object] = json.loads(cli.out("inspect", name))[0]
        state = found["State"]
        assert isinstance(state, dict)
        if state["Status"] == status:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name}: {state}")


def test_a_foreground_run_ends_with_its_first_run(cli: Client) -> None:
    result = cli("run", "--name", "fg", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo x; exit 3", code=3)
    assert result.stdout == "x\n"
    for _ in range(400):
        if cli.out("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "fg") == "2 exited":
            break
        time.sleep(0.05)
    assert cli.out("logs", "fg") == "x\nx\nx"


def test_restarting_is_shown_and_ended(cli: Client) -> None:
    cli("run", "-d", "--name", "loop", "--restart", "always", "busybox", "sh", "-c", "exit 7")
    time.sleep(1.0)
    found = until(cli, "loop", "restarting")
    assert found["State"]["Running"], "as Docker counts"  # type: ignore[index]
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}  # type: ignore[index]
    for _ in range(400):
        if cli.out("ps", "--format", "{{.Status}}").startswith("Restarting (7) "):
            break
    else:
        raise AssertionError("ps never showed it")
    assert cli.out("ps", "-q", "--filter", "status=exited") == ""
    until(cli, "loop", "restarting")
    assert cli.out("wait", "loop") == "7"
    until(cli, "loop", "restarting")
    assert cli.out("stop", "loop") == "loop"
    assert cli.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "loop") == "exited 7"
    assert cli.out("start", "loop") == "loop"
    until(cli, "loop", "restarting")
    assert cli.out("rm", "-f", "loop") == "loop"


def test_policies_that_are_refused(cli: Client) -> None:
    assert "restart" in cli.err("create", "--restart", "sometimes", "busybox", code=1)
    conflict = cli("create", "--rm", "--restart", "always", "busybox", code=125)
    assert "conflicting options: cannot specify both --restart and --rm" in conflict.stderr
    assert "negative" in cli.err("create", "--restart", "on-failure:-1", "busybox", code=1)


def test_a_container_that_runs_with_a_policy_is_restarted_by_hand(cli: Client) -> None:
    cli("run", "-d", "--name", "steady", "--restart", "unless-stopped", "busybox", "sleep", "600")
    cli("restart", "-t", "0", "steady")
    assert cli.out("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "steady") == "running 0"
    cli("kill", "steady")
    assert cli.out("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "steady") == "exited 0"
