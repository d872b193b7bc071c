"""``rm``: everything a container owns, then its record.

 (1) nobody else removes it, and it does not run      (4) the snapshot and the container's own directory
 (2) commit ``removing``, durable: no power cut       (5) anonymous volumes, when asked for
     brings a container back without its files (not   (6) the record
     for AutoRemove: such a record is removed at      (7) event ``destroy``; wake those who wait for the removal
     the next start anyway)
 (3) its execs are forgotten

A crash between (2) and (6) is finished at the next start: each step is harmless when already done.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from corten.engine.config import EngineConfig
from corten.engine.containers.notices import Notices
from corten.engine.containers.stop import Stopper
from corten.engine.images.service import ImageService
from corten.engine.lifecycle import Event, Status, advance
from corten.engine.roster import Roster
from corten.engine.tasks import Container
from corten.engine.volumes import VolumeService
from corten.errors import Conflict, CortenError, NoSuchContainer
from corten.storage.snapshot import Snapshotter


class Remover:
    """Removes containers."""

    def __init__(
        self,
        config: EngineConfig,
        roster: Roster,
        stopper: Stopper,
        snapshotter: Snapshotter,
        volumes: VolumeService,
        images: ImageService,
        notices: Notices,
        forget_execs: Callable[[str], None],
    ) -> None:
        self._config = config
        self._roster = roster
        self._stopper = stopper
        self._snapshotter = snapshotter
        self._volumes = volumes
        self._images = images
        self._notices = notices
        self._forget_execs = forget_execs

    async def remove(self, reference: str, *, force: bool, volumes: bool) -> None:
        """Remove by reference.

        Raises:
            Conflict: it runs and ``force`` is not set, or another removal is under way.
        """
        container = self._roster.find(reference)
        with _claim(container, reference):  # before its end, or AutoRemove would come first
            while container.record.state.active:
                if not force:
                    raise Conflict(_still_running(container))
                await self._stopper.end(container)
            if force:
                container.view.revoke()
            await self._discard(container, volumes=volumes)

    async def auto_remove(self, container: Container) -> None:
        """After the exit of a container with AutoRemove; another removal that came first wins."""
        if not container.removing:
            await self.discard(container, volumes=True)

    async def discard(self, container: Container, *, volumes: bool) -> None:
        """The module's list. The container must not run."""
        with _claim(container, container.id):
            await self._discard(container, volumes=volumes)

    async def _discard(self, container: Container, *, volumes: bool) -> None:
        async with container.lock, container.view.shut():
            if self._roster.get(container.id) is not container:
                raise NoSuchContainer(container.id)
            if container.record.state.active:
                raise Conflict(_still_running(container))
            await self._delete(container, volumes=volumes)

    async def _delete(self, container: Container, *, volumes: bool) -> None:
        record = container.record
        status = advance(record.state.status, Event.REMOVE)
        record = record.with_state(msgspec.structs.replace(record.state, status=status, remove_volumes=volumes))
        if record.host.AutoRemove:
            container.record = record
        else:
            await self._roster.update(container, record, durable=True)  # (2)
        self._forget_execs(record.id)  # (3)
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._delete_files, record.id)  # (4)
            if volumes:
                await self._volumes.remove_anonymous(record)  # (5)
        except (OSError, CortenError) as exc:
            await self._fail(container, exc)
            raise CortenError(f"container {record.id}: failed to remove its files: {exc}") from exc
        for user, used in record.images():
            self._images.release(used, user)
        await self._roster.discard(container)  # (6)
        self._notices.container(record, "destroy")
        container.announce_removal()  # (7)

    async def _fail(self, container: Container, error: Exception) -> None:
        record = container.record
        state = msgspec.structs.replace(record.state, status=advance(Status.REMOVING, Event.FAIL), error=str(error))
        await self._roster.update(container, record.with_state(state))
        container.announce_removal(str(error))

    def _delete_files(self, container_id: str) -> None:
        self._snapshotter.remove(container_id)
        try:
            shutil.rmtree(self._config.container_directory(container_id))
        except FileNotFoundError:
            return


@contextmanager
def _claim(container: Container, reference: str) -> Iterator[None]:
    """(1) One removal at a time; the others are told so, and no start comes in between."""
    if container.removing:
        raise Conflict(f"removal of container {reference} is already in progress")
    container.removing = True
    try:
        yield
    finally:
        container.removing = False


def _still_running(container: Container) -> str:
    status = container.record.state.status
    remedy = "stop the container before removing or force remove"
    state = "paused and must be unpaused first" if status is Status.PAUSED else f"{status}: {remedy}"
    return f'cannot remove container "/{container.record.name}": container is {state}'
