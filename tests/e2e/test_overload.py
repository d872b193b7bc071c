"""Many clients at once: nothing fails, the engine answers throughout, and nothing but the steady containers is left."""

from __future__ import annotations

import pytest
from bench.rows.scale import start_many

from tests.harness.engine import EngineProcess
from tests.harness.load import generate

pytestmark = pytest.mark.root


def overload(engine: EngineProcess, *, running: int, clients: int, seconds: float) -> None:
    steady = start_many(str(engine.socket), running, clients=4)
    report = generate(str(engine.socket), steady, clients=clients, seconds=seconds)
    assert report.failures == []
    assert report.rounds >= clients
    assert report.pings
    rows = engine.api("GET", "/containers/json?all=1")
    assert sorted(row["Id"] for row in rows) == sorted(steady)
    assert {row["State"] for row in rows} == {"running"}
    problems = [line for line in engine.log.read_text().splitlines() if "level=error" in line]
    assert problems == []


def test_many_clients(fresh_engine: EngineProcess) -> None:
    overload(fresh_engine, running=12, clients=10, seconds=3)


@pytest.mark.long
def test_fifty_clients_beside_three_hundred_containers(fresh_engine: EngineProcess) -> None:
    overload(fresh_engine, running=300, clients=50, seconds=60)
