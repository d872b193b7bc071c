"""``container prune``: remove those that do not run."""

import asyncio
import time
from pathlib import Path
from typing import Final

from corten.api.filters import Filters
from corten.api.types.container import ContainerPruneResponse
from corten.engine.containers.notices import Notices
from corten.engine.containers.remove import Remover
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.engine.times import parse_time
from corten.errors import Conflict, InvalidArgument, NotFound
from corten.storage import survey

ACCEPTED: Final = frozenset({"label", "label!", "until"})


class Pruner:
    """Removes stopped containers."""

    def __init__(self, roster: Roster, remover: Remover, data_root: str, notices: Notices) -> None:
        self._roster = roster
        self._remover = remover
        self._root = Path(data_root)
        self._notices = notices

    async def prune(self, filters: Filters) -> ContainerPruneResponse:
        """Ids removed and bytes of disk freed, logs too; one that was started or removed meanwhile is passed over."""
        filters.check(ACCEPTED)
        until = filters.values("until")
        if len(until) > 1:
            raise InvalidArgument("more than one until filter specified")
        limit = parse_time(until[0], time.time_ns()) if until else None
        gone, freed = [], 0
        for container in self._roster:
            record = container.record
            if record.state.active or not selected(record, filters, limit):
                continue
            size = await asyncio.to_thread(survey.of_container, self._root, record.id)
            try:
                await self._remover.discard(container, volumes=False)
            except (Conflict, NotFound):
                continue
            gone.append(record.id)
            freed += size
        self._notices.pruned("container", freed)
        return ContainerPruneResponse(ContainersDeleted=gone, SpaceReclaimed=freed)


def selected(record: ContainerRecord, filters: Filters, limit_ns: int | None) -> bool:
    """Whether prune's filters take it; pure."""
    labels = record.config.Labels or {}
    refused = filters.has("label!") and Filters({"label": filters.values("label!")}).match_labels("label", labels)
    return filters.match_labels("label", labels) and not refused and (limit_ns is None or record.created_ns < limit_ns)
