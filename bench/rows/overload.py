"""Fifty clients at once, beside three hundred running containers: how much gets done, and how long a ping takes.

Sizes come from the environment: CORTEN_BENCH_RUNNING (300), CORTEN_BENCH_CLIENTS (50).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.harness.load import generate

from bench.measure import Row
from bench.peers import Pair
from bench.rows.scale import RUNNING, remove, sockets, start_many

CLIENTS = int(os.environ.get("CORTEN_BENCH_CLIENTS", "50"))
SECONDS = 20


def overload(pair: Pair) -> Iterator[Row]:
    """One long burst on each engine; every failed request is said in the note."""
    rounds: dict[str, list[float]] = {}
    pings: dict[str, list[float]] = {}
    notes = []
    for side, socket in sockets(pair).items():
        made = start_many(socket, RUNNING, clients=4)
        report = generate(socket, made, clients=CLIENTS, seconds=SECONDS)
        rounds[side] = [report.rounds / SECONDS]
        pings[side] = [report.percentile(0.99)]
        if report.failures:
            notes.append(f"{side}: {len(report.failures)} failed, first {report.failures[0]}")
        remove(socket, made)
    title = f"{CLIENTS} clients, {RUNNING} running"
    yield Row(f"{title}: rounds of 7 requests", "corten", "docker", 2, "1/s", rounds, "; ".join(notes),
              higher_is_better=True)  # fmt: skip
    yield Row(f"{title}: ping, 99th percentile", "corten", "docker", 1, "ms", pings)
