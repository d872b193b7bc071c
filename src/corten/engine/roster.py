"""Every container of the engine: lookup by id, prefix and name, the lock of each, and its record's commits.

Owns the indexes, the one way to hold a container still (:meth:`Roster.exclusive`) and the order "commit, then believe".
Refuses to know what a use case does between.
"""

import asyncio
import bisect
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from corten.engine import record as records
from corten.engine.record import ContainerRecord
from corten.engine.tasks import Container
from corten.errors import InvalidArgument, NameInUse, NoSuchContainer
from corten.storage.metadata import Database, Transaction

T = TypeVar("T")

SHORT_ID = 12
#: How long an amended record may wait for its commit.
FLUSH_SECONDS = 1.0


class Roster:
    """The containers, in memory as on disk; used on the event loop's thread only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._containers: dict[str, Container] = {}
        self._names: dict[str, str] = {}
        self._sorted: list[str] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._durable_writes = 0
        self._amended: set[Container] = set()
        self._flushing: asyncio.Task[None] | None = None

    def load(self) -> list[str]:
        """Read every record; one that cannot be decoded is quarantined and told in the answer, never fatal."""
        problems = []
        for key, value in self._database.load(records.COLLECTION):
            try:
                record = records.decode(value)
                if record.id != key:
                    raise msgspec.DecodeError(f"it says that it is {record.id}")
                self._admit(Container(record))
            except msgspec.MsgspecError as exc:
                self._database.quarantine(records.COLLECTION, key, str(exc))
                problems.append(f"container {key}: {exc}; its record was set aside")
        return problems

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._containers.values()))

    def __len__(self) -> int:
        return len(self._containers)

    def get(self, container_id: str) -> Container | None:
        """By full id only."""
        return self._containers.get(container_id)

    def has_name(self, name: str) -> bool:
        """Whether a container or a creation in progress holds ``name``."""
        return name in self._names

    def find(self, reference: str) -> Container:
        """By full id, then name (with or without a leading slash; ``PARENT/ALIAS`` of a link too), then unique id
        prefix: Docker's order.

        Raises:
            InvalidArgument: an empty reference, or a prefix of several ids.
            NoSuchContainer: nothing matches.
        """
        if not reference:
            raise InvalidArgument("No container name or ID supplied")
        container = self._containers.get(reference)
        if container is None:
            name = reference.removeprefix("/")
            named = self._names.get(name) or self._linked(name)
            container = self._containers.get(named or self._by_prefix(reference))
        if container is None:
            raise NoSuchContainer(reference)
        return container

    def _linked(self, name: str) -> str:
        """The container that ``PARENT/ALIAS`` names."""
        parent_name, _, alias = name.partition("/")
        parent = self._containers.get(self._names.get(parent_name, ""))
        links = parent.record.links if parent is not None and alias else ()
        return next((link.container_id for link in links if link.alias == alias), "")

    def _by_prefix(self, prefix: str) -> str:
        place = bisect.bisect_left(self._sorted, prefix)
        found = self._sorted[place : place + 2]
        if not found or not found[0].startswith(prefix):
            return ""
        if len(found) == 2 and found[1].startswith(prefix):
            raise InvalidArgument(f"Multiple IDs found with provided prefix: {prefix}")
        return found[0]

    @asynccontextmanager
    async def exclusive(self, reference: str) -> AsyncIterator[Container]:
        """The container, held: no other use case of the same container runs inside this block.

        Raises:
            NoSuchContainer: also when it was removed while this caller waited.
        """
        container = self.find(reference)
        async with container.lock:
            if self._containers.get(container.record.id) is not container:
                raise NoSuchContainer(reference)
            yield container

    def reserve_name(self, name: str, container_id: str) -> None:
        """Take ``name`` for ``container_id``; raises NameInUse."""
        holder = self._names.get(name)
        if holder is not None and holder != container_id:
            raise NameInUse(name, holder)
        self._names[name] = container_id

    def free_name(self, name: str, container_id: str) -> None:
        """Give up a reserved name; harmless when it is another's."""
        if self._names.get(name) == container_id:
            del self._names[name]

    async def add(self, record: ContainerRecord, make_files: Callable[[], T]) -> tuple[Container, T]:
        """Commit a new container, then index it; its name must be reserved.

        ``make_files`` is called first, in the thread that commits, and its answer comes back: one switch of threads for
        both.
        """
        value = records.encode(record)

        def make() -> T:
            made = make_files()
            with self._database.transaction(durable=not record.host.AutoRemove) as change:
                change.put(records.COLLECTION, record.id, value)
            return made

        made = await self._in_writer(make)
        container = Container(record)
        self._admit(container)
        return container, made

    async def update(self, container: Container, record: ContainerRecord, *, durable: bool = False) -> None:
        """Commit a changed record, then believe it."""
        await self._commit(record, durable=durable)
        container.record = record

    def amend(self, container: Container, record: ContainerRecord) -> None:
        """Believe a changed record that is committed within FLUSH_SECONDS: a crash may cost what changed in it."""
        container.record = record
        self._amended.add(container)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush_later())

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_SECONDS)
        self._flushing = None
        rows = self._take_amended()
        await self._transact(lambda change: _put(change, rows), durable=False)

    def _take_amended(self) -> list[tuple[str, bytes]]:
        amended, self._amended = self._amended, set()
        known = [container for container in amended if self._containers.get(container.id) is container]
        return [(container.id, records.encode(container.record)) for container in known]

    async def discard(self, container: Container) -> None:
        """Delete the record, then forget the container, its names and its descriptors."""
        container_id = container.record.id
        await self._transact(lambda change: change.delete(records.COLLECTION, container_id), durable=False)
        self.forget(container)

    def forget(self, container: Container) -> None:
        """Drop a container from memory."""
        container_id = container.record.id
        self._containers.pop(container_id, None)
        self.free_name(container.record.name, container_id)
        place = bisect.bisect_left(self._sorted, container_id)
        if place < len(self._sorted) and self._sorted[place] == container_id:
            del self._sorted[place]
        container.close()

    def close(self) -> None:
        """Commit what was amended and let the writer finish; the database is its owner's to close."""
        if self._flushing is not None:
            self._flushing.cancel()
        self._writer.shutdown()
        with self._database.transaction() as change:
            _put(change, self._take_amended())
        for container in self._containers.values():
            container.close()

    def _admit(self, container: Container) -> None:
        record = container.record
        self._containers[record.id] = container
        self._names[record.name] = record.id
        bisect.insort(self._sorted, record.id)

    async def _commit(self, record: ContainerRecord, *, durable: bool) -> None:
        value = records.encode(record)
        await self._transact(lambda change: change.put(records.COLLECTION, record.id, value), durable=durable)

    async def _transact(self, change: Callable[[Transaction], None], *, durable: bool) -> None:
        """A NORMAL commit is quicker than a thread switch and runs here, unless it would wait for our own fsync."""

        def write() -> None:
            with self._database.transaction(durable=durable) as transaction:
                change(transaction)

        if not durable and not self._durable_writes:
            write()
            return
        await self._in_writer(write)

    async def _in_writer(self, work: Callable[[], T]) -> T:
        self._durable_writes += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, work)
        finally:
            self._durable_writes -= 1


def _put(change: Transaction, rows: list[tuple[str, bytes]]) -> None:
    for container_id, value in rows:
        change.put(records.COLLECTION, container_id, value)


def short(container_id: str) -> str:
    """The twelve characters users see."""
    return container_id[:SHORT_ID]
