"""``docker pull``: from a reference to a durable image record, with Docker's progress.

Owns the order of a pull. Refuses to know how layers come in (:mod:`corten.engine.images.layers`) and how a registry
is spoken to. A pull takes these steps:

(1) get the manifest; of an index choose the platform's manifest and get that,
(2) get the config and check that it fits the manifest,
(3) pin what the image consists of, so that no removal takes it away, and say which layers are here already,
(4) bring the others in, in parallel; the first failure ends all, finished layers stay,
(5) store config and manifest, then commit the records in one transaction,
(6) report.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from corten.engine.images import layers as states
from corten.engine.images.layers import SHORT, Layer, LayerFetcher, all_or_first_failure, check_layers, stacked
from corten.engine.images.parts import ImageParts
from corten.engine.images.record import Blob, ManifestRecord, ReferenceRecord
from corten.engine.images.store import Change, ImageStore
from corten.engine.progress import Reporter, message, step, transfer
from corten.errors import CorruptData, CortenError, InvalidArgument, NotFound
from corten.oci import platform as platforms
from corten.oci.digest import Digest
from corten.oci.image import (
    CONFIG_LIMIT,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    decode_config,
    decode_manifest,
)
from corten.oci.reference import Reference
from corten.registry.client import Fetched, Registry
from corten.storage.content import ContentStore
from corten.storage.durable import is_full


class _Target(NamedTuple):
    """What a pull is about: the registry's answers, verified."""

    named: Digest  # what the user's name points to: the index when there is one
    fetched: Fetched
    manifest: Manifest
    config: ImageConfig
    config_bytes: bytes
    layers: list[Layer]


