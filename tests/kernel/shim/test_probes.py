"""Health checks as the shim runs them: one request, one answer, and nothing left whatever happens in between."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import detect
from tests.kernel.shim.stage import Engine, Host, RefusedError, wait_for

pytestmark = pytest.mark.root


def request(container: str, script: str, seconds: float = 60.0) -> dict[str, Any]:
    process = {"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    return {"id": container, "process": process, "seconds": seconds}


def descriptors(host: Host) -> int:
    return len(os.listdir(f"/proc/{host.shim_pid()}/fd"))


def children(host: Host) -> int:
    pid = host.shim_pid()
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def processes(host: Host, container: str) -> int:
    return len(Group(detect(), f"{host.cgroup}/{container}").pids())


def test_code_and_output(engine: Engine) -> None:
    engine.start("c1", "sleep", "100")
    assert engine.ask("probe", request("c1", "echo out; echo err >&2; exit 3")) == {
        "code": 3, "late": False, "output": "out\nerr\n",
    }  # fmt: skip
    assert engine.ask("probe", request("c1", "kill -9 $$"))["code"] == 137
    assert (
        engine.ask("probe", request("c1", "seq 100000"))["output"]
        == "".join(f"{number}\n" for number in range(1, 2000))[:4096] + "..."
    )
    with pytest.raises(RefusedError) as caught:
        engine.ask("probe", {**request("c1", ""), "process": {**request("c1", "")["process"], "args": ["nosuch"]}})
    assert str(caught.value).endswith('exec: "nosuch": executable file not found in $PATH')
    with pytest.raises(RefusedError) as caught:
        engine.ask("probe", request("nobody", "true"))
    assert caught.value.kind == "NotFound"


def test_its_time_ends_all_that_it_started(engine: Engine) -> None:
    engine.start("c1", "sleep", "100")
    answer = engine.ask("probe", request("c1", "sleep 600 & sleep 600 & echo begun; wait", 0.2))
    assert answer == {"code": 137, "late": True, "output": "begun\n"}
    wait_for(lambda: processes(engine.host, "c1") == 1)


def test_time_stands_still_in_a_frozen_container(engine: Engine) -> None:
    """Frozen for longer than the check may take, it goes on where it was."""
    engine.start("c1", "sleep", "100")
    number = engine.send("probe", request("c1", "until [ -e /tmp/go ]; do sleep 0.02; done; exit 4", 2.0))
    wait_for(lambda: processes(engine.host, "c1") >= 2)
    group = Group(detect(), f"{engine.host.cgroup}/c1")
    group.freeze()
    time.sleep(2.5)
    (engine.host.rootfs / "tmp/go").touch()
    group.thaw()
    try:
        assert engine.answer(number) == {"code": 4, "late": False, "output": ""}
    finally:
        (engine.host.rootfs / "tmp/go").unlink()


def test_many_at_once_and_nothing_leaks(engine: Engine) -> None:
    engine.start("c1", "sleep", "100")
    engine.ask("probe", request("c1", "true"))
    before = descriptors(engine.host)
    numbers = [engine.send("probe", request("c1", f"echo {index}; exit {index}")) for index in range(40)]
    for index, number in enumerate(numbers):
        assert engine.answer(number) == {"code": index, "late": False, "output": f"{index}\n"}
    assert (descriptors(engine.host), children(engine.host)) == (before, 1)


def test_an_engine_that_leaves_under_a_check_leaves_nothing(host: Host) -> None:
    engine = Engine(host)
    engine.start("c1", "sleep", "100")
    before = descriptors(host)
    engine.send("probe", request("c1", "sleep 600", 1.0))
    engine.send("probe", request("c1", "sleep 0.1; echo unheard"))
    wait_for(lambda: children(host) == 3)
    engine.close()
    wait_for(lambda: children(host) == 1)
    after = Engine(host)
    assert after.ask("probe", request("c1", "exit 2"))["code"] == 2
    wait_for(lambda: descriptors(host) == before)


def test_a_container_that_ends_under_a_check(engine: Engine) -> None:
    engine.start("c0", "true")  # on cgroup v2 the first one brings the inotify instance of all
    engine.end("c0")
    before = descriptors(engine.host)
    engine.start("c1", "sleep", "100")
    number = engine.send("probe", request("c1", "sleep 600"))
    wait_for(lambda: children(engine.host) == 2)
    engine.ask("kill", {"id": "c1", "signal": 9})
    assert engine.answer(number)["code"] == 137
    assert engine.end("c1")["code"] == 137
    wait_for(lambda: descriptors(engine.host) == before)


def test_no_descriptors_left_refuses_the_check(engine: Engine) -> None:
    shim = engine.host.shim_pid()
    engine.start("c1", "sleep", "100")
    engine.ask("probe", request("c1", "true"))
    before = resource.prlimit(shim, resource.RLIMIT_NOFILE)
    used = descriptors(engine.host)
    refusals = []
    for spare in range(8):
        resource.prlimit(shim, resource.RLIMIT_NOFILE, (used + spare, before[1]))
        try:
            engine.ask("probe", request("c1", "true"))
        except RefusedError as error:
            refusals.append(str(error))
        assert descriptors(engine.host) == used
    assert refusals
    assert all("too many open files" in text for text in refusals)
    resource.prlimit(shim, resource.RLIMIT_NOFILE, before)
    assert engine.ask("probe", request("c1", "exit 6"))["code"] == 6
