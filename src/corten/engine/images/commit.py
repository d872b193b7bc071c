"""``docker commit``: what a container changed becomes a layer on its image, with a configuration of its own.

Owns the order: the layer is stored and unpacked, then config and manifest are written and the records committed, in
one transaction with the new name. Blobs below the new layer are the parent's, byte for byte. Refuses to know
containers: what changed comes as a stream, and the configuration complete.
"""

import asyncio
from collections.abc import Generator
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Final

import msgspec

from corten.engine.events import EventService
from corten.engine.images.intake import LayerIntake, StoredLayer
from corten.engine.images.layers import LayerFetcher, stacked
from corten.engine.images.parts import ImageParts
from corten.engine.images.record import Blob, ImageRecord, ManifestRecord, ReferenceRecord
from corten.engine.images.store import Change, ImageStore
from corten.engine.threads import complete, settle
from corten.errors import InvalidArgument, NoSuchImage
from corten.oci import platform as platforms
from corten.oci.digest import Digest
from corten.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    ContainerConfig,
    Descriptor,
    History,
    ImageConfig,
    Manifest,
    RootFS,
    encode,
)
from corten.oci.reference import Reference

#: The diff id of a tar without entries (two empty blocks): such a layer is left out, the history says so.
EMPTY_DIFF: Final = Digest("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit adds to its parent image (``""``: none)."""

    parent: str
    config: ContainerConfig
    command: str
    author: str = ""
    comment: str = ""


class Committer:
    """Carries out commits; one for the whole engine."""

    def __init__(
        self, store: ImageStore, parts: ImageParts, fetcher: LayerFetcher, intake: LayerIntake, events: EventService,
        pool: Executor,
    ) -> None:  # fmt: skip
        self._store = store
        self._parts = parts
        self._fetcher = fetcher
        self._intake = intake
        self._events = events
        self._pool = pool

    async def commit(self, child: Child, name: Reference | None, stored: StoredLayer) -> ImageRecord:
        """The new image; ``stored`` (from :meth:`intake`) is used up."""
        try:
            return await self._record(child, name, stored)
        finally:
            await complete(self._pool, stored.writer.abort)
            await self._parts.sweep([], [stored.digest])

    async def intake(self, stream: Generator[bytes, None, None]) -> StoredLayer:
        """Read what a container changed; from here on the container may change it again."""

        def work() -> StoredLayer:
            try:
                return self._intake.store(stream, "commit")
            finally:
                stream.close()

        reading = asyncio.ensure_future(complete(self._pool, work))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            await settle(reading)
            if not reading.cancelled() and reading.exception() is None:
                await complete(self._pool, reading.result().writer.abort)
            raise

    async def _record(self, child: Child, name: Reference | None, stored: StoredLayer) -> ImageRecord:
        parent = self._store.images.get(child.parent)
        if parent is None and child.parent:
            raise NoSuchImage(child.parent)
        base = ImageConfig() if parent is None else await asyncio.to_thread(self._parts.config, parent)
        below = () if parent is None else self._store.manifests[parent.manifest].layers
        is_oci = parent is not None and self._store.manifests[parent.manifest].media_type == OCI_MANIFEST
        empty = stored.diff_id == EMPTY_DIFF
        config = _config(base, child, None if empty else stored.diff_id)
        own = Blob(stored.digest, stored.size, OCI_LAYER if is_oci else DOCKER_LAYER)
        blobs = below if empty else (*below, own)
        raw = encode(config)
        manifest = _manifest(raw, blobs, is_oci=is_oci)
        record = ManifestRecord(
            digest=Digest.of(manifest),
            media_type=OCI_MANIFEST if is_oci else DOCKER_MANIFEST,
            size=len(manifest),
            image=Digest.of(raw),
            layers=blobs,
            local=True,
        )
        layers = stacked([(blob.digest, blob.size) for blob in blobs], config.rootfs.diff_ids)
        with self._parts.pinned(layers, record.image, record.digest):
            await self._parts.settled()
            if not empty:
                await self._fetcher.publish(stored.writer, layers[-1].parent)
            image = await self._parts.keep(config, raw, record, manifest)
            image = msgspec.structs.replace(image, parent=child.parent)
            binding = ReferenceRecord(record.image, record.digest)
            await self._store.commit(
                Change(
                    images={record.image: image},
                    manifests={record.digest: record},
                    references={str(name): binding} if name is not None else {},
                )
            )
        if name is not None:
            self._events.publish("image", "tag", str(image.id), {"name": name.familiar(), **(image.labels or {})})
        return image


def target(repo: str, tag: str) -> Reference | None:
    """The name a commit gives; None for none."""
    if not repo:
        return None
    name = Reference.parse(repo)
    if name.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    return name.with_tag(tag) if tag else name.with_default_tag()


def _config(base: ImageConfig, child: Child, diff_id: Digest | None) -> ImageConfig:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    entry = History(
        created=now, created_by=child.command, author=child.author, comment=child.comment, empty_layer=diff_id is None
    )
    here = platforms.host()
    return ImageConfig(
        architecture=base.architecture or here.architecture,
        os=base.os or here.os,
        variant=base.variant,
        os_version=base.os_version,
        os_features=base.os_features,
        rootfs=RootFS(diff_ids=(*base.rootfs.diff_ids, *((diff_id,) if diff_id is not None else ()))),
        config=child.config,
        created=now,
        author=child.author,
        history=(*base.history, entry),
        comment=child.comment,
    )


def _manifest(config: bytes, blobs: tuple[Blob, ...], *, is_oci: bool) -> bytes:
    described = Descriptor(
        media_type=OCI_CONFIG if is_oci else DOCKER_CONFIG, digest=Digest.of(config), size=len(config)
    )
    return encode(
        Manifest(
            schema_version=2,
            media_type=OCI_MANIFEST if is_oci else DOCKER_MANIFEST,
            config=described,
            layers=tuple(Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size) for blob in blobs),
        )
    )
