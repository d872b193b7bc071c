"""What happens around a container that is being made."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.harness.engine import EngineProcess
from tests.harness.tars import archive, file

pytestmark = pytest.mark.root

FILES = 4000


def heavy(target: Path) -> Path:
    """An image whose /data takes a while to be copied into a new volume."""
    target.write_bytes(archive(*(file(f"data/{number}", b"x") for number in range(FILES))))
    return target


def test_an_image_cannot_be_removed_under_a_container_in_the_making(
    fresh_engine: EngineProcess, tmp_path: Path
) -> None:
    """Its layers would be gone when the container is there."""
    engine = fresh_engine
    engine.import_image(heavy(tmp_path / "heavy.tar"), "heavy:latest")
    made: list[dict[str, str]] = []

    def create() -> None:
        made.append(
            engine.api("POST", "/containers/create", {"Image": "heavy", "Cmd": ["x"], "Volumes": {"/data": {}}})
        )

    making = threading.Thread(target=create)
    making.start()
    while not engine.api("GET", "/volumes")["Volumes"]:
        assert making.is_alive()
    early = making.is_alive()
    status, _ = engine.request("DELETE", "/images/heavy:latest")
    making.join()
    assert early, "the container was there before the image could be removed"
    assert status == 409
    assert engine.api("GET", f"/containers/{made[0]['Id']}/json")["Image"]
    assert engine.verify() == []
