"""The image service: every verb of ``/images``, and what the rest of the engine asks of images.

Owns the making and the order of its collaborators, and start-up. Refuses to do anything itself: each verb is a bound
method of the one collaborator that knows it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from corten.engine.config import EngineConfig
from corten.engine.events import EventService
from corten.engine.images.archives import Archives
from corten.engine.images.catalog import Catalog, Image
from corten.engine.images.commit import Committer
from corten.engine.images.distribution import Distribution
from corten.engine.images.footprint import Footprints
from corten.engine.images.importer import Importer
from corten.engine.images.intake import LayerIntake
from corten.engine.images.layers import LayerFetcher
from corten.engine.images.load import Loader
from corten.engine.images.parts import ORPHAN_SECONDS, ImageParts
from corten.engine.images.remover import Remover
from corten.engine.images.store import ImageStore
from corten.engine.images.usage import ImageUsage
from corten.oci.digest import Digest
from corten.storage.content import ContentStore
from corten.storage.layer.store import LayerStore
from corten.storage.metadata import Database

__all__ = ["Image", "ImageService"]

#: Threads for layers, loads and imports; each may wait for its bytes, so they are not asyncio's own.
THREADS = 16


class ImageService:
    """One for the whole engine; made and used on the event loop's thread."""

    def __init__(
        self, config: EngineConfig, database: Database, content: ContentStore, layers: LayerStore, events: EventService
    ) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="layer")
        self._store = store = ImageStore(database)
        self._problems: list[str] = []
        self._usage = usage = ImageUsage()
        self._parts = parts = ImageParts(store, content, layers)
        fetcher = LayerFetcher(content, layers, self._pool, self._holder, downloads=config.max_concurrent_downloads)
        intake = LayerIntake(content, layers)
        catalog = Catalog(store, parts, layers, usage)
        self._remover = remover = Remover(store, parts, usage, events)
        distribution = Distribution(config, store, content, fetcher, parts, events)
        archives = Archives(
            store,
            content,
            parts,
            Loader(store, content, layers, fetcher, parts, self._pool),
            Importer(store, intake, fetcher, parts, self._pool),
            events,
        )

        self.committer = Committer(store, parts, fetcher, intake, events, self._pool)
        self.list, self.inspect, self.history = catalog.summaries, catalog.inspect, catalog.history
        self.resolve, self.same, self.size_of = catalog.resolve, catalog.same, catalog.size_of
        self.descendants = catalog.descendants
        self.footprints = Footprints(store, content, layers).measure
        self.tag, self.remove, self.prune = remover.tag, remover.remove, remover.prune
        self.make_room = remover.make_room
        self.pull, self.push, self.login = distribution.pull, distribution.push, distribution.login
        self.search = distribution.search
        self.load, self.save, self.import_ = archives.load, archives.save, archives.import_
        self.in_use, self.release, self.set_running = usage.in_use, usage.release, usage.set_running

    async def startup(self) -> list[str]:
        """Read the records, before any other request; what could not be read, in words for the log."""
        self._problems = self._store.load()
        return self._problems

    async def note_uses(self) -> None:
        """Keep on disk which images were used since the last call."""
        if used := self._usage.take_used():
            await asyncio.to_thread(self._parts.note_use, used)

    async def sweep(self, *, older_than: float = ORPHAN_SECONDS) -> int:
        """Remove what a lost request or a forced removal left, once every container is registered; bytes freed.

        After a start that lost records nothing nameless is removed: it may be what a lost record named.
        """
        freed = (await self._remover.sweep_hidden()).freed
        return freed if self._problems else freed + await self._parts.sweep_orphans(older_than=older_than)

    def _holder(self, chain: Digest) -> str:
        """A container that runs on a layer; empty for none."""
        for use in self._usage.uses():
            image = self._store.images.get(use.image_id)
            if use.running and image is not None and chain in image.chain:
                return use.container_id
        return ""

    async def close(self) -> None:
        """End the worker threads; their work has ended with the requests that asked for it."""
        self._pool.shutdown(wait=True, cancel_futures=True)
