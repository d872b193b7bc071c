"""What a user types: run, exec, ps, twenty at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.measure import Row, milliseconds, timed
from bench.peers import Pair

ROUNDS = 15
PARALLEL = 20


def run(pair: Pair) -> Iterator[Row]:
    """``run --rm busybox true`` on three networks, at our CLI and at the unmodified docker CLI."""
    for network, target in (("bridge", 0.20), ("none", 0.20), ("host", 0.30)):
        words = ("run", "--rm", "--network", network, "busybox", "true")
        actions: dict[str, Callable[[], object]] = {
            "corten": lambda words=words: pair.corten(*words),
            "docker CLI to corten": lambda words=words: pair.docker_to_corten(*words),
            "docker": lambda words=words: pair.docker(*words),
        }
        values = timed(actions, ROUNDS)
        yield Row(f"run --rm busybox true, {network}", "corten", "docker", target, "ms", values)
        if network == "bridge":
            yield Row("the same at the docker CLI", "docker CLI to corten", "docker", 0.20, "ms", values)


def exec_true(pair: Pair) -> Iterator[Row]:
    """``exec true`` in a running container."""
    pair.corten("run", "-d", "--name", "target", "busybox", "sleep", "3600")
    pair.docker("run", "-d", "--name", "target", "busybox", "sleep", "3600")
    values = timed(
        {
            "corten": lambda: pair.corten("exec", "target", "true"),
            "docker": lambda: pair.docker("exec", "target", "true"),
        },
        ROUNDS,
    )
    yield Row("exec true", "corten", "docker", 0.35, "ms", values)
    pair.corten("rm", "-f", "target")
    pair.docker("rm", "-f", "target")


def ps(pair: Pair) -> Iterator[Row]:
    """``ps -a`` with ten and with a thousand containers."""
    made = 0
    for count, target in ((10, 1.5), (1000, 0.7)):
        with ThreadPoolExecutor(4) as pool:
            for number in range(made, count):
                for engine in (pair.docker_to_corten, pair.docker):
                    pool.submit(engine, "create", "--name", f"c{number}", "--network", "none", "busybox", "true")
        made = count
        assert len(pair.corten("ps", "-aq").split()) == len(pair.docker("ps", "-aq").split()) == count
        values = timed({"corten": lambda: pair.corten("ps", "-a"), "docker": lambda: pair.docker("ps", "-a")}, ROUNDS)
        yield Row(f"ps -a, {count:,} containers", "corten", "docker", target, "ms", values)
    for engine in (pair.corten, pair.docker):
        names = [f"c{number}" for number in range(made)]
        for first in range(0, made, 100):
            engine("rm", *names[first : first + 100])


def parallel(pair: Pair) -> Iterator[Row]:
    """Twenty ``run --rm`` typed at the same time, start of the first to end of the last."""

    def burst(engine: Callable[..., str]) -> float:
        with ThreadPoolExecutor(PARALLEL) as pool:
            work = lambda _: engine("run", "--rm", "busybox", "true")  # noqa: E731
            return milliseconds(lambda: list(pool.map(work, range(PARALLEL))))

    values: dict[str, list[float]] = {"corten": [], "docker": []}
    for turn in range(4):
        for name, engine in (("corten", pair.corten), ("docker", pair.docker)):
            spent = burst(engine)
            if turn:
                values[name].append(spent)
    yield Row(f"{PARALLEL} run --rm in parallel", "corten", "docker", 0.25, "ms", values)
