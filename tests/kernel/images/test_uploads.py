"""Pushes to a registry that breaks off, that limits the size of a request, or that confirms something else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

import pytest
from aiohttp import web

from corten import errors
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry import upload
from corten.registry.client import Registry

pytestmark = pytest.mark.root


class UploadTarget:
    """One upload session; ``breaks``: bytes after which a PATCH is cut; ``limit``: largest PATCH."""

    def __init__(self, *, breaks: tuple[int, ...] = (), limit: int = 1 << 40) -> None:
        self.breaks = list(breaks)
        self.limit = limit
        self.received = b""
        self.closed_with = ""
        self.cancelled = False
        self.patches: list[str] = []
        self.host = ""

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        session = {"Location": "/v2/x/blobs/uploads/session?state=a", "Range": f"0-{max(0, len(self.received) - 1)}"}
        if request.path == "/v2/":
            return web.Response()
        if request.method == "HEAD":
            return web.Response(status=404)
        if request.method == "POST":
            return web.Response(status=202, headers=session)
        if request.method == "GET":
            return web.Response(status=204, headers=session)
        if request.method == "DELETE":
            self.cancelled = True
            return web.Response(status=204)
        if request.method == "PATCH":
            return await self._patch(request, session)
        self.closed_with = request.query.get("digest", "")
        return web.Response(status=201, headers={"Docker-Content-Digest": self.closed_with or "sha256:" + "0" * 64})

    async def _patch(self, request: web.Request, session: dict[str, str]) -> web.StreamResponse:
        self.patches.append(request.headers["Content-Range"])
        if int(request.headers["Content-Length"]) > self.limit:
            return web.Response(status=413)
        stop = self.breaks.pop(0) if self.breaks else None
        taken = 0
        async for chunk in request.content.iter_any():
            kept = chunk if stop is None else chunk[: stop - taken]
            self.received += kept
            taken += len(kept)
            if stop is not None and taken >= stop:
                assert request.transport is not None
                request.transport.abort()
                break
        session["Range"] = f"0-{len(self.received) - 1}"
        return web.Response(status=202, headers=session)


async def push(target: UploadTarget, data: bytes) -> str:
    async def source(start: int, end: int) -> AsyncIterator[bytes]:
        for position in range(start, end, 1 << 16):
            yield data[position : min(end, position + (1 << 16))]

    async with Registry(target.host, push=True) as registry:
        transport = await registry.transport()
        return await upload.push_blob(transport, "x", Digest.of(data), size=len(data), source=source)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))  # type: ignore[arg-type]


def test_a_broken_upload_goes_on_where_it_broke() -> None:
    async def scenario() -> None:
        data = os.urandom(2_000_000)
        async with UploadTarget(breaks=(700_000, 500_000)) as target:
            assert await push(target, data) == upload.PUSHED
            assert target.received == data
            assert target.closed_with == Digest.of(data)
            assert [patch.split("-")[0] for patch in target.patches] == ["0", "700000", "1200000"]

    run(scenario)


def test_a_request_too_large_is_sent_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", 300_000)

    async def scenario() -> None:
        data = os.urandom(1_000_000)
        async with UploadTarget(limit=400_000) as target:
            assert await push(target, data) == upload.PUSHED
            assert target.received == data
            assert len(target.patches) == 5

    run(scenario)


def test_an_upload_that_keeps_failing_is_cancelled_at_the_registry() -> None:
    async def scenario() -> None:
        async with UploadTarget(limit=0) as target:
            with pytest.raises(errors.CortenError, match="413"):
                await push(target, b"x" * 1000)
            assert target.cancelled

    run(scenario)


def test_a_registry_that_confirms_another_digest() -> None:
    async def scenario() -> None:
        async with UploadTarget() as target, Registry(target.host, push=True) as registry:
            reference = Reference.parse(f"{target.host}/x:v1")
            transport = await registry.transport()
            with pytest.raises(errors.CortenError, match="the registry stored manifest"):
                await upload.push_manifest(transport, reference, "application/json", b"{}")

    run(scenario)
