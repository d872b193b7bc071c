"""Mark and sweep: what no root reaches goes. No reference counts, hence none that can be wrong.

The caller gives the roots: everything its records name *and everything it is working on now* (content and layers of a
pull in progress), and starts no new work while :func:`collect` runs; that takes milliseconds, because directories are
only renamed away and deleted later by ``Collected.later``. Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from corten.errors import CorruptData, NotFound
from corten.oci.digest import Digest
from corten.storage.content import ContentStore
from corten.storage.snapshot import Snapshotter
from corten.storage.volume import VolumeStore


@dataclass(frozen=True, slots=True)
class Roots:
    """What must stay: content by digest, layers by chain id (with all under them), containers' trees by id."""

    digests: frozenset[Digest] = frozenset()
    chains: frozenset[Digest] = frozenset()
    containers: frozenset[str] = frozenset()


@dataclass(slots=True)
class Collected:
    """What went; ``bytes`` counts disk space of content and layers; ``later`` gives that of layers back."""

    digests: list[Digest] = field(default_factory=list)
    chains: list[Digest] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    bytes: int = 0
    later: list[Callable[[], None]] = field(default_factory=list)


def collect(content: ContentStore, snapshotter: Snapshotter, roots: Roots) -> Collected:
    """Delete what ``roots`` do not reach: trees first, then layers from the top down, then content."""
    done = Collected()
    for container_id in list(snapshotter.containers()):
        if container_id not in roots.containers:
            snapshotter.remove(container_id)
            done.containers.append(container_id)
    _sweep_layers(content, snapshotter, roots, done)
    for digest in list(content.walk()):
        if digest not in roots.digests:
            done.bytes += content.delete(digest)
            done.digests.append(digest)
    return done


def recover(content: ContentStore, snapshotter: Snapshotter, volumes: VolumeStore) -> list[Callable[[], None]]:
    """Put in order what a crash left, before anything else uses the stores; run the results in the background."""
    content.recover()
    return [*snapshotter.recover(), *volumes.recover()]


def _reached(snapshotter: Snapshotter, roots: Roots) -> set[Digest]:
    """All layers under the roots' and the kept containers' chains."""
    tops = set(roots.chains)
    for container_id in snapshotter.containers():
        with suppress(NotFound, CorruptData):
            chain = snapshotter.chain_of(container_id)
            if chain is not None:
                tops.add(chain)
    reached: set[Digest] = set()
    for top in tops:
        current: Digest | None = top
        while current is not None and current not in reached:
            reached.add(current)
            try:
                current = snapshotter.parent(current)
            except (NotFound, CorruptData):
                break
    return reached


def _sweep_layers(content: ContentStore, snapshotter: Snapshotter, roots: Roots, done: Collected) -> None:
    """A layer goes only after those that stand on it; unreadable ones have no place in the order and go last.

    Plain content that a root names outlives the layer it stands on.
    """
    reached = _reached(snapshotter, roots)
    doomed = [chain for chain in snapshotter.chains() if chain not in reached]
    for chain in sorted(doomed, key=lambda chain: _depth(snapshotter, chain), reverse=True):
        with suppress(NotFound, CorruptData):
            diff_id = Digest(snapshotter.layers.get(chain).diff_id)
            if diff_id in roots.digests:
                content.detach(chain, diff_id)
        size = snapshotter.layers.disk_usage(chain)
        later = snapshotter.remove_layer(chain)
        if later is not None:
            done.chains.append(chain)
            done.bytes += size
            done.later.append(later)


def _depth(snapshotter: Snapshotter, chain: Digest) -> int:
    depth = 0
    current: Digest | None = chain
    try:
        while current is not None:
            current = snapshotter.parent(current)
            depth += 1
    except (NotFound, CorruptData):
        pass
    return depth
