"""Content by digest: layers, manifests and configs, exactly as they came.

Owns ``content/`` of the data root::

    blobs/<algorithm>/<hex>       complete and verified, mode 0600
    ingest/<key>/data             what has arrived of one blob
    ingest/<key>/meta             JSON: ref, expected digest, expected size; written before data

A layer that came uncompressed is no file there: it is made again from the unpacked one when it is read
(:mod:`corten.storage.layer.derived`). It is listed, read, verified and deleted as any other.

Knows nothing of what content means, nor what refers to it (:mod:`corten.storage.gc` is told the roots).

How a blob becomes visible is :mod:`corten.storage.ingest`'s.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from corten.errors import Conflict, CorruptData, NotFound
from corten.oci.digest import HEX_LENGTH, Digest
from corten.storage import damage
from corten.storage import ingest as ingests
from corten.storage.durable import is_full, write_file
from corten.storage.ingest import CHUNK, Ingest, IngestStatus
from corten.storage.layer.derived import DerivedBlobs
from corten.storage.layer.rebuild import Rebuilt
from corten.storage.layer.split import SPLIT
from corten.storage.layer.store import LayerStore
from corten.storage.usage import BLOCK, disk_bytes

STALE_AFTER: Final = 7 * 86400.0
"""Seconds after which an ingest nobody touches is given up."""


class ContentStore:
    """Content of one data root; every method may be called from any thread."""

    def __init__(self, root: Path, layers: LayerStore | None = None) -> None:
        """``layers``: where plain layers are; without it there are none."""
        self._derived = DerivedBlobs(layers) if layers is not None else None
        self._blobs = root / "blobs"
        self._ingests = root / "ingest"
        self._condition = threading.Condition()
        self._active: set[str] = set()
        for directory in (root, self._ingests, *(self._blobs / algorithm for algorithm in HEX_LENGTH)):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where content with ``digest`` is, or will be."""
        return self._blobs / digest.algorithm / digest.hex

    def has(self, digest: Digest) -> bool:
        """Whether the content is here, complete."""
        return self.path(digest).exists() or self.derived(digest)

    def derived(self, digest: Digest) -> bool:
        """Whether the content can be made from an unpacked layer: a plain tar then."""
        return bool(self.layers_of(digest))

    def layers_of(self, digest: Digest) -> list[Digest]:
        """The layers it can be made from, by chain id; none for a blob."""
        return self._derived.layers_of(digest) if self._derived is not None else []

    def problem(self, digest: Digest, size: int | None = None) -> str:
        """What is wrong with content as far as can be known without reading it; empty when nothing is.

        It may be missing, have another ``size``, or have been found damaged before (:mod:`corten.storage.damage`).
        """
        try:
            there = self.size(digest)
        except (NotFound, CorruptData) as error:
            return str(error)
        if size is not None and there != size:
            return f"content {digest} has {there} bytes instead of {size}"
        why = damage.found(self.path(digest))
        if not why and self._derived is not None and not self.path(digest).exists():
            why = self._derived.problem(digest)
        return f"content {digest} is damaged: {why}" if why else ""

    def place(self, digest: Digest) -> Path:
        """What is on disk of content alone: its blob, or the split it is made from; raises NotFound."""
        path = self.path(digest)
        return path if self._derived is None or path.exists() else self._derived.place(digest)

    def size(self, digest: Digest) -> int:
        """Bytes; raises NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            if self._derived is None:
                raise NotFound(f"content {digest} not found") from None
            return self._derived.size(digest)

    def open(self, digest: Digest, chain: Digest | None = None) -> io.BufferedReader:
        """A file to read, positioned at the start. A blob stays readable when it is deleted meanwhile.

        ``chain`` is the layer to make it from, where it is not a blob and that layer is one of several that can.
        What is derived is not, and is verified on its way: reading raises CorruptData at its last byte at the latest.
        """
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            if self._derived is None:
                raise NotFound(f"content {digest} not found") from None
            return self._derived.open(digest, chain)

    def read(self, digest: Digest, *, limit: int) -> bytes:
        """All of a document of at most ``limit`` bytes, its digest checked again.

        Raises:
            NotFound: it is not here.
            CorruptData: it is larger, or no longer what its name says.
        """
        with self.open(digest) as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise CorruptData(f"content {digest} is larger than {limit} bytes")
        if hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
            raise CorruptData(f"content {digest} is damaged on disk")
        return data

    def put(self, data: bytes, expected: Digest | None = None) -> Digest:
        """Store a document that is in memory; a damaged one is replaced."""
        digest = Digest.of(data)
        if expected is not None and expected.algorithm == "sha256" and expected != digest:
            raise CorruptData(f"content has digest {digest}, expected {expected}")
        if self.problem(expected or digest, len(data)) or self.damage(expected or digest):
            ref = f"document-{os.urandom(8).hex()}"
            with self.writer(ref, expected=expected, size=len(data), shared=False) as ingest:
                ingest.write(data)
                ingest.commit()
        return expected or digest

    def writer(
        self,
        ref: str,
        *,
        expected: Digest | None = None,
        size: int | None = None,
        wait: float = 0.0,
        shared: bool = True,
    ) -> Ingest:
        """Begin or resume an ingest.

        With ``expected`` (and ``shared``) the ingest belongs to the digest, whatever ``ref`` is, so that two pulls of
        one layer meet; else to ``ref``. Only one writer has it at a time: the next one waits up to ``wait`` seconds.

        Raises:
            Conflict: somebody else is still writing it. Callers look at :meth:`has` again before they retry.
        """
        key = ingests.key_of(str(expected) if expected and shared else ref)
        with self._condition:
            if not self._condition.wait_for(lambda: key not in self._active, timeout=wait):
                raise Conflict(f"content {expected or ref} is being written by another request")
            self._active.add(key)
        try:
            directory = self._ingests / key
            self._prepare(directory, ref, expected, size)
            return Ingest(self, key, directory, expected=expected, size=size)
        except BaseException as error:
            if is_full(error):
                shutil.rmtree(self._ingests / key, ignore_errors=True)
            self.done(key)
            raise

    def done(self, key: str) -> None:
        """An ingest was closed: wake who waits for it."""
        with self._condition:
            self._active.discard(key)
            self._condition.notify_all()

    def walk(self) -> Iterator[Digest]:
        """Every complete content."""
        for algorithm in HEX_LENGTH:
            with suppress(FileNotFoundError):
                yield from (Digest(f"{algorithm}:{name}") for name in sorted(os.listdir(self._blobs / algorithm)))
        if self._derived is not None:
            yield from (digest for digest in self._derived.all() if not self.path(digest).exists())

    def delete(self, digest: Digest) -> int:
        """Delete; the bytes of disk that became free, 0 when it was not there. Layers stay."""
        path = self.path(digest)
        size = self._derived.delete(digest) if self._derived is not None else 0
        with suppress(FileNotFoundError):
            blocks = path.stat().st_blocks
            path.unlink()
            size += blocks * BLOCK
        return size

    def damage(self, digest: Digest) -> str:
        """What is wrong with the bytes on disk; empty when they still have this digest."""
        try:
            with self.open(digest) as stream:
                found = hashlib.file_digest(stream, digest.algorithm).hexdigest()
        except CorruptData as error:
            return str(error)
        return "" if found == digest.hex else f"content {digest} no longer has its digest"

    def damages(self, digest: Digest) -> dict[str, str]:
        """What is wrong, by the chain id of the layer that content is made from; by an empty string for a blob."""
        if self._derived is not None and not self.path(digest).exists():
            return self._derived.damages(digest)
        problem = self.damage(digest)
        return {"": problem} if problem else {}

    def stands_on(self, chain: Digest, diff_id: Digest) -> bool:
        """Whether a layer is all there is of the plain content ``diff_id``."""
        if self._derived is None or self.path(diff_id).exists():
            return False
        return self._derived.layers_of(diff_id) == [chain]

    def detach(self, chain: Digest, diff_id: Digest) -> None:
        """Before a layer goes whose plain content somebody needs: let it stand on another layer, or make it a blob.

        Raises:
            CorruptData: layer and content are damaged.
        """
        if self._derived is not None and self.stands_on(chain, diff_id) and not self._derived.move(diff_id, chain):
            with self._derived.open(diff_id) as stream:
                self._copy(diff_id, stream)

    def keep(self, directory: Path, chain: Digest) -> None:
        """A layer was unpacked into ``directory`` that is here already: if it brought a split, the plain content stays.

        It stands on the layer that is here, when that gives the same bytes; else it becomes a blob.
        """
        if self._derived is None or not (directory / SPLIT).exists():
            return
        diff_id = self._derived.diff_id(chain)
        if self.problem(diff_id) and not self._derived.take(directory, chain):
            with Rebuilt(directory, directory / SPLIT, diff_id) as stream:
                self._copy(diff_id, stream)

    def _copy(self, digest: Digest, stream: io.BufferedReader | Rebuilt) -> None:
        key = f"plain-{os.urandom(8).hex()}"
        with self.writer(key, expected=digest, shared=False) as ingest:
            while data := stream.read(CHUNK):
                ingest.write(data)
            ingest.commit()

    def ingests(self) -> list[IngestStatus]:
        """Every ingest on disk, being written or waiting to be resumed."""
        found = (ingests.status(self._ingests / name) for name in sorted(os.listdir(self._ingests)))
        return [status for status in found if status is not None]

    def recover(self, *, now: float | None = None) -> int:
        """Remove ingests that are unusable or stale; how many. Called at start-up and by the garbage collector."""
        moment = time.time() if now is None else now
        removed = 0
        for name in os.listdir(self._ingests):
            status = ingests.status(self._ingests / name)
            with self._condition:
                if name in self._active:
                    continue
                if status is None or not status.resumable or moment - status.touched > STALE_AFTER:
                    shutil.rmtree(self._ingests / name, ignore_errors=True)
                    removed += 1
        return removed

    def forget(self, digests: Iterable[Digest]) -> None:
        """Give up what has arrived of these, unless somebody goes on with it now."""
        for key in (ingests.key_of(str(digest)) for digest in digests):
            with self._condition:
                if key not in self._active:
                    shutil.rmtree(self._ingests / key, ignore_errors=True)

    def usage(self) -> int:
        """Bytes of blocks that blobs and ingests take on disk."""
        return disk_bytes(self._blobs.parent)

    def _prepare(self, directory: Path, ref: str, expected: Digest | None, size: int | None) -> None:
        """Make the ingest's directory, or empty one that an ingest of something else left."""
        meta = {"ref": ref, "expected": str(expected or ""), "size": size}
        if directory.exists():
            found = ingests.meta(directory)
            same = found is not None and (found["expected"], found["size"]) == (meta["expected"], meta["size"])
            if same and expected is not None:
                return
            shutil.rmtree(directory)
        directory.mkdir(mode=0o700)
        write_file(directory / "meta", json.dumps(meta).encode(), durable=False)