class Puller:
    """Carries out pulls; one for the whole engine."""

    def __init__(self, store: ImageStore, content: ContentStore, fetcher: LayerFetcher, parts: ImageParts) -> None:
        self._store = store
        self._content = content
        self._fetcher = fetcher
        self._parts = parts

    async def pull(
        self, registry: Registry, reference: Reference, wanted: Platform | None, reporter: Reporter
    ) -> Digest:
        """Pull one tag or digest; the image's id."""
        fetched = await registry.manifest(reference)
        label = str(reference.digest or reference.tag)
        reporter.send(message(f"Pulling from {reference.path}", label))
        target = await self._target(registry, reference, fetched, wanted)
        documents = (target.manifest.config.digest, target.fetched.digest)
        try:
            with self._parts.pinned(target.layers, *documents):  # (3)
                await self._parts.settled()
                await self._bring(registry, reference, target.layers, reporter)  # (4)
                newer = await self._commit(reference, target)  # (5)
        except OSError as error:
            if is_full(error):
                await asyncio.shield(self._give_back(target.layers, documents))
            raise
        _warn_of_platform(reporter, reference, target.config, wanted)
        reporter.send(message(f"Digest: {target.named}"))  # (6)
        verdict = "Downloaded newer image" if newer else "Image is up to date"
        reporter.send(message(f"Status: {verdict} for {reference.familiar()}"))
        return target.manifest.config.digest

    async def _give_back(self, layers: Sequence[Layer], documents: Sequence[Digest]) -> None:
        """Drop what has come of a pull that found the disk full: its space is what somebody needs first."""
        blobs = [layer.digest for layer in layers]
        await asyncio.to_thread(self._content.forget, blobs)
        await self._parts.sweep([layer.chain_id for layer in layers], [*blobs, *documents])

    async def _target(
        self, registry: Registry, reference: Reference, fetched: Fetched, wanted: Platform | None
    ) -> _Target:
        named = fetched.digest
        document = decode_manifest(fetched.raw, fetched.media_type)
        if isinstance(document, Index):  # (1)
            asked = wanted or platforms.host()
            chosen = platforms.choose(document.manifests, asked)
            if chosen is None:
                raise NotFound(f"no matching manifest for {platforms.display(asked)} in the manifest list entries")
            fetched = await registry.manifest(reference.with_digest(chosen.digest))
            document = decode_manifest(fetched.raw, chosen.media_type)
            if isinstance(document, Index):
                raise InvalidArgument("invalid manifest: an index inside an index cannot be pulled")
        raw = await self._config(registry, reference, document)  # (2)
        config = decode_config(raw)
        check_layers(document, config)
        return _Target(
            named,
            fetched,
            document,
            config,
            raw,
            stacked(((item.digest, item.size) for item in document.layers), config.rootfs.diff_ids),
        )

    async def _config(self, registry: Registry, reference: Reference, manifest: Manifest) -> bytes:
        descriptor = manifest.config
        if descriptor.size > CONFIG_LIMIT:
            raise InvalidArgument(f"image config is larger than {CONFIG_LIMIT} bytes")
        if not self._content.problem(descriptor.digest, descriptor.size):
            with suppress(CorruptData):
                return await asyncio.to_thread(self._content.read, descriptor.digest, limit=CONFIG_LIMIT)
        parts = [chunk async for chunk in registry.blob(reference.path, descriptor.digest, size=descriptor.size)]
        raw = b"".join(parts)
        if Digest.of(raw) != descriptor.digest:
            raise CortenError(f"image config verification failed for digest {descriptor.digest}")
        return raw

    async def _bring(
        self, registry: Registry, reference: Reference, layers: Sequence[Layer], reporter: Reporter
    ) -> None:
        missing = []
        for layer in layers:
            short = layer.digest.hex[:SHORT]
            here = self._fetcher.present(layer)
            reporter.send(step("Already exists" if here else "Pulling fs layer", short))
            if not here:
                missing.append(layer)
        await all_or_first_failure([self._one(registry, reference, layer, reporter) for layer in missing])

    async def _one(self, registry: Registry, reference: Reference, layer: Layer, reporter: Reporter) -> None:
        short = layer.digest.hex[:SHORT]

        async def notice(seconds: float) -> None:
            whole = max(1, round(seconds))
            reporter.send(step(f"Retrying in {whole} second{'' if whole == 1 else 's'}", short))

        def source(offset: int) -> AsyncIterator[bytes]:
            return registry.blob(reference.path, layer.digest, size=layer.size, offset=offset, on_retry=notice)

        def watch(status: str, current: int) -> None:
            if status in (states.DOWNLOADING, states.EXTRACTING):
                reporter.send(transfer(status, short, current, layer.size))
            else:
                reporter.send(step(status, short))

        await self._fetcher.ensure(layer, source, watch)
        reporter.send(step("Pull complete", short))

    async def _commit(self, reference: Reference, target: _Target) -> bool:
        """Whether anything changed for the reference."""
        identifier = target.manifest.config.digest
        record = ManifestRecord(
            digest=target.fetched.digest,
            media_type=target.fetched.media_type,
            size=len(target.fetched.raw),
            image=identifier,
            layers=tuple(Blob(item.digest, item.size, item.media_type) for item in target.manifest.layers),
        )
        image = await self._parts.keep(target.config, target.config_bytes, record, target.fetched.raw)
        binding = ReferenceRecord(identifier, record.digest)
        names = [str(reference.with_digest(target.named))]
        if reference.tag and not reference.digest:
            names.append(str(reference))
        newer = any(self._store.references.get(name) != binding for name in names)
        await self._store.commit(
            Change(
                images={identifier: image},
                manifests={record.digest: record},
                references=dict.fromkeys(names, binding),
                sources=self._store.with_source((blob.digest for blob in record.layers), reference.name),
            )
        )
        return newer


def _warn_of_platform(reporter: Reporter, reference: Reference, config: ImageConfig, wanted: Platform | None) -> None:
    if wanted is not None and not platforms.matches(config.platform, wanted):
        reporter.send(
            message(
                f"WARNING: image with reference {reference.familiar()} was found but does not match the specified "
                f"platform: wanted {platforms.display(wanted)}, actual: {platforms.display(config.platform)}"
            )
        )
