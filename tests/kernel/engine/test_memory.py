"""Containers that run out of memory: what is told when, what is remembered, and that each can be ended."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from tests.kernel.engine.conftest import Site, eventually
from tests.kernel.engine.test_restarts import killed

from corten.api.filters import Filters
from corten.api.types.container import HostConfig
from corten.api.types.exec import ExecCreate
from corten.cgroup import hierarchy
from corten.engine.engine import Engine
from corten.engine.streams import ExecStartOptions

pytestmark = pytest.mark.root

HOG = "dd if=/dev/zero of=/dev/null bs=200M"


def small(**fields: object) -> HostConfig:
    return HostConfig(**{"NetworkMode": "none", "Memory": 16 << 20, "MemorySwap": 16 << 20, **fields})


async def actions(engine: Engine, container: str) -> list[str]:
    wanted = Filters({"container": [container], "type": ["container"]})
    history = engine.events.subscribe(since_ns=0, until_ns=time.time_ns(), filters=wanted)
    return [message.Action async for message in history]


async def told(engine: Engine, container: str, times: int) -> None:
    """Until the event ``oom`` was there ``times`` times."""

    async def often() -> bool:
        return (await actions(engine, container)).count("oom") >= times

    await eventually(often)
    assert (await actions(engine, container)).count("oom") == times


def test_a_kill_is_told_when_it_happens_and_forgotten_with_the_next_run(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            container = await site.create(engine, "sh", "-c", f"{HOG}; sleep 100", name="child", host=small())
            await engine.containers.start("child")
            await told(engine, container, 1)
            shown = await engine.containers.inspect("child")
            assert (shown.State.Status, shown.State.OOMKilled) == ("running", True), "only a child has died"
            exec_id = await engine.execs.create("child", ExecCreate(Cmd=["sh", "-c", HOG]))
            await engine.execs.start(exec_id, ExecStartOptions(detach=True))
            await told(engine, container, 2)
            await engine.containers.kill("child")
            shown = await engine.containers.inspect("child")
            assert (shown.State.Status, shown.State.OOMKilled, shown.State.ExitCode) == ("exited", True, 137)
            assert (await actions(engine, container)).count("oom") == 2
            calm = await site.create(engine, "sh", "-c", "test -e /x || { touch /x; %s; }; sleep 100" % HOG,
                                     name="calm", host=small())  # fmt: skip
            await engine.containers.start("calm")
            await told(engine, calm, 1)
            await engine.containers.restart("calm", timeout=0)
            assert not (await engine.containers.inspect("calm")).State.OOMKilled, "in this run nothing was killed"

    asyncio.run(scenario())


def test_the_last_kill_is_told_before_the_end(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            container = await site.create(engine, *HOG.split(), name="hog", host=small())
            over = await engine.containers.wait("hog", condition="next-exit")
            await engine.containers.start("hog")
            assert await over == (137, None)
            assert [action for action in await actions(engine, container) if action in ("oom", "die")] == ["oom", "die"]
            assert (await engine.containers.inspect("hog")).State.OOMKilled

    asyncio.run(scenario())


def test_what_happens_while_no_engine_runs_is_told_by_the_next_one(site: Site) -> None:
    """Two kills nobody heard of; the one that was told before is not told again."""
    names: list[str] = []
    script = f"{HOG}; while ! test -e /go; do sleep 0.02; done; {HOG}; {HOG}; touch /done; sleep 100"

    async def before(engine: Engine) -> None:
        names.append(await site.create(engine, "sh", "-c", script, name="alone", host=small()))
        await engine.containers.start("alone")
        await told(engine, names[0], 1)
        (site.root / "pid").write_text(str((await engine.containers.inspect("alone")).State.Pid))

    killed(site, before)
    root = Path(f"/proc/{(site.root / 'pid').read_text()}/root")
    (root / "go").touch()
    asyncio.run(eventually((root / "done").exists))

    async def after() -> None:
        async with site.running() as engine:
            container = (await engine.containers.inspect("alone")).Id
            await told(engine, container, 2)
            assert (await engine.containers.inspect("alone")).State.OOMKilled

    asyncio.run(after())


@pytest.mark.skipif(hierarchy.detect().version == 2, reason="cgroup v1 alone can let them wait")
@pytest.mark.parametrize("verb", ["kill", "stop", "remove"])
def test_what_waits_for_memory_is_told_and_can_be_ended(site: Site, verb: str) -> None:
    """--oom-kill-disable: the program hangs in the kernel, for ever; exec and health checks may, too."""
    ends = {"kill": {}, "stop": {"timeout": 0}, "remove": {"force": True}}

    async def scenario() -> None:
        async with site.running() as engine:
            grows = ("awk", 'BEGIN { x = "a"; while (1) x = x x }')
            container = await site.create(engine, *grows, name="stuck", host=small(OomKillDisable=True))
            await engine.containers.start("stuck")
            await told(engine, container, 1)
            assert (await engine.containers.inspect("stuck")).State.Status == "running"
            assert len((await engine.containers.top("stuck")).Processes) == 1
            await getattr(engine.containers, verb)("stuck", **ends[verb])
            if verb != "remove":
                shown = await engine.containers.inspect("stuck")
                assert (shown.State.Status, shown.State.ExitCode) == ("exited", 137)
                assert shown.State.OOMKilled, "as dockerd has it, although nothing was killed"

    asyncio.run(scenario())
