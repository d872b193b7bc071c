"""``docker load``: an archive's images become images here.

Owns the order of a load. Refuses to know tar and the archive formats. A load takes these steps:

(1) read the archive once; layers are stored and unpacked while it streams in,
(2) read its documents: which images there are,
(3) for each image check the config against its layers, pin them, commit the unpacked layers under their chain ids,
(4) store config and manifest, commit the records, report,
(5) drop what no image of the archive used.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Final

import msgspec

from corten.engine.images import bundle
from corten.engine.images.channel import ByteChannel, ChannelError
from corten.engine.images.layers import SHORT, Layer, LayerFetcher, check_layers, stacked
from corten.engine.images.parts import ImageParts
from corten.engine.images.record import Blob, ImageRecord, ManifestRecord, ReferenceRecord
from corten.engine.images.store import Change, ImageStore
from corten.engine.images.unbundle import StoredLayer, Unbundled, Unbundler
from corten.engine.progress import Reporter, transfer
from corten.errors import CorruptData
from corten.oci.digest import Digest
from corten.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    Platform,
    decode_config,
    decode_manifest,
    encode,
)
from corten.oci.reference import Reference
from corten.storage.content import ContentStore
from corten.storage.layer.store import LayerStore

_TYPES: Final = {"none": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP, "zstd": DOCKER_LAYER_ZSTD}


class Loader:
    """Carries out loads; one for the whole engine."""

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

    async def load(
        self, stream: AsyncIterator[bytes], wanted: Platform | None, reporter: Reporter, *, quiet: bool
    ) -> list[tuple[Digest, list[Reference]]]:
        """Load every image; (id, names) in the archive's order."""
        found = Unbundled()
        try:
            await self._read(stream, found, reporter, quiet=quiet)  # (1)
            images = bundle.images(found.documents, wanted)  # (2)
            return [await self._image(image, found, reporter) for image in images]
        finally:
            await asyncio.shield(self._drop(found))  # (5)

    async def _drop(self, found: Unbundled) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, found.close)
        await self._parts.sweep([], found.added)

    async def _read(self, stream: AsyncIterator[bytes], found: Unbundled, reporter: Reporter, *, quiet: bool) -> None:
        loop = asyncio.get_running_loop()
        channel = ByteChannel()

        def progress(name: str, current: int, size: int) -> None:
            if not quiet:
                short = name.removesuffix("/layer.tar").removesuffix(".tar").rpartition("/")[2][:SHORT]
                loop.call_soon_threadsafe(reporter.send, transfer("Loading layer", short, current, size))

        def work() -> None:
            try:
                Unbundler(self._content, self._layers, progress).read(iter(channel), found)
            finally:
                channel.abandon()

        reading = asyncio.ensure_future(loop.run_in_executor(self._pool, work))
        try:
            await channel.pump(stream)
        except ChannelError:
            pass  # the thread failed: its own error says why
        except BaseException:
            await asyncio.wait((reading,))
            raise
        try:
            await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait((reading,))
            raise

    async def _image(
        self, image: bundle.ArchivedImage, found: Unbundled, reporter: Reporter
    ) -> tuple[Digest, list[Reference]]:
        raw = found.documents.read(image.config)
        config = decode_config(raw)
        identifier = Digest.of(raw)
        known = self._store.images.get(identifier)
        in_doubt = any(item.replaced for item in found.layers.values())
        if known is not None and not in_doubt and self._whole(known):
            await asyncio.to_thread(self._content.put, raw, identifier)
            # The same image from elsewhere: its own manifest and blobs stay what is pushed and saved.
            with self._store.lease(identifier):
                await self._commit(known, self._store.manifests[known.manifest], image.names, reporter)
            return identifier, image.names
        stored = [self._stored(name, found) for name in image.layers]
        manifest_bytes = image.manifest or self._synthesize(identifier, len(raw), stored)
        media_type = image.media_type or DOCKER_MANIFEST
        manifest = decode_manifest(manifest_bytes, media_type)
        assert isinstance(manifest, Manifest)
        check_layers(manifest, config)
        if manifest.config.digest != identifier:
            raise CorruptData(f"invalid archive: {image.config} does not have the digest its manifest says")
        layers = stacked(((item.digest, item.size) for item in stored), config.rootfs.diff_ids)
        with self._parts.pinned(layers, identifier, Digest.of(manifest_bytes)):  # (3)
            await self._parts.settled()
            for name, layer in zip(image.layers, layers, strict=True):
                await self._layer(name, layer, found)
            record = ManifestRecord(
                digest=Digest.of(manifest_bytes),
                media_type=manifest.media_type or OCI_MANIFEST,
                size=len(manifest_bytes),
                image=identifier,
                layers=tuple(Blob(item.digest, item.size, item.media_type) for item in manifest.layers),
                local=True,
            )
            kept = await self._parts.keep(config, raw, record, manifest_bytes)
            if not self._whole(kept):
                kept = msgspec.structs.replace(kept, manifest=record.digest)  # the archive's blobs are what there is
            await self._commit(kept, record, image.names, reporter)  # (4)
        return identifier, image.names

    def _whole(self, image: ImageRecord) -> bool:
        """Whether nothing is known to be wrong with an image."""
        manifest = self._store.manifests.get(image.manifest)
        if manifest is None or self._content.problem(image.id) or self._content.problem(manifest.digest, manifest.size):
            return False
        blobs = (self._content.problem(blob.digest, blob.size) for blob in manifest.layers)
        return not any(blobs) and not any(self._layers.problem(chain) for chain in image.chain)

    def _stored(self, name: str, found: Unbundled) -> StoredLayer:
        stored = found.layers.get(found.documents.resolve(name))
        if stored is None:
            raise CorruptData(f"invalid archive: {name} is missing or no layer")
        if stored.problem:
            raise CorruptData(stored.problem)
        return stored

    async def _layer(self, name: str, layer: Layer, found: Unbundled) -> None:
        """Commit an unpacked layer under its chain id, or unpack the stored blob again for another chain."""
        stored = found.layers[found.documents.resolve(name)]
        if stored.diff_id is not None and stored.diff_id != layer.diff_id:
            raise CorruptData(f'invalid diffID: expected "{layer.diff_id}", got "{stored.diff_id}"')
        here = self._fetcher.present(layer)
        if here and not (stored.replaced and await self._fetcher.in_thread(self._fetcher.differs, layer)):
            return
        if stored.writer is None:
            await self._fetcher.ensure(layer, _nothing, lambda status, current: None)
            return
        found.layers[found.documents.resolve(name)] = stored._replace(writer=None)
        await self._fetcher.publish(stored.writer, layer.parent)

    def _synthesize(self, identifier: Digest, size: int, stored: list[StoredLayer]) -> bytes:
        """The manifest Docker would push for these layers."""
        layers = []
        for item in stored:
            media_type = _TYPES.get(item.form)
            if media_type is None:
                raise CorruptData(f"layer {item.digest} is neither a plain tar nor compressed with gzip or zstd")
            layers.append(Descriptor(media_type=media_type, digest=item.digest, size=item.size))
        config = Descriptor(media_type=DOCKER_CONFIG, digest=identifier, size=size)
        return encode(Manifest(schema_version=2, media_type=DOCKER_MANIFEST, config=config, layers=tuple(layers)))

    async def _commit(
        self, image: ImageRecord, manifest: ManifestRecord, names: list[Reference], reporter: Reporter
    ) -> None:
        binding = ReferenceRecord(image.id, manifest.digest)
        for name in names:
            old = self._store.references.get(str(name))
            if old is not None and old.image != image.id:
                reporter.send(
                    {"stream": f"The image {name.familiar()} already exists, renaming the old one with ID {old.image} "
                               "to empty string\n"}
                )  # fmt: skip
        await self._store.commit(
            Change(
                images={image.id: msgspec.structs.replace(image, hidden=False)},
                manifests={manifest.digest: manifest},
                references={str(name): binding for name in names},
            )
        )
        for name in names:
            reporter.send({"stream": f"Loaded image: {name.familiar()}\n"})
        if not names:
            reporter.send({"stream": f"Loaded image ID: {image.id}\n"})


async def _nothing(offset: int) -> AsyncIterator[bytes]:
    """There is no second source: a blob this load found here was removed meanwhile, or turned out damaged."""
    if offset >= 0:
        raise CorruptData("a layer of the archive was removed here, or was damaged: load it again")
    yield b""
