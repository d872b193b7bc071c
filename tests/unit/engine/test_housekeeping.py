"""What the housekeeper may touch, without a disk."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, cast

import pytest

from corten.engine.config import EngineConfig
from corten.engine.events import EventService
from corten.engine.housekeeping import Housekeeper
from corten.engine.images.service import ImageService
from corten.engine.repair import QUARANTINE
from corten.storage.content import ContentStore


class Untouched:
    """Fails a test that asks it for anything but the uses it may note."""

    async def note_uses(self) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of a store whose records were lost")


def test_nothing_is_removed_when_a_record_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container nobody knows of any more may need the image that looks unused."""
    config = EngineConfig(gc_high_water=90)
    stores = Untouched()
    keeper = Housekeeper(
        config, cast("ContentStore", stores), cast("ImageService", stores), EventService(), intact=False
    )
    monkeypatch.setattr(keeper, "_percent", lambda: 99.0)
    asyncio.run(keeper.look())
    assert keeper.summary() == "above 90% down to 80%; nothing is removed at 99%: records were lost"


def test_growth_is_looked_at_at_once_and_a_burst_once(monkeypatch: pytest.MonkeyPatch) -> None:
    events = EventService()
    stores = Untouched()
    config = EngineConfig(gc_high_water=90)
    keeper = Housekeeper(config, cast("ContentStore", stores), cast("ImageService", stores), events, intact=False)
    monkeypatch.setattr("corten.engine.housekeeping.NEWS_SECONDS", 0.05)
    looks = []

    async def look() -> None:
        looks.append(time.monotonic())

    monkeypatch.setattr(keeper, "look", look)

    async def scenario() -> None:
        running = asyncio.ensure_future(keeper.run())
        await asyncio.sleep(0)
        events.publish("container", "start", "a")
        await asyncio.sleep(0.1)
        assert len(looks) == 1
        for action in ("pull", "load", "commit", "import"):
            events.publish("image", action, "a")
        await asyncio.sleep(0.2)
        assert len(looks) == 2
        running.cancel()

    asyncio.run(scenario())


def test_what_was_set_aside_stays_for_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = EngineConfig(data_root=str(tmp_path), gc_high_water=90)
    keeper = Housekeeper(
        config, ContentStore(tmp_path / "content"), cast("ImageService", Untouched()), EventService(), intact=True
    )
    (tmp_path / QUARANTINE / "layer").mkdir(parents=True)
    keeper._stale()
    assert (tmp_path / QUARANTINE / "layer").exists()
    later = time.time() + 2 * 3600
    monkeypatch.setattr("corten.engine.housekeeping.time.time", lambda: later)
    keeper._stale()
    assert not (tmp_path / QUARANTINE / "layer").exists()
