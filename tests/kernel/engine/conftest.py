"""An engine object over roots of its own, with one image, and clients that read what a hijacked connection gets."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.harness.images import busybox_tar

from corten.api.types.container import ContainerCreate, ContainerInspect, HostConfig
from corten.engine.config import EngineConfig
from corten.engine.engine import Engine
from corten.engine.streams import AttachOptions

WAIT = 10.0


class Client:
    """A client's end of a connection."""

    def __init__(self) -> None:
        self.socket, self._theirs = socket.socketpair()
        self.socket.setblocking(False)

    async def detach(self) -> tuple[int, bytes]:
        return self._theirs.detach(), b""

    async def read(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 65536), WAIT)

    async def rest(self) -> bytes:
        parts = []
        while part := await self.read():
            parts.append(part)
        self.socket.close()
        return b"".join(parts)


def text(stream: bytes) -> dict[int, bytes]:
    """A multiplexed stream by channel: 1 stdout, 2 stderr."""
    channels: dict[int, bytes] = {}
    while stream:
        size = int.from_bytes(stream[4:8], "big")
        channels[stream[0]] = channels.get(stream[0], b"") + stream[8 : 8 + size]
        stream = stream[8 + size :]
    return channels


class Site:
    """The roots of one engine, and what tests do with it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def engine(self) -> Engine:
        return Engine(EngineConfig(data_root=str(self.root / "data"), exec_root=str(self.root / "exec")))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Engine]:
        engine = self.engine()
        await engine.start()
        try:
            yield engine
        finally:
            for row in await engine.containers.list(all=True):
                await engine.containers.remove(row.Id, force=True, volumes=True)
            await engine.close()

    async def create(self, engine: Engine, *command: str, name: str = "", **fields: Any) -> str:
        host = fields.pop("host", None) or HostConfig(NetworkMode="none")
        fields.setdefault("Image", "busybox")
        body = ContainerCreate(Cmd=list(command), HostConfig=host, **fields)
        return (await engine.containers.create(body, name=name)).Id

    async def run(self, engine: Engine, *command: str, **fields: Any) -> tuple[int, dict[int, bytes]]:
        """Run to the end, attached: exit code and output by channel."""
        container = await self.create(engine, *command, **fields)
        client = Client()
        await engine.containers.attach(container, AttachOptions(stdout=True, stderr=True, stream=True), client)
        over = await engine.containers.wait(container, condition="next-exit")
        await engine.containers.start(container)
        code, _ = await asyncio.wait_for(over, WAIT)
        return code, text(await client.rest())

    def shim_pid(self) -> int:
        return int((self.root / "exec/shim.pid").read_text() or 0)


async def eventually(predicate: Callable[[], bool | Awaitable[bool]]) -> None:
    """Until ``predicate`` holds, for ten seconds at most."""
    for _ in range(1000):
        answer = predicate()
        if answer if isinstance(answer, bool) else await answer:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


async def shows(engine: Engine, name: str, condition: Callable[[ContainerInspect], bool]) -> ContainerInspect:
    """What inspect shows once it meets ``condition``, after ten seconds at most."""
    for _ in range(1000):
        shown = await engine.containers.inspect(name)
        if condition(shown):
            return shown
        await asyncio.sleep(0.01)
    raise AssertionError(f"{name} is {shown.State}")


async def import_busybox(engine: Engine, content: bytes) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield content

    async def progress(_: object) -> None:
        return

    await engine.images.import_(body(), repo="busybox", tag="latest", progress=progress)


def forget_network(instance: str) -> None:
    """Bridge and nftables table stay after a stop, as docker0 does; a test run leaves none."""
    subprocess.run(["ip", "link", "del", f"ct{instance}"], check=False, capture_output=True)
    tables = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
    for line in tables.splitlines():
        if line.endswith(f"corten_{instance}"):
            subprocess.run(["nft", "delete", *line.split()], check=True)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A data root that holds the image ``busybox``; its shim is gone when the module ends."""
    root = Path(tempfile.mkdtemp(prefix="corten-engine-"))
    made = Site(root)

    content = busybox_tar(root / "busybox.tar").read_bytes()

    async def fill() -> None:
        async with made.running() as engine:
            await import_busybox(engine, content)

    asyncio.run(fill())
    yield made
    deadline = time.monotonic() + 5
    while os.path.exists(root / "exec/shim.sock") and time.monotonic() < deadline:
        time.sleep(0.02)
    if os.path.exists(root / "exec/shim.sock"):
        os.kill(made.shim_pid(), signal.SIGKILL)
        pytest.fail("an idle engine left its shim behind")
    forget_network(made.engine().config.instance)
    shutil.rmtree(root)
