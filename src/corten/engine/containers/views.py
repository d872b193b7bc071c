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

from corten.engine.containers.facts import HostFacts
from corten.engine.shims import Shim
from corten.engine.spec import document
from corten.engine.tasks import Container
from corten.engine.volumes import VolumeService
from corten.errors import Conflict, NotSupported
from corten.linux.path import Root
from corten.storage.snapshot import Snapshotter


class Views:
    """Opens views; the state of each is with its container."""

    def __init__(self, shim: Shim, snapshotter: Snapshotter, volumes: VolumeService, facts: HostFacts) -> None:
        self._shim = shim
        self._snapshotter = snapshotter
        self._volumes = volumes
        self._facts = facts

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Root]:
        """The container's root, binds and volumes in it, for as long as the block runs.

        Raises:
            Conflict: it is being removed.
            NotSupported: it runs in a user namespace, whose mounts nobody outside may clone.
        """
        view = container.view
        async with view.lock:
            if container.removing:
                raise Conflict(f"container {container.id} is marked for removal and cannot be looked into")
            if not view.descriptors:
                view.descriptors = await self._make(container)
            user = asyncio.current_task()
            assert user is not None
            view.enter(user)
        try:
            yield Root(view.descriptors[0])
        finally:
            view.leave(user)

    async def _make(self, container: Container) -> list[int]:
        record = container.record
        if record.id_map is not None and record.state.alive:
            raise NotSupported(f"container {record.id} runs in a user namespace: stop it to copy its files")
        await self._volumes.prepare_sources(record.mounts)
        if container.rootfs is None:
            container.rootfs = await asyncio.to_thread(self._snapshotter.prepare, record.id, record.chain)
        files = await asyncio.to_thread(_present, self._facts.files(record))
        message = {
            "id": record.id,
            "rootfs": container.rootfs,
            "mounts": document.view_mounts(record.mounts, files),
            "read_only": record.host.ReadonlyRootfs,
        }
        _, descriptors = await self._shim.request("view", message)
        return descriptors


def _present(files: dict[str, str]) -> dict[str, str]:
    """Those that exist: a container that never ran has no managed files."""
    return {path: source for path, source in files.items() if os.path.exists(source)}
