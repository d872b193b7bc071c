"""Load, save and import: the client's request, and its events.

Owns the checks before a stream is touched, so that a wrong name is an ordinary error answer.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from corten.engine.events import EventService
from corten.engine.images import save as saving
from corten.engine.images.importer import Importer
from corten.engine.images.load import Loader
from corten.engine.images.parts import ImageParts
from corten.engine.images.record import ImageRecord
from corten.engine.images.store import Found, ImageStore
from corten.engine.progress import Reporter, Sink
from corten.errors import InvalidArgument, NotFound
from corten.oci import platform as platforms
from corten.oci.digest import Digest
from corten.oci.image import Platform
from corten.oci.reference import Reference
from corten.storage.content import ContentStore

PARALLEL_STREAMS = 4


class Archives:
    """One for the whole engine."""

    def __init__(
        self,
        store: ImageStore,
        content: ContentStore,
        parts: ImageParts,
        loader: Loader,
        importer: Importer,
        events: EventService,
    ) -> None:
        self._store = store
        self._content = content
        self._parts = parts
        self._loader = loader
        self._importer = importer
        self._events = events
        self._slots = asyncio.Semaphore(PARALLEL_STREAMS)

    async def load(
        self, stream: AsyncIterator[bytes], *, quiet: bool = False, platform: str = "", progress: Sink
    ) -> None:
        """``POST /images/load``."""
        wanted = platforms.parse(platform) if platform else None
        async with self._slots, Reporter(progress) as reporter:
            loaded = await self._loader.load(stream, wanted, reporter, quiet=quiet)
        for identifier, _ in loaded:
            labels = self._store.images[identifier].labels or {}
            self._events.publish("image", "load", str(identifier), {"name": str(identifier), **labels})

    async def save(self, names: Sequence[str], sink: saving.ByteSink, *, platform: str = "") -> None:
        """``GET /images/get``; a name without a tag means all tags of that repository."""
        if not names:
            raise InvalidArgument("no image names were given")
        found = [item for name in names for item in self._meant(name)]
        for item in found:
            actual = Platform(architecture=item.image.architecture, os=item.image.os, variant=item.image.variant)
            if platform and not platforms.matches(actual, platforms.parse(platform), exact=True):
                raise NotFound(f"image {item.image.id} is not for platform {platform}")
        selected = await asyncio.to_thread(saving.group, found, self._diff_ids)
        pinned = [digest for entry in selected for digest in (entry.image.id, entry.manifest.digest)]
        pinned += [blob.digest for entry in selected for blob in entry.manifest.layers]
        with self._parts.pinned((), *pinned):
            await saving.write(selected, self._content, sink)
        for entry in selected:
            labels = entry.image.labels or {}
            self._events.publish("image", "save", str(entry.image.id), {"name": str(entry.image.id), **labels})

    async def import_(
        self,
        stream: AsyncIterator[bytes],
        *,
        repo: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
        progress: Sink,
    ) -> str:
        """``POST /images/create?fromSrc=-``: the new image's id, which is also the only progress message."""
        name = None
        if repo:
            name = Reference.parse(repo)
            if name.digest:
                raise InvalidArgument("cannot import digest reference")
            name = name.with_tag(tag) if tag else name.with_default_tag()
        wanted = platforms.parse(platform) if platform else platforms.host()
        async with self._slots, Reporter(progress) as reporter:
            identifier = await self._importer.import_(
                stream, name=name, message=message or "Imported from -", changes=changes, platform=wanted
            )
            reporter.send({"status": str(identifier)})
        shown = name.familiar() if name is not None else str(identifier)
        self._events.publish("image", "import", str(identifier), {"name": shown})
        return str(identifier)

    def _meant(self, name: str) -> list[Found]:
        found = self._store.find(name)
        bare = found.reference is not None and found.reference.tag and ":" not in name.rpartition("/")[2]
        if found.reference is None or not bare:
            return [found]
        repository = found.reference.name
        every = (Reference.parse(key) for key in sorted(self._store.references))
        return [self._store.find(str(each)) for each in every if each.tag and each.name == repository]

    def _diff_ids(self, image: ImageRecord) -> list[Digest]:
        return list(self._parts.config(image).rootfs.diff_ids)
