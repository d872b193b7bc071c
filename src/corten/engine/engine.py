"""The engine: builds every service, starts them in order and closes them.

 (1) the roots, and that nobody else uses them      (6) the shim: connected or launched, told apart from the records
 (2) the database and the stores                    (7) what a crash left, in the background
 (3) records in memory
 (4) networks, with what the records say is attached
 (5) services

Nothing else is here: a use case lives in the service of its noun.
"""

import asyncio
import fcntl
import logging
import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from corten.cgroup import hierarchy as cgroups
from corten.cgroup.group import Group
from corten.engine import recovery, userns
from corten.engine.config import EngineConfig
from corten.engine.containers.create import Creator
from corten.engine.containers.exits import ExitHandler
from corten.engine.containers.facts import HostFacts
from corten.engine.containers.files import ContainerFiles
from corten.engine.containers.joins import Joins
from corten.engine.containers.links import Links
from corten.engine.containers.listing import Listing
from corten.engine.containers.notices import Notices
from corten.engine.containers.pause import Pauser
from corten.engine.containers.prune import Pruner
from corten.engine.containers.remove import Remover
from corten.engine.containers.restart import Restarter
from corten.engine.containers.service import ContainerService
from corten.engine.containers.start import Starter
from corten.engine.containers.stats import Stats
from corten.engine.containers.stop import Stopper
from corten.engine.containers.supervision import Supervision
from corten.engine.containers.update import Updater
from corten.engine.events import EventService
from corten.engine.execs import ExecService
from corten.engine.health.monitor import HealthMonitor
from corten.engine.housekeeping import Housekeeper
from corten.engine.images.service import ImageService
from corten.engine.limits import host_limits
from corten.engine.networks.service import NetworkService
from corten.engine.profiles import Profiles
from corten.engine.roster import Roster
from corten.engine.runtimes import Runtimes
from corten.engine.shims import Shim
from corten.engine.system import SystemService
from corten.engine.usage import UsageService
from corten.engine.userns import UserNamespaces
from corten.engine.volumes import VolumeService
from corten.errors import CortenError, Unavailable
from corten.storage import gc, reserve
from corten.storage.content import ContentStore
from corten.storage.metadata import Database
from corten.storage.snapshot import Snapshotter, open_snapshotter
from corten.storage.volume import VolumeStore

logger = logging.getLogger(__name__)

_COLLECTION: Final = "engine"


