"""``diff`` and ``export``: what a container changed, and everything it sees, read from its layers without a mount."""

from collections.abc import AsyncIterator
from concurrent.futures import Executor

from corten.api.types.container import FilesystemChange
from corten.engine.containers.archive import printable
from corten.engine.containers.notices import Notices
from corten.engine.lifecycle import Status
from corten.engine.roster import Roster
from corten.engine.threads import complete, stream
from corten.errors import Conflict, NotFound
from corten.storage.snapshot import Snapshotter


class Exporter:
    """Carries out both."""

    def __init__(self, pool: Executor, roster: Roster, snapshotter: Snapshotter, notices: Notices) -> None:
        self._pool = pool
        self._roster = roster
        self._snapshotter = snapshotter
        self._notices = notices

    async def changes(self, reference: str) -> list[FilesystemChange]:
        """``GET /containers/{id}/changes``."""
        container_id = self._roster.find(reference).id

        def read() -> list[FilesystemChange]:
            found = self._snapshotter.changes(container_id)
            return [FilesystemChange(Path=printable(path), Kind=int(kind)) for path, kind in found]

        try:
            return await complete(self._pool, read)
        except NotFound:
            return []  # its tree was never written to and a power cut took it

    async def export(self, reference: str) -> AsyncIterator[bytes]:
        """``GET /containers/{id}/export``: the stream, once it can be made."""
        container = self._roster.find(reference)
        status = container.record.state.status
        if status is Status.DEAD:
            raise Conflict(f"You cannot export container {container.id} which is Dead")
        if status is Status.REMOVING or container.removing:
            raise Conflict(f"You cannot export container {container.id} which is being removed")
        record = container.record
        await complete(self._pool, lambda: self._snapshotter.prepare(record.id, record.chain, record.tree_limit))
        self._notices.container(container.record, "export")
        return stream(self._pool, self._snapshotter.export(container.id))
