"""The engine killed before every operation that lasts: whatever it was doing is done or was never begun.

``tests/harness/crashpoints.py`` runs cortend and kills it; a scenario first runs once to count its points, then once for
each point that is tried. After each kill the engine starts again and everything is looked at: what the client was told,
the store, and what may leak.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.crash_scenarios import PULLED, SCENARIOS, Scenario
from tests.e2e.test_crash import eventually, remains
from tests.harness.engine import EngineProcess
from tests.harness.registry import RegistryProcess

pytestmark = pytest.mark.root

SEED = 20261127
SHORT_POINTS = 1


class Crashing:
    """An engine that can be stopped at its n-th lasting operation."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine
        self.control = engine.root / "control"
        self.control.mkdir()
        engine.program = ["-m", "tests.harness.crashpoints", str(self.control)]

    def arm(self, point: int) -> None:
        """From now on count, and die before the ``point``-th operation (0: never)."""
        assert self.engine.process is not None
        (self.control / "places").unlink(missing_ok=True)
        (self.control / "point").write_text(str(point))
        self.engine.process.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + 10
        while not (self.control / "places").exists() or not self.places:
            assert time.monotonic() < deadline, "the engine does not count"
            time.sleep(0.005)
        (self.control / "point").unlink()

    @property
    def places(self) -> list[str]:
        """What was counted, after the line that says that counting has begun."""
        return (self.control / "places").read_text().splitlines()

    def died(self) -> bool:
        """Whether it has; waits for the end of one that is dying."""
        assert self.engine.process is not None
        try:
            self.engine.process.wait(0.2)
        except Exception:  # it lives
            return False
        assert self.engine.process.returncode == -signal.SIGKILL, self.engine.log.read_text()[-2000:]
        return True


@pytest.fixture(scope="module")
def crashing(busybox_tar: Path) -> Iterator[Crashing]:
    with RegistryProcess.running(), EngineProcess.running() as engine:
        engine.stop()
        crashing = Crashing(engine)
        engine.start()
        engine.import_image(busybox_tar, "busybox:latest")
        stock(engine)
        yield crashing


def stock(engine: EngineProcess) -> None:
    """What scenarios need: an image in the registry and the same as an archive, none of it here."""
    engine.docker("run", "--name", "differs", "busybox", "sh", "-c", "echo pulled > /pulled")
    engine.docker("commit", "differs", PULLED)
    engine.docker("rm", "differs")
    engine.docker("push", "-q", PULLED)
    engine.docker("tag", PULLED, "loaded:latest")
    engine.docker("save", "-o", str(engine.root / "archive.tar"), "loaded:latest")
    engine.docker("rmi", PULLED, "loaded:latest")


def once(crashing: Crashing, scenario: Scenario, point: int) -> str:
    """One scenario with a kill; where it was killed, or nothing when it was over before."""
    engine = crashing.engine
    scenario.prepare()
    crashing.arm(point)
    told = scenario.act()
    died = crashing.died()
    place = crashing.places[-1] if died else ""
    if not died and point:
        engine.kill()
    if died or point:
        engine.start()
    try:
        assert not [line for line in engine.verify() if not line.startswith("orphan")]
        if told:
            assert scenario.done(), "a client was told of something that is not there"
        scenario.again()
        scenario.clear()
        eventually(lambda: leaks(engine), {})
    except AssertionError as error:
        raise AssertionError(f"{scenario.name} at {point} ({place or 'over'}), told: {told}: {error}") from error
    return place


def leaks(engine: EngineProcess) -> dict[str, list[str]]:
    return {kind: found for kind, found in remains(engine).items() if found}


def count(crashing: Crashing, scenario: Scenario) -> int:
    """How many points a scenario has."""
    once(crashing, scenario, 0)
    return len(crashing.places) - 1


def a_day_passes(engine: EngineProcess) -> None:
    """Finished layers of an interrupted pull may be asked for again: what nothing names is kept for a day."""
    yesterday = time.time() - 25 * 3600
    for pattern in ("content/blobs/*/*", "layers/*"):
        for path in engine.data_root.glob(pattern):
            os.utime(path, (yesterday, yesterday))


def after_a_stop(engine: EngineProcess) -> list[str]:
    """Everything that is wrong with the store, to the last leftover."""
    engine.stop()
    found = engine.verify()
    engine.start()
    return found


def sweep(crashing: Crashing, kind: type[Scenario], points: Sequence[int] | None) -> None:
    """Try these points of a scenario, or all."""
    engine = crashing.engine
    scenario = kind(engine, engine.root / "archive.tar")
    number = count(crashing, scenario)
    assert number > 0
    chosen = points if points is not None else range(1, number + 1)
    found = []
    for point in chosen:
        try:
            once(crashing, scenario, point)
        except AssertionError as error:
            found.append(str(error))
    assert not found, "\n\n".join(found)


def collected(engine: EngineProcess) -> None:
    """Whatever the kills left is gone once it is old enough; then the store is clean to the last file."""
    engine.stop()
    a_day_passes(engine)
    engine.start()
    eventually(lambda: after_a_stop(engine), [])


@pytest.mark.parametrize("kind", SCENARIOS, ids=lambda kind: kind.name)
def test_crash_points_short(crashing: Crashing, kind: type[Scenario]) -> None:
    chosen = random.Random(f"{SEED} {kind.name}")
    sweep(crashing, kind, sorted(chosen.sample(range(1, 20), SHORT_POINTS)))
    if kind is SCENARIOS[-1]:
        collected(crashing.engine)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", SCENARIOS, ids=lambda kind: kind.name)
def test_crash_points(crashing: Crashing, kind: type[Scenario]) -> None:
    sweep(crashing, kind, None)
    collected(crashing.engine)
