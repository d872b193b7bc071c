"""Files in and out of a container: ``cp`` both ways, ``commit``.

``CORTEN_BENCH_CP_MB`` (1000) and ``CORTEN_BENCH_COMMIT_MB`` (500) are the sizes. Half of the bytes are random, half
are text, in files of 8 MB for a copy and of 1 MB for a commit.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.measure import Row, interleave, milliseconds
from bench.peers import Pair

ROUNDS = 5
COPIED = int(os.environ.get("CORTEN_BENCH_CP_MB", "1000"))
COMMITTED = int(os.environ.get("CORTEN_BENCH_COMMIT_MB", "500"))
_TEXT = b"".join(b"line %06d of a file that compresses as text does\n" % number for number in range(20_000))[: 1 << 20]

Engine = Callable[..., str]


def fill(folder: Path, megabytes: int, each: int) -> Path:
    """A directory of ``megabytes`` in files of ``each``."""
    folder.mkdir()
    for number in range(0, megabytes, each):
        with (folder / f"{number:05}").open("wb") as file:
            for part in range(min(each, megabytes - number)):
                file.write(os.urandom(1 << 20) if (number + part) % 2 else _TEXT)
    return folder


def copies(pair: Pair, scratch: Path) -> Iterator[Row]:
    """Into a running container and out of it."""
    sides: dict[str, Engine] = {
        "corten": pair.corten, "docker": pair.docker, "docker CLI to corten": pair.docker_to_corten,
    }  # fmt: skip
    source, target = fill(scratch / "cp", COPIED, 8), scratch / "cp-out"
    for engine in (pair.docker_to_corten, pair.docker):
        engine("run", "-d", "--name", "files", "busybox", "sleep", "3600")

    def into(engine: Engine) -> float:
        engine("exec", "files", "rm", "-rf", "/tmp/cp")
        os.sync()
        return milliseconds(lambda: engine("cp", "-q", str(source), "files:/tmp"))

    def out_of(engine: Engine) -> float:
        shutil.rmtree(target, ignore_errors=True)
        os.sync()
        return milliseconds(lambda: engine("cp", "-q", "files:/tmp/cp", str(target)))

    for name, action in (("into", into), ("out of", out_of)):
        values = interleave(
            {side: (lambda engine=engine, action=action: action(engine)) for side, engine in sides.items()}, ROUNDS
        )
        yield Row(f"cp of {COPIED:,} MB {name} a container", "corten", "docker", 1.0, "ms", values)
        yield Row("the same at the docker CLI", "docker CLI to corten", "docker", 1.0, "ms", values)
    shutil.rmtree(source)
    shutil.rmtree(target)
    for engine in (pair.corten, pair.docker):
        engine("rm", "-f", "files")


def commit(pair: Pair, scratch: Path) -> Iterator[Row]:
    """A stopped container's changes to an image."""
    sides: dict[str, Engine] = {"corten": pair.corten, "docker": pair.docker}
    source = fill(scratch / "commit", COMMITTED, 1)
    for engine in sides.values():
        engine("create", "--name", "files", "busybox", "true")
        engine("cp", "-q", str(source), "files:/tmp")

    def once(engine: Engine) -> float:
        os.sync()
        spent = milliseconds(lambda: engine("commit", "files", "committed"))
        engine("rmi", "committed")
        return spent

    values = interleave({name: (lambda engine=engine: once(engine)) for name, engine in sides.items()}, ROUNDS)
    yield Row(f"commit of {COMMITTED:,} MB", "corten", "docker", 0.6, "ms", values)
    shutil.rmtree(source)
    for engine in sides.values():
        engine("rm", "files")
