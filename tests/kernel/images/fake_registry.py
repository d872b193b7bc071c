"""A registry that fails on purpose: for what Debian's registry cannot be made to do."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from typing import Any, Self

from aiohttp import web

from tests.kernel.images.stage import MANIFEST, MadeImage

#: Smaller blobs (configs) pass the gate.
GATED_BYTES = 10_000


class FakeRegistry:
    """Serves images on 127.0.0.1; the public attributes switch its faults on."""

    def __init__(self, *images: MadeImage) -> None:
        self.blobs = {digest: blob for image in images for digest, blob in image.blobs.items()}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        for image in images:
            self.manifests[image.digest] = (MANIFEST, image.manifest)
        if images:
            self.manifests["v1"] = (MANIFEST, images[0].manifest)
        self.break_after: dict[str, list[int]] = {}  # digest -> bytes after which the next answers break
        self.tokens: dict[str, str] | None = None  # user -> password; None: no authentication
        self.redirect_to: FakeRegistry | None = None
        self.status_queue: dict[str, list[tuple[int, dict[str, str]]]] = {}  # path part -> answers before the right one
        self.ranges = True
        self.gate: asyncio.Event | None = None  # blobs stop after their first half until it is set
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.served: Counter[str] = Counter()
        self.host = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.host = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.gate is not None:
            self.gate.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.headers)))
        if request.path == "/token":
            return self._token(request)
        for part, answers in self.status_queue.items():
            if part in request.path and answers:
                status, headers = answers.pop(0)
                body = {"errors": [{"code": "TOOMANYREQUESTS" if status == 429 else "UNKNOWN", "message": "no"}]}
                return web.json_response(body, status=status, headers=headers)
        refused = self._refuse(request)
        if refused is not None:
            return refused
        if request.path == "/v2/":
            return web.json_response({})
        kind, name = request.path.split("/")[-2:]
        if kind == "manifests" and name in self.manifests:
            media_type, raw = self.manifests[name]
            return web.Response(body=raw, content_type=media_type)
        if kind == "blobs" and self.redirect_to is not None:
            return web.Response(
                status=307, headers={"Location": f"http://{self.redirect_to.host}{request.path}?sig=secret"}
            )
        if kind == "blobs" and name in self.blobs:
            return await self._blob(request, name)
        code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
        message = code.replace("_", " ").lower()
        return web.json_response({"errors": [{"code": code, "message": message}]}, status=404)

    def _token(self, request: web.Request) -> web.Response:
        assert self.tokens is not None
        user, _, password = _basic(request).partition(":")
        if user and self.tokens.get(user) != password:
            return web.json_response({"details": "incorrect username or password"}, status=401)
        token = f"token-{user}-{request.query.get('scope', '')}"
        return web.json_response({"token": token, "expires_in": 300})

    def _refuse(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        if self.tokens is None or (given.startswith("Bearer token-") and (request.path == "/v2/" or "pull" in given)):
            return None
        challenge = f'Bearer realm="http://{self.host}/token",service="fake"'
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return web.json_response(body, status=401, headers={"WWW-Authenticate": challenge})

    async def _blob(self, request: web.Request, digest: str) -> web.StreamResponse:
        data = self.blobs[digest]
        start = 0
        wanted = request.headers.get("Range", "")
        headers: dict[str, Any] = {}
        status = 200
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body))})
        await response.prepare(request)
        breaks = self.break_after.get(digest)
        if breaks:
            await response.write(body[: breaks.pop(0)])
            await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.abort()
            return response
        if self.gate is not None and len(data) > GATED_BYTES:
            await response.write(body[: len(body) // 2])
            await self.gate.wait()
            body = body[len(body) // 2 :]
        await response.write(body)
        self.served[digest] += len(body)
        return response


def _basic(request: web.Request) -> str:
    value = request.headers.get("Authorization", "")
    return base64.b64decode(value.removeprefix("Basic ")).decode() if value.startswith("Basic ") else ""


def index_of(*images: tuple[MadeImage, str]) -> bytes:
    """An index over images with their architectures."""
    manifests = [
        {
            "mediaType": MANIFEST,
            "digest": image.digest,
            "size": len(image.manifest),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for image, architecture in images
    ]
    return json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
