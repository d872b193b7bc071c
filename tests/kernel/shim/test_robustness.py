"""A host that runs short: of disk, of descriptors, of processes; and requests at bad moments."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path

import pytest

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import detect
from tests.kernel.shim.stage import Client, Engine, RefusedError, wait_for

pytestmark = pytest.mark.root


def works(engine: Engine, name: str) -> None:
    """The shim still starts containers."""
    engine.start(name, "sh", "-c", "exit 5")
    assert engine.end(name)["code"] == 5


def test_a_full_disk_under_the_log_costs_lines_only(engine: Engine) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", engine.host.logs], check=True)
    try:
        client = Client()
        engine.start("c1", "sh", "-c", "seq 100000; exit 3", clients=[client.descriptor], attach=[client.options])
        client.given()
        client.read_until(b"\n100000\n")
        assert engine.end("c1")["code"] == 3
        said = [line for line in Path(engine.host.exec_root, "shim.log").read_text().splitlines() if "written" in line]
        assert [line.split()[1] for line in said] == [f"{engine.host.log('c1')}:"] * 2
        works(engine, "c2")  # its log cannot take a byte
    finally:
        subprocess.run(["umount", engine.host.logs], check=True)


def test_no_descriptors_left_refuses_the_start(engine: Engine) -> None:
    shim = engine.host.shim_pid()
    works(engine, "warm")
    engine.start("c0", "sleep", "100")
    time.sleep(0.1)
    before = resource.prlimit(shim, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{shim}/fd"))
    for spare in range(10):
        resource.prlimit(shim, resource.RLIMIT_NOFILE, (used + spare, before[1]))
        with pytest.raises(RefusedError) as caught:
            engine.start(f"c{spare + 1}", "sleep", "100")
        assert "too many open files" in str(caught.value)
    resource.prlimit(shim, resource.RLIMIT_NOFILE, before)
    wait_for(lambda: len(os.listdir(f"/proc/{shim}/fd")) == used)
    works(engine, "after")
    engine.ask("kill", {"id": "c0", "signal": 9})
    engine.end("c0")


def test_no_process_more_refuses_the_start(engine: Engine) -> None:
    """The shim in a group whose pids limit is reached; on v2, where a clone counts for the group it is made into, the
    limit is that of the containers' parent.
    """
    hierarchy = detect()
    group = Group.create(hierarchy, f"{engine.host.cgroup}/shim", {"pids": {"limit": 1}})
    if hierarchy.version == 2:
        Group(hierarchy, engine.host.cgroup).update({"pids": {"limit": 1}})
    shim = engine.host.shim_pid()
    home = Path(f"/proc/{shim}/cgroup").read_text()
    where = next(
        line.split(":")[2]
        for line in home.splitlines()
        if "pids" in line.split(":")[1].split(",") or line.startswith("0::")
    )
    Path(group.directory("pids"), "cgroup.procs").write_text(str(shim))
    try:
        with pytest.raises(RefusedError) as caught:
            engine.start("c1", "true")
        assert "resource temporarily unavailable" in str(caught.value)
    finally:
        if hierarchy.version == 2:
            Group(hierarchy, engine.host.cgroup).update({"pids": {"limit": -1}})
        Path(Group(hierarchy, where).directory("pids"), "cgroup.procs").write_text(str(shim))
    works(engine, "c2")


def test_the_same_id_twice(engine: Engine) -> None:
    first = engine.start("c1", "sleep", "100")
    with pytest.raises(RefusedError) as caught:
        engine.start("c1", "true")
    assert caught.value.kind == "Conflict"
    assert Path(f"/proc/{first['pid']}").exists()
    sent = [engine.send("start", engine.start_request("c2", "sleep", "100")) for _ in range(2)]
    engine.answer(sent[0])
    with pytest.raises(RefusedError) as caught:
        engine.answer(sent[1])
    assert caught.value.kind == "Conflict"
    for name in ("c1", "c2"):
        engine.ask("kill", {"id": name, "signal": 9})
        assert engine.end(name)["code"] == 137


def test_a_frozen_container_dies_of_sigkill(engine: Engine) -> None:
    engine.start("c1", "sleep", "100")
    group = Group(detect(), f"{engine.host.cgroup}/c1")
    group.freeze()
    engine.ask("kill", {"id": "c1", "signal": 15})
    assert group.is_frozen()
    engine.ask("kill", {"id": "c1", "signal": 9})
    assert engine.event("exited", "c1", seconds=5)["code"] in (137, 143)


def test_execs_in_a_container_that_is_ending(engine: Engine) -> None:
    """However the two meet, there is an answer, an exit for every success, and nothing is left."""
    shim = engine.host.shim_pid()
    for round_ in range(15):
        name = f"c{round_}"
        engine.start(name, "sleep", "100")
        process = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        sent = []
        for number in range(4):
            if number == round_ % 4:
                engine.send("kill", {"id": name, "signal": 9})
            request = {"id": name, "exec_id": f"e{number}", "process": process, "roles": []}
            sent.append((f"e{number}", engine.send("exec", request)))
        for exec_id, number in sent:
            try:
                engine.answer(number)
            except RefusedError:
                continue
            engine.event("exited", name, exec_id)
        assert engine.end(name)["code"] == 137
    wait_for(lambda: Path(f"/proc/{shim}/task/{shim}/children").read_text() == "")
    assert "Traceback" not in Path(engine.host.exec_root, "shim.log").read_text()
