"""Health checks on a real engine: results, time, output, policies, and what outlives a killed engine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.engine.conftest import Client, Site, eventually, shows, text
from tests.kernel.engine.test_restarts import killed, policy, until

from corten.api.filters import Filters
from corten.api.types.container import ContainerInspect, HealthConfig, HostConfig
from corten.api.types.exec import ExecCreate
from corten.engine.engine import Engine
from corten.engine.streams import ExecStartOptions

pytestmark = pytest.mark.root

MS = 10**6


def shell(script: str, **fields: Any) -> HealthConfig:
    return HealthConfig(**{"Test": ["CMD-SHELL", script], "Interval": 50 * MS, "Retries": 2, **fields})


async def healthy(site: Site, engine: Engine, name: str, check: HealthConfig, **fields: Any) -> str:
    container = await site.create(engine, "sleep", "100", name=name, Healthcheck=check, **fields)
    await engine.containers.start(name)
    return container


async def when(engine: Engine, name: str, condition: Callable[[Any], bool]) -> ContainerInspect:
    """What inspect shows once its health meets ``condition``."""
    return await shows(engine, name, lambda shown: condition(shown.State.Health))


async def processes(engine: Engine, name: str, condition: Callable[[list[list[str]]], bool]) -> None:
    """Until what ``top`` lists meets ``condition``."""

    async def met() -> bool:
        return condition((await engine.containers.top(name, "-eo pid,args")).Processes)

    await eventually(met)


def checking(rows: list[list[str]]) -> bool:
    """Whether a check that takes long is under way."""
    return any("sleep 600" in row[-1] for row in rows)


async def events(engine: Engine) -> list[str]:
    """What happened to containers so far."""
    history = engine.events.subscribe(since_ns=0, until_ns=time.time_ns(), filters=Filters({"type": ["container"]}))
    return [message.Action async for message in history]


def test_a_check_makes_healthy_and_unhealthy(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await healthy(site, engine, "turns", shell("echo looked; echo more >&2; test ! -e /bad"))
            shown = (await engine.containers.inspect("turns")).State.Health
            assert (shown.Status, shown.FailingStreak, shown.Log) == ("starting", 0, [])
            good = await when(engine, "turns", lambda health: health.Status == "healthy")
            assert good.State.Health.Log[0].ExitCode == 0
            assert good.State.Health.Log[0].Output == "looked\nmore\n"
            (row,) = await engine.containers.list(filters=Filters({"health": ["healthy"]}))
            assert row.Status.endswith(" (healthy)")
            exec_id = await engine.execs.create("turns", ExecCreate(Cmd=["touch", "/bad"]))
            await engine.execs.start(exec_id, ExecStartOptions(detach=True))
            bad = await when(engine, "turns", lambda health: health.Status == "unhealthy")
            assert bad.State.Health.FailingStreak >= 2
            assert bad.State.Status == "running"
            full = await when(engine, "turns", lambda health: health.FailingStreak > 6)
            assert [result.ExitCode for result in full.State.Health.Log] == [1] * 5
            seen = await events(engine)
            title = "/bin/sh -c echo looked; echo more >&2; test ! -e /bad"
            first = seen.index(f"exec_create: {title}")
            assert seen[first : first + 4] == [
                f"exec_create: {title}", f"exec_start: {title}", "exec_die", "health_status: healthy",
            ]  # fmt: skip
            assert seen.count("health_status: healthy") == seen.count("health_status: unhealthy") == 1
            await engine.containers.stop("turns", timeout=0)
            assert (await engine.containers.inspect("turns")).State.Health.Status == "unhealthy"
            count = len(await events(engine))
            await asyncio.sleep(0.2)
            assert len(await events(engine)) == count, "what has ended is not checked"

    asyncio.run(scenario())


def test_a_check_without_a_program_says_so(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await healthy(site, engine, "lacks", shell("", Test=["CMD", "nosuch"]))
            shown = await when(engine, "lacks", lambda health: health.Status == "unhealthy")
            result = shown.State.Health.Log[-1]
            assert result.ExitCode == -1
            assert result.Output == (
                "OCI runtime exec failed: exec failed: unable to start container process: "
                'exec: "nosuch": executable file not found in $PATH'
            )

    asyncio.run(scenario())


def test_a_check_that_takes_too_long_is_killed_with_what_it_started(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            check = shell("echo begun; sleep 600 & sleep 600", Timeout=100 * MS, Retries=1)
            await healthy(site, engine, "slow", check)
            shown = await when(engine, "slow", lambda health: health.Status == "unhealthy")
            result = shown.State.Health.Log[-1]
            assert (result.ExitCode, result.Output) == (-1, "Health check exceeded timeout (100ms): begun\n")
            await processes(engine, "slow", lambda rows: len(rows) <= 1 + 3)  # its own, and one check under way

    asyncio.run(scenario())


def test_output_is_bounded_and_never_in_the_way(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await healthy(site, engine, "loud", shell("seq 1 100000; printf '\\377'"))
            shown = await when(engine, "loud", lambda health: bool(health.Log))
            output = shown.State.Health.Log[0].Output
            assert output.startswith("1\n2\n3\n")
            assert output.endswith("...")
            assert len(output) == 4096 + 3
            await healthy(site, engine, "holds", shell("sleep 600 & printf 'a\\377b'"))
            shown = await when(engine, "holds", lambda health: bool(health.Log))
            assert shown.State.Health.Log[0].Output == "a\ufffdb", "whoever holds the pipe, and whatever bytes"

    asyncio.run(scenario())


def test_the_start_period_forgives(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            check = shell("exit 1", Retries=1, StartPeriod=600 * 1000 * MS, StartInterval=20 * MS, Interval=10**13)
            await healthy(site, engine, "young", check)
            shown = await when(engine, "young", lambda health: len(health.Log) == 3)
            assert (shown.State.Health.Status, shown.State.Health.FailingStreak) == ("starting", 0)

    asyncio.run(scenario())


def test_the_check_runs_as_the_container_does(site: Site) -> None:
    """User, environment, directory, capabilities and seccomp filter are the container's, an exec's too."""

    async def scenario() -> None:
        async with site.running() as engine:
            script = "id -u; pwd; echo $A; grep -E '^(Seccomp|CapEff|NoNewPrivs):' /proc/self/status"
            host = HostConfig(NetworkMode="none", CapDrop=["ALL"])
            fields = {"User": "user", "Env": ["A=1"], "WorkingDir": "/tmp", "host": host}
            await healthy(site, engine, "same", shell(script), **fields)
            shown = await when(engine, "same", lambda health: bool(health.Log))
            expected = "1000\n/tmp\n1\nCapEff:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n"
            assert shown.State.Health.Log[0].Output == expected
            exec_id = await engine.execs.create("same", ExecCreate(Cmd=["sh", "-c", script], AttachStdout=True))
            client = Client()
            await engine.execs.start(exec_id, ExecStartOptions(), client)
            assert text(await client.rest())[1].decode() == expected
            assert (await engine.containers.inspect("same")).ExecIDs is None

    asyncio.run(scenario())


def test_an_unhealthy_container_is_restarted_where_its_policy_says_so(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            check = shell("exit 1", Retries=1)
            polite = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
            for name, kind, count in (("again", "on-unhealthy", 2), ("left", "always", 0)):
                await site.create(engine, *polite, name=name, Healthcheck=check, host=policy(kind, count))
                await engine.containers.start(name)
            await shows(
                engine, "again",
                lambda shown: shown.RestartCount == 2 and shown.State.Health.Status == "unhealthy" and shown.State.Pid > 0,
            )  # fmt: skip
            await when(engine, "again", lambda health: health.FailingStreak > 2)
            shown = await engine.containers.inspect("again")
            assert (shown.State.Status, shown.RestartCount) == ("running", 2), "its tries are used up: it is left alone"
            shown = await when(engine, "left", lambda health: health.Status == "unhealthy")
            assert (shown.State.Status, shown.RestartCount) == ("running", 0)
            await engine.containers.stop("again")
            assert (await engine.containers.inspect("again")).State.Status == "exited"

    asyncio.run(scenario())


def test_a_killed_engine_is_followed_by_one_that_knows_the_health(site: Site) -> None:
    """Killed in the middle of a check: its status and streak are there at once, and checking goes on."""

    async def before(engine: Engine) -> None:
        await healthy(site, engine, "good", shell("test -e /busy && sleep 600; exit 0", Timeout=10**13))
        await healthy(site, engine, "bad", shell("exit 3"))
        await when(engine, "good", lambda health: health.Status == "healthy")
        await when(engine, "bad", lambda health: health.Status == "unhealthy")
        exec_id = await engine.execs.create("good", ExecCreate(Cmd=["touch", "/busy"]))
        await engine.execs.start(exec_id, ExecStartOptions(detach=True))
        await processes(engine, "good", checking)

    killed(site, before)

    async def after() -> None:
        async with site.running() as engine:
            for name, status in (("good", "healthy"), ("bad", "unhealthy")):
                shown = await engine.containers.inspect(name)
                assert (shown.State.Status, shown.State.Health.Status) == ("running", status)
            seen = len((await engine.containers.inspect("bad")).State.Health.Log)
            assert seen
            streak = (await engine.containers.inspect("bad")).State.Health.FailingStreak
            assert streak >= 2
            await when(engine, "bad", lambda health: health.FailingStreak > streak)
            await until(engine, "good", "running")

    asyncio.run(after())


def test_results_are_on_disk_after_an_orderly_stop(site: Site) -> None:
    async def scenario() -> None:
        engine = site.engine()
        await engine.start()
        await healthy(site, engine, "counts", shell("exit 1", Retries=1))
        shown = await when(engine, "counts", lambda health: health.FailingStreak >= 4)
        await engine.close()
        async with site.running() as engine:
            again = (await engine.containers.inspect("counts")).State.Health
            assert again.FailingStreak >= shown.State.Health.FailingStreak
            assert len(again.Log) >= 4

    asyncio.run(scenario())


def test_a_shim_that_dies_under_a_check_is_no_verdict(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await healthy(site, engine, "kept", shell("test -e /busy && rm /busy && sleep 600; exit 0", Timeout=10**13))
            await when(engine, "kept", lambda health: health.Status == "healthy")
            exec_id = await engine.execs.create("kept", ExecCreate(Cmd=["touch", "/busy"]))
            await engine.execs.start(exec_id, ExecStartOptions(detach=True))
            await processes(engine, "kept", checking)
            before = site.shim_pid()
            os.kill(before, 9)
            await eventually(lambda: site.shim_pid() not in (0, before))
            count = len((await engine.containers.inspect("kept")).State.Health.Log)
            shown = await when(engine, "kept", lambda health: len(health.Log) > count or count == 5)
            assert (shown.State.Health.Status, shown.State.Health.FailingStreak) == ("healthy", 0)

    asyncio.run(scenario())


def test_a_paused_container_is_not_checked_and_stays_what_it_was(site: Site) -> None:
    """Also the check under way: its time stands still."""

    async def scenario() -> None:
        async with site.running() as engine:
            await healthy(site, engine, "iced", shell("sleep 0.1", Timeout=2000 * MS, Retries=1))
            await when(engine, "iced", lambda health: health.Status == "healthy")
            await engine.containers.pause("iced")
            await asyncio.sleep(2.5)
            shown = await engine.containers.inspect("iced")
            assert (shown.State.Status, shown.State.Health.Status) == ("paused", "healthy")
            seen = [event for event in await events(engine) if event.startswith("exec_create")]
            await asyncio.sleep(0.2)
            assert [event for event in await events(engine) if event.startswith("exec_create")] == seen
            await engine.containers.unpause("iced")
            newest = shown.State.Health.Log[-1]
            shown = await when(engine, "iced", lambda health: health.Log[-1] != newest)
            assert (shown.State.Health.Status, shown.State.Health.FailingStreak) == ("healthy", 0)

    asyncio.run(scenario())


def test_nothing_of_a_check_stays_open(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await healthy(site, engine, "tidy", shell("true"))
            await when(engine, "tidy", lambda health: len(health.Log) == 5)
            folder = Path(f"/proc/{site.shim_pid()}/fd")
            counts = []
            for _ in range(2):  # the least of some moments: a check under way has descriptors
                seen = []
                for _ in range(10):
                    await asyncio.sleep(0.07)
                    seen.append(len(os.listdir(folder)))
                counts.append(min(seen))
            assert abs(counts[0] - counts[1]) <= 1

    asyncio.run(scenario())
