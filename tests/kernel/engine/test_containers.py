"""Containers through the engine's services: real processes, mounts, cgroups and networks."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest
from tests.kernel.engine.conftest import Client, Site, text

from corten.api.filters import Filters
from corten.api.types.container import HostConfig, Mount
from corten.api.types.exec import ExecCreate
from corten.engine.streams import AttachOptions, ExecStartOptions, LogsOptions
from corten.errors import (
    CommandNotFound,
    CommandNotInvocable,
    Conflict,
    InvalidArgument,
    NameInUse,
    NoSuchContainer,
    NotModified,
)

pytestmark = pytest.mark.root
NONE = HostConfig(NetworkMode="none")


def test_output_exit_code_state_and_logs(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            container = await site.create(engine, "sh", "-c", "echo out; echo err >&2; exit 3")
            client = Client()
            await engine.containers.attach(container, AttachOptions(stdout=True, stderr=True, stream=True), client)
            over = await engine.containers.wait(container, condition="next-exit")
            await engine.containers.start(container)
            assert await over == (3, None)
            assert text(await client.rest()) == {1: b"out\n", 2: b"err\n"}
            shown = await engine.containers.inspect(container)
            assert (shown.State.Status, shown.State.ExitCode, shown.State.Pid) == ("exited", 3, 0)
            logged = b"".join([part async for part in engine.containers.logs(container, LogsOptions(stderr=True))])
            assert text(logged) == {2: b"err\n"}

    asyncio.run(scenario())


def test_stdin_is_half_closed_and_output_goes_on(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            container = await site.create(engine, "sh", "-c", "wc -c; echo end", OpenStdin=True, StdinOnce=True)
            client = Client()
            await engine.containers.attach(container, AttachOptions(stdin=True, stdout=True, stream=True), client)
            client.socket.send(b"x" * 1000)
            client.socket.shutdown(1)
            await engine.containers.start(container)
            assert text(await client.rest()) == {1: b"1000\nend\n"}

    asyncio.run(scenario())


def test_a_terminal_is_raw_and_can_be_resized(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            container = await site.create(engine, "sh", "-c", "read x; stty size", Tty=True, OpenStdin=True)
            client = Client()
            await engine.containers.attach(container, AttachOptions(stdin=True, stdout=True, stream=True), client)
            await engine.containers.start(container)
            await engine.containers.resize(container, 33, 99)
            client.socket.send(b"\n")
            assert b"33 99\r\n" in await client.rest()

    asyncio.run(scenario())


def test_a_failed_start_is_told_and_remembered(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            missing = await site.create(engine, "nosuchprogram")
            with pytest.raises(CommandNotFound, match='exec: "nosuchprogram": executable file not found in \\$PATH'):
                await engine.containers.start(missing)
            state = (await engine.containers.inspect(missing)).State
            assert (state.Status, state.ExitCode) == ("created", 127)
            assert "nosuchprogram" in state.Error
            directory = await site.create(engine, "/tmp")
            with pytest.raises(CommandNotInvocable):
                await engine.containers.start(directory)
            auto = await site.create(engine, "nosuchprogram", host=HostConfig(NetworkMode="none", AutoRemove=True))
            with pytest.raises(CommandNotFound):
                await engine.containers.start(auto)
            with pytest.raises(NoSuchContainer):
                await engine.containers.inspect(auto)

    asyncio.run(scenario())


def test_states_forbid_what_docker_forbids(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            container = await site.create(engine, "sleep", "100", name="busy")
            with pytest.raises(NameInUse):
                await site.create(engine, "true", name="busy")
            with pytest.raises(Conflict, match=f"cannot kill container: busy: container {container} is not running"):
                await engine.containers.kill("busy")
            with pytest.raises(NotModified):
                await engine.containers.stop("busy")
            with pytest.raises(Conflict, match=f"container {container} is not running"):
                await engine.execs.create("busy", ExecCreate(Cmd=["true"]))
            await engine.containers.start("busy")
            with pytest.raises(NotModified):
                await engine.containers.start("busy")
            with pytest.raises(
                Conflict, match='cannot remove container "/busy": container is running: stop the container'
            ):
                await engine.containers.remove("busy")
            with pytest.raises(InvalidArgument, match="invalid signal: NOPE"):
                await engine.containers.kill("busy", signal="NOPE")
            await engine.containers.remove("busy", force=True)
            with pytest.raises(NoSuchContainer, match="No such container: busy"):
                await engine.containers.inspect("busy")

    asyncio.run(scenario())


def test_stop_sends_the_stop_signal_and_kills_only_the_deaf(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            polite = "trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done"
            container = await site.create(engine, "sh", "-c", polite, StopSignal="SIGUSR1")
            await engine.containers.start(container)
            await anext(aiter(engine.containers.logs(container, LogsOptions(stdout=True, follow=True))))
            await engine.containers.stop(container)
            assert (await engine.containers.inspect(container)).State.ExitCode == 5
            deaf = await site.create(engine, "sleep", "100", StopTimeout=1)
            await engine.containers.start(deaf)
            began = time.monotonic()
            await engine.containers.stop(deaf)
            assert 0.9 < time.monotonic() - began < 5
            assert (await engine.containers.inspect(deaf)).State.ExitCode == 137
            await engine.containers.restart(deaf, timeout=0)
            assert (await engine.containers.inspect(deaf)).State.Running

    asyncio.run(scenario())


def test_execs(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            container = await site.create(engine, "sleep", "100", Env=["A=1"], User="user")
            await engine.containers.start(container)

            async def run(body: ExecCreate) -> tuple[int | None, bytes]:
                exec_id = await engine.execs.create(container, body)
                client = Client()
                await engine.execs.start(exec_id, ExecStartOptions(tty=body.Tty), client)
                output = await client.rest()
                return (await engine.execs.inspect(exec_id)).ExitCode, output

            code, output = await run(ExecCreate(Cmd=["sh", "-c", "echo $A $(id -u); exit 4"], AttachStdout=True))
            assert (code, text(output)) == (4, {1: b"1 1000\n"})
            code, output = await run(ExecCreate(Cmd=["id", "-u"], AttachStdout=True, User="0", Tty=True))
            assert (code, output) == (0, b"0\r\n")
            code, output = await run(ExecCreate(Cmd=["nosuchprogram"], AttachStdout=True))
            assert code == 127
            assert b'exec: "nosuchprogram": executable file not found' in output
            assert (await engine.containers.inspect(container)).ExecIDs is None
            processes = (await engine.containers.top(container)).Processes
            assert [row[-1] for row in processes] == ["sleep 100"]

    asyncio.run(scenario())


def test_limits_reach_the_kernel(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            host = HostConfig(NetworkMode="none", Memory=16 << 20, MemorySwap=16 << 20, PidsLimit=30)
            code, _ = await site.run(engine, "tail", "/dev/zero", host=host)
            assert code == 137
            (row,) = await engine.containers.list(all=True, filters=Filters({"exited": ["137"]}))
            assert (await engine.containers.inspect(row.Id)).State.OOMKilled
            spawn = "i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i+1)); done"
            _, output = await site.run(engine, "sh", "-c", spawn, host=host)
            assert b"fork" in output[2]

    asyncio.run(scenario())


def test_mounts(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            source = site.root / "made-by-start"
            host = HostConfig(
                NetworkMode="none", Binds=[f"{source}:/b", "named:/etc", "/proc/version:/v:ro"], Tmpfs={"/t": "size=1m"}
            )
            code, output = await site.run(
                engine,
                "sh",
                "-c",
                "cat /etc/passwd; echo x > /b/f; echo y > /etc/g; ! echo z > /v",
                host=host,
                Volumes={"/anon": {}},
            )
            assert code == 0
            assert output[1].startswith(b"root:x:0:0"), "a fresh volume gets what the image has there"
            assert (source / "f").read_text() == "x\n"
            volumes = {volume.Name: volume for volume in (await engine.volumes.list(Filters())).Volumes}
            assert len(volumes) == 2
            with pytest.raises(Conflict, match=r"remove named: volume is in use - \["):
                await engine.volumes.remove("named", force=False)
            (row,) = await engine.containers.list(all=True)
            await engine.containers.remove(row.Id, volumes=True)
            assert [volume.Name for volume in (await engine.volumes.list(Filters())).Volumes] == ["named"]
            await engine.volumes.remove("named", force=False)
            missing = Mount(Type="bind", Source="/no/such/place", Target="/x")
            with pytest.raises(
                InvalidArgument,
                match='invalid mount config for type "bind": bind source path does not exist: /no/such/place',
            ):
                await site.create(engine, "true", host=HostConfig(Mounts=[missing]))

    asyncio.run(scenario())


def test_auto_remove_leaves_nothing(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            host = HostConfig(AutoRemove=True)
            container = await site.create(engine, "true", host=host, Volumes={"/anon": {}})
            gone = await engine.containers.wait(container, condition="removed")
            await engine.containers.start(container)
            assert await asyncio.wait_for(gone, 5) == (0, None)
            assert await engine.containers.list(all=True) == []
            assert (await engine.volumes.list(Filters())).Volumes == []
            assert os.listdir(site.root / "data/containers") == []
            assert os.listdir(site.root / "data/snapshots") == []

    asyncio.run(scenario())


def test_auto_remove_does_not_come_before_a_forced_removal(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            for _ in range(20):
                container = await site.create(engine, "sleep", "60", host=HostConfig(AutoRemove=True))
                await engine.containers.start(container)
                await engine.containers.remove(container, force=True)
                assert await engine.containers.list(all=True) == []

    asyncio.run(scenario())


def test_events_of_a_life(site: Site) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            began = time.time_ns()
            code, _ = await site.run(engine, "true", name="seen", host=HostConfig(NetworkMode="bridge"))
            assert code == 0
            await engine.containers.rename("seen", "heard")
            await engine.containers.remove("heard")
            messages = [message async for message in engine.events.subscribe(since_ns=began, until_ns=time.time_ns())]
            actions = [f"{message.Type} {message.Action}" for message in messages]
            assert actions == [
                "container create", "container attach", "network connect", "container start", "container die",
                "network disconnect", "container rename", "container destroy",
            ]  # fmt: skip
            assert messages[4].Actor.Attributes | {"execDuration": "0"} == {
                "image": "busybox", "name": "seen", "exitCode": "0", "execDuration": "0",
            }  # fmt: skip

    asyncio.run(scenario())


def test_a_failed_creation_leaves_nothing(site: Site) -> None:
    async def scenario(fields: dict[str, Any]) -> None:
        async with site.running() as engine:
            with pytest.raises(InvalidArgument):
                await site.create(engine, "true", name="never", **fields)
            await site.create(engine, "true", name="never")
            (row,) = await engine.containers.list(all=True)
            assert os.listdir(site.root / "data/containers") == [row.Id]

    asyncio.run(scenario({"host": HostConfig(Binds=["fresh:/a", "/x:/a"])}))
    asyncio.run(scenario({"host": HostConfig(Memory=1)}))
