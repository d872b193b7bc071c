"""An image service with its own data root, without HTTP around it; and images made on the spot."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import tarfile  # noqa: TID251  # a second, independent writer of tar
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

from corten.api.types.events import EventMessage
from corten.engine.config import EngineConfig
from corten.engine.events import EventService
from corten.engine.images.service import ImageService
from corten.storage.content import ContentStore
from corten.storage.layer.store import LayerStore
from corten.storage.metadata import Database

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Engine:
    """An image service; ``messages`` collects progress, ``statuses`` its texts."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.layers = LayerStore(root / "layers")
        self.content = ContentStore(root / "content", self.layers)
        self.database = Database(root / "corten.db")
        self.events = EventService()
        config = EngineConfig(data_root=str(root), **settings)
        self.images = ImageService(config, self.database, self.content, self.layers, self.events)
        self.messages: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        assert await self.images.startup() == []
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.images.close()
        self.database.close()

    async def sink(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def statuses(self, identifier: str | None = None) -> list[str]:
        """The distinct texts in order, of one layer or of all."""
        found: list[str] = []
        for message in self.messages:
            text = str(message.get("status", message.get("stream", "")))
            if (identifier is None or message.get("id") == identifier) and (not found or found[-1] != text):
                found.append(text)
        return found

    async def pull(self, name: str, tag: str = "v1", **options: Any) -> None:
        self.messages.clear()
        await self.images.pull(name, tag, progress=self.sink, **options)

    async def push(self, name: str, tag: str = "v1", **options: Any) -> None:
        self.messages.clear()
        await self.images.push(name, tag, progress=self.sink, **options)

    async def load(self, path: Path) -> None:
        self.messages.clear()
        await self.images.load(stream(path), progress=self.sink)

    async def save(self, path: Path, *names: str) -> None:
        with path.open("wb") as target:

            async def sink(chunk: bytes) -> None:
                target.write(chunk)

            await self.images.save(names, sink)

    def leftovers(self) -> list[str]:
        """Everything on disk that belongs to an image: blobs, ingests with bytes, layers."""
        blobs = [str(digest) for digest in self.content.walk()]
        layers = [name for name in os.listdir(self.root / "layers") if name != "l"]
        return blobs + layers

    def published(self) -> list[EventMessage]:
        """Every event so far."""
        return list(self.events._ring)


async def stream(path: Path) -> AsyncIterator[bytes]:
    """A file as an HTTP body comes."""
    with path.open("rb") as source:
        while chunk := source.read(1 << 16):
            yield chunk


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something another task or thread does; the test's own time limit ends it."""
    while not holds():  # noqa: ASYNC110  # what is waited for is on disk or in another thread
        await asyncio.sleep(0.01)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(files: dict[str, bytes]) -> bytes:
    """A plain tar with these files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()


class MadeImage:
    """An image of several layers as a registry would serve it: ``blobs`` by digest, ``manifest`` and its digest."""

    def __init__(self, tars: Sequence[bytes], *, architecture: str = "amd64") -> None:
        self.diff_ids = [digest_of(tar) for tar in tars]
        compressed = [gzip.compress(tar, mtime=0) for tar in tars]
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Cmd": ["/x"], "Labels": {"made": "here"}},
                "created": "2024-01-02T03:04:05.6Z",
                "history": [
                    {"created": "2024-01-02T03:04:05.6Z", "created_by": f"layer {n}"} for n in range(len(tars))
                ],
                "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            }
        ).encode()
        self.id = digest_of(config)
        self.layers = [digest_of(blob) for blob in compressed]
        self.blobs = {self.id: config, **dict(zip(self.layers, compressed, strict=True))}
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json", "digest": self.id, "size": len(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "digest": digest,
                    "size": len(self.blobs[digest]),
                }
                for digest in self.layers
            ],
        }  # fmt: skip
        self.manifest = json.dumps(document, indent=3).encode()
        self.digest = digest_of(self.manifest)
