"""An engine or a shim that is killed: nothing that runs is touched, what ended is known, nothing is left over."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time

import pytest
from tests.kernel.engine.conftest import WAIT, Client, Site, eventually, text

from corten.api.types.container import HostConfig
from corten.api.types.exec import ExecCreate
from corten.engine.engine import Engine
from corten.engine.streams import AttachOptions, ExecStartOptions, LogsOptions
from corten.errors import Unavailable

pytestmark = pytest.mark.root
COUNT = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"


def in_a_process_that_is_killed(site: Site, *commands: tuple[str, str, bool]) -> None:
    """Start containers (name, shell command, auto-remove) in an engine that then dies by SIGKILL."""
    ready, told = os.pipe()
    pid = os.fork()  # noqa: TID251 - the engine must die without a chance to clean up
    if pid == 0:

        async def start() -> None:
            engine = site.engine()
            await engine.start()
            for name, command, auto in commands:
                host = HostConfig(NetworkMode="none", AutoRemove=auto)
                await engine.containers.start(await site.create(engine, "sh", "-c", command, name=name, host=host))
            os.write(told, b"x")
            await asyncio.sleep(60)

        try:
            asyncio.run(start())
        finally:
            os._exit(1)
    os.close(told)
    assert os.read(ready, 1) == b"x", "the engine did not get that far"
    os.close(ready)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def numbers(engine: Engine, name: str) -> list[int]:
    """What the counting container logged so far."""
    output = b"".join([part async for part in engine.containers.logs(name, LogsOptions(stdout=True))])
    return [int(number) for number in re.findall(rb"\d+", text(output).get(1, b""))]


def test_a_killed_engine_finds_everything_again(site: Site) -> None:
    in_a_process_that_is_killed(
        site, ("counts", COUNT, False), ("ends", "sleep 0.3; exit 9", False), ("goes", "sleep 0.3", True)
    )
    leaked = "f" * 64
    (site.root / "data/containers" / leaked).mkdir()
    time.sleep(0.6)

    async def scenario() -> None:
        async with site.running() as engine:
            running = (await engine.containers.inspect("counts")).State
            assert running.Status == "running"
            os.kill(running.Pid, 0)
            ended = (await engine.containers.inspect("ends")).State
            assert (ended.Status, ended.ExitCode) == ("exited", 9)
            client = Client()
            await engine.containers.attach("counts", AttachOptions(stdout=True, stream=True), client)
            assert text(await client.read())[1].strip()
            client.socket.close()
            await eventually(lambda: len(os.listdir(site.root / "data/containers")) == 2)
            names = {row.Names[0] for row in await engine.containers.list(all=True)}
            assert names == {"/counts", "/ends"}, "the one with AutoRemove is gone"
            assert len(os.listdir(site.root / "data/containers")) == 2, "what no record names is gone"
            await engine.containers.stop("counts", timeout=0)
            seen = await numbers(engine, "counts")
            assert seen == list(range(len(seen))), "no line lost, none twice"
            assert (await engine.containers.inspect("counts")).State.ExitCode == 137

    asyncio.run(scenario())


def test_a_killed_shim_is_replaced(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            name = "counts"
            await engine.containers.start(await site.create(engine, "sh", "-c", COUNT, name=name))
            before = site.shim_pid()
            await asyncio.sleep(0.2)
            os.kill(before, signal.SIGKILL)
            await eventually(lambda: site.shim_pid() not in (0, before))
            exec_id = await engine.execs.create(name, ExecCreate(Cmd=["echo", "again"], AttachStdout=True))
            client = Client()
            await engine.execs.start(exec_id, ExecStartOptions(), client)
            assert text(await client.rest()) == {1: b"again\n"}
            await asyncio.sleep(0.3)
            assert (await engine.containers.inspect(name)).State.Status == "running"
            seen = await numbers(engine, name)
            assert seen == list(range(len(seen)))
            over = await engine.containers.wait(name, condition="next-exit")
            await engine.containers.kill(name)
            code, _ = await asyncio.wait_for(over, WAIT)
            assert code in (137, 255), "read from the pidfd, or unknown; never 0"

    asyncio.run(scenario())


def test_a_second_engine_over_the_same_root_is_refused(site: Site) -> None:
    async def scenario() -> None:
        async with site.running():
            with pytest.raises(Unavailable, match="another engine uses"):
                await site.engine().start()

    asyncio.run(scenario())
