"""``docker import``: a root file system's tar becomes an image of one layer.

Owns the order of an import: the stream is compressed (gzip input is kept as it came, everything else becomes igzip
level 2), stored and unpacked at the same time, then config and manifest are written and the records committed.
The compressed blob is what save and push send later, so it is made once.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple

from corten.engine.images import changes as instructions
from corten.engine.images.channel import ByteChannel, ChannelError
from corten.engine.images.compress import Compressor
from corten.engine.images.layers import LayerFetcher, stacked
from corten.engine.images.parts import ImageParts
from corten.engine.images.record import Blob, ManifestRecord, ReferenceRecord
from corten.engine.images.store import Change, ImageStore
from corten.oci.digest import Digest
from corten.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    ContainerConfig,
    Descriptor,
    History,
    ImageConfig,
    Manifest,
    Platform,
    RootFS,
    encode,
)
from corten.oci.reference import Reference
from corten.storage.content import ContentStore
from corten.storage.layer.decompress import Decompressor, detect
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter

HEAD: int = 6


class _Stored(NamedTuple):
    digest: Digest
    size: int
    diff_id: Digest
    writer: LayerWriter


class Importer:
    """Carries out imports; one for the whole engine."""

    def __init__(
        self,
        store: ImageStore,
        content: ContentStore,
        layers: LayerStore,
        fetcher: LayerFetcher,
        parts: ImageParts,
        pool: Executor,
    ) -> None:
        self._store = store
        self._content = content
        self._layers = layers
        self._fetcher = fetcher
        self._parts = parts
        self._pool = pool

    async def import_(
        self,
        stream: AsyncIterator[bytes],
        *,
        name: Reference | None,
        message: str,
        changes: Sequence[str],
        platform: Platform,
    ) -> Digest:
        """The new image's id."""
        container = instructions.apply(ContainerConfig(), changes)  # before the stream: a typo costs no upload
        loop = asyncio.get_running_loop()
        stored = await self._receive(stream)
        try:
            config = _config(container, stored.diff_id, message, platform)
            raw = encode(config)
            identifier = Digest.of(raw)
            layer = stacked([(stored.digest, stored.size)], [stored.diff_id])[0]
            manifest = _manifest(identifier, len(raw), stored)
            record = ManifestRecord(
                digest=Digest.of(manifest),
                media_type=DOCKER_MANIFEST,
                size=len(manifest),
                image=identifier,
                layers=(Blob(stored.digest, stored.size, DOCKER_LAYER_GZIP),),
                local=True,
            )
            with self._parts.pinned([layer], identifier, record.digest):
                await self._parts.settled()
                await self._fetcher.publish(stored.writer, None)
                image = await self._parts.keep(config, raw, record, manifest)
                binding = ReferenceRecord(identifier, record.digest)
                await self._store.commit(
                    Change(
                        images={identifier: image},
                        manifests={record.digest: record},
                        references={str(name): binding} if name is not None else {},
                    )
                )
        finally:
            await asyncio.shield(loop.run_in_executor(self._pool, stored.writer.abort))
            await self._parts.sweep([], [stored.digest])
        return identifier

    async def _receive(self, stream: AsyncIterator[bytes]) -> _Stored:
        loop = asyncio.get_running_loop()
        channel = ByteChannel()

        def work() -> _Stored:
            try:
                return self._store_layer(channel)
            finally:
                channel.abandon()

        receiving = asyncio.ensure_future(loop.run_in_executor(self._pool, work))
        try:
            await channel.pump(stream)
        except ChannelError:
            pass  # the thread failed: its own error says why
        except BaseException:
            await asyncio.wait((receiving,))
            raise
        return await receiving

    def _store_layer(self, channel: ByteChannel) -> _Stored:
        head = channel.read(HEAD)
        chunks = chain([head], channel)
        writer = LayerWriter(self._layers)
        try:
            with self._content.writer(f"import-{os.urandom(8).hex()}", shared=False) as ingest:
                try:
                    if detect(head) == "gzip":
                        for chunk in chunks:
                            ingest.write(chunk)
                            writer.feed(chunk)
                        diff_id = writer.finish()
                        digest = ingest.commit()
                    else:
                        compressor = Compressor(ingest)
                        for chunk in _plain(chunks):
                            writer.feed(chunk)
                            compressor.feed(chunk)
                        diff_id = writer.finish()
                        digest = compressor.finish()
                except BaseException:
                    ingest.abort()
                    raise
        except BaseException:
            writer.abort()
            raise
        return _Stored(digest, self._content.size(digest), diff_id, writer)


def _plain(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = Decompressor()
    for chunk in chunks:
        yield from decompressor.feed(chunk)
    yield from decompressor.finish()


def _config(container: ContainerConfig, diff_id: Digest, message: str, platform: Platform) -> ImageConfig:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        rootfs=RootFS(diff_ids=(diff_id,)),
        config=container,
        created=now,
        history=(History(created=now, comment=message),),
        comment=message,
    )


def _manifest(identifier: Digest, size: int, stored: _Stored) -> bytes:
    return encode(
        Manifest(
            schema_version=2,
            media_type=DOCKER_MANIFEST,
            config=Descriptor(media_type=DOCKER_CONFIG, digest=identifier, size=size),
            layers=(Descriptor(media_type=DOCKER_LAYER_GZIP, digest=stored.digest, size=stored.size),),
        )
    )
