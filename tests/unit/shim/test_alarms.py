"""Out of memory on cgroup v2, on files that stand for the kernel's: what is watched, when it is looked, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corten.cgroup.hierarchy import Hierarchy
from corten.shim import alarms
from corten.shim.alarms import Alarms
from corten.shim.loop import Loop
from corten.shim.task import Task


class Supervisor:
    """As much of it as an alarm sees; ``told`` is what the engine heard."""

    def __init__(self, top: Path) -> None:
        self.loop = Loop()
        self.hierarchy = Hierarchy(2, {"memory": str(top)}, {}, str(top))
        self.engine = self
        self.told: list[dict[str, Any]] = []

    def event(self, document: dict[str, Any]) -> bool:
        self.told.append(document)
        return True


class Host:
    def __init__(self, top: Path) -> None:
        self.top = top
        self.supervisor = Supervisor(top)
        self.alarms = Alarms(self.supervisor)  # type: ignore[arg-type]

    def container(self, name: str) -> Task:
        (self.top / name).mkdir()
        self.write(name, 0)
        return Task(self.supervisor, name, "", f"/{name}", private_pids=True)  # type: ignore[arg-type]

    def write(self, name: str, kills: int) -> None:
        (self.top / name / "memory.events").write_text(f"max 1\noom {kills}\noom_kill {kills}\n")

    def turn_until_looked(self) -> None:
        for _ in range(3):  # told, the pause, looked; none of them waits
            self.supervisor.loop.soon(lambda: None)
            self.supervisor.loop.turn()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(alarms, "PAUSE", 0.0)
    return Host(tmp_path)


def test_a_count_that_grows_is_told_whole(host: Host) -> None:
    one, other = host.container("one"), host.container("other")
    host.alarms.arm(one)
    host.alarms.arm(other)
    host.write("one", 2)
    host.turn_until_looked()
    assert host.supervisor.told == [{"event": "oom", "id": "one", "oom_kills": 2}]
    host.write("one", 2)  # its other counts change, too
    host.turn_until_looked()
    host.write("one", 5)
    host.write("other", 1)
    host.turn_until_looked()
    assert [(told["id"], told["oom_kills"]) for told in host.supervisor.told[1:]] == [("one", 5), ("other", 1)]
    assert one.oom_kills == 5


def test_what_is_disarmed_tells_nothing_and_keeps_nobody_awake(host: Host) -> None:
    one, other = host.container("one"), host.container("other")
    host.alarms.arm(one)
    host.alarms.arm(other)
    host.write("one", 1)
    host.alarms.disarm(one)
    host.alarms.disarm(one)
    host.write("one", 2)
    host.write("other", 1)
    host.turn_until_looked()
    assert [told["id"] for told in host.supervisor.told] == ["other"]


def test_an_adopted_container_is_looked_at(host: Host) -> None:
    one = host.container("one")
    host.write("one", 3)
    host.alarms.arm(one, adopted=True)
    host.turn_until_looked()
    assert host.supervisor.told == [{"event": "oom", "id": "one", "oom_kills": 3}]


def test_an_exec_is_not_armed_and_a_group_that_is_gone_is_no_error(host: Host, capsys: Any) -> None:
    one = host.container("one")
    exec_ = Task(host.supervisor, "one", "e1", "/one", private_pids=True)  # type: ignore[arg-type]
    host.alarms.arm(exec_)
    assert exec_.alarm == -1
    gone = Task(host.supervisor, "gone", "", "/gone", private_pids=True)  # type: ignore[arg-type]
    host.alarms.arm(gone)
    assert gone.alarm == -1
    assert "nobody tells when its memory runs out" in capsys.readouterr().err
    host.alarms.arm(one)
    assert one.alarm >= 0
