"""``create``: from a request to a committed record with its files.

 (1) refuse what is wrong or not built            (5) find or make its volumes, copy image content into new ones
 (2) take the name                                (6) snapshot and directory
 (3) find the image, which now is in use; merge   (7) commit the record: from here on it exists
 (4) fill Docker's defaults in                    (8) event ``create``

Everything before (7) is undone when a later step fails; what a crash leaves is swept at the next start, because no
record names it.
"""

import asyncio
import os
import secrets
import shutil
import time
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from corten.api.types.container import ContainerConfig, ContainerCreate, ContainerCreateResponse, HostConfig
from corten.api.types.network import NetworkingConfig
from corten.engine.config import EngineConfig
from corten.engine.containers import logging
from corten.engine.containers.facts import network_request
from corten.engine.containers.joins import JOIN, Joins
from corten.engine.containers.links import Links
from corten.engine.containers.notices import Notices
from corten.engine.health.checks import Health, check_of
from corten.engine.host import security_modules
from corten.engine.images.service import ImageService
from corten.engine.mounts import MountPoint, merge_mounts, parse_bind, parse_mount, parse_volumes_from
from corten.engine.names import check_name, generate_name
from corten.engine.networks.service import NetworkService
from corten.engine.record import ContainerRecord, State
from corten.engine.roster import Roster, short
from corten.engine.runtimes import Runtimes
from corten.engine.spec import checks, foreign, merge, refusals
from corten.engine.spec.completion import complete
from corten.engine.spec.limits import HostLimits, check_limits
from corten.engine.spec.storage import tree_limit
from corten.engine.userns import UserNamespaces
from corten.engine.volumes import VolumeService
from corten.errors import InvalidArgument, NoSuchContainer
from corten.logs import driver
from corten.storage.snapshot import Snapshotter
from corten.storage.trees import Mount


