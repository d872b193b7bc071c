"""Memory: proportional set size of an engine's processes, idle and per running container."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.measure import Row
from bench.peers import Pair, pss

COUNT = 40
SETTLE = 2.0
KILOBYTE = 1024
MEGABYTE = 1 << 20


def memory(pair: Pair) -> Iterator[Row]:
    """The engine at rest, then what each idle container adds to all of the engine's processes together."""
    idle: dict[str, list[float]] = {"corten": [], "docker": []}
    each: dict[str, list[float]] = {"corten": [], "docker": []}
    sides = (("corten", pair.docker_to_corten, pair.engine.root), ("docker", pair.docker, pair.dockerd.root))
    for _ in range(3):
        for side, engine, root in sides:
            time.sleep(SETTLE)
            before = pss(root)
            for number in range(COUNT):
                engine("run", "-d", "--name", f"idle{number}", "busybox", "sleep", "3600")
            time.sleep(SETTLE)
            idle[side].append(before / MEGABYTE)
            each[side].append((pss(root) - before) / COUNT / KILOBYTE)
            engine("rm", "-f", *[f"idle{number}" for number in range(COUNT)])
    yield Row("memory per idle container (PSS)", "corten", "docker", 0.05, "kB", each)
    yield Row("idle engine, all processes (PSS)", "corten", "docker", 0.5, "MB", idle)
