"""Plain layers as content that is nowhere in one piece: *derived* from a layer's tree and its split.

Owns which digests there are, and how one outlives the layer it stands on: another layer of the same diff takes the
split over, if its tree gives the same bytes. The digest of a plain layer is its diff id, so nothing but the layers
says what there is: a layer and the blob that stands on it appear in one rename (:meth:`LayerStore.publish`) and go in
one. Knows nothing of who needs a blob.
"""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from corten.errors import CorruptData, NotFound
from corten.linux.removal import remove_tree
from corten.oci.digest import Digest
from corten.storage.durable import sync_directory
from corten.storage.layer.rebuild import Rebuilt
from corten.storage.layer.split import REPLACED, SPLIT, Split
from corten.storage.layer.store import LayerStore

_BUFFER: Final = 1 << 20


class DerivedBlobs:
    """Those of one layer store; every method may be called from any thread."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers
        self._lock = threading.Lock()
        self._chains: dict[Digest, set[Digest]] = {}  # diff id -> the layers with a split
        layers.on_change.append(self._look)
        for chain in layers.chains():
            with suppress(NotFound, CorruptData):
                if (layers.directory(chain) / SPLIT).exists():
                    self._look(chain, Digest(layers.get(chain).diff_id))

    def layers_of(self, digest: Digest) -> list[Digest]:
        """The layers it can be made of, by chain id; none when it is not here."""
        with self._lock:
            return sorted(self._chains.get(digest, ()))

    def all(self) -> list[Digest]:
        """Every digest."""
        with self._lock:
            return sorted(self._chains)

    def diff_id(self, chain: Digest) -> Digest:
        """What a layer's plain stream is called; raises NotFound."""
        return Digest(self._layers.get(chain).diff_id)

    def size(self, digest: Digest) -> int:
        """Bytes; raises NotFound."""
        split = Split(self._place(digest) / SPLIT)
        split.close()
        return split.size

    def open(self, digest: Digest, chain: Digest | None = None) -> io.BufferedReader:
        """The bytes as a file that is verified while it is read (:class:`Rebuilt`); raises NotFound.

        They are made from ``chain`` if they can be, else from a layer that was not found damaged if there is one.
        """
        place = self._layers.directory(chain) if chain in self.layers_of(digest) else self._place(digest)
        return io.BufferedReader(Rebuilt(place, place / SPLIT, digest), _BUFFER)

    def place(self, digest: Digest) -> Path:
        """The split it is made from; raises NotFound."""
        return self._place(digest) / SPLIT

    def problem(self, digest: Digest) -> str:
        """What is known to be wrong with every layer it can be made from; empty when there is a better one."""
        return min((self._layers.problem(chain) for chain in self.layers_of(digest)), key=len, default="")

    def damages(self, digest: Digest) -> dict[str, str]:
        """What is wrong with the bytes, by the chain id of the layer they are made from; reads all of them.

        Raises:
            NotFound: it is not here.
        """
        self._place(digest)
        found = {}
        for chain in self.layers_of(digest):
            try:
                with self.open(digest, chain) as stream:
                    while stream.read(_BUFFER):
                        pass
            except CorruptData as error:
                found[str(chain)] = str(error)
        return found

    def delete(self, digest: Digest) -> int:
        """Forget it, the layers stay; bytes of disk freed."""
        freed = 0
        for chain in self.layers_of(digest):
            before = self._layers.disk_usage(chain)
            (self._layers.directory(chain) / SPLIT).unlink(missing_ok=True)
            remove_tree(self._layers.directory(chain) / REPLACED)
            self._look(chain, digest)
            freed += before - self._layers.disk_usage(chain)
        return freed

    def move(self, digest: Digest, away_from: Digest) -> bool:
        """Let it stand on another layer than ``away_from``, which will go; False when there is none that can."""
        if set(self.layers_of(digest)) - {away_from}:
            return True
        for chain in self._layers.chains():
            with suppress(NotFound, CorruptData):
                if chain != away_from and self._layers.get(chain).diff_id == digest:
                    moved = self.take(self._layers.directory(away_from), chain)
                    self._look(away_from, digest)
                    return moved
        return False

    def take(self, source: Path, chain: Digest) -> bool:
        """Let ``chain`` have the split that lies in ``source``, a layer's directory of the same diff.

        (1) make the stream of the other tree and compare its digest  (2) fsync the split
        (3) rename it into the layer's directory  (4) fsync that. Before 3 nothing has changed.
        """
        digest = self.diff_id(chain)
        target = self._layers.directory(chain)
        split = Split(source / SPLIT)
        try:
            if split.end.moved:
                return False  # files that are in no tree
        finally:
            split.close()
        try:
            with io.BufferedReader(Rebuilt(target, source / SPLIT, digest), _BUFFER) as stream:  # (1)
                while stream.read(_BUFFER):
                    pass
        except CorruptData:
            return False
        descriptor = os.open(source / SPLIT, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)  # (2)
        finally:
            os.close(descriptor)
        os.rename(source / SPLIT, target / SPLIT)  # (3)
        sync_directory(target)  # (4)
        self._look(chain, digest)
        return True

    def _place(self, digest: Digest) -> Path:
        chains = self.layers_of(digest)
        if not chains:
            raise NotFound(f"content {digest} not found")
        if len(chains) > 1:
            chains.sort(key=lambda chain: bool(self._layers.problem(chain)))
        return self._layers.directory(chains[0])

    def _look(self, chain: Digest, diff_id: Digest) -> None:
        """Whether the layer has a split, now."""
        self._layers.measure_again(chain)
        with self._lock:
            if (self._layers.directory(chain) / SPLIT).exists():
                self._chains.setdefault(diff_id, set()).add(chain)
            elif diff_id in self._chains:
                self._chains[diff_id].discard(chain)
                if not self._chains[diff_id]:
                    del self._chains[diff_id]
