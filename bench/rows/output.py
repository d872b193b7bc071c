"""A million log lines, from start to exit."""

from __future__ import annotations

from collections.abc import Iterator

from bench.measure import Row, interleave, milliseconds
from bench.peers import Pair

LINES = 1_000_000


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
