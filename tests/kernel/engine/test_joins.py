"""Joining other containers: the shared tmpfs, and that only a container's own process is ever joined."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from corten.api.types.container import ContainerConfig, HostConfig
from corten.engine.config import EngineConfig
from corten.engine.containers.joins import Joins
from corten.engine.containers.shm import SharedMemory
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord, State
from corten.engine.roster import Roster
from corten.errors import Conflict
from corten.linux import procfs
from corten.storage.metadata import Database

pytestmark = pytest.mark.root


def config(root: Path) -> EngineConfig:
    return EngineConfig(data_root=str(root / "data"), exec_root=str(root / "exec"))


def test_the_tmpfs_of_containers_that_are_gone_is_swept(tmp_path: Path) -> None:
    memory = SharedMemory(config(tmp_path))
    kept, gone = memory.open("kept", 1 << 20), memory.open("gone", 1 << 20)
    assert os.statvfs(kept).f_blocks * os.statvfs(kept).f_frsize == 1 << 20
    assert os.stat(kept).st_mode & 0o7777 == 0o1777
    assert os.stat(os.path.dirname(kept)).st_mode & 0o777 == 0o700
    SharedMemory(config(tmp_path)).sweep({"kept"})
    assert os.path.ismount(kept)
    assert not os.path.exists(gone)
    memory.close("kept")
    assert not os.path.exists(kept)
    memory.close("kept")


def record(name: str, host: HostConfig, state: State) -> ContainerRecord:
    return ContainerRecord(
        id=name,
        name=name,
        created_ns=1,
        path="x",
        args=(),
        config=ContainerConfig(),
        host=host,
        image_id="",
        state=state,
    )


@pytest.mark.parametrize("kind", ["pid", "ipc"])
def test_attack_pid_reuse_gives_no_namespace_of_the_host(tmp_path: Path, kind: str) -> None:
    """The donor died and its pid went to a process of the host: nobody may be put into that one's namespaces."""
    (tmp_path / "data").mkdir()
    database = Database(tmp_path / "data/corten.db")
    roster = Roster(database)
    joins = Joins(config(tmp_path), roster)
    guest = HostConfig(PidMode="container:donor") if kind == "pid" else HostConfig(IpcMode="container:donor")
    with subprocess.Popen(["sleep", "100"]) as stranger, ExitStack() as undo:
        try:
            ticks = procfs.start_ticks(stranger.pid)
            state = State(status=Status.RUNNING, pid=stranger.pid, start_ticks=ticks)
            donor = record("donor", HostConfig(IpcMode="shareable"), state)
            container, _ = asyncio.run(roster.add(donor, lambda: None))
            assert list(joins.namespaces(record("guest", guest, State()), undo)) == [kind]
            state = State(status=Status.RUNNING, pid=stranger.pid, start_ticks=ticks - 1)
            container.record = record("donor", HostConfig(IpcMode="shareable"), state)
            with pytest.raises(Conflict, match="container donor is not running"):
                joins.namespaces(record("guest", guest, State()), undo)
        finally:
            stranger.kill()
            roster.close()
            database.close()
