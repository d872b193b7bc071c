"""Many containers: how fast they start, what a thousand idle ones cost, how soon an engine that has them is back.

Sizes come from the environment, so that a row can be tried small: CORTEN_BENCH_IDLE (1000), CORTEN_BENCH_RUNNING (300),
CORTEN_BENCH_STOPPED (5000).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.harness.engine import EngineProcess

from bench.api import Api
from bench.measure import Row, milliseconds
from bench.peers import Dockerd, Pair, pss

IDLE = int(os.environ.get("CORTEN_BENCH_IDLE", "1000"))
RUNNING = int(os.environ.get("CORTEN_BENCH_RUNNING", "300"))
STOPPED = int(os.environ.get("CORTEN_BENCH_STOPPED", "5000"))
EACH = 24
ROUNDS = 3
SLEEP = ["sleep", "36000"]
HOST = {"NetworkMode": "none"}
MEGABYTE = 1 << 20


def rate(pair: Pair) -> Iterator[Row]:
    """Containers created and started in a second by 1, 2 and 8 clients that do nothing else."""
    for clients in (1, 2, 8):
        values: dict[str, list[float]] = {"corten": [], "docker": []}
        for turn in range(ROUNDS + 1):
            for side, socket in sockets(pair).items():
                made: list[str] = []
                spent = milliseconds(lambda socket=socket, made=made, clients=clients: made.extend(
                    start_many(socket, EACH, clients=clients)
                ))  # fmt: skip
                if turn:
                    values[side].append(EACH / spent * 1000)
                remove(socket, made)
        yield Row(f"containers started by {clients} clients", "corten", "docker", 4, "1/s", values,
                  higher_is_better=True)  # fmt: skip


def idle(pair: Pair) -> Iterator[Row]:
    """All processes of the engine, whole, with a thousand idle containers; their own programs are not counted."""
    values: dict[str, list[float]] = {"corten": [], "docker": []}
    roots = {"corten": pair.engine.root, "docker": pair.dockerd.root}
    for side, socket in sockets(pair).items():
        made = start_many(socket, IDLE, clients=4)
        time.sleep(2)
        values[side].append(pss(roots[side]) / MEGABYTE)
        remove(socket, made)
    yield Row(f"{IDLE:,} idle containers, all processes (PSS)", "corten", "docker", 0.1, "MB", values)


def restart(busybox: Path) -> Iterator[Row]:
    """Stop and start of an engine that has containers, until it lists them; dockerd with --live-restore."""
    values: dict[str, list[float]] = {"corten": [], "docker": []}
    with EngineProcess.running() as engine, Dockerd.running("--live-restore") as dockerd:
        sides: dict[str, EngineProcess | Dockerd] = {"corten": engine, "docker": dockerd}
        for side in sides.values():
            _load(str(side.socket), busybox)
            start_many(str(side.socket), RUNNING, clients=4)
        for _ in range(ROUNDS):
            for name, side in sides.items():
                values[name].append(milliseconds(lambda side=side: _again(side, RUNNING)))
        yield Row(f"restart of the engine, {RUNNING} running", "corten", "docker", 0.2, "ms", values)
        values = {"corten": [], "the limit": [1000.0]}
        _stopped(str(engine.socket), STOPPED)
        for _ in range(ROUNDS):
            engine.stop()
            values["corten"].append(milliseconds(engine.start))
        yield Row(f"API back, {RUNNING} running and {STOPPED:,} stopped", "corten", "the limit", 1.0, "ms", values)
        remove(str(engine.socket), [row["Id"] for row in Api(str(engine.socket)).call("GET", "/containers/json?all=1")])
        remove(str(dockerd.socket), [row["Id"] for row in Api(str(dockerd.socket)).call("GET", "/containers/json")])


def sockets(pair: Pair) -> dict[str, str]:
    """Where each engine listens."""
    return {"corten": str(pair.engine.socket), "docker": str(pair.dockerd.socket)}


def _load(socket: str, busybox: Path) -> None:
    with busybox.open("rb") as tar:
        Api(socket).send("POST", "/images/create?fromSrc=-&repo=busybox&tag=latest", tar)


def _again(side: EngineProcess | Dockerd, count: int) -> None:
    side.stop()
    side.start()
    assert len(Api(str(side.socket)).call("GET", "/containers/json")) == count


def start_many(socket: str, count: int, *, clients: int) -> list[str]:
    """Start ``count`` sleeping containers; their ids."""

    def work(share: int) -> list[str]:
        api = Api(socket)
        made = [api.run(SLEEP, HOST) for _ in range(share)]
        api.close()
        return made

    return _together(work, count, clients)


def _stopped(socket: str, count: int) -> None:
    def work(share: int) -> list[str]:
        api = Api(socket)
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": HOST}
        made: list[str] = [api.call("POST", "/containers/create", body)["Id"] for _ in range(share)]
        api.close()
        return made

    _together(work, count, 4)


def _together(work: Callable[[int], list[str]], count: int, clients: int) -> list[str]:
    shares = [count // clients + (number < count % clients) for number in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        return [identifier for made in pool.map(work, shares) for identifier in made]


def remove(socket: str, identifiers: list[str]) -> None:
    """Force them away, four at a time."""

    def work(identifier: str) -> None:
        api = Api(socket)
        api.call("DELETE", f"/containers/{identifier}?force=1")
        api.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, identifiers))