class Creator:
    """Makes containers."""

    def __init__(
        self,
        config: EngineConfig,
        limits: HostLimits,
        roster: Roster,
        images: ImageService,
        networks: NetworkService,
        volumes: VolumeService,
        snapshotter: Snapshotter,
        joins: Joins,
        links: Links,
        user_namespaces: UserNamespaces,
        runtimes: Runtimes,
        notices: Notices,
    ) -> None:
        self._config = config
        self._limits = limits
        self._modules = security_modules()
        self._roster = roster
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._snapshotter = snapshotter
        self._joins = joins
        self._links = links
        self._user_namespaces = user_namespaces
        self._runtimes = runtimes
        self._notices = notices

    async def create(self, body: ContainerCreate, *, name: str, platform: str) -> ContainerCreateResponse:
        """The new container's id and what the caller should be warned of.

        Raises:
            CortenError: with Docker's text; nothing is left behind.
        """
        client, host = split(body)
        host, warnings = self._check(client, host)  # (1)
        await self._user_namespaces.check(host)
        warnings += self._check_runtime(host)
        container_id = secrets.token_hex(32)
        async with AsyncExitStack() as undo:
            taken = check_name(name) if name else generate_name(self._roster.has_name)
            self._roster.reserve_name(taken, container_id)  # (2)
            undo.callback(self._roster.free_name, taken, container_id)
            image = await self._images.resolve(client.Image, platform=platform)  # (3)
            self._use(image.id, container_id, undo)
            config = merge.merge(client, image.config.config)
            command = merge.command_line(config)
            checks.check(config, host, self._modules)
            host = self._joins.with_ids(host)
            config, host = complete(config, host, self._hostname(host, container_id), self._config)  # (4)
            record = ContainerRecord(
                id=container_id,
                name=taken,
                created_ns=time.time_ns(),
                path=command[0],
                args=tuple(command[1:]),
                config=config,
                host=host,
                networking=_endpoints(body.NetworkingConfig),
                image_id=str(image.id),
                chain_id=str(image.chain_id or ""),
                platform="linux",
                state=State(health=Health() if check_of(config) else None),
            )
            driver.validate(host.LogConfig.Type, host.LogConfig.Config or {})
            logging.check(record)
            self._networks.validate(network_request(record))
            record = msgspec.structs.replace(record, links=self._links.register(record))
            points = tuple([await self._with_image(point) for point in self._mounts(record)])
            for user, used in msgspec.structs.replace(record, mounts=points).images():
                self._use(used, user, undo)
            volumes = await self._volumes.resolve(points, image.chain_id, container_id, undo)  # (5)
            record = msgspec.structs.replace(record, mounts=volumes)
            undo.callback(self._delete_files, container_id)
            make_files = partial(self._make_files, record)
            container, rootfs = await self._roster.add(record, make_files)  # (6) (7)
            container.rootfs = rootfs
            undo.pop_all()
        self._volumes.settle(container.record)
        self._notices.container(container.record, "create")  # (8)
        return ContainerCreateResponse(Id=container_id, Warnings=warnings)

    def _use(self, image_id: str, user: str, undo: AsyncExitStack) -> None:
        """Nobody removes the image from here on, until the container is gone or was never made."""
        self._images.in_use(image_id, user)
        undo.callback(self._images.release, image_id, user)

    def _check(self, config: ContainerConfig, host: HostConfig) -> tuple[HostConfig, list[str]]:
        """What this host can do of it, and warnings of what it cannot."""
        if not config.Image:
            raise InvalidArgument("config cannot be empty in order to create a container")
        refusals.refuse(config, host)
        checks.check(config, host, self._modules)
        self._snapshotter.check_limit(tree_limit(host.StorageOpt))
        host, warnings = check_limits(host, self._limits)
        if host.NetworkMode == "host" and host.PortBindings:
            warnings.append("Published ports are discarded when using host network mode")
        return host, warnings

    def _check_runtime(self, host: HostConfig) -> list[str]:
        """Warnings about the runtime; NotSupported for what it cannot give."""
        warnings = self._runtimes.check(host.Runtime)
        runtime = self._runtimes.find(host.Runtime or self._runtimes.default)
        if runtime is not None:
            init = self._config.default_init if host.Init is None else host.Init
            program = self._runtimes.init() if init else ""
            foreign.check(runtime, user_namespace=self._user_namespaces.applies(host), wants_init=init, init=program)
        return warnings

    def _hostname(self, host: HostConfig, container_id: str) -> str:
        """The short id, or the name of the container whose network is shared."""
        if host.NetworkMode.startswith(JOIN):
            return self._roster.find(host.NetworkMode.removeprefix(JOIN)).record.config.Hostname
        return short(container_id)

    async def _with_image(self, point: MountPoint) -> MountPoint:
        """An image that is to be mounted, found; other mounts as they are."""
        if point.type != "image":
            return point
        image = await self._images.resolve(point.source)
        layers = await asyncio.to_thread(self._snapshotter.lowers, image.chain_id)
        if not layers:
            raise InvalidArgument(f"image {point.source} has no files to mount")
        return msgspec.structs.replace(point, image=str(image.id), layers=tuple(map(str, layers)))

    def _make_files(self, record: ContainerRecord) -> list[Mount]:
        rootfs = self._snapshotter.prepare(record.id, record.chain, record.tree_limit)
        os.makedirs(f"{self._config.container_directory(record.id)}/log", 0o700)
        return rootfs

    def _delete_files(self, container_id: str) -> None:
        self._snapshotter.remove(container_id)
        shutil.rmtree(self._config.container_directory(container_id), ignore_errors=True)

    def _origin(self, reference: str) -> ContainerRecord:
        try:
            return self._roster.find(reference).record
        except NoSuchContainer as exc:  # not as "not found": clients would take it for the image
            raise InvalidArgument(str(exc)) from exc

    def _mounts(self, record: ContainerRecord) -> tuple[MountPoint, ...]:
        host = record.host
        inherited = []
        for text in host.VolumesFrom or ():
            reference, mode = parse_volumes_from(text)
            for point in self._origin(reference).mounts:
                read_only = point.read_only or mode.split(",")[0] == "ro"
                inherited.append(msgspec.structs.replace(point, read_only=read_only, origin="from", anonymous=False))
        binds = [parse_bind(text, host.VolumeDriver) for text in host.Binds or ()]
        mounts = [parse_mount(mount) for mount in host.Mounts or ()]
        return merge_mounts(inherited, binds, mounts, record.config.Volumes or (), host.Tmpfs or ())


def _endpoints(networking: NetworkingConfig | None) -> NetworkingConfig:
    """What clients call ``default`` is the bridge."""
    endpoints = dict((networking and networking.EndpointsConfig) or {})
    if "default" in endpoints:
        endpoints.setdefault("bridge", endpoints.pop("default"))
    return NetworkingConfig(EndpointsConfig=endpoints)


def split(body: ContainerCreate) -> tuple[ContainerConfig, HostConfig]:
    """The request's two halves; a command given as one text is one word, as Docker reads it."""
    values = {field: getattr(body, field) for field in ContainerConfig.__struct_fields__}
    for field in ("Cmd", "Entrypoint"):
        if isinstance(values[field], str):
            values[field] = [values[field]]
    return ContainerConfig(**values), body.HostConfig or HostConfig()
