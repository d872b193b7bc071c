"""``commit``: a container's changes and configuration as a new image.

(1) refuse what is wrong before anything is frozen      (3) read what it changed
(2) freeze its processes, unless asked not to           (4) thaw it: the image is made of what was read
                                                        (5) the image (:mod:`corten.engine.images.commit`), event
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from corten.api.types.container import ContainerConfig
from corten.engine.containers.notices import Notices
from corten.engine.containers.pause import Pauser
from corten.engine.images import changes as instructions
from corten.engine.images import commit as images
from corten.engine.lifecycle import Status
from corten.engine.roster import Roster
from corten.engine.spec.merge import merge
from corten.engine.tasks import Container
from corten.errors import Conflict, CortenError
from corten.oci import image as oci
from corten.storage.snapshot import Snapshotter

logger = logging.getLogger(__name__)

#: Members of a container's configuration that say nothing about an image.
_OWN: Final = (
    "hostname", "domainname", "attach_stdin", "attach_stdout", "attach_stderr", "tty", "open_stdin", "stdin_once",
    "image", "network_disabled", "mac_address", "stop_timeout",
)  # fmt: skip


class ContainerCommitter:
    """Commits containers."""

    def __init__(
        self, roster: Roster, snapshotter: Snapshotter, committer: images.Committer, pauser: Pauser, notices: Notices
    ) -> None:
        self._roster = roster
        self._snapshotter = snapshotter
        self._committer = committer
        self._pauser = pauser
        self._notices = notices

    async def commit(
        self,
        reference: str,
        body: ContainerConfig | None,
        *,
        repo: str = "",
        tag: str = "",
        author: str = "",
        comment: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """``POST /commit``: the new image's id."""
        container = self._roster.find(reference)
        record = container.record
        _refuse(container)  # (1)
        name = images.target(repo, tag)
        child = images.Child(
            parent=record.image_id,
            config=image_config(body, record.config, changes),
            command=" ".join(record.config.Cmd or ()),
            author=author,
            comment=comment,
        )
        await asyncio.to_thread(self._snapshotter.prepare, record.id, record.chain, record.tree_limit)
        async with self._frozen(container, pause=pause):  # (2)
            stored = await self._committer.intake(self._snapshotter.diff(record.id))  # (3) (4)
        image = await self._committer.commit(child, name, stored)  # (5)
        named = name.familiar() if name is not None else ""
        self._notices.container(record, "commit", comment=comment, imageID=str(image.id), imageRef=named)
        return str(image.id)

    @asynccontextmanager
    async def _frozen(self, container: Container, *, pause: bool) -> AsyncIterator[None]:
        """Its processes stand still inside, if there are any and they are not paused anyway; best effort, as Docker."""
        if not pause or container.record.state.status is not Status.RUNNING:
            yield
            return
        try:
            await self._pauser.pause(container.id)
        except CortenError as error:
            logger.warning("container %s is committed while it runs: %s", container.id, error)
            yield
            return
        try:
            yield
        finally:
            await self._wake(container)

    async def _wake(self, container: Container) -> None:
        try:
            await self._pauser.unpause(container.id)
        except CortenError as error:  # somebody else did, or killed it
            logger.info("container %s: %s", container.id, error)


def _refuse(container: Container) -> None:
    status = container.record.state.status
    if status is Status.DEAD:
        raise Conflict(f"You cannot commit container {container.id} which is Dead")
    if status is Status.REMOVING or container.removing:
        raise Conflict(f"You cannot commit container {container.id} which is being removed")


def image_config(
    body: ContainerConfig | None, container: ContainerConfig, changes: Sequence[str]
) -> oci.ContainerConfig:
    """The client's configuration with the changes, completed from the container's; pure."""
    changed = instructions.apply(_as_image(body or container), changes)
    client = msgspec.convert(msgspec.to_builtins(changed), ContainerConfig)
    whole = _as_image(merge(client, _as_image(container)))
    defaults = oci.ContainerConfig()
    return msgspec.structs.replace(whole, **{field: getattr(defaults, field) for field in _OWN})


def _as_image(config: ContainerConfig) -> oci.ContainerConfig:
    values = {key: value for key, value in msgspec.to_builtins(config).items() if value is not None}
    return msgspec.convert(values, oci.ContainerConfig)
