"""What is cleared away while an engine runs: leftovers once an hour, and more when the disk runs full.

Docker removes no image by itself, and neither does this engine unless it is given a high water mark
(``--gc-high-water``). It looks once a minute, and a moment after whatever brings much to the disk (a pull, a load, an
import, a commit). When the data root's file system is fuller than that mark, things go in this order until it is down
to the low mark:

 (1) transfers nobody has gone on with for an hour, and what ``doctor --fsck --repair`` set aside
     longer ago than that
 (2) blobs and layers that no record names, older than an hour
 (3) images that no container was made from: those without a name first, among each the longest unused
     (:mod:`corten.engine.images.eviction`), none that was used in the last ``--gc-min-age`` seconds

Never a volume, a container or anything that one refers to, running or not; and nothing at all when the start lost a
record, because a container nobody knows of any more may need it. Owns the order and the times; how a thing is
removed is its own service's to know.
"""

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Final

from corten.api.types.image import ImagePruneResponse
from corten.engine.config import EngineConfig
from corten.engine.events import EventService
from corten.engine.images.service import ImageService
from corten.engine.repair import QUARANTINE
from corten.errors import CortenError
from corten.linux.removal import remove_tree
from corten.storage.content import STALE_AFTER, ContentStore
from corten.storage.usage import disk_bytes

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 60.0
#: After news of growth: a burst of pulls is one look.
NEWS_SECONDS: Final = 1.0
GROWTH: Final = frozenset({"pull", "load", "import", "commit"})
LEFTOVERS_SECONDS: Final = 3600.0
HURRIED_AGE: Final = 3600.0


class Housekeeper:
    """One for the whole engine. ``intact``: every record could be read at the start."""

    def __init__(
        self, config: EngineConfig, content: ContentStore, images: ImageService, events: EventService, *, intact: bool
    ) -> None:
        self._config = config
        self._grown = asyncio.Event()
        if config.gc_high_water:
            events.observe(GROWTH, self._grown.set)
        self._intact = intact
        self._content = content
        self._images = images
        self._last = ""
        self._swept = time.monotonic()

    def summary(self) -> str:
        """For ``info``; empty when no mark was given."""
        if not self._config.gc_high_water:
            return ""
        marks = f"above {self._config.gc_high_water}% down to {self._config.gc_low_water}%"
        return f"{marks}; {self._last}" if self._last else marks

    async def run(self) -> None:
        """For ever: it is a background task of the engine."""
        while True:
            try:
                await self.look()
            except (CortenError, OSError) as exc:
                logger.warning("housekeeping: %s", exc)
            try:
                await asyncio.wait_for(self._grown.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue
            await asyncio.sleep(NEWS_SECONDS)
            self._grown.clear()

    async def look(self) -> None:
        """One look at the clock and the disk."""
        await self._images.note_uses()
        if time.monotonic() - self._swept >= LEFTOVERS_SECONDS:
            self._swept = time.monotonic()
            await asyncio.to_thread(self._content.recover)
            await self._images.sweep()
        if self._config.gc_high_water and self._percent() > self._config.gc_high_water:
            await self._make_room()

    def _percent(self) -> float:
        """How full the file system is, as df(1) counts: what root may use beyond the others is not there."""
        found = os.statvfs(self._config.data_root)
        used = found.f_blocks - found.f_bfree
        return 100.0 * used / max(1, used + found.f_bavail)

    def _low(self) -> bool:
        return self._percent() <= self._config.gc_low_water

    async def _make_room(self) -> None:
        before = self._percent()
        if not self._intact:
            self._last = f"nothing is removed at {before:.0f}%: records were lost"
            logger.warning("the disk is %.0f%% full; %s", before, self._last)
            return
        logger.warning("the data root's disk is %.0f%% full: making room", before)
        freed = await asyncio.to_thread(self._stale)  # (1)
        if not self._low():
            freed += await self._images.sweep(older_than=HURRIED_AGE)  # (2)
        removed = ImagePruneResponse(None, 0)
        if not self._low():
            removed = await self._images.make_room(self._low, time.time() - self._config.gc_min_age)  # (3)
        now = self._percent()
        deleted = sum(bool(item.Deleted) for item in removed.ImagesDeleted or ())
        self._last = f"last {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}: {before:.0f}% to {now:.0f}%"
        logger.warning(
            "made room: %d bytes and %d images and layers removed, now %.0f%% full",
            freed + removed.SpaceReclaimed, deleted, now,
        )  # fmt: skip
        if now > self._config.gc_low_water:
            logger.warning("the disk stays %.0f%% full: nothing is left that may be removed", now)

    def _stale(self) -> int:
        before = self._content.usage()
        self._content.recover(now=time.time() + STALE_AFTER - HURRIED_AGE)
        return before - self._content.usage() + self._set_aside()

    def _set_aside(self) -> int:
        """Somebody may be looking at what was set aside just now; moving it there is what changed its ctime."""
        limit, freed = time.time() - HURRIED_AGE, 0
        aside = Path(self._config.data_root) / QUARANTINE
        for entry in list(aside.iterdir()) if aside.is_dir() else ():
            if entry.lstat().st_ctime < limit:
                freed += disk_bytes(entry)
                remove_tree(entry)
        return freed