class Engine:
    """One engine over one data root; its attributes are the services, there after :meth:`start`."""

    containers: ContainerService
    execs: ExecService
    files: ContainerFiles
    images: ImageService
    volumes: VolumeService
    networks: NetworkService
    events: EventService
    system: SystemService
    usage: UsageService

    def __init__(self, config: EngineConfig) -> None:
        self._hierarchy = cgroups.detect()
        if not config.default_cgroupns_mode:
            mode = "private" if self._hierarchy.version == 2 else "host"
            config = msgspec.structs.replace(config, default_cgroupns_mode=mode)
        self.config = config
        self._remap = userns.resolve(config.userns_remap)
        self._closing = ExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._intact = True

    async def start(self) -> None:
        """Bring it up; returns when every running container is known again.

        Raises:
            Unavailable: another engine uses the data root.
        """
        self._open_roots()  # (1)
        self._open_stores()  # (2)
        problems = self._roster.load()  # (3)
        problems += await self.images.startup()
        self._intact = not problems
        for problem in problems:
            logger.error("%s", problem)
        for container in self._roster:
            for user, used in container.record.images():
                self.images.in_use(used, user)
        self.images.set_running(self._is_running)
        await self.networks.startup(
            {item.id: item.record.network for item in self._roster if item.record.network}
        )  # (4)
        self._build()  # (5)
        leftovers = recovery.find(self.config, self._roster, self._snapshotter)
        orphans = self.volumes.orphans()
        hello = await self._shim.open(self._supervision)  # (6)
        try:
            await self._user_namespaces.startup()
        except CortenError:
            await self._shim.close(shutdown=True)
            raise
        await self._supervision.reconcile(hello)
        await self._pauser.reconcile()
        await self._exits.settle()
        await self._exits.detach_idle()
        self._health.resume()
        self._restarts.begin()
        task = asyncio.get_running_loop().create_task(self._recover(leftovers, orphans))  # (7)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """Let go of everything; containers that run go on, and so does their shim."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.images.note_uses()
        await self._stats.sampler.close()
        await self._restarts.close()
        await self._health.close()
        await self._exits.settle()
        idle = not self.execs.any_running and not any(container.record.state.alive for container in self._roster)
        await self._shim.close(shutdown=idle)
        if idle:
            await asyncio.to_thread(self._drop_cgroup)
        await self.networks.close()
        await self.images.close()
        self._closing.close()

    def _open_roots(self) -> None:
        for path, mode in ((self.config.data_root, 0o700), (self.config.exec_root, 0o711)):
            os.makedirs(path, mode, exist_ok=True)
        lock = os.open(f"{self.config.data_root}/engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._closing.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._closing.close()
            raise Unavailable(
                f"another engine uses {self.config.data_root}: stop it, or name another --data-root"
            ) from None

    def _open_stores(self) -> None:
        root = Path(self.config.data_root)
        reserve.release(root)
        self._snapshotter: Snapshotter = open_snapshotter(root)  # its probe first: the database takes what it can get
        database = Database(Path(self.config.database))
        self._closing.callback(database.close)
        for problem in database.problems:
            logger.error("%s", problem)
        self._engine_id = _identity(database)
        self._volume_store = VolumeStore(root / "volumes", database)
        content = ContentStore(root / "content", self._snapshotter.layers)
        self._deletions = gc.recover(content, self._snapshotter, self._volume_store)
        for warning in (*self._volume_store.problems, *self._snapshotter.warnings):
            logger.warning("%s", warning)
        reserve.hold(root)
        self.events = EventService()
        self._roster = Roster(database)
        self._closing.callback(self._roster.close)
        self.images = ImageService(self.config, database, content, self._snapshotter.layers, self.events)
        self._housekeeper = Housekeeper(self.config, content, self.images, self.events, intact=self._intact)
        self.networks = NetworkService(self.config, self.events)

    def _build(self) -> None:
        config, roster = self.config, self._roster
        self._limits = host_limits(self._hierarchy, config.cgroup_root)
        notices = Notices(self.events)
        self._shim = shim = Shim(config.exec_root)
        joins, links = Joins(config, roster), Links(config, roster)
        facts = HostFacts(config, joins, links)
        self._user_namespaces = UserNamespaces(self._remap, config.data_root, roster, shim)
        runtimes = Runtimes(config)
        profiles = Profiles(config)
        self._closing.callback(profiles.close)
        self.volumes = VolumeService(self._volume_store, self._snapshotter, roster, notices)
        self.execs = ExecService(roster, shim, links, notices, profiles)
        self._stats = Stats(roster, self._hierarchy, facts)
        self._pauser = pauser = Pauser(roster, shim, notices)
        stopper = Stopper(roster, shim, notices, pauser, fast=config.fast_stop)
        self._remover = remover = Remover(
            config, roster, stopper, self._snapshotter, self.volumes, self.images, notices, self.execs.forget
        )
        self._health = HealthMonitor(roster, shim, profiles, links, notices, stopper.end_unhealthy)
        starter = Starter(
            config, roster, shim, self.networks, self.volumes, self._snapshotter, profiles, facts, links,
            self._user_namespaces, runtimes, notices, self._health.watch,
        )  # fmt: skip
        self._restarts = Restarter(roster, starter)
        self._exits = ExitHandler(
            roster,
            shim,
            self.networks,
            joins.memory,
            notices,
            remove=remover.auto_remove,
            restart_later=self._restarts.later,
            stop_checks=self._health.forget,
        )
        self._supervision = Supervision(
            roster, shim, self.execs, self._exits, notices, partial(recovery.end_strays, config, self._hierarchy)
        )
        listing = Listing(config, roster, self.images, self.networks, self.execs, self._snapshotter, facts, links)
        creator = Creator(
            config, self._limits, roster, self.images, self.networks, self.volumes, self._snapshotter, joins, links,
            self._user_namespaces, runtimes, notices,
        )  # fmt: skip
        self.containers = ContainerService(
            roster,
            shim,
            self.networks,
            facts,
            links,
            notices,
            creator=creator,
            starter=starter,
            pauser=pauser,
            stopper=stopper,
            remover=remover,
            stats=self._stats,
            updater=Updater(roster, self._hierarchy, self._limits, facts, notices),
            listing=listing,
            pruner=Pruner(roster, remover, config.data_root, notices),
        )
        self._build_views(listing, facts, pauser, notices)

    def _build_views(self, listing: Listing, facts: HostFacts, pauser: Pauser, notices: Notices) -> None:
        """What looks at everything: files of containers, the disk, the system."""
        config, roster, shim = self.config, self._roster, self._shim
        self.files = ContainerFiles(roster, shim, self._snapshotter, self.volumes, self.images, facts, pauser, notices)
        self._closing.callback(self.files.close)
        layers = self._snapshotter.layers
        self.usage = UsageService(config.data_root, roster, listing, self.images, self.volumes, layers)
        self.system = SystemService(
            config, self._engine_id, roster, self.images, self.networks, self.events, self._limits,
            self._snapshotter, Runtimes(config), self._housekeeper.summary, remapped=self._remap is not None,
        )  # fmt: skip

    async def _recover(self, leftovers: recovery.Leftovers, orphans: Sequence[str]) -> None:
        await recovery.finish(self._roster, self._remover)
        await self.volumes.sweep(orphans)
        await asyncio.to_thread(recovery.sweep, self.config, self._snapshotter, leftovers)
        for delete in self._deletions:
            try:
                await asyncio.to_thread(delete)
            except OSError as exc:
                logger.warning("what an earlier engine left is still there: %s", exc)
        await self.images.sweep()
        await self._housekeeper.run()

    def _drop_cgroup(self) -> None:
        """The engine's own parent cgroup, when nothing lives in it."""
        try:
            Group(self._hierarchy, self.config.cgroup_root).delete()
        except OSError as exc:
            logger.info("cgroup %s stays: %s", self.config.cgroup_root, exc)

    def _is_running(self, container_id: str) -> bool:
        container = self._roster.get(container_id.partition(":")[0])  # an image mounted: <container id>:<where>
        return container is not None and container.record.state.active


def _identity(database: Database) -> str:
    """The engine's own id, made at its first start."""
    for key, value in database.load(_COLLECTION):
        if key == "id":
            return value.decode()
    identity = secrets.token_hex(16)
    with database.transaction(durable=True) as transaction:
        transaction.put(_COLLECTION, "id", identity.encode())
    return identity
