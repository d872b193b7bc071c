"""The noun ``container``: one method for each thing the API does with it.

Only hands over to the use cases, which hold the rules; what several of them need in turn (restart) is composed here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from corten.api.filters import Filters
from corten.api.types.container import (
    ContainerCreate,
    ContainerCreateResponse,
    ContainerInspect,
    ContainerPruneResponse,
    ContainerSummary,
    ContainerUpdateResponse,
    HostConfig,
    TopResponse,
)
from corten.engine.containers import logs as container_logs
from corten.engine.containers.attach import Attacher
from corten.engine.containers.create import Creator
from corten.engine.containers.facts import HostFacts
from corten.engine.containers.links import Links
from corten.engine.containers.listing import Listing
from corten.engine.containers.notices import Notices
from corten.engine.containers.pause import Pauser
from corten.engine.containers.prune import Pruner
from corten.engine.containers.remove import Remover
from corten.engine.containers.rename import rename
from corten.engine.containers.start import Starter
from corten.engine.containers.stats import Stats
from corten.engine.containers.stop import Stopper
from corten.engine.containers.top import Top
from corten.engine.containers.update import Updater
from corten.engine.containers.wait import wait
from corten.engine.lifecycle import Status
from corten.engine.networks.service import NetworkService
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.streams import AttachOptions, ClientStream, LogsOptions, parse_detach_keys
from corten.engine.tasks import Container, Exit
from corten.errors import Conflict, CortenError, NotFound, NotModified


class ContainerService:
    """What routes call."""

    def __init__(
        self,
        roster: Roster,
        shim: Shim,
        networks: NetworkService,
        facts: HostFacts,
        links: Links,
        notices: Notices,
        *,
        creator: Creator,
        starter: Starter,
        pauser: Pauser,
        stopper: Stopper,
        remover: Remover,
        stats: Stats,
        updater: Updater,
        listing: Listing,
        pruner: Pruner,
    ) -> None:
        self._roster = roster
        self._shim = shim
        self._networks = networks
        self._facts = facts
        self._links = links
        self._notices = notices
        self._creator = creator
        self._starter = starter
        self._pauser = pauser
        self._stopper = stopper
        self._remover = remover
        self._stats = stats
        self._updater = updater
        self._listing = listing
        self._pruner = pruner
        self._attacher = Attacher(roster, shim, facts, notices)
        self._top = Top(roster, shim)

    async def create(self, body: ContainerCreate, *, name: str = "", platform: str = "") -> ContainerCreateResponse:
        """``POST /containers/create``."""
        return await self._creator.create(body, name=name, platform=platform)

    async def list(
        self, *, all: bool = False, limit: int = 0, size: bool = False, filters: Filters | None = None  # noqa: A002
    ) -> list[ContainerSummary]:  # fmt: skip
        """``GET /containers/json``."""
        return await self._listing.list(every=all, limit=limit, size=size, filters=filters or Filters())

    async def inspect(self, ref: str, *, size: bool = False) -> ContainerInspect:
        """``GET /containers/{id}/json``."""
        return await self._listing.inspect(ref, size=size)

    async def start(self, ref: str, *, detach_keys: str = "") -> None:
        """``POST /containers/{id}/start``; NotModified when it runs.

        A container with AutoRemove whose start failed is removed before the failure is told.
        """
        parse_detach_keys(detach_keys)
        async with self._roster.exclusive(ref) as container:
            refuse_start(container)
            try:
                await self._starter.start(container)
                return
            except CortenError as exc:
                failure = exc
        if container.record.host.AutoRemove:
            await self._remover.auto_remove(container)
        raise failure

    async def stop(self, ref: str, *, signal: str = "", timeout: int | None = None) -> None:
        """``POST /containers/{id}/stop``; NotModified when it does not run."""
        await self._stopper.stop(ref, signal, timeout)

    async def restart(self, ref: str, *, signal: str = "", timeout: int | None = None) -> None:
        """``POST /containers/{id}/restart``: stop (when it runs), then start; AutoRemove does not count in between."""
        container = self._roster.find(ref)
        container.restarting = True
        try:
            try:
                await self._stopper.stop(container.id, signal, timeout)
            except NotModified:
                pass
            async with self._roster.exclusive(container.id):
                refuse_start(container)
                await self._starter.start(container)
        finally:
            container.restarting = False
        self._notices.container(container.record, "restart")

    async def kill(self, ref: str, *, signal: str = "") -> None:
        """``POST /containers/{id}/kill``."""
        await self._stopper.kill(ref, signal)

    async def pause(self, ref: str) -> None:
        """``POST /containers/{id}/pause``."""
        await self._pauser.pause(ref)

    async def unpause(self, ref: str) -> None:
        """``POST /containers/{id}/unpause``."""
        await self._pauser.unpause(ref)

    async def rename(self, ref: str, name: str) -> None:
        """``POST /containers/{id}/rename``."""
        async with self._roster.exclusive(ref) as container:
            await rename(self._roster, self._networks, self._notices, container, name)

    async def update(self, ref: str, wanted: HostConfig) -> ContainerUpdateResponse:
        """``POST /containers/{id}/update``."""
        return await self._updater.update(ref, wanted)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """``DELETE /containers/{id}``."""
        if link:
            await self._links.remove(ref)
            return
        await self._remover.remove(ref, force=force, volumes=volumes)

    async def wait(self, ref: str, *, condition: str = "") -> "asyncio.Future[Exit]":
        """``POST /containers/{id}/wait``: registered when this returns; the future gives (exit code, error)."""
        return wait(self._roster.find(ref), condition)

    async def top(self, ref: str, ps_args: str = "") -> TopResponse:
        """``GET /containers/{id}/top``."""
        container = self._roster.find(ref)
        found = await self._top.top(ref, ps_args)
        self._notices.container(container.record, "top")
        return found

    def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncGenerator[bytes, None]:
        """``GET /containers/{id}/stats``: lines of JSON; raises its errors before the first."""
        self._stats.check(ref, stream=stream, one_shot=one_shot)
        return self._stats.lines(ref, stream=stream, one_shot=one_shot)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """``POST /containers/{id}/resize``."""
        container = self._roster.find(ref)
        if not container.record.state.alive:
            raise Conflict(f"container {container.id} is not running")
        try:
            await self._shim.request("resize", {"id": container.id, "height": height, "width": width})
        except NotFound:
            raise Conflict(f"container {container.id} is not running") from None
        self._notices.container(container.record, "resize", height=str(height), width=str(width))

    async def prune(self, filters: Filters | None = None) -> ContainerPruneResponse:
        """``POST /containers/prune``."""
        return await self._pruner.prune(filters or Filters())

    def check_attach(self, ref: str, options: AttachOptions) -> bool:
        """Before the response head of attach: raises its errors; returns whether there is a terminal."""
        return self._attacher.check(ref, options)

    async def attach(self, ref: str, options: AttachOptions, client: ClientStream) -> None:
        """``POST /containers/{id}/attach``, after the response head."""
        await self._attacher.attach(ref, options, client)

    def check_logs(self, ref: str, options: LogsOptions) -> bool:
        """Before the response head of logs: raises its errors; returns whether there is a terminal."""
        container = self._roster.find(ref)
        container_logs.check(container, options)
        return container.record.config.Tty

    def logs(self, ref: str, options: LogsOptions) -> AsyncIterator[bytes]:
        """``GET /containers/{id}/logs``: bytes, framed unless there is a terminal."""
        container = self._roster.find(ref)
        container_logs.check(container, options)
        return container_logs.LogStream(container, options, self._facts).chunks()


def refuse_start(container: Container) -> None:
    """Raises Docker's text when the state does not allow a start."""
    status = container.record.state.status
    if status is Status.PAUSED:
        raise Conflict("cannot start a paused container, try unpause instead")
    if status in (Status.REMOVING, Status.DEAD) or container.removing:
        raise Conflict("container is marked for removal and cannot be started")
    if container.record.state.active:
        raise NotModified("container is already running")
