"""What images consist of on disk: kept until nothing names it, deleted once nothing does.

Owns pins (things a request in progress needs before its record exists), the writing of configs and manifests, and
the sweep after a removal. Refuses to know names and conflicts.

A sweep and a request that finds a part already here must not cross, so both go through one lock: a request pins first
and then waits for a running sweep; a sweep computes its garbage under the lock, after every pin.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from corten.engine.images.layers import Layer
from corten.engine.images.record import ImageRecord, ManifestRecord
from corten.engine.images.render import seconds
from corten.engine.images.store import ImageStore
from corten.errors import Conflict, CorruptData, NotFound
from corten.oci.digest import Digest, chain_ids
from corten.oci.image import CONFIG_LIMIT, ImageConfig, decode_config
from corten.storage.content import ContentStore
from corten.storage.layer.store import LayerStore

logger = logging.getLogger(__name__)

ORPHAN_SECONDS: Final = 24 * 3600.0


class Swept(NamedTuple):
    """What a sweep deleted: chain ids (highest first) and bytes of disk, of blobs and unpacked layers."""

    chains: list[Digest]
    freed: int


class ImageParts:
    """One for the whole engine."""

    def __init__(self, store: ImageStore, content: ContentStore, layers: LayerStore) -> None:
        self._store = store
        self._content = content
        self._layers = layers
        self._pins: Counter[Digest] = Counter()
        self._sweeping = asyncio.Lock()

    @contextmanager
    def pinned(self, layers: Iterable[Layer], *digests: Digest) -> Iterator[None]:
        """Inside, no sweep takes these layers and contents."""
        held = [part for layer in layers for part in (layer.digest, layer.chain_id)] + list(digests)
        self._pins.update(held)
        try:
            yield
        finally:
            self._pins.subtract(held)
            self._pins += Counter()

    async def settled(self) -> None:
        """Wait for a sweep that may have begun before the caller's pins."""
        async with self._sweeping:
            pass

    def config_bytes(self, image: ImageRecord) -> bytes:
        """The config as it came; blocks."""
        return self._content.read(image.id, limit=CONFIG_LIMIT)

    def config(self, image: ImageRecord) -> ImageConfig:
        """The config, decoded; blocks."""
        return decode_config(self.config_bytes(image))

    def last_use(self, image: ImageRecord) -> float:
        """When a container was last made from an image or went, or it came; seconds since the epoch. Blocks.

        It is kept as the time of change of the config's file.
        """
        try:
            used = self._content.path(image.id).stat().st_mtime
        except FileNotFoundError:
            used = 0.0
        return max(used, image.tagged / 1e9)

    def note_use(self, images: Iterable[str]) -> None:
        """They were used just now; blocks."""
        for image in images:
            with suppress(OSError):
                os.utime(self._content.path(Digest(image)))

    async def keep(
        self, config: ImageConfig, config_bytes: bytes, manifest: ManifestRecord, manifest_bytes: bytes
    ) -> ImageRecord:
        """Store both documents and make the image's record; layers are here already, the caller commits."""

        def write() -> tuple[int, ...]:
            self._content.put(config_bytes, manifest.image)
            self._content.put(manifest_bytes, manifest.digest)
            return tuple(self._layers.get(chain).size for chain in chain)

        chain = tuple(chain_ids(config.rootfs.diff_ids))
        sizes = await asyncio.to_thread(write)
        known = self._store.images.get(manifest.image)
        return ImageRecord(
            id=manifest.image,
            manifest=known.manifest if known is not None else manifest.digest,
            chain=chain,
            sizes=sizes,
            created=seconds(config.created),
            os=config.os,
            architecture=config.architecture,
            variant=config.variant,
            parent=known.parent if known is not None else "",
            labels=config.config.labels,
            tagged=time.time_ns(),
        )

    async def sweep(self, chains: Sequence[Digest], contents: Iterable[Digest]) -> Swept:
        """Delete those of the parts that no record names and nobody pins; ``chains`` lowest first."""
        async with self._sweeping:
            kept_chains, kept_contents = self._store.used_chains(), self._store.used_content()
            doomed = [item for item in reversed(chains) if item not in kept_chains and not self._pins[item]]
            blobs = [item for item in contents if item not in kept_contents and not self._pins[item]]

            needed = kept_contents | set(self._pins)

            def delete() -> int:
                freed = sum(self._delete_layer(chain, needed) for chain in doomed)
                return freed + sum(self._content.delete(digest) for digest in blobs)

            freed = await asyncio.shield(asyncio.to_thread(delete))
        return Swept(doomed, freed)

    async def sweep_orphans(self, *, older_than: float = ORPHAN_SECONDS) -> int:
        """Delete parts nothing names that are older than ``older_than`` seconds; bytes freed.

        Younger ones stay: they are finished layers of a pull that was interrupted and may be asked for again.
        """

        def candidates() -> tuple[list[Digest], list[Digest]]:
            limit = time.time() - older_than
            chains = [item for item in self._layers.chains() if _mtime(self._layers.root / item.hex) < limit]
            blobs = [item for item in self._content.walk() if self._arrived(item) < limit]
            return sorted(chains, key=self._depth), blobs

        chains, blobs = await asyncio.to_thread(candidates)
        return (await self.sweep(chains, blobs)).freed

    def _arrived(self, digest: Digest) -> float:
        try:
            return _mtime(self._content.place(digest))
        except NotFound:
            return _mtime(self._content.path(digest))

    def _depth(self, chain: Digest) -> int:
        """How many layers are under it; what stands on nothing goes first."""
        try:
            return len(self._layers.stack(chain))
        except (NotFound, CorruptData):
            return 1 << 20

    def _delete_layer(self, chain: Digest, needed: set[Digest]) -> int:
        """Bytes of disk freed; 0 when it was not here. Content of ``needed`` that stands on it is kept.

        What a request reads must stay as it is: then the layer goes another time.
        """
        with suppress(NotFound, CorruptData):
            diff_id = Digest(self._layers.get(chain).diff_id)
            if diff_id in needed and self._content.stands_on(chain, diff_id) and not self._detached(chain, diff_id):
                return 0
        size = self._layers.disk_usage(chain)
        try:
            dispose = self._layers.remove(chain)
        except Conflict:
            return 0  # a younger layer stands on it; both go together another time
        if dispose is None:
            return 0
        dispose()
        return size

    def _detached(self, chain: Digest, diff_id: Digest) -> bool:
        """Whether needed content could be kept without the layer."""
        if self._pins[diff_id]:
            return False
        try:
            self._content.detach(chain, diff_id)
        except CorruptData as error:
            logger.error("layer %s is kept, because content that is needed is damaged: %s", chain, error)
            return False
        return True


def _mtime(path: Path) -> float:
    """Seconds since the epoch; the far future for what is gone meanwhile."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return float("inf")
