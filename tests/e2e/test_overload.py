"""Too much at once, of clients, memory or processes: what is asked of the engine is answered throughout, nothing fails
but what asked for too much, and the steady containers run on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bench.api import Api
from bench.rows.scale import start_many

from tests.harness.engine import EngineProcess
from tests.harness.load import generate, one_round

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


SMALL = 16 << 20
HOGS = {
    "anonymous": ({}, ["awk", 'BEGIN { x = "a"; while (1) x = x x }']),
    "tmpfs": ({"Tmpfs": {"/t": "size=1g"}}, ["dd", "if=/dev/zero", "of=/t/x", "bs=1M"]),
    "shm": ({"ShmSize": 1 << 30}, ["dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M"]),
}


@contextmanager
def answering(engine: EngineProcess, steady: list[str]) -> Iterator[None]:
    """Beside the block clients do their rounds with the steady containers, and none of it fails."""
    over, failures, rounds = threading.Event(), [], []

    def client() -> None:
        api = Api(str(engine.socket))
        try:
            while not over.is_set() or not rounds:
                one_round(api, steady[len(rounds) % len(steady)])
                rounds.append(1)
        except Exception as exc:
            failures.append(exc)
        api.close()

    clients = [threading.Thread(target=client) for _ in range(2)]
    for thread in clients:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in clients:
            thread.join()
    assert failures == []
    assert rounds


def remains(engine: EngineProcess, steady: list[str]) -> None:
    for container in steady:
        state = engine.api("GET", f"/containers/{container}/json")
        assert state["State"]["Running"]
        assert (state["State"]["OOMKilled"], state["RestartCount"]) == (False, 0)
    problems = [line for line in engine.log.read_text().splitlines() if "level=error" in line]
    assert problems == []


@pytest.mark.parametrize("kind", HOGS)
def test_memory_hogs_end_and_their_neighbours_do_not(fresh_engine: EngineProcess, kind: str) -> None:
    """Four at once, each killed by its own limit; one that its policy starts again is killed each time."""
    options, command = HOGS[kind]
    steady = start_many(str(fresh_engine.socket), 2, clients=2)
    host = {"NetworkMode": "none", "Memory": SMALL, "MemorySwap": SMALL, **options}
    with answering(fresh_engine, steady):
        api = Api(str(fresh_engine.socket))
        hogs = [api.run(command, host) for _ in range(4)]
        for hog in hogs:
            assert api.call("POST", f"/containers/{hog}/wait")["StatusCode"] == 137
            state = api.call("GET", f"/containers/{hog}/json")["State"]
            assert (state["Status"], state["OOMKilled"], state["ExitCode"]) == ("exited", True, 137)
        again = api.run(command, {**host, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})
        while (shown := api.call("GET", f"/containers/{again}/json"))["State"]["Status"] != "exited":
            time.sleep(0.05)
        assert (shown["RestartCount"], shown["State"]["OOMKilled"]) == (2, True)
        for container in (*hogs, again):
            api.call("DELETE", f"/containers/{container}?force=1")
        api.close()
    remains(fresh_engine, steady)


def test_fork_bombs_meet_their_limit_and_are_removed(fresh_engine: EngineProcess) -> None:
    steady = start_many(str(fresh_engine.socket), 2, clients=2)
    with answering(fresh_engine, steady):
        api = Api(str(fresh_engine.socket))
        bomb = 'BEGIN { while (1) system("sleep 1000 &") }'  # goes on where the kernel refuses; a shell gives up
        host = {"NetworkMode": "none", "PidsLimit": 40, "Memory": 64 << 20, "MemorySwap": 64 << 20}
        bombs = [api.run(["awk", bomb], host) for _ in range(2)]
        for container in bombs:
            stats = {}
            while stats.get("current", 0) < 39:
                stats = api.call("GET", f"/containers/{container}/stats?stream=0&one-shot=1")["pids_stats"]
            assert stats["current"] <= stats["limit"] == 40
        for container in bombs:
            api.call("DELETE", f"/containers/{container}?force=1")
        api.close()
    remains(fresh_engine, steady)
