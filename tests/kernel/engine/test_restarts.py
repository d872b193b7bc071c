"""Restart policies on a real engine: after exits, beside the verbs, over a killed engine and over a reboot."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from typing import Any

import pytest
from tests.kernel.engine.conftest import WAIT, Site, eventually, shows

from corten.api.filters import Filters
from corten.api.types.container import ContainerInspect, HostConfig, Mount, RestartPolicy
from corten.engine.engine import Engine
from corten.engine.streams import LogsOptions
from corten.errors import Conflict, NoSuchContainer, NotModified

pytestmark = pytest.mark.root

FAILS = ("sh", "-c", "echo run; exit 7")


def policy(name: str, count: int = 0, **fields: Any) -> HostConfig:
    return HostConfig(**{"NetworkMode": "none", **fields}, RestartPolicy=RestartPolicy(name, count))


async def until(engine: Engine, name: str, status: str) -> ContainerInspect:
    """What inspect shows once the container has ``status``."""
    return await shows(engine, name, lambda shown: shown.State.Status == status)


async def output(engine: Engine, name: str) -> bytes:
    return b"".join([part async for part in engine.containers.logs(name, LogsOptions(stdout=True))])


async def printed(engine: Engine, name: str, times: int) -> None:
    """Until the log has ``up`` so often."""

    async def often() -> bool:
        return (await output(engine, name)).count(b"up") >= times

    await eventually(often)


def test_a_failure_is_tried_again_as_often_as_was_said(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await site.create(engine, *FAILS, name="fails", host=policy("on-failure", 2))
            await engine.containers.start("fails")
            shown = await until(engine, "fails", "exited")
            history = engine.events.subscribe(
                since_ns=0, until_ns=time.time_ns(), filters=Filters({"type": ["container"]})
            )
            actions = [message.Action async for message in history]
            assert (shown.RestartCount, shown.State.ExitCode, shown.State.Running) == (2, 7, False)
            assert (await output(engine, "fails")).count(b"run\n") == 3, "one log for all runs"
            assert [action for action in actions if action in ("start", "die")] == ["start", "die"] * 3
            await site.create(engine, "true", name="succeeds", host=policy("on-failure"))
            over = await engine.containers.wait("succeeds", condition="next-exit")
            await engine.containers.start("succeeds")
            assert await asyncio.wait_for(over, WAIT) == (0, None)
            assert (await engine.containers.inspect("succeeds")).State.Status == "exited"

    asyncio.run(scenario())


def test_verbs_on_a_container_that_waits_for_its_restart(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            container = await site.create(engine, *FAILS, name="loop", host=policy("always"), StopSignal="SIGTERM")
            over = await engine.containers.wait("loop", condition="next-exit")
            await engine.containers.start("loop")
            assert await asyncio.wait_for(over, WAIT) == (7, None), "an exit counts although a restart follows"
            shown = await until(engine, "loop", "restarting")
            assert (shown.State.Running, shown.State.Restarting, shown.State.Pid) == (True, True, 0)
            (row,) = await engine.containers.list()
            assert row.Status.startswith("Restarting (7) "), "ps shows it without -a"
            with pytest.raises(NotModified):
                await engine.containers.start("loop")
            with pytest.raises(Conflict, match='cannot remove container "/loop": container is restarting: stop'):
                await engine.containers.remove("loop")
            with pytest.raises(Conflict, match="is restarting, wait until the container is running"):
                await engine.containers.top("loop")
            await until(engine, "loop", "restarting")
            await engine.containers.kill("loop", signal="HUP")
            await until(engine, "loop", "restarting")
            gone = await engine.containers.wait("loop")
            await engine.containers.stop("loop")
            assert await asyncio.wait_for(gone, WAIT) == (7, None)
            stopped = await engine.containers.inspect("loop")
            assert (stopped.State.Status, stopped.State.ExitCode) == ("exited", 7)
            assert stopped.RestartCount > 0
            count = (await output(engine, "loop")).count(b"run\n")
            await engine.containers.restart("loop")
            assert (await engine.containers.inspect("loop")).RestartCount <= 1, "a client's start counts anew"
            await until(engine, "loop", "restarting")
            assert (await output(engine, "loop")).count(b"run\n") > count
            removed = await engine.containers.wait("loop", condition="removed")
            await engine.containers.remove("loop", force=True)
            assert await asyncio.wait_for(removed, WAIT) == (7, None)
            with pytest.raises(NoSuchContainer):
                await engine.containers.inspect(container)

    asyncio.run(scenario())


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_what_a_client_ends_stays_ended(site: Site, verb: str) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await site.create(engine, "sleep", "100", name="ended", host=policy("always"), StopSignal="SIGKILL")
            await engine.containers.start("ended")
            await getattr(engine.containers, verb)("ended")
            shown = await engine.containers.inspect("ended")
            assert (shown.State.Status, shown.RestartCount) == ("exited", 0)

    asyncio.run(scenario())


def test_a_signal_ends_the_policy_as_in_docker(site: Site) -> None:
    """Any signal where the container has no stop signal of its own; the program may live on with it for long."""
    lives = ("sh", "-c", "trap 'exit 3' HUP; trap : USR1; trap 'exit 4' USR2; echo up; while :; do sleep 0.02; done")

    async def scenario() -> None:
        async with site.running() as engine:
            names = ("hup", "usr1", "own", "paused")
            for name in names:
                fields = {"StopSignal": "USR2"} if name == "own" else {}
                await site.create(engine, *lives, name=name, host=policy("always"), **fields)
                await engine.containers.start(name)
            for name in names:
                await printed(engine, name, 1)
            await engine.containers.kill("hup", signal="HUP")
            assert (await until(engine, "hup", "exited")).State.ExitCode == 3
            await engine.containers.kill("usr1", signal="USR1")
            pid = (await engine.containers.inspect("usr1")).State.Pid
            os.kill(pid, signal.SIGUSR2)  # of its own accord, some time later
            assert (await until(engine, "usr1", "exited")).State.ExitCode == 4
            await engine.containers.pause("paused")
            await engine.containers.kill("paused", signal="HUP")
            assert (await until(engine, "paused", "exited")).State.ExitCode == 3
            await engine.containers.kill("own", signal="HUP")
            await shows(engine, "own", lambda shown: (shown.State.Status, shown.RestartCount) == ("running", 1))
            await printed(engine, "own", 2)
            await engine.containers.kill("own", signal="USR2")
            assert (await until(engine, "own", "exited")).RestartCount == 1
            await engine.containers.start("hup")
            os.kill((await engine.containers.inspect("hup")).State.Pid, signal.SIGKILL)
            await shows(engine, "hup", lambda shown: shown.RestartCount == 1)  # a client's start makes the policy anew

    asyncio.run(scenario())


def test_a_signal_between_two_runs_ends_the_policy_as_in_docker(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await site.create(engine, *FAILS, name="between", host=policy("always"))
            await engine.containers.start("between")
            for _ in range(1000):
                await until(engine, "between", "restarting")
                await engine.containers.kill("between", signal="HUP")
                if (await engine.containers.inspect("between")).State.Status == "exited":
                    break
            assert (await engine.containers.inspect("between")).State.ExitCode == 7

    asyncio.run(scenario())


def test_a_restart_that_fails_is_the_last(site: Site) -> None:
    async def scenario() -> None:
        source = site.root / "vanishes"
        source.mkdir()
        async with site.running() as engine:
            mounts = [Mount(Type="bind", Source=str(source), Target="/b")]
            await site.create(engine, "sh", "-c", "sleep 0.2; exit 9", name="bad", host=policy("always", Mounts=mounts))
            await engine.containers.start("bad")
            source.rmdir()
            shown = await until(engine, "bad", "exited")
            assert (shown.State.ExitCode, shown.RestartCount) == (9, 1)
            assert "vanishes" in shown.State.Error

    asyncio.run(scenario())


def test_a_policy_that_is_changed_counts_from_the_next_exit_on(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await site.create(engine, *FAILS, name="changed", host=policy("always"))
            await engine.containers.start("changed")
            await engine.containers.update("changed", HostConfig(RestartPolicy=RestartPolicy("on-failure", 1)))
            shown = await until(engine, "changed", "exited")
            assert shown.HostConfig.RestartPolicy == RestartPolicy("on-failure", 1)
            assert shown.RestartCount >= 1

    asyncio.run(scenario())


def killed(site: Site, scenario: Any) -> None:
    """Run ``scenario(engine)`` in an engine that then dies by SIGKILL."""
    ready, told = os.pipe()
    pid = os.fork()  # noqa: TID251 - the engine must die without a chance to clean up
    if pid == 0:

        async def run() -> None:
            engine = site.engine()
            await engine.start()
            await scenario(engine)
            os.write(told, b"x")
            await asyncio.sleep(60)

        try:
            asyncio.run(run())
        finally:
            os._exit(1)
    os.close(told)
    assert os.read(ready, 1) == b"x", "the engine did not get that far"
    os.close(ready)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_an_engine_killed_in_a_pause_is_followed_by_one_that_goes_on(site: Site) -> None:
    async def before(engine: Engine) -> None:
        await site.create(engine, *FAILS, name="loop", host=policy("on-failure", 5))
        await engine.containers.start("loop")
        await shows(engine, "loop", lambda shown: (shown.State.Status, shown.RestartCount) == ("restarting", 3))

    killed(site, before)

    async def after() -> None:
        async with site.running() as engine:
            shown = await until(engine, "loop", "exited")
            assert (shown.RestartCount, shown.State.ExitCode) == (5, 7)
            assert (await output(engine, "loop")).count(b"run\n") == 6, "no run too many, none too few"

    asyncio.run(after())


def test_an_orderly_stop_in_a_pause_is_followed_by_one_that_goes_on(site: Site) -> None:
    async def scenario() -> None:
        engine = site.engine()
        await engine.start()
        await site.create(engine, *FAILS, name="loop", host=policy("on-failure", 3))
        await engine.containers.start("loop")
        await until(engine, "loop", "restarting")
        await engine.close()
        async with site.running() as engine:
            assert (await until(engine, "loop", "exited")).RestartCount == 3

    asyncio.run(scenario())


def test_after_a_reboot_policies_decide_and_dependencies_come_first(site: Site) -> None:
    """The exec root is gone and every process with it, as after a reboot."""

    async def before(engine: Engine) -> None:
        for name, kind in (("always", "always"), ("kept", "unless-stopped"), ("left", "unless-stopped"),
                           ("failure", "on-failure"), ("plain", "no"), ("stopped", "always")):  # fmt: skip
            await site.create(engine, "sleep", "100", name=name, host=policy(kind))
            await engine.containers.start(name)
        await site.create(engine, "sleep", "100", name="never", host=policy("always"))
        target = await site.create(engine, "sleep", "100", name="zz-target", host=policy("always"))
        joined = policy("always", NetworkMode=f"container:{target}")
        shares = policy("always", PidMode="container:aa-joins")
        await engine.containers.start("zz-target")
        for name, host in (("aa-joins", joined), ("bb-shares", shares)):
            await site.create(engine, "sleep", "100", name=name, host=host)
            await engine.containers.start(name)
        await engine.containers.stop("left", timeout=0)
        await engine.containers.stop("stopped", timeout=0)
        pids = [(await engine.containers.inspect(row.Id)).State.Pid for row in await engine.containers.list()]
        (site.root / "pids").write_text(" ".join(map(str, pids)))

    killed(site, before)
    os.kill(site.shim_pid(), signal.SIGKILL)
    for pid in (site.root / "pids").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(site.root / "exec")

    async def after() -> None:
        async with site.running() as engine:
            for name in ("always", "kept", "failure", "stopped", "zz-target", "aa-joins", "bb-shares"):
                shown = await until(engine, name, "running")
                assert shown.RestartCount == 0, "an engine that comes up counts anew"
            for name, status in (("left", "exited"), ("plain", "exited"), ("never", "created")):
                assert (await engine.containers.inspect(name)).State.Status == status
            assert (await engine.containers.inspect("plain")).State.ExitCode == 255
            started = {}
            for name in ("zz-target", "aa-joins", "bb-shares"):
                started[name] = (await engine.containers.inspect(name)).State.StartedAt
            assert started["zz-target"] < started["aa-joins"] < started["bb-shares"]

    asyncio.run(after())


def test_many_restarts_leave_the_engine_answering(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            names = [f"many-{number}" for number in range(12)]
            for name in names:
                await site.create(engine, "false", name=name, host=policy("on-failure", 2))
            await asyncio.gather(*(engine.containers.start(name) for name in names))

            for name in names:
                assert (await until(engine, name, "exited")).RestartCount == 2

    asyncio.run(scenario())
