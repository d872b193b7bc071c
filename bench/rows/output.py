"""A million log lines, from start to exit; the end of a large log."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.api import Api
from bench.measure import Row, interleave, milliseconds, timed
from bench.peers import Pair

LINES = 1_000_000
#: Bytes of the large log; CORTEN_BENCH_LOG_MB makes it smaller where the disk is.
LARGE = int(os.environ.get("CORTEN_BENCH_LOG_MB", "1000")) * 1_000_000
_LINE = '{"log":"%064d\\n","stream":"stdout","time":"%sZ"}\n'
_BLOCK = 10_000
_NOTE = "asked over one kept-alive connection: a command line would be most of the time"


def logs(pair: Pair) -> Iterator[Row]:
    """``seq`` writes a million lines into the json-file log; what is read back is checked."""

    def write(engine: object) -> float:
        assert callable(engine)
        engine("create", "--name", "writer", "busybox", "seq", str(LINES))
        spent = milliseconds(lambda: (engine("start", "writer"), engine("wait", "writer")))
        assert engine("logs", "--tail", "1", "writer") == f"{LINES}\n"
        engine("rm", "writer")
        return spent

    sides = {"corten": pair.docker_to_corten, "docker": pair.docker}
    values = interleave({name: (lambda engine=engine: write(engine)) for name, engine in sides.items()}, 5)
    yield Row("1,000,000 log lines, start to exit", "corten", "docker", 0.4, "ms", values)


def ends(pair: Pair) -> Iterator[Row]:
    """The last lines of a large log, by number and by time: what answers is what reads little.

    The log is written into the file of a container that has ended, the same lines for both, a millisecond apart.
    """
    sides = {"corten": pair.docker_to_corten, "docker": pair.docker}
    last = time.time()
    for engine in sides.values():
        engine("run", "--name", "large", "--log-opt", "max-size=999999m", "busybox", "true")
        _fill(Path(engine("inspect", "-f", "{{.LogPath}}", "large").strip()), last)
    size = f"{LARGE / 1e9:g} GB"
    clients = {"corten": Api(str(pair.engine.socket)), "docker": Api(str(pair.dockerd.socket))}
    for row, query, target, rounds in (
        (f"logs --tail 10 of a {size} log", "tail=10", 1.0, 100),
        (f"logs --since of the last half second of a {size} log", f"since={last - 0.5:.3f}", 0.1, 2),
    ):
        path = f"/containers/large/logs?stdout=1&{query}"
        asked = {name: partial(client.call, "GET", path, raw=True) for name, client in clients.items()}
        yield Row(row, "corten", "docker", target, "ms", timed(asked, rounds, 1 if rounds > 2 else 0), note=_NOTE)
        assert asked["corten"]() == asked["docker"]() if "tail" in query else asked["corten"]()
    for client in clients.values():
        client.close()
    for engine in sides.values():
        engine("rm", "large")


def _fill(path: Path, last: float) -> None:
    """Lines up to the second ``last``, until the file has LARGE bytes."""
    count = LARGE // len(_LINE % (0, "2026-01-02T03:04:05.000"))
    with path.open("w") as file:
        for start in range(0, count, _BLOCK):
            lines = []
            for number in range(start, min(start + _BLOCK, count)):
                moment = last - (count - number) / 1000
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
                lines.append(_LINE % (number, f"{stamp}.{int(moment * 1000) % 1000:03d}"))
            file.write("".join(lines))
