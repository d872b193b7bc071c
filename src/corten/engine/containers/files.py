"""What is inside a container, from outside: ``cp``, ``diff``, ``export`` and ``commit`` as one service.

Owns the making of its collaborators and their threads. Refuses to do anything itself: each verb is a bound method of
the one collaborator that knows it.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from corten.engine.containers.archive import Copier
from corten.engine.containers.changes import Exporter
from corten.engine.containers.commit import ContainerCommitter
from corten.engine.containers.facts import HostFacts
from corten.engine.containers.notices import Notices
from corten.engine.containers.pause import Pauser
from corten.engine.containers.views import Views
from corten.engine.images.service import ImageService
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.volumes import VolumeService
from corten.storage.snapshot import Snapshotter

#: Each copy into a container keeps a thread while it waits for its client's bytes, so they are not asyncio's own.
THREADS: Final = 16


class ContainerFiles:
    """One for the whole engine."""

    def __init__(
        self,
        roster: Roster,
        shim: Shim,
        snapshotter: Snapshotter,
        volumes: VolumeService,
        images: ImageService,
        facts: HostFacts,
        pauser: Pauser,
        notices: Notices,
    ) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        copier = Copier(self._pool, roster, Views(shim, snapshotter, volumes, facts), notices)
        exporter = Exporter(self._pool, roster, snapshotter, notices)
        committer = ContainerCommitter(roster, snapshotter, images.committer, pauser, notices)
        self.look, self.archive, self.extract = copier.look, copier.archive, copier.extract
        self.changes, self.export, self.commit = exporter.changes, exporter.export, committer.commit

    def close(self) -> None:
        """End the worker threads; their work has ended with the requests that asked for it."""
        self._pool.shutdown(wait=True, cancel_futures=True)
