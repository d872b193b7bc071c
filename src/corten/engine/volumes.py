"""Volumes: the API's noun, and what a container's mounts need of them.

Owns who uses a volume (told by the containers' records), anonymous names and when a volume may go. Refuses to know
where the bytes are: :mod:`corten.storage.volume`.
"""

import asyncio
import os
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from corten.api.filters import Filters
from corten.api.types.volume import Volume, VolumeCreate, VolumeListResponse, VolumePruneResponse
from corten.engine.containers.notices import Notices
from corten.engine.mounts import MountPoint
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.errors import Conflict, InvalidArgument, NoSuchVolume, NotFound, NotSupported
from corten.oci.digest import Digest
from corten.storage.snapshot import Snapshotter
from corten.storage.volume import Volume as StoredVolume
from corten.storage.volume import VolumeStore

ANONYMOUS: Final = "com.docker.volume.anonymous"
LIST_FILTERS: Final = frozenset({"dangling", "driver", "label", "name"})
PRUNE_FILTERS: Final = frozenset({"label", "label!", "all"})


class VolumeService:
    """The volumes of one engine."""

    def __init__(self, store: VolumeStore, snapshotter: Snapshotter, roster: Roster, notices: Notices) -> None:
        self._store = store
        self._snapshotter = snapshotter
        self._roster = roster
        self._notices = notices

    async def create(self, body: VolumeCreate) -> Volume:
        """A new volume, or the one of that name when it is the same driver's.

        Raises:
            NotSupported: another driver than ``local``.
        """
        if body.ClusterVolumeSpec:
            raise NotSupported("cluster volumes are not supported")
        name = body.Name or secrets.token_hex(32)
        _check_driver(name, body.Driver)
        labels = dict(body.Labels or {})
        if not body.Name:
            labels[ANONYMOUS] = ""
        return self._render(await self._ensure(name, labels, dict(body.DriverOpts or {})))

    async def _ensure(
        self, name: str, labels: dict[str, str], options: dict[str, str], *, maker: str = ""
    ) -> StoredVolume:
        found = self._find(name)
        if found is None:
            found = await asyncio.to_thread(
                lambda: self._store.create(name, labels=labels, options=options, maker=maker)
            )
            self._notices.volume(name, "create", driver="local")
        return found

    async def list(self, filters: Filters) -> VolumeListResponse:
        """Volumes that pass ``filters``."""
        filters.check(LIST_FILTERS)
        dangling = filters.flag("dangling")
        used = self._used()
        names = filters.values("name")
        chosen = [
            volume
            for volume in self._store.list()
            if filters.match_labels("label", volume.labels)
            and filters.match_any("driver", ("local",))
            and (not names or any(wanted in volume.name for wanted in names))
            and (dangling is None or (volume.name not in used) == dangling)
        ]
        return VolumeListResponse(Volumes=[self._render(volume) for volume in chosen])

    async def inspect(self, name: str) -> Volume:
        """One volume; raises NoSuchVolume."""
        return self._render(self._store.get(name))

    async def remove(self, name: str, *, force: bool) -> None:
        """Delete it with its content.

        Raises:
            Conflict: a container uses it.
            NoSuchVolume: unless ``force``.
        """
        if self._find(name) is None and force:
            return
        self._store.get(name)
        users = [record.id for record in self._records() if name in _names(record)]
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        await self._delete(name)

    async def prune(self, filters: Filters) -> VolumePruneResponse:
        """Unused anonymous volumes; with the filter ``all`` every unused one."""
        filters.check(PRUNE_FILTERS)
        every = bool(filters.flag("all", default=False))
        used = self._used()
        gone, freed = [], 0
        for volume in self._store.list():
            excluded = filters.has("label!") and Filters({"l": filters.values("label!")}).match_labels(
                "l", volume.labels
            )
            wanted = (
                (every or ANONYMOUS in volume.labels) and filters.match_labels("label", volume.labels) and not excluded
            )
            if wanted and volume.name not in used:
                freed += await asyncio.to_thread(self._store.disk_usage, volume.name)
                await self._delete(volume.name)
                gone.append(volume.name)
        self._notices.pruned("volume", freed)
        return VolumePruneResponse(VolumesDeleted=gone, SpaceReclaimed=freed)

    async def resolve(
        self, points: tuple[MountPoint, ...], chain_id: Digest | None, container_id: str, undo: AsyncExitStack
    ) -> tuple[MountPoint, ...]:
        """Mounts with their sources known: volumes made, image content copied into new ones, ``--mount`` sources
        checked.

        What was made here is undone with ``undo``; anonymous volumes also by :meth:`sweep`, until :meth:`settle`.
        """
        resolved = []
        for point in points:
            if point.type == "bind":
                _check_source(point)
                resolved.append(point)
            elif point.type == "volume":
                resolved.append(await self._resolve_volume(point, chain_id, container_id, undo))
            else:
                resolved.append(point)
        return tuple(resolved)

    def settle(self, record: ContainerRecord) -> None:
        """The container's record is committed: its anonymous volumes are its own."""
        names = [point.name for point in record.mounts if point.anonymous]
        if names:
            self._store.settle(names)

    def orphans(self) -> Sequence[str]:
        """At the start: anonymous volumes of containers whose creation a crash cut short, for :meth:`sweep`."""
        known = {record.id for record in self._records()}
        unsettled = self._store.unsettled()
        self._store.settle([volume.name for volume in unsettled if volume.maker in known])
        return [volume.name for volume in unsettled if volume.maker not in known]

    async def sweep(self, orphans: Sequence[str]) -> None:
        """Delete what :meth:`orphans` found."""
        for name in orphans:
            if self._find(name) is not None:
                await self._delete(name)

    async def _resolve_volume(
        self, point: MountPoint, chain_id: Digest | None, container_id: str, undo: AsyncExitStack
    ) -> MountPoint:
        _check_driver(point.name, point.driver)
        name = point.name or secrets.token_hex(32)
        labels = {**point.labels, ANONYMOUS: ""} if not point.name else point.labels
        fresh = self._find(name) is None
        volume = await self._ensure(name, labels, point.driver_options, maker="" if point.name else container_id)
        if fresh:
            undo.push_async_callback(self._delete, name)
        if not point.no_copy and not point.read_only:
            await asyncio.to_thread(self._store.copy_up, name, self._snapshotter.lowers(chain_id), point.destination)
        found = msgspec.structs.replace(point, name=name, source=str(self._store.path(name)), driver="local")
        return self._mounted(found, volume) if volume.options else found

    def _mounted(self, point: MountPoint, volume: StoredVolume) -> MountPoint:
        """A volume whose options name a file system of its own (type, device, o)."""
        if point.subpath:
            raise NotSupported("volume-subpath of a volume with driver options is not supported yet")
        mount = self._store.mount(volume.name, point.destination, read_only=point.read_only)
        return msgspec.structs.replace(
            point, filesystem=(mount["type"], mount["source"]), options=tuple(mount["options"])
        )

    async def prepare_sources(self, points: tuple[MountPoint, ...]) -> None:
        """Before a start: a missing ``-v`` source is made, a missing ``--mount`` source refused."""
        for point in points:
            if point.type != "bind" or _exists(point):
                continue
            if not point.create_source:
                raise InvalidArgument(_missing(point))
            await asyncio.to_thread(os.makedirs, point.source, 0o755, exist_ok=True)

    async def remove_anonymous(self, record: ContainerRecord) -> None:
        """The container's anonymous volumes that nobody else uses."""
        others = {name for other in self._records() if other.id != record.id for name in _names(other)}
        for point in record.mounts:
            if point.anonymous and point.name not in others and self._find(point.name) is not None:
                await self._delete(point.name)

    async def _delete(self, name: str) -> None:
        await asyncio.to_thread(lambda: self._store.remove(name)())
        self._notices.volume(name, "destroy", driver="local")

    def _find(self, name: str) -> StoredVolume | None:
        try:
            return self._store.get(name)
        except NoSuchVolume:
            return None

    def _render(self, volume: StoredVolume) -> Volume:
        """As the API shows it."""
        return Volume(
            CreatedAt=volume.created,
            Driver=volume.driver,
            Labels=volume.labels or None,
            Mountpoint=str(self._store.path(volume.name)),
            Name=volume.name,
            Options=volume.options or None,
        )

    def _records(self) -> Sequence[ContainerRecord]:
        return [container.record for container in self._roster]

    def _used(self) -> set[str]:
        return {name for record in self._records() for name in _names(record)}


def _names(record: ContainerRecord) -> set[str]:
    return {point.name for point in record.mounts if point.name}


def _check_driver(name: str, driver: str) -> None:
    """There are no volume plugins: Docker's words for one that was not found."""
    if driver not in ("", "local"):
        raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')


def _exists(point: MountPoint) -> bool:
    return os.path.lexists(point.source)


def _missing(point: MountPoint) -> str:
    return f'invalid mount config for type "bind": bind source path does not exist: {point.source}'


def _check_source(point: MountPoint) -> None:
    if not point.create_source and not _exists(point):
        raise InvalidArgument(_missing(point))
