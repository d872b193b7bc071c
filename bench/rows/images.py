"""Images: pull from a registry on loopback, load, save."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.harness.registry import RegistryProcess

from bench.measure import Row, interleave, milliseconds
from bench.peers import Pair

ROUNDS = 5
TAG = "bench/debian:latest"


def images(pair: Pair, debian_tar: Path, scratch: Path) -> Iterator[Row]:
    """One Debian image with python3, a single layer of some 200 MB."""
    archive = scratch / "saved.tar"
    with RegistryProcess.running() as registry:
        reference = f"{registry.host}/{TAG}"
        pair.docker("import", str(debian_tar), reference)
        pair.docker("push", "-q", reference)
        pair.docker("save", "-o", str(archive), reference)
        pair.docker("rmi", reference)

        def pull(engine: object) -> float:
            assert callable(engine)
            spent = milliseconds(lambda: engine("pull", "-q", reference))
            engine("rmi", reference)
            return spent

        sides = {"corten": pair.corten, "docker": pair.docker}
        values = interleave({name: (lambda engine=engine: pull(engine)) for name, engine in sides.items()}, ROUNDS)
        yield Row("pull of the Debian image", "corten", "docker", 0.5, "ms", values)

        def load(engine: object) -> float:
            assert callable(engine)
            spent = milliseconds(lambda: engine("load", "-q", "-i", str(archive)))
            engine("rmi", reference)
            return spent

        values = interleave({name: (lambda engine=engine: load(engine)) for name, engine in sides.items()}, ROUNDS)
        yield Row("load of the Debian image", "corten", "docker", 0.5, "ms", values)

        for engine in sides.values():
            engine("pull", "-q", reference)
        target = scratch / "out.tar"

        def save(engine: object) -> float:
            assert callable(engine)
            target.unlink(missing_ok=True)
            return milliseconds(lambda: engine("save", "-o", str(target), reference))

        values = interleave({name: (lambda engine=engine: save(engine)) for name, engine in sides.items()}, ROUNDS)
        yield Row("save of the Debian image", "corten", "docker", 0.5, "ms", values)
        for engine in sides.values():
            engine("rmi", reference)
