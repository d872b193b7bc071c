"""Tagging, untagging, removing and pruning, carried out.

Owns the order: records first (durably, one transaction), then the parts on disk that nothing names any more; a crash
between the two leaves unnamed parts, which the next start removes. Decisions are made in
:mod:`corten.engine.images.removal`.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from corten.api.filters import Filters
from corten.api.types.image import DeleteItem, ImagePruneResponse
from corten.engine.events import EventService
from corten.engine.images import eviction, removal
from corten.engine.images.eviction import Candidate
from corten.engine.images.parts import ImageParts, Swept
from corten.engine.images.record import ImageRecord, ManifestRecord, ReferenceRecord
from corten.engine.images.selection import PRUNE_FILTERS, Selection
from corten.engine.images.store import Change, ImageStore
from corten.engine.images.usage import ImageUsage
from corten.errors import Conflict, InvalidArgument
from corten.oci.digest import Digest
from corten.oci.reference import Reference


class Remover:
    """One for the whole engine."""

    def __init__(self, store: ImageStore, parts: ImageParts, usage: ImageUsage, events: EventService) -> None:
        self._store = store
        self._parts = parts
        self._usage = usage
        self._events = events

    async def tag(self, source: str, repo: str, tag: str) -> None:
        """``POST /images/{name}/tag``."""
        found = self._store.find(source)
        reference = Reference.parse(repo)
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        reference = reference.with_tag(tag) if tag else reference.with_default_tag()
        image = msgspec.structs.replace(found.image, tagged=time.time_ns())
        await self._store.commit(
            Change(
                images={image.id: image},
                references={str(reference): ReferenceRecord(image.id, found.manifest.digest)},
            )
        )
        self._events.publish("image", "tag", str(image.id), {"name": reference.familiar(), **(image.labels or {})})

    async def remove(
        self, name: str, *, force: bool = False, prune: bool = True, platform: str = ""
    ) -> list[DeleteItem]:
        """``DELETE /images/{name}``: what was untagged and deleted, in Docker's order."""
        self._store.find_for(name, platform)
        plan = removal.plan(self._store, self._usage.uses(), name, force=force, prune=prune)
        rows = [DeleteItem(Untagged=reference.familiar()) for reference in plan.untag]
        swept = await self._carry_out(plan.untag, plan.delete)
        attributes = {"name": str(plan.image.id), **(plan.image.labels or {})}
        for _ in plan.untag:
            self._events.publish("image", "untag", str(plan.image.id), attributes)
        rows += self._deleted(plan.delete, swept)
        return rows

    async def prune(self, filters: Filters) -> ImagePruneResponse:
        """``POST /images/prune``: unused images without a name, or with ``dangling=false`` all unused ones."""
        selection = Selection(self._store, filters, PRUNE_FILTERS)
        untagged_only = selection.dangling is not False
        uses = self._usage.uses()
        rows: list[DeleteItem] = []
        freed = 0
        for image in sorted(self._store.visible(), key=lambda image: -image.created):
            names = self._store.names(image.id)
            users = [use for use in uses if use.image_id == image.id]
            if users or not selection.accepts(image) or (untagged_only and any(name.tag for name in names)):
                continue
            try:
                removal.check(self._store, image, users, [], force=False)
            except Conflict:
                continue
            rows += [DeleteItem(Untagged=name.familiar()) for name in names]
            swept = await self._carry_out(names, [image])
            rows += self._deleted([image], swept)
            freed += swept.freed
        freed += (await self.sweep_hidden()).freed
        self._events.publish("image", "prune", "", {"reclaimed": str(freed)})
        return ImagePruneResponse(rows or None, freed)

    async def make_room(self, enough: Callable[[], bool], unused_since: float) -> ImagePruneResponse:
        """Remove unused images until there is ``enough`` room, in the order of :mod:`corten.engine.images.eviction`."""
        rows: list[DeleteItem] = []
        freed = 0
        for image in await self._unused(unused_since):
            if enough():
                break
            if not self._is_free(image):  # any more: a container or an image may have been made of it meanwhile
                continue
            names = self._store.names(image.id)
            swept = await self._carry_out(names, [image])
            attributes = {"name": str(image.id), **(image.labels or {})}
            for name in names:
                rows.append(DeleteItem(Untagged=name.familiar()))
                self._events.publish("image", "untag", str(image.id), attributes)
            rows += self._deleted([image], swept)
            freed += swept.freed
        if rows:
            self._events.publish("image", "prune", "", {"reclaimed": str(freed)})
        return ImagePruneResponse(rows or None, freed)

    async def _unused(self, since: float) -> list[ImageRecord]:
        """What may go, first to last; images that were removed by force go with their containers."""
        images = {image.id: image for image in self._store.visible()}
        used = await asyncio.to_thread(lambda: {image.id: self._parts.last_use(image) for image in images.values()})
        tagged = {target.image for key, target in self._store.references.items() if Reference.parse(key).tag}
        users = {use.image_id for use in self._usage.uses()}
        candidates = [
            Candidate(
                image.id, image.parent, image.id in tagged, used[image.id],
                held=image.id in users or self._store.leased(image.id),
            )
            for image in images.values()
        ]  # fmt: skip
        return [images[identifier] for identifier in eviction.order(candidates, since)]

    def _is_free(self, image: ImageRecord) -> bool:
        if self._store.images.get(image.id) is not image:
            return False
        users = [use for use in self._usage.uses() if use.image_id == image.id]
        try:
            removal.check(self._store, image, users, [], force=False)
        except Conflict:
            return False
        return True

    async def sweep_hidden(self) -> Swept:
        """Drop images that were removed by force once their last container is gone."""
        doomed = removal.unneeded(self._store, (use.image_id for use in self._usage.uses()))
        return await self._carry_out([], doomed) if doomed else Swept([], 0)

    async def _carry_out(self, untag: Sequence[Reference], delete: Sequence[ImageRecord]) -> Swept:
        """Untag and delete in one transaction, then sweep the parts."""
        change = Change(references={str(reference): None for reference in untag})
        needed = {use.image_id for use in self._usage.uses()}
        chains: list[Digest] = []
        contents: set[Digest] = set()
        for image in delete:
            change.references.update({str(reference): None for reference in self._store.names(image.id)})
            if image.id in needed:
                # A stopped container still stands on the layers: gone for clients, kept on disk.
                change.images[image.id] = msgspec.structs.replace(image, hidden=True)
                continue
            change.images[image.id] = None
            chains += [chain for chain in image.chain if chain not in chains]
            contents.add(image.id)
        for manifest in self._unnamed_manifests(change):
            change.manifests[manifest.digest] = None
            contents.add(manifest.digest)
            contents.update(blob.digest for blob in manifest.layers)
        await self._store.commit(change)
        swept = await self._parts.sweep(chains, contents)
        gone = [
            digest for digest in contents if digest in self._store.sources and digest not in self._store.used_content()
        ]
        if gone:
            await self._store.commit(Change(sources=dict.fromkeys(gone)))
        return swept

    def _unnamed_manifests(self, change: Change) -> list[ManifestRecord]:
        """Manifests that, after ``change``, neither a name nor an image's record needs."""
        kept = {target.manifest for key, target in self._store.references.items() if key not in change.references}
        for image in self._store.images.values():
            if change.images.get(image.id, image) is not None:
                kept.add(image.manifest)
        return [
            manifest
            for manifest in self._store.manifests.values()
            if manifest.digest not in kept and not self._store.leased(manifest.image)
        ]

    def _deleted(self, images: Sequence[ImageRecord], swept: Swept) -> list[DeleteItem]:
        rows = []
        remaining = list(swept.chains)
        for image in images:
            self._events.publish("image", "delete", str(image.id), {"name": str(image.id), **(image.labels or {})})
            rows.append(DeleteItem(Deleted=str(image.id)))
            own = [chain for chain in remaining if chain in image.chain]
            rows += [DeleteItem(Deleted=str(chain)) for chain in own]
            remaining = [chain for chain in remaining if chain not in own]
        return rows
