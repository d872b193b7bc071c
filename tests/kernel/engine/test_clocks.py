"""A clock that is set while containers run: what is measured from their start goes by another one.

The engine's own clock jumps; the machine's, and the shim's, stay right.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.kernel.engine.conftest import WAIT, Site
from tests.kernel.engine.test_health import shell, when
from tests.kernel.engine.test_restarts import policy, until

from corten.api.filters import Filters

pytestmark = pytest.mark.root

HOUR = 3600 * 10**9
MS = 10**6


class Clock:
    """``time.time_ns`` of this process, ``offset`` ns off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 0
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + self.offset)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("hours", [2, -2])
def test_a_start_period_is_as_long_as_was_said(site: Site, clock: Clock, hours: int) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            check = shell("exit 1", Retries=1, StartPeriod=HOUR, StartInterval=20 * MS, Interval=20 * MS)
            await site.create(engine, "sleep", "100", name="young", Healthcheck=check)
            await engine.containers.start("young")
            await when(engine, "young", lambda health: len(health.Log) == 2)
            clock.offset = hours * HOUR
            before = time.time_ns()
            shown = await when(engine, "young", lambda health: sum(_at(r.Start) >= before for r in health.Log) == 5)
            assert (shown.State.Health.Status, shown.State.Health.FailingStreak) == ("starting", 0)

    asyncio.run(scenario())


def _at(text: str) -> int:
    """Nanoseconds of ``2026-01-31T12:00:00.123456789Z``."""
    import calendar

    whole, _, rest = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(rest.ljust(9, "0"))


@pytest.mark.parametrize("hours", [2, -2])
def test_a_restart_waits_no_longer_and_its_run_counts_no_longer(site: Site, clock: Clock, hours: int) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            await site.create(engine, "sh", "-c", "sleep 0.3; exit 7", name="loop", host=policy("on-failure", 3))
            await engine.containers.start("loop")
            await until(engine, "loop", "running")
            clock.offset = hours * HOUR
            shown = await until(engine, "loop", "exited")
            assert shown.RestartCount == 3
            record = engine.containers._roster.find("loop").record
            assert record.state.backoff_ms == 400, "each run was short: the pause has doubled each time"
            wanted = Filters({"event": ["die"]})
            history = engine.events.subscribe(since_ns=0, until_ns=time.time_ns() + 9 * HOUR, filters=wanted)
            durations = []
            async for message in history:
                durations.append(message.Actor.Attributes["execDuration"])
                if len(durations) == 4:
                    break
            assert durations == ["0"] * 4

    asyncio.run(scenario())


def test_events_of_a_clock_that_was_set_back_are_found_by_it(site: Site, clock: Clock) -> None:
    async def scenario() -> None:
        async with site.running() as engine:
            clock.offset = HOUR
            await site.create(engine, "true", name="before")
            clock.offset = 0
            began = time.time_ns()
            await site.create(engine, "true", name="after")
            wanted = Filters({"event": ["create"]})
            found = engine.events.subscribe(since_ns=began, until_ns=began + 60 * 10**9, filters=wanted)
            message = await asyncio.wait_for(anext(aiter(found)), WAIT)
            assert message.Actor.Attributes["name"] == "after"

    asyncio.run(scenario())
