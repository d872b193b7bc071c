"""A paused container and an engine that ends, in order or not."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import detect
from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root


def run(engine: EngineProcess, name: str) -> str:
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"]}
    identifier = str(engine.api("POST", f"/containers/create?name={name}", body)["Id"])
    engine.api("POST", f"/containers/{name}/start")
    return identifier


def group(engine: EngineProcess, identifier: str) -> Group:
    return Group(detect(), f"/corten-{engine.instance}/{identifier}")


def status(engine: EngineProcess, name: str) -> str:
    return str(engine.api("GET", f"/containers/{name}/json")["State"]["Status"])


def test_it_stays_paused_while_the_engine_is_away(fresh_engine: EngineProcess) -> None:
    engine = fresh_engine
    identifier = run(engine, "stays")
    assert engine.request("POST", "/containers/stays/pause") == (204, b"")
    engine.stop()
    assert group(engine, identifier).is_frozen()
    engine.start()
    assert status(engine, "stays") == "paused"
    engine.kill()
    engine.start()
    assert status(engine, "stays") == "paused"
    os.kill(engine.shim_pid(), signal.SIGKILL)
    while engine.request("POST", "/containers/stays/unpause")[0] == 500:  # the shim that was asked is gone
        time.sleep(0.05)
    assert status(engine, "stays") == "running"
    assert not group(engine, identifier).is_frozen()


@pytest.mark.parametrize("frozen", [True, False])
def test_a_crash_between_the_kernel_and_the_record(fresh_engine: EngineProcess, frozen: bool) -> None:
    """What the kernel says is what the next engine shows."""
    engine = fresh_engine
    identifier = run(engine, "torn")
    if not frozen:
        engine.api("POST", "/containers/torn/pause")
    engine.kill()
    (Group.freeze if frozen else Group.thaw)(group(engine, identifier))
    engine.start()
    assert status(engine, "torn") == ("paused" if frozen else "running")


def test_a_fork_bomb_is_frozen_and_killed(engine: EngineProcess) -> None:
    """Bounded by a pids limit; the shim serves others meanwhile."""
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"PidsLimit": 40, "CpuQuota": 20000}}
    identifier = engine.api("POST", "/containers/create?name=bomb", body)["Id"]
    engine.api("POST", "/containers/bomb/start")
    bomb = {"Cmd": ["sh", "-c", "f() { (f &) ; (f &) ; f; }; f 2>/dev/null"]}
    started = engine.api("POST", "/containers/bomb/exec", bomb)["Id"]
    engine.api("POST", f"/exec/{started}/start", {"Detach": True})
    run(engine, "bystander")
    pids = Path(group(engine, identifier).directory("pids"))
    deadline = time.monotonic() + 20
    while (pids / "pids.events").read_text() == "max 0\n" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (pids / "pids.events").read_text() != "max 0\n", "the bomb never met its limit"
    for _ in range(3):
        engine.api("POST", "/containers/bomb/pause")
        assert group(engine, identifier).is_frozen()
        assert int((pids / "pids.current").read_text()) <= 40
        assert engine.api("GET", "/containers/bystander/top")["Processes"]
        engine.api("POST", "/containers/bomb/unpause")
    engine.api("POST", "/containers/bomb/kill")
    assert status(engine, "bomb") == "exited"
    code, answer = engine.request("POST", "/containers/bomb/pause")
    assert (code, json.loads(answer)["message"]) == (409, f"container {identifier} is not running")
    for name in ("bomb", "bystander"):
        engine.api("DELETE", f"/containers/{name}?force=1")
