"""What each image takes on disk: unpacked layers, blobs, documents and init layer, each counted once.

Owns the split between what an image shares with others and what goes with it. Changes nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from corten.engine.images.store import ImageStore
from corten.oci.digest import Digest
from corten.storage.content import ContentStore
from corten.storage.layer.store import LayerStore
from corten.storage.usage import BLOCK


class Footprint(NamedTuple):
    """Bytes on disk; ``shared`` of them are other images' too."""

    size: int
    shared: int


def split(parts: Mapping[str, Mapping[str, int]]) -> dict[str, Footprint]:
    """From the bytes of each image's parts, by name, to footprints; pure."""
    holders = Counter(part for own in parts.values() for part in own)
    return {
        image: Footprint(sum(own.values()), sum(size for part, size in own.items() if holders[part] > 1))
        for image, own in parts.items()
    }


class Footprints:
    """One for the whole engine; used on the event loop's thread."""

    def __init__(self, store: ImageStore, content: ContentStore, layers: LayerStore) -> None:
        self._store = store
        self._content = content
        self._layers = layers

    async def measure(self) -> dict[str, Footprint]:
        """Of every visible image, by id."""
        contents: dict[str, set[Digest]] = {str(image.id): {image.id} for image in self._store.visible()}
        for manifest in self._store.manifests.values():
            if manifest.image in contents:
                contents[manifest.image] |= {manifest.digest, *(blob.digest for blob in manifest.layers)}
        chains = {str(image.id): image.chain for image in self._store.visible()}

        def walk() -> dict[str, Footprint]:
            parts = {}
            for image, digests in contents.items():
                parts[image] = {f"content {digest}": self._blocks(digest) for digest in digests}
                parts[image].update((f"layer {chain}", self._layers.disk_usage(chain)) for chain in chains[image])
            return split(parts)

        return await asyncio.to_thread(walk)

    def _blocks(self, digest: Digest) -> int:
        try:
            return self._content.path(digest).stat().st_blocks * BLOCK
        except FileNotFoundError:
            return 0
