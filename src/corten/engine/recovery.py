"""What a killed engine leaves, found at the next start and put right.

(1) processes in cgroups of containers that do not run are ended (by :class:`corten.engine.containers.supervision.
    Supervision`, which has met the running ones before)
(2) candidates are listed before anything is served, so that nothing new is among them
(3) removals that had begun are finished
(4) ended containers with AutoRemove are removed
(5) trees and directories that no record names are deleted
"""

import logging
import os
import shutil

import msgspec

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import Hierarchy
from corten.engine.config import EngineConfig
from corten.engine.containers.remove import Remover
from corten.engine.lifecycle import Status
from corten.engine.roster import Roster
from corten.errors import CortenError
from corten.storage.snapshot import Snapshotter

logger = logging.getLogger(__name__)


class Leftovers(msgspec.Struct, frozen=True):
    """Container ids that have something on disk or in the kernel and no record."""

    trees: tuple[str, ...]
    directories: tuple[str, ...]


def end_strays(config: EngineConfig, hierarchy: Hierarchy, kept: set[str]) -> None:
    """Kill and remove the cgroups of all containers but ``kept`` (1); blocks."""
    found = {name for top in hierarchy.directories(config.cgroup_root) for name in _entries(top)}
    for name in sorted(found - kept):
        if len(name) != 64:
            continue
        group = Group(hierarchy, f"{config.cgroup_root}/{name}")
        try:
            group.kill()
            group.delete()
        except OSError as exc:
            logger.warning("cgroup of container %s stays: %s", name, exc)


def find(config: EngineConfig, roster: Roster, snapshotter: Snapshotter) -> Leftovers:
    """List what no record names (2)."""
    known = {container.id for container in roster}
    directories = _entries(f"{config.data_root}/containers")
    return Leftovers(
        trees=tuple(name for name in snapshotter.containers() if name not in known),
        directories=tuple(name for name in directories if name not in known),
    )


async def finish(roster: Roster, remover: Remover) -> None:
    """Removals that had begun (3), and AutoRemove (4)."""
    for container in roster:
        state = container.record.state
        begun = state.status in (Status.REMOVING, Status.DEAD)
        if begun or (container.record.host.AutoRemove and not state.alive):
            try:
                await remover.discard(container, volumes=container.record.host.AutoRemove or state.remove_volumes)
            except CortenError as exc:
                logger.warning("container %s is still there: %s", container.id, exc)


def sweep(config: EngineConfig, snapshotter: Snapshotter, leftovers: Leftovers) -> None:
    """Delete them (5); blocks."""
    for name in leftovers.trees:
        try:
            snapshotter.remove(name)
        except (OSError, CortenError) as exc:
            logger.warning("tree of container %s stays: %s", name, exc)
    for name in leftovers.directories:
        shutil.rmtree(f"{config.data_root}/containers/{name}", ignore_errors=True)


def _entries(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
