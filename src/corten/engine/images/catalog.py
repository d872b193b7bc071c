"""Questions about images: list, inspect, history, and what the engine asks when it makes a container.

Owns the answers; changes nothing.
"""

import asyncio
from collections import Counter
from typing import Final, NamedTuple

from corten.api.filters import Filters
from corten.api.types.image import DriverData, HistoryItem, ImageInspect, ImageSummary
from corten.engine.images import render
from corten.engine.images.parts import ImageParts
from corten.engine.images.record import ImageRecord
from corten.engine.images.selection import LIST_FILTERS, Selection
from corten.engine.images.store import ImageStore
from corten.engine.images.usage import ImageUsage
from corten.errors import InvalidArgument, NoSuchImage, NotFound
from corten.oci.digest import Digest
from corten.oci.image import ImageConfig
from corten.storage.layer.store import LayerStore

DRIVER = "overlay2"
#: Configs kept decoded: containers are made from few images, many times.
_KEPT_CONFIGS: Final = 64


class Image(NamedTuple):
    """An image as a container needs it; ``chain_id`` is None for an image without layers."""

    id: str
    chain_id: Digest | None
    config: ImageConfig
    name: str


class Catalog:
    """One for the whole engine."""

    def __init__(self, store: ImageStore, parts: ImageParts, layers: LayerStore, usage: ImageUsage) -> None:
        self._store = store
        self._parts = parts
        self._layers = layers
        self._usage = usage
        self._configs: dict[Digest, ImageConfig] = {}

    async def summaries(
        self,
        *,
        every: bool = False,
        filters: Filters | None = None,
        shared_size: bool = False,
    ) -> list[ImageSummary]:
        """``GET /images/json``: newest first. ``every`` (Docker's ``all``) adds untagged ancestors of others."""
        selection = Selection(self._store, filters or Filters(), LIST_FILTERS)
        parents = {image.parent for image in self._store.visible() if image.parent}
        users = Counter(use.image_id for use in self._usage.uses())
        shared = self._shared() if shared_size else None
        rows = []
        for image in self._store.visible():
            names = selection.names(image) if selection.accepts(image) else None
            if names is None or (not every and image.id in parents and not names[0] and not names[1]):
                continue
            rows.append(
                render.summary(
                    image,
                    tags=names[0],
                    digests=names[1],
                    shared=-1 if shared is None else shared[image.id],
                    containers=users[image.id],
                )
            )
        rows.sort(key=lambda row: row.Created, reverse=True)
        return rows

    async def inspect(self, name: str, *, platform: str = "") -> ImageInspect:
        """``GET /images/{name}/json``."""
        image = self._store.find_for(name, platform).image
        config, driver = await asyncio.to_thread(self._documents, image)
        return render.inspect(
            image,
            config,
            tags=self._store.repo_tags(image.id),
            digests=self._store.repo_digests(image.id),
            driver=driver,
        )

    async def history(self, name: str, *, platform: str = "") -> list[HistoryItem]:
        """``GET /images/{name}/history``."""
        image = self._store.find_for(name, platform).image
        config = await asyncio.to_thread(self._parts.config, image)
        return render.history(image, config, self._store.repo_tags(image.id))

    async def resolve(self, name: str, *, platform: str = "") -> Image:
        """The image a container is made from; NoSuchImage. Call ``in_use`` before the next await."""
        found = self._store.find_for(name, platform)
        image = found.image
        config = self._configs.get(image.id)
        if config is None:
            with self._store.lease(image.id):
                config = await asyncio.to_thread(self._parts.config, image)
            while len(self._configs) >= _KEPT_CONFIGS:
                del self._configs[next(iter(self._configs))]
            self._configs[image.id] = config
        chain = image.chain[-1] if image.chain else None
        return Image(str(image.id), chain, config, found.reference.familiar() if found.reference else name)

    def same(self, name: str, image_id: str) -> bool:
        """Whether ``name`` now means that image."""
        try:
            return self._store.find(name).image.id == image_id
        except (NotFound, InvalidArgument):
            return False

    def size_of(self, image_id: str) -> int:
        """Bytes of an image's layers; 0 when it is gone."""
        image = self._store.images.get(image_id)
        return image.size if image is not None else 0

    def descendants(self, name: str) -> set[str]:
        """The ids of an image and of every image that is built on it: its layers are the first of theirs."""
        base = self._store.find(name).image
        depth = len(base.chain)
        standing = {
            str(image.id)
            for image in self._store.images.values()
            if depth and len(image.chain) > depth and image.chain[depth - 1] == base.chain[-1]
        }
        return standing | {str(base.id)}

    def _documents(self, image: ImageRecord) -> tuple[ImageConfig, DriverData]:
        config = self._parts.config(image)
        if not image.chain:
            return config, DriverData(DRIVER)
        try:
            upper, *lower = [str(path) for path in self._layers.lowers(image.chain[-1])]
        except NotFound as exc:
            raise NoSuchImage(str(image.id)) from exc
        data = {"UpperDir": upper}
        if lower:
            data["LowerDir"] = ":".join(lower)
        return config, DriverData(DRIVER, data)

    def _shared(self) -> dict[str, int]:
        """Bytes of layers that more than one image has, by image."""
        images = list(self._store.visible())
        holders = Counter(chain for image in images for chain in image.chain)
        return {
            str(image.id): sum(size for chain, size in zip(image.chain, image.sizes, strict=True) if holders[chain] > 1)
            for image in images
        }
