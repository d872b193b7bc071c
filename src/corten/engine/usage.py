"""``GET /system/df``: what everything takes on disk, so that the rows add up to what du(1) says of the data root.

Owns the sums. Sizes are blocks on disk: a container's include its log and its files for bind mounts, an image's its
blobs beside its unpacked layers. ``LayersSize`` is all that no container and no volume owns, the database and what a
crash left included; ``DataRoot``, which Docker does not have, says what it consists of. Refuses to know how trees are
walked (:mod:`corten.storage.usage`).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from corten.api.filters import Filters
from corten.api.types.container import ContainerSummary
from corten.api.types.image import ImageSummary
from corten.api.types.system import DataRootUsage, DiskUsage
from corten.api.types.volume import UsageData, Volume
from corten.engine.containers.listing import Listing
from corten.engine.images.service import ImageService
from corten.engine.roster import Roster
from corten.engine.volumes import VolumeService
from corten.errors import InvalidArgument
from corten.storage import survey
from corten.storage.layer.store import LayerStore

KINDS: Final = ("container", "image", "volume", "build-cache")
PARALLEL: Final = 4
"""Trees walked at the same time: more threads only take turns at the interpreter lock."""


class UsageService:
    """Looks at one data root; concurrent requests take turns."""

    def __init__(
        self,
        data_root: str,
        roster: Roster,
        listing: Listing,
        images: ImageService,
        volumes: VolumeService,
        layers: LayerStore,
    ) -> None:
        self._root = Path(data_root)
        self._roster = roster
        self._listing = listing
        self._images = images
        self._volumes = volumes
        self._layers = layers
        self._turn = asyncio.Lock()

    async def df(self, kinds: Collection[str] = ()) -> DiskUsage:
        """The kinds asked for, all by default.

        Raises:
            InvalidArgument: a kind that is none.
        """
        for kind in kinds:
            if kind not in KINDS:
                raise InvalidArgument(f"unknown object type: {kind}")
        wanted = set(kinds or KINDS)
        found = DiskUsage()
        async with self._turn:
            if "image" in wanted:
                found.Images = await self._image_rows()
                found.DataRoot = await self._data_root()
                found.LayersSize = found.DataRoot.total
            if "container" in wanted:
                found.Containers = await self._container_rows()
            if "volume" in wanted:
                found.Volumes = await self._volume_rows()
            if "build-cache" in wanted:
                found.BuildCache = []
        return found

    async def _data_root(self) -> DataRootUsage:
        containers = {container.id for container in self._roster}
        volumes = {volume.Name for volume in (await self._volumes.list(Filters())).Volumes}
        parts = await asyncio.to_thread(survey.survey, self._root, self._layers, containers, volumes)
        return DataRootUsage(
            Layers=parts.layers,
            Blobs=parts.content,
            InitLayers=parts.init,
            Database=parts.records,
            Leftovers=parts.leftovers,
        )

    async def _image_rows(self) -> list[ImageSummary]:
        rows = await self._images.list(every=True)
        footprints = await self._images.footprints()
        for row in rows:
            if (footprint := footprints.get(row.Id)) is not None:
                row.Size, row.SharedSize = footprint
        return rows

    async def _container_rows(self) -> list[ContainerSummary]:
        rows = await self._listing.list(every=True, limit=-1, size=False, filters=Filters())
        sizes = await _walked(survey.of_container, self._root, [row.Id for row in rows])
        for row, size in zip(rows, sizes, strict=True):
            row.SizeRw, row.SizeRootFs = size, size + self._images.size_of(row.ImageID)
        return rows

    async def _volume_rows(self) -> list[Volume]:
        rows = (await self._volumes.list(Filters())).Volumes
        users = Counter(
            name
            for container in self._roster
            for name in {point.name for point in container.record.mounts if point.name}
        )
        sizes = await _walked(survey.of_volume, self._root, [row.Name for row in rows])
        for row, size in zip(rows, sizes, strict=True):
            row.UsageData = UsageData(Size=size, RefCount=users[row.Name])
        return rows


async def _walked(measure: Callable[[Path, str], int], root: Path, names: Iterable[str]) -> list[int]:
    """The size of each, a few at a time in threads."""
    slots = asyncio.Semaphore(PARALLEL)

    async def one(name: str) -> int:
        async with slots:
            return await asyncio.to_thread(measure, root, name)

    return list(await asyncio.gather(*(one(name) for name in names)))
