"""A container's files from outside: descriptors of its root, shared by everybody who copies at the same time.

Owns who looks at which container's files. One overlay may not be mounted twice over the same upper directory, so a
view is made once and shared, a start waits until nobody looks any more (as Docker's does), and a removal by force ends
those who look. Stopping, and whatever else happens to a container, waits for nobody.

How a view is made is :mod:`corten.runtime.view`'s: root and mount namespace come as two descriptors from the shim.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from corten.engine.containers.facts import HostFacts
from corten.engine.record import IdMap
from corten.engine.shims import Shim
from corten.engine.spec import document
from corten.engine.tasks import Container
from corten.engine.volumes import VolumeService
from corten.errors import Conflict, NotFound
from corten.linux.path import Root
from corten.oci.idmap import IdMaps
from corten.storage.ownership import Ownership
from corten.storage.snapshot import Snapshotter


class Sight(NamedTuple):
    """A container's root from outside; ``ownership`` where it is seen through a user namespace."""

    root: Root
    ownership: Ownership | None


class Views:
    """Opens views; the state of each is with its container."""

    def __init__(self, shim: Shim, snapshotter: Snapshotter, volumes: VolumeService, facts: HostFacts) -> None:
        self._shim = shim
        self._snapshotter = snapshotter
        self._volumes = volumes
        self._facts = facts

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Sight]:
        """The container's root, binds and volumes in it, for as long as the block runs.

        Raises:
            Conflict: it is being removed.
            NotSupported: it runs in a user namespace, and its mounts' original was lost with engine and shim.
        """
        view = container.view
        async with view.lock:
            if container.removing:
                raise Conflict(f"container {container.id} is marked for removal and cannot be looked into")
            if not view.descriptors:
                view.descriptors, view.id_map = await self._make(container)
            user = asyncio.current_task()
            assert user is not None
            view.enter(user)
        try:
            maps = view.id_map
            ownership = Ownership(IdMaps(maps.uids, maps.gids)) if maps else None
            yield Sight(Root(view.descriptors[0]), ownership)
        finally:
            view.leave(user)

    async def _make(self, container: Container) -> tuple[list[int], IdMap | None]:
        record = container.record
        id_map = record.id_map if record.state.alive else None
        await self._volumes.prepare_sources(record.mounts)
        if container.rootfs is None:
            container.rootfs = await asyncio.to_thread(
                self._snapshotter.prepare, record.id, record.chain, record.tree_limit
            )
        files = await asyncio.to_thread(_present, self._facts.files(record))
        message: dict[str, Any] = {
            "id": record.id,
            "rootfs": container.rootfs,
            "mounts": document.view_mounts(record.mounts, files, id_map),
            "read_only": record.host.ReadonlyRootfs,
        }
        if id_map is not None:
            message |= {"uids": id_map.uids, "gids": id_map.gids}
        try:
            _, descriptors = await self._shim.request("view", message)
        except NotFound:
            if id_map is None or container.record.state.alive:
                raise
            return await self._make(container)  # it has ended meanwhile
        return descriptors, id_map


def _present(files: dict[str, str]) -> dict[str, str]:
    """Those that exist: a container that never ran has no managed files."""
    return {path: source for path, source in files.items() if os.path.exists(source)}
