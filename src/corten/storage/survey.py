"""What a data root takes on disk, every byte of it in one row: the sum is what du(1) says of the data root.

Knows which folder holds what, and nothing of records: the caller says which containers and volumes are known.
"""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path
from typing import Final, NamedTuple

from corten.storage import reserve
from corten.storage.layer.store import LayerStore
from corten.storage.usage import BLOCK, disk_bytes

_OWN: Final = ("content", "layers", "init")
#: Folders with a place for each container or volume.
TREES: Final = "snapshots"
DIRECTORIES: Final = "containers"
VOLUMES: Final = "volumes"


class Survey(NamedTuple):
    """Bytes on disk of what no container and no volume owns."""

    layers: int
    content: int
    init: int
    records: int
    leftovers: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def of_container(root: Path, container_id: str) -> int:
    """Its tree, and its directory with the log."""
    return disk_bytes(root / TREES / container_id) + disk_bytes(root / DIRECTORIES / container_id)


def of_volume(root: Path, name: str) -> int:
    """Its data, and the little around it."""
    return disk_bytes(root / VOLUMES / name)


def survey(root: Path, layers: LayerStore, containers: Container[str], volumes: Container[str]) -> Survey:
    """Everything but what :func:`of_container` and :func:`of_volume` say of the names given."""
    chains = {chain.hex: chain for chain in layers.chains()}
    layer_bytes = _itself(root / "layers")
    for name in _names(root / "layers"):
        layer_bytes += layers.disk_usage(chains[name]) if name in chains else disk_bytes(root / "layers" / name)
    records = leftovers = 0
    known: dict[str, Container[str]] = {TREES: containers, DIRECTORIES: containers, VOLUMES: volumes}
    for name in _names(root):
        if name in known:
            leftovers += _itself(root / name)
            leftovers += sum(disk_bytes(root / name / item) for item in _names(root / name) if item not in known[name])
        elif name.startswith("corten.db") or name == reserve.NAME:
            records += _itself(root / name)
        elif name not in _OWN:
            leftovers += disk_bytes(root / name)
    return Survey(
        layers=layer_bytes,
        content=disk_bytes(root / "content"),
        init=disk_bytes(root / "init"),
        records=records,
        leftovers=leftovers + _itself(root),
    )


def _itself(path: Path) -> int:
    try:
        return path.lstat().st_blocks * BLOCK
    except FileNotFoundError:
        return 0


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
