"""The snapshotter: layers in, mounts for containers out. The same for every way of making trees.

Knows nothing of images, records, or who mounts. Chain ids name layers, container ids name trees.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from corten.errors import Conflict, InvalidArgument, NotFound, NotSupported
from corten.linux.removal import remove_tree
from corten.oci.digest import Digest
from corten.storage import changes, native, overlay
from corten.storage.layer import pack
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter
from corten.storage.limits import UNSUPPORTED
from corten.storage.trees import Mount, TreeDirectories, Trees


class Snapshotter:
    """Layers and trees of one data root; every method may be called from any thread."""

    def __init__(self, layers: LayerStore, directories: TreeDirectories, trees: Trees, init_root: Path) -> None:
        self.name = trees.name
        """``overlay`` or ``native``: what ``info`` shows as the storage driver."""
        self.warnings: list[str] = []
        """What the user must be told loudly."""
        self.layers = layers
        """The layers alone, for those who store images."""
        self._directories = directories
        self._trees = trees
        self._init_root = init_root

    # -- layers

    def prepare_layer(self) -> LayerWriter:
        """Begin to unpack a layer; any number at once, in any order. Commit them lowest first."""
        return LayerWriter(self.layers)

    def has(self, chain: Digest) -> bool:
        """Whether a layer and all under it are unpacked."""
        return self.layers.has(chain)

    def parent(self, chain: Digest) -> Digest | None:
        """The chain id below, None for a base layer; NotFound."""
        return self.layers.parent(chain)

    def chains(self) -> Iterator[Digest]:
        """Every unpacked layer."""
        return self.layers.chains()

    def lowers(self, chain: Digest | None) -> list[Path]:
        """The layers' directories, uppermost first."""
        return self.layers.lowers(chain)

    def layer_size(self, chain: Digest) -> int:
        """Bytes of file data in one layer."""
        return self.layers.get(chain).size

    def chain_size(self, chain: Digest) -> int:
        """Bytes of file data in a layer and all under it (Docker's image size)."""
        return sum(self.layers.get(item).size for item in self.layers.stack(chain))

    def remove_layer(self, chain: Digest) -> Callable[[], None] | None:
        """Take a layer away now; the result gives the disk space back, from any thread. None when it is not here.

        Raises:
            Conflict: a layer or a container's tree stands on it.
        """
        for container_id in self._directories:
            record = self._directories.record(container_id)
            if record is not None and record.chain and chain in self._layers_under(Digest(record.chain)):
                raise Conflict(f"layer {chain} is in use by container {container_id}")
        freeing = self.layers.remove(chain)
        init = [self._init_root / chain.hex, self._init_root / f"view-{chain.hex}"]

        def free() -> None:
            for path in init:
                remove_tree(path)
            if freeing is not None:
                freeing()

        return free if freeing is not None else None

    # -- containers' trees

    def check_limit(self, limit: int) -> None:
        """Raises InvalidArgument, with dockerd's text, when a container cannot be kept below ``limit`` bytes here."""
        if limit and not (self._trees.limits and self._trees.limits.supported):
            raise InvalidArgument(UNSUPPORTED)

    def prepare(self, container_id: str, chain: Digest | None, limit: int = 0) -> list[Mount]:
        """Make a container's tree on an image (None: on nothing), or find it again; its mounts. It may write ``limit``
        bytes, 0 for any.
        """
        return self._trees.prepare(container_id, chain, limit)

    def view(self, chain: Digest) -> list[Mount]:
        """Read-only mounts of an image."""
        return self._trees.view(chain)

    def remove(self, container_id: str) -> None:
        """Delete a container's tree; nothing happens when there is none."""
        self._directories.remove(container_id)

    def usage(self, container_id: str) -> int:
        """Bytes the container wrote (Docker's SizeRw)."""
        return self._trees.usage(container_id)

    def containers(self) -> Iterator[str]:
        """Every container that has a tree."""
        return iter(self._directories)

    def chain_of(self, container_id: str) -> Digest | None:
        """The chain id a container stands on; NotFound when it has no tree."""
        return self._directories.chain(container_id)

    def diff(self, container_id: str) -> Generator[bytes, None, None]:
        """What a container changed, as an uncompressed layer tar (``commit``).

        Raises:
            NotSupported: the driver does not keep changes apart.
        """
        written = self._trees.written(container_id)
        if written is None:
            raise NotSupported(f"commit is not supported with the {self.name} storage driver")
        stack = self._trees.stack(container_id, self._directories.chain(container_id))
        return pack.pack(written, stack[1])

    def changes(self, container_id: str) -> Iterator[tuple[str, changes.Kind]]:
        """What a container changed, as (path, kind).

        Raises:
            NotSupported: the driver does not keep changes apart.
            NotFound: the container has no tree.
        """
        written = self._trees.written(container_id)
        if written is None:
            raise NotSupported(f"diff is not supported with the {self.name} storage driver")
        stack = self._trees.stack(container_id, self._directories.chain(container_id))
        return changes.changes(written, stack[1:])

    def export(self, container_id: str) -> Generator[bytes, None, None]:
        """Everything a container sees, as a tar stream (``export``)."""
        return pack.pack_tree(self._trees.stack(container_id, self._directories.chain(container_id)))

    def recover(self) -> list[Callable[[], None]]:
        """What a crash left half made or half deleted; call the results, from any thread, to delete it."""
        halves = list(self._init_root.glob(".new-*")) if self._init_root.exists() else []
        halves += self._directories.leftovers()
        halves += self._init_root.parent.glob(f"{overlay.PROBE}*")
        return [*self.layers.recover(), *(_removal(path) for path in halves)]

    def _layers_under(self, chain: Digest) -> list[Digest]:
        try:
            return self.layers.stack(chain)
        except NotFound:
            return [chain]


def _removal(path: Path) -> Callable[[], None]:
    return lambda: remove_tree(path)


def overlay_snapshotter(data_root: Path) -> Snapshotter:
    """The snapshotter on overlayfs."""
    layers, directories, init = _folders(data_root)
    return Snapshotter(layers, directories, overlay.OverlayTrees(layers, directories, init), init)


def native_snapshotter(data_root: Path) -> Snapshotter:
    """The snapshotter that copies."""
    layers, directories, init = _folders(data_root)
    return Snapshotter(layers, directories, native.NativeTrees(layers, directories, init), init)


def open_snapshotter(data_root: Path) -> Snapshotter:
    """The best snapshotter this host has for ``data_root``; a slow one says so in ``warnings``."""
    data_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    problem = overlay.probe(data_root)
    if not problem:
        return overlay_snapshotter(data_root)
    chosen = native_snapshotter(data_root)
    chosen.warnings.append(
        f"{problem}; every container gets a full copy of its image, which is slow and needs much disk space: "
        "use a data root on ext4, xfs or btrfs"
    )
    return chosen


def _folders(data_root: Path) -> tuple[LayerStore, TreeDirectories, Path]:
    data_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LayerStore(data_root / "layers"), TreeDirectories(data_root / "snapshots"), data_root / "init"
