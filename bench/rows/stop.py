"""``stop`` of a ``sleep``, which has no handler for SIGTERM: as process 1 it never hears of it.

Docker waits for ten seconds and kills it. So do we, because the program may be about to end by itself; who wants it
otherwise starts containers with ``--init``, or the engine with ``fast-stop``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.harness.engine import EngineProcess

from bench.measure import Row, interleave, milliseconds
from bench.peers import Pair

ROUNDS = 3


def stop(pair: Pair) -> Iterator[Row]:
    """With Docker's meaning, with an init, and with the engine's option."""
    with EngineProcess.running("--fast-stop") as fast:
        pair.docker("save", "-o", str(fast.root / "busybox.tar"), "busybox")
        fast.corten("load", "-q", "-i", str(fast.root / "busybox.tar"))
        sides: dict[str, Callable[..., object]] = {
            "corten": pair.corten, "corten --fast-stop": fast.corten, "docker": pair.docker,
        }  # fmt: skip
        for flags, title, ours, target in (
            ((), "stop of a sleep", "corten", 1.1),
            ((), "stop of a sleep, engine with --fast-stop", "corten --fast-stop", 0.2),
            (("--init",), "stop of a sleep, --init", "corten", 1.0),
        ):
            chosen = {name: engine for name, engine in sides.items() if name in (ours, "docker")}
            values = interleave(
                {name: (lambda engine=engine, flags=flags: _stopped(engine, flags)) for name, engine in chosen.items()},
                ROUNDS,
                warm_up=0,
            )
            yield Row(title, ours, "docker", target, "ms", values)


def _stopped(engine: Callable[..., object], flags: tuple[str, ...]) -> float:
    engine("run", "-d", "--name", "sleeps", *flags, "busybox", "sleep", "3600")
    spent = milliseconds(lambda: engine("stop", "sleeps"))
    engine("rm", "sleeps")
    return spent
