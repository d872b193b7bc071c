"""Health checks as a client sees them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import docker
import pytest
from tests.compat.conftest import Client
from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root


def health(cli: Client, name: str, status: str) -> dict[str, object]:
    """``State.Health`` once it has ``status``."""
    for _ in range(400):
        found: dict[str, object] = json.loads(cli.out("inspect", "-f", "{{json .State.Health}}", name))
        if found["Status"] == status:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name}: {found}")


def test_life_of_a_check(cli: Client) -> None:
    script = "echo seen; test ! -e /bad"
    cli(
        "run", "-d", "--name", "checked", "--health-cmd", script, "--health-interval", "300ms", "--health-retries", "2",
        "busybox", "sleep", "600",
    )  # fmt: skip
    good = health(cli, "checked", "healthy")
    assert good["FailingStreak"] == 0
    first = good["Log"][0]  # type: ignore[index]
    assert (first["ExitCode"], first["Output"], sorted(first)) == (0, "seen\n", ["End", "ExitCode", "Output", "Start"])
    assert cli.out("ps", "--format", "{{.Status}}").endswith(" (healthy)")
    assert cli.out("ps", "--format", "{{.Names}}", "--filter", "health=healthy") == "checked"
    assert cli.out("ps", "-q", "--filter", "health=none") == ""
    cli("exec", "checked", "touch", "/bad")
    bad = health(cli, "checked", "unhealthy")
    assert bad["FailingStreak"] >= 2  # type: ignore[operator]
    assert cli.out("ps", "--format", "{{.Status}}").endswith(" (unhealthy)")
    container = cli.out("inspect", "-f", "{{.Id}}", "checked")
    window = ("--since", "10m", "--until", str(time.time()), "--filter", f"container={container}")
    seen = cli.out("events", *window, "--format", "{{.Action}}").splitlines()
    assert seen.count("health_status: healthy") == seen.count("health_status: unhealthy") == 1
    title = f"/bin/sh -c {script}"
    assert seen[seen.index(f"exec_create: {title}") :][:3] == [
        f"exec_create: {title}", f"exec_start: {title}", "exec_die",
    ]  # fmt: skip
    cli("stop", "-t", "0", "checked")
    stopped = health(cli, "checked", "unhealthy")
    assert len(stopped["Log"]) >= 2  # type: ignore[arg-type]
    assert re.match(r"Exited \(137\) .* ago$", cli.out("ps", "-a", "--format", "{{.Status}}"))
    cli("start", "checked")
    again = health(cli, "checked", "starting")
    assert again["FailingStreak"] == 0
    assert again["Log"] == stopped["Log"]


def test_a_check_that_takes_too_long(cli: Client) -> None:
    cli(
        "run", "-d", "--name", "slow", "--health-cmd", "sleep 600", "--health-interval", "200ms",
        "--health-timeout", "300ms", "--health-retries", "1", "busybox", "sleep", "600",
    )  # fmt: skip
    result = health(cli, "slow", "unhealthy")["Log"][-1]  # type: ignore[index]
    assert (result["ExitCode"], result["Output"]) == (-1, "Health check exceeded timeout (300ms)")


def test_no_check(cli: Client) -> None:
    cli("run", "-d", "--name", "none", "--no-healthcheck", "busybox", "sleep", "600")
    shown = cli.out("inspect", "-f", "{{json .Config.Healthcheck}} {{json .State.Health}}", "none")
    assert shown == '{"Test":["NONE"]} null'
    assert cli.out("ps", "--format", "{{.Names}}", "--filter", "health=none") == "none"
    cli("create", "--name", "unborn", "--health-cmd", "true", "busybox", "true")
    assert cli.out("inspect", "-f", "{{json .State.Health}}", "unborn") == "null"


def test_what_is_refused(cli: Client) -> None:
    error = cli.err("create", "--health-cmd", "x", "--health-interval", "10us", "busybox", code=1)
    assert "Interval in Healthcheck cannot be less than 1ms" in error


def test_the_check_of_an_image(cli: Client, busybox_tar: Path) -> None:
    change = 'HEALTHCHECK --interval=200ms --retries=1 CMD ["sh", "-c", "exit 4"]'
    cli("import", "--change", change, "--change", "CMD sleep 600", str(busybox_tar), "checked:latest")
    cli("run", "-d", "--name", "inherits", "checked")
    result = health(cli, "inherits", "unhealthy")["Log"][0]  # type: ignore[index]
    assert result["ExitCode"] == 4
    cli("run", "-d", "--name", "changes", "--health-cmd", "exit 0", "checked")
    health(cli, "changes", "healthy")
    config = json.loads(cli.out("inspect", "-f", "{{json .Config.Healthcheck}}", "changes"))
    assert config == {"Test": ["CMD-SHELL", "exit 0"], "Interval": 200_000_000, "Retries": 1}
    cli("rm", "-f", "inherits", "changes")
    cli("rmi", "checked:latest")


def test_restart_when_unhealthy_at_the_docker_cli(fresh_engine: EngineProcess) -> None:
    """A policy of our own goes through Docker's clients as it is: the CLI and docker-py pass names on."""
    check = ("--health-cmd", "exit 1", "--health-interval", "100ms", "--health-retries", "1")
    program = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    fresh_engine.docker("run", "-d", "--name", "sick", "--restart", "on-unhealthy:2", *check, "busybox", *program)
    client = docker.DockerClient(base_url=fresh_engine.host)
    try:
        client.containers.run(
            "busybox", list(program), name="py", detach=True, restart_policy={"Name": "on-unhealthy"},
            healthcheck={"test": ["CMD-SHELL", "exit 1"], "interval": 100_000_000, "retries": 1},
        )  # fmt: skip
        for name, count in (("sick", 2), ("py", 3)):
            for _ in range(400):
                attributes = client.containers.get(name).attrs
                if attributes["RestartCount"] >= count:
                    break
                time.sleep(0.05)
            assert attributes["RestartCount"] >= count
            assert client.containers.get(name).health in ("starting", "unhealthy")
        policy = client.containers.get("sick").attrs["HostConfig"]["RestartPolicy"]
        assert policy == {"Name": "on-unhealthy", "MaximumRetryCount": 2}
    finally:
        client.close()
