"""What the shim makes for a start before it is asked for it, and that none of it stays when the start does not come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import detect
from tests.kernel.shim.stage import Engine, RefusedError, wait_for

pytestmark = pytest.mark.root

LIMIT = {"memory": {"limit": 32 << 20}}


def prepare(engine: Engine, start: dict[str, Any]) -> None:
    """Nobody answers a preparation: what is asked behind it is answered after it."""
    engine.send("prepare", {"id": start["id"], "cgroup": start["cgroup"]})
    settle(engine)


def settle(engine: Engine) -> None:
    with pytest.raises(RefusedError):
        engine.ask("pids", {"id": "nobody"})


def group(engine: Engine, container: str) -> Group:
    return Group(detect(), f"{engine.host.cgroup}/{container}")


def test_a_start_takes_the_group_that_was_prepared(engine: Engine) -> None:
    start = engine.start_request("c1", "sleep", "100", resources=LIMIT)
    prepare(engine, start)
    directory = group(engine, "c1").directory("memory")
    made = os.stat(directory).st_ino
    pid = engine.ask("start", start)["pid"]
    assert os.stat(directory).st_ino == made
    assert group(engine, "c1").pids() == [pid]
    assert limit(engine, "c1") == 32 << 20
    engine.ask("kill", {"id": "c1", "signal": 9})
    engine.end("c1")
    wait_for(lambda: not group(engine, "c1").exists())


def limit(engine: Engine, container: str) -> int:
    name = "memory.max" if detect().version == 2 else "memory.limit_in_bytes"
    return int(Path(group(engine, container).directory("memory"), name).read_text())


def test_given_up_nothing_is_left(engine: Engine) -> None:
    prepare(engine, engine.start_request("c1", "true", resources=LIMIT))
    assert group(engine, "c1").exists()
    engine.send("give_up", {"id": "c1"})
    settle(engine)
    wait_for(lambda: not group(engine, "c1").exists())


def test_prepared_again_the_last_one_counts(engine: Engine) -> None:
    prepare(engine, engine.start_request("c1", "true"))
    prepare(engine, engine.start_request("c1", "true", resources=LIMIT))
    assert limit(engine, "c1") == 32 << 20
    engine.start("c1", "sh", "-c", "exit 3", resources=LIMIT)
    assert engine.end("c1")["code"] == 3
    wait_for(lambda: not group(engine, "c1").exists())


def test_without_an_engine_nothing_is_left(engine: Engine) -> None:
    prepare(engine, engine.start_request("c1", "true"))
    engine.connection.close()
    wait_for(lambda: not group(engine, "c1").exists())
    again = Engine(engine.host, launch=False)
    again.start("c1", "sh", "-c", "exit 4")
    assert again.end("c1")["code"] == 4


def test_limits_that_changed_meanwhile_are_those_of_the_start(engine: Engine) -> None:
    prepare(engine, engine.start_request("c1", "true", resources={"memory": {"limit": 64 << 20}}))
    engine.start("c1", "sleep", "100", resources=LIMIT)
    assert limit(engine, "c1") == 32 << 20
    engine.ask("kill", {"id": "c1", "signal": 9})
    engine.end("c1")


def test_a_refused_limit_is_the_failure_of_the_start(engine: Engine) -> None:
    wrong = engine.start_request("c1", "true", resources={"cpu": {"cpus": "4096"}})
    prepare(engine, wrong)
    with pytest.raises(RefusedError):
        engine.ask("start", wrong)
    wait_for(lambda: not group(engine, "c1").exists())


def test_a_running_container_is_not_prepared(engine: Engine) -> None:
    engine.start("c1", "sleep", "100", resources=LIMIT)
    prepare(engine, engine.start_request("c1", "true"))
    engine.send("give_up", {"id": "c1"})
    settle(engine)
    assert len(group(engine, "c1").pids()) == 1
    assert limit(engine, "c1") == 32 << 20
    engine.ask("kill", {"id": "c1", "signal": 9})
    assert engine.end("c1")["signal"] == 9
