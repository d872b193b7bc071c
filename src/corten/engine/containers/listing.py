"""``ps`` and ``inspect``: which containers, and what is looked up to show them."""

import asyncio
import time

from corten.api.filters import Filters
from corten.api.types.container import ContainerInspect, ContainerSummary
from corten.engine.config import EngineConfig
from corten.engine.containers import render, selection
from corten.engine.containers.facts import HostFacts
from corten.engine.containers.links import Links
from corten.engine.containers.render import Paths, Sizes
from corten.engine.containers.selection import Resolved
from corten.engine.execs import ExecService
from corten.engine.images.service import ImageService
from corten.engine.networks.service import NetworkService
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.errors import InvalidArgument, NotFound
from corten.storage.snapshot import Snapshotter


class Listing:
    """Answers about containers."""

    def __init__(
        self,
        config: EngineConfig,
        roster: Roster,
        images: ImageService,
        networks: NetworkService,
        execs: ExecService,
        snapshotter: Snapshotter,
        facts: HostFacts,
        links: Links,
    ) -> None:
        self._config = config
        self._roster = roster
        self._images = images
        self._networks = networks
        self._execs = execs
        self._snapshotter = snapshotter
        self._facts = facts
        self._links = links

    async def list(self, *, every: bool, limit: int, size: bool, filters: Filters) -> list[ContainerSummary]:
        """Newest first; only those that run unless ``every``, ``limit``, ``before``, ``since`` or a status says
        otherwise.
        """
        selection.check(filters)
        resolved = await self._resolve(filters)
        shows_all = every or limit > 0 or any(filters.has(key) for key in ("status", "exited", "before", "since"))
        chosen = [
            container.record
            for container in self._roster
            if (shows_all or container.record.state.active) and selection.matches(container.record, filters, resolved)
        ]
        chosen.sort(key=lambda record: record.created_ns, reverse=True)
        if limit > 0:
            del chosen[limit:]
        now = time.time_ns()
        aliases = self._links.aliases()
        return [
            render.summary(
                record,
                self._image_name(record),
                aliases.get(record.id, []),
                await self._sizes(record, wanted=size),
                now,
            )
            for record in chosen
        ]

    async def inspect(self, reference: str, *, size: bool) -> ContainerInspect:
        """One container in full."""
        container = self._roster.find(reference)
        record = container.record
        directory = self._config.container_directory(record.id)
        mounted = container.rootfs
        if mounted is None:
            mounted = await asyncio.to_thread(self._snapshotter.prepare, record.id, record.chain, record.tree_limit)
        graph = render.graph(mounted)
        paths = Paths(directory=directory, log=self._facts.shown_log_path(record), graph=graph)
        found = render.inspect(record, paths, self._execs.of(record.id), await self._sizes(record, wanted=size))
        found.HostConfig.Links = self._links.shown(record)
        return found

    def _image_name(self, record: ContainerRecord) -> str:
        """The name it was created from while that still means the same image, else the image's id."""
        name = record.config.Image
        return name if self._images.same(name, record.image_id) else record.image_id

    async def _sizes(self, record: ContainerRecord, *, wanted: bool) -> Sizes | None:
        if not wanted:
            return None
        writable = await asyncio.to_thread(self._snapshotter.usage, record.id)
        return Sizes(writable, writable + self._images.size_of(record.image_id))

    async def _resolve(self, filters: Filters) -> Resolved:
        times: dict[str, int | None] = {"before": None, "since": None}
        for key in times:
            for reference in filters.values(key):
                times[key] = self._roster.find(reference).record.created_ns
        networks = {}
        if filters.has("network"):
            networks = {network.Name: network.Id for network in await self._networks.list(Filters())}
        return Resolved(
            before_ns=times["before"], since_ns=times["since"], images=self._ancestors(filters), network_ids=networks
        )

    def _ancestors(self, filters: Filters) -> frozenset[str] | None:
        if not filters.has("ancestor"):
            return None
        found: set[str] = set()
        for name in filters.values("ancestor"):
            try:
                found.update(self._images.descendants(name))
            except (NotFound, InvalidArgument):
                continue
        return frozenset(found)
