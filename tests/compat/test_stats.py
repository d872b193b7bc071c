"""``stats`` of containers that work, sleep, and do not run."""

from __future__ import annotations

import json
import re

import docker
import pytest
from tests.compat.conftest import Client
from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

BUSY = ("sh", "-c", "while :; do :; done")
FORMAT = "{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.MemPerc}}|{{.NetIO}}|{{.PIDs}}"


def test_what_is_used(cli: Client) -> None:
    cli("run", "-d", "--name", "busy", "--memory", "64m", "busybox", *BUSY)
    cli("run", "-d", "--name", "idle", "--memory", "64m", "busybox", "sleep", "600")
    rows = {}
    for line in cli.out("stats", "--no-stream", "--format", FORMAT).splitlines():
        name, *rest = line.split("|")
        rows[name] = rest
    assert set(rows) == {"busy", "idle"}
    assert float(rows["busy"][0].rstrip("%")) > 20
    assert float(rows["idle"][0].rstrip("%")) < 5
    assert rows["idle"][1].endswith(" / 64MiB")
    assert re.fullmatch(r"[\d.]+k?B / [\d.]+k?B", rows["idle"][3])
    assert rows["idle"][4] == "1"


def test_of_what_does_not_run(cli: Client) -> None:
    cli("create", "--name", "made", "busybox", "true")
    assert cli.out("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.CPUPerc}}", "made").endswith("0 0.00%")
    assert "No such container: nosuch" in cli.err("stats", "--no-stream", "nosuch")
    assert cli.out("stats", "--no-stream", "--format", "{{.Name}}") == ""
    assert cli.out("stats", "--no-stream", "-a", "--format", "{{.Name}}") == "made"


def test_the_table(cli: Client) -> None:
    cli("run", "-d", "--name", "seen", "busybox", "sleep", "600")
    head = cli.out("stats", "--no-stream", "seen").splitlines()[0]
    assert re.split(r" {2,}", head.strip()) == [
        "CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS",
    ]  # fmt: skip


def test_a_stream_has_the_second_before(engine: EngineProcess) -> None:
    client = docker.DockerClient(base_url=engine.host, version="1.51")
    container = client.containers.run("busybox", [*BUSY], detach=True)
    try:
        stream = container.stats(stream=True)
        first, second = (json.loads(next(stream)) for _ in range(2))
        stream.close()
        assert second["preread"] == first["read"]
        assert second["precpu_stats"]["cpu_usage"] == first["cpu_stats"]["cpu_usage"]
        assert second["cpu_stats"]["cpu_usage"]["total_usage"] > first["cpu_stats"]["cpu_usage"]["total_usage"]
        assert second["cpu_stats"]["system_cpu_usage"] > first["cpu_stats"]["system_cpu_usage"]
        assert second["pids_stats"]["current"] == 1
        assert second["networks"]["eth0"]["rx_bytes"] >= 0
        assert second["memory_stats"]["usage"] > 0
    finally:
        container.remove(force=True)
        client.close()
