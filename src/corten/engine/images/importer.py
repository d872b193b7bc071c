"""``docker import``: a root file system's tar becomes an image of one layer.

Owns the order of an import: the stream is stored and unpacked (:mod:`corten.engine.images.intake`), then config and
manifest are written and the records committed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime

from corten.engine.images import changes as instructions
from corten.engine.images.channel import ByteChannel, ChannelError
from corten.engine.images.intake import LayerIntake, StoredLayer
from corten.engine.images.layers import LayerFetcher, stacked
from corten.engine.images.parts import ImageParts
from corten.engine.images.record import Blob, ManifestRecord, ReferenceRecord
from corten.engine.images.store import Change, ImageStore
from corten.oci.digest import Digest
from corten.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
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


class Importer:
    """Carries out imports; one for the whole engine."""

    def __init__(
        self,
        store: ImageStore,
        intake: LayerIntake,
        fetcher: LayerFetcher,
        parts: ImageParts,
        pool: Executor,
    ) -> None:
        self._store = store
        self._intake = intake
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
                layers=(Blob(stored.digest, stored.size, _media_type(stored)),),
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

    async def _receive(self, stream: AsyncIterator[bytes]) -> StoredLayer:
        loop = asyncio.get_running_loop()
        channel = ByteChannel()

        def work() -> StoredLayer:
            try:
                return self._intake.store(iter(channel), "import")
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


def _media_type(stored: StoredLayer) -> str:
    return DOCKER_LAYER_GZIP if stored.gzip else DOCKER_LAYER


def _manifest(identifier: Digest, size: int, stored: StoredLayer) -> bytes:
    return encode(
        Manifest(
            schema_version=2,
            media_type=DOCKER_MANIFEST,
            config=Descriptor(media_type=DOCKER_CONFIG, digest=identifier, size=size),
            layers=(Descriptor(media_type=_media_type(stored), digest=stored.digest, size=stored.size),),
        )
    )
