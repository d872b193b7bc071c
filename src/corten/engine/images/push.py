"""``docker push``: what was pulled, loaded or built goes to a registry byte for byte.

Owns the order of a push and its progress. Refuses to speak HTTP. A push takes these steps:

(1) choose the manifest the name is bound to; one that this engine wrote over uncompressed layers (``commit``,
    and ``load`` and ``import`` of plain tars) gets a compressed sibling once, which is remembered and pushed from then
    on,
(2) send every layer the registry does not have, in parallel; mount those another repository there has,
(3) send the config, then the manifest under the tag,
(4) remember the digest under the repository's name, and which repositories have the blobs.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO, Final, NamedTuple

from corten.engine.images.compress import compressed
from corten.engine.images.layers import SHORT, all_or_first_failure
from corten.engine.images.parts import ImageParts
from corten.engine.images.record import Blob, ImageRecord, ManifestRecord, ReferenceRecord
from corten.engine.images.store import Change, Found, ImageStore
from corten.engine.progress import Reporter, message, step, transfer
from corten.errors import CortenError
from corten.oci.digest import Digest
from corten.oci.image import MANIFEST_LIMIT
from corten.oci.reference import Reference
from corten.registry import failure, upload
from corten.registry.client import Registry
from corten.registry.transport import Transport
from corten.storage.content import ContentStore
from corten.storage.ingest import CHUNK

_DONE: Final = {upload.EXISTS: "Layer already exists", upload.PUSHED: "Pushed"}


class _Sent(NamedTuple):
    blob: Blob
    diff_id: Digest


class Pusher:
    """Carries out pushes; one for the whole engine."""

    def __init__(self, store: ImageStore, content: ContentStore, parts: ImageParts, *, uploads: int) -> None:
        self._store = store
        self._content = content
        self._parts = parts
        self._slots = asyncio.Semaphore(uploads)

    async def push(self, registry: Registry, reference: Reference, found: Found, reporter: Reporter) -> None:
        """Push one tag; Docker's errors."""
        config = await asyncio.to_thread(self._parts.config, found.image)
        diff_ids = config.rootfs.diff_ids
        with self._store.lease(found.image.id):
            for diff_id in diff_ids:
                reporter.send(step("Preparing", diff_id.hex[:SHORT]))
            manifest = await self._form(found)  # (1)
            layers = [_Sent(blob, diff_id) for blob, diff_id in zip(manifest.layers, diff_ids, strict=True)]
            try:
                transport = await registry.transport()
                await all_or_first_failure(
                    [self._layer(transport, reference, layer, reporter) for layer in layers]
                )  # (2)
                await self._documents(transport, reference, found.image, manifest)  # (3)
            except CortenError as exc:
                raise failure.for_push(exc, reference.familiar_name()) from exc
            await self._remember(reference, manifest)  # (4)
        reporter.send(message(f"{reference.tag}: digest: {manifest.digest} size: {manifest.size}"))
        result = {"Tag": reference.tag, "Digest": str(manifest.digest), "Size": manifest.size}
        reporter.send({"progressDetail": {}, "aux": result})

    async def _form(self, found: Found) -> ManifestRecord:
        """The manifest to push; its record and content are durable."""
        if not found.manifest.plain:
            return found.manifest
        for record in self._store.manifests.values():
            if record.image == found.image.id and not record.plain:
                return record
        record, raw = await asyncio.to_thread(compressed, self._content, found.manifest)
        await asyncio.to_thread(self._content.put, raw, record.digest)
        await self._store.commit(Change(manifests={record.digest: record}))
        return record

    async def _layer(self, transport: Transport, reference: Reference, layer: _Sent, reporter: Reporter) -> None:
        short, blob = layer.diff_id.hex[:SHORT], layer.blob
        if self._slots.locked():
            reporter.send(step("Waiting", short))
        async with self._slots:
            origins = self._mounts(reference, blob.digest)
            stream = await asyncio.to_thread(self._content.open, blob.digest)
            with stream:
                outcome = await upload.push_blob(
                    transport,
                    reference.path,
                    blob.digest,
                    size=blob.size,
                    source=_Progress(stream, blob.size, short, reporter).read,
                    mount_from=origins,
                )
        text = _DONE.get(outcome) or f"Mounted from {origins[-1]}"
        reporter.send(step(text, short))

    async def _documents(
        self, transport: Transport, reference: Reference, image: ImageRecord, manifest: ManifestRecord
    ) -> None:
        raw = await asyncio.to_thread(self._content.read, manifest.digest, limit=MANIFEST_LIMIT)
        config = await asyncio.to_thread(self._parts.config_bytes, image)

        async def source(start: int, end: int) -> AsyncIterator[bytes]:
            yield config[start:end]

        await upload.push_blob(transport, reference.path, image.id, size=len(config), source=source)
        await upload.push_manifest(transport, reference, manifest.media_type, raw)

    async def _remember(self, reference: Reference, manifest: ManifestRecord) -> None:
        binding = ReferenceRecord(manifest.image, manifest.digest)
        names = [str(reference.with_digest(manifest.digest))]
        current = self._store.references.get(str(reference))
        if current is not None and current.image == manifest.image:
            names.append(str(reference))
        await self._store.commit(
            Change(
                references=dict.fromkeys(names, binding),
                sources=self._store.with_source((blob.digest for blob in manifest.layers), reference.name),
            )
        )

    def _mounts(self, reference: Reference, digest: Digest) -> list[str]:
        """Other repositories of the same registry that have the blob, one attempt being enough; newest last."""
        known = self._store.sources.get(digest)
        prefix = f"{reference.domain}/"
        paths = [name.removeprefix(prefix) for name in (known.repositories if known else ()) if name.startswith(prefix)]
        return [path for path in paths if path != reference.path][-1:]


class _Progress:
    """A blob's file as an upload source that reports how far it was read."""

    def __init__(self, stream: BinaryIO, size: int, short: str, reporter: Reporter) -> None:
        self._stream = stream
        self._size = size
        self._short = short
        self._reporter = reporter

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of [start, end)."""
        position = start
        self._stream.seek(start)
        while position < end:
            chunk = await asyncio.to_thread(self._stream.read, min(CHUNK, end - position))
            if not chunk:
                raise CortenError("the layer's content became shorter while it was pushed")
            yield chunk
            position += len(chunk)
            self._reporter.send(transfer("Pushing", self._short, position, self._size))
