"""Health checks: how many a second, and what one costs.

Each side has containers whose check is ``true``, offered at a rate it can hardly keep: ours at 1,000 a second, the peer
at 100. What came of it is counted from the events, and every process of the engine is asked for the processor time it
used, children it waited for included: so the check's own process counts on both sides.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.measure import Row
from bench.peers import Pair, cpu_seconds

ROUNDS = 4
SECONDS = 4.0
SETTLE = 3.0
INTERVAL = 0.2
OURS = 200
PEERS = 20


class Counter:
    """Counts the ends of checks by reading the events of an engine."""

    def __init__(self, path: str) -> None:
        self.count = 0
        self._connection = http.client.HTTPConnection("localhost")
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.connect(path)
        wanted = urllib.parse.quote(json.dumps({"event": ["exec_die"]}))
        self._connection.request("GET", f"/events?filters={wanted}")
        self._response = self._connection.getresponse()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while line := self._response.readline():
                self.count += bool(line.strip())
        except (OSError, ValueError, AttributeError):
            return

    def close(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)


def health(pair: Pair) -> Iterator[Row]:
    """Rate and cost, side after side: the sides would slow each other down."""
    rates: dict[str, list[float]] = {"corten": [], "docker": []}
    costs: dict[str, list[float]] = {"corten": [], "docker": []}
    sides: tuple[tuple[str, Callable[..., str], Path, Path, int], ...] = (
        ("corten", pair.docker_to_corten, pair.engine.root, pair.engine.socket, OURS),
        ("docker", pair.docker, pair.dockerd.root, pair.dockerd.socket, PEERS),
    )
    for side, engine, root, path, number in sides:
        names = [f"checked{index}" for index in range(number)]
        check = ("--health-cmd", "true", "--health-interval", f"{INTERVAL}s")
        words = ("-d", "--network", "none", *check, "--name")
        with ThreadPoolExecutor(4) as pool:
            for name in names:
                pool.submit(engine, "run", *words, name, "busybox", "sleep", "3600")
        counter = Counter(str(path))
        time.sleep(SETTLE)
        for _ in range(ROUNDS):
            count, spent, began = counter.count, cpu_seconds(root), time.monotonic()
            time.sleep(SECONDS)
            done = counter.count - count
            rates[side].append(done / (time.monotonic() - began))
            costs[side].append((cpu_seconds(root) - spent) / max(1, done) * 1000)
        counter.close()
        for first in range(0, number, 50):
            engine("rm", "-f", *names[first : first + 50])
    yield Row("health checks a second", "corten", "docker", 10, "1/s", rates, higher_is_better=True)
    yield Row("CPU of one health check", "corten", "docker", 0.1, "ms", costs)
