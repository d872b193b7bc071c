"""Content by digest: compressed layers, manifests and configs, exactly as they came.

Owns ``content/`` of the data root::

    blobs/<algorithm>/<hex>       complete and verified, mode 0600
    ingest/<key>/data             what has arrived of one blob
    ingest/<key>/meta             JSON: ref, expected digest, expected size; written before data

Knows nothing of what content means, nor what refers to it (:mod:`corten.storage.gc` is told the roots).

A blob appears in one step, in this order, which :meth:`Ingest.commit` follows:
 (1) compare size and digest  (2) fsync the data  (3) rename it into ``blobs``  (4) fsync that directory
 (5) remove the ingest directory.
A crash before 3 leaves an ingest that can be resumed, after 3 a complete blob and an empty ingest directory, which
:meth:`ContentStore.recover` removes. An ingest survives the process: its bytes are hashed again when it is resumed,
so nothing on disk is believed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from corten.errors import Conflict, CorruptData, NotFound
from corten.oci.digest import HEX_LENGTH, Digest
from corten.storage import damage
from corten.storage.direct import DirectFile
from corten.storage.durable import is_full, sync_directory, write_file
from corten.storage.usage import BLOCK, disk_bytes

CHUNK: Final = 1 << 20
STALE_AFTER: Final = 7 * 86400.0
"""Seconds after which an ingest nobody touches is given up."""


class IngestStatus(NamedTuple):
    """An ingest on disk: how far it is, and when a byte last arrived (seconds since the epoch).

    ``resumable``: another writer can find it, because it belongs to a digest (see :meth:`ContentStore.writer`).
    """

    ref: str
    expected: str
    offset: int
    size: int | None
    touched: float
    resumable: bool


class Ingest:
    """One blob on its way in. Not shared between threads at the same time; obtained from :meth:`ContentStore.writer`.

    As a context manager it is *kept* for a later resume when the block raises, unless it was aborted or the disk is
    full: then its space is what somebody needs first.
    """

    def __init__(
        self, store: ContentStore, key: str, directory: Path, *, expected: Digest | None, size: int | None
    ) -> None:
        self._store = store
        self._key = key
        self._directory = directory
        self._expected = expected
        self._size = size
        self._hash = hashlib.new(expected.algorithm if expected else "sha256")
        self._open = True
        self.offset = 0
        """Bytes already here: where to resume the transfer."""
        self._data = os.open(directory / "data", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._file = DirectFile(self._data)
            self._rehash()
            self._file.begin(self.offset)
        except BaseException:
            os.close(self._data)
            raise

    @property
    def digest(self) -> Digest:
        """The digest of what has arrived so far."""
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}")

    @property
    def complete(self) -> bool:
        """Whether as many bytes are here as were announced."""
        return self._size is not None and self.offset == self._size

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises:
            CorruptData: more bytes than announced; the ingest is gone.
        """
        view = memoryview(data)
        if self._size is not None and self.offset + len(view) > self._size:
            self.abort()
            raise CorruptData(f"blob {self._expected or self._key} is larger than its announced {self._size} bytes")
        self._hash.update(view)
        self._file.write(view)
        self.offset += len(view)

    def read_back(self) -> Iterator[bytes]:
        """The bytes that arrived so far, for a consumer that starts anew when a transfer is resumed."""
        self._file.flush()
        position = 0
        while position < self.offset and (chunk := os.pread(self._data, min(CHUNK, self.offset - position), position)):
            yield chunk
            position += len(chunk)

    def restart(self) -> None:
        """Forget what has arrived: the source cannot resume."""
        os.ftruncate(self._data, 0)
        self._hash = hashlib.new(self._hash.name)
        self.offset = 0
        self._file.begin(0)

    def commit(self) -> Digest:
        """Make the blob visible (the order is in the module's docstring) and return its digest.

        Raises:
            CorruptData: size or digest differ from what was announced; nothing is left.
        """
        digest = self.digest
        self._verify(digest)  # (1)
        self._file.flush()
        os.fsync(self._data)  # (2)
        target = self._store.path(digest)
        os.rename(self._directory / "data", target)  # (3)
        sync_directory(target.parent)  # (4)
        self.abort()  # (5)
        return digest

    def abort(self) -> None:
        """Drop what has arrived."""
        if self._open:
            self._release()
            shutil.rmtree(self._directory, ignore_errors=True)
            self._store.done(self._key)

    def close(self) -> None:
        """Keep what has arrived for another time; nothing happens after commit or abort."""
        if self._open:
            try:
                self._file.flush()
            except OSError:
                pass  # the disk is full: what is there can be resumed all the same
            self._release()
            self._store.done(self._key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if is_full(error):
            self.abort()
        self.close()

    def _release(self) -> None:
        self._open = False
        self._file.close()
        os.close(self._data)

    def _verify(self, digest: Digest) -> None:
        problem = ""
        if self._size is not None and self.offset != self._size:
            problem = f"blob {self._expected or digest} has {self.offset} bytes, {self._size} were announced"
        elif self._expected is not None and digest != self._expected:
            problem = f"filesystem layer verification failed for digest {self._expected}: content has digest {digest}"
        if problem:
            self.abort()
            raise CorruptData(problem)

    def _rehash(self) -> None:
        """Hash what an earlier attempt left; too many bytes mean a different blob, so start anew."""
        if self._size is not None and os.fstat(self._data).st_size > self._size:
            os.ftruncate(self._data, 0)
        while chunk := os.read(self._data, CHUNK):
            self._hash.update(chunk)
            self.offset += len(chunk)


class ContentStore:
    """Content of one data root; every method may be called from any thread."""

    def __init__(self, root: Path) -> None:
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
        return self.path(digest).exists()

    def problem(self, digest: Digest, size: int | None = None) -> str:
        """What is wrong with content as far as can be known without reading it; empty when nothing is.

        It may be missing, have another ``size``, or have been found damaged before (:mod:`corten.storage.damage`).
        """
        try:
            there = self.size(digest)
        except NotFound as error:
            return str(error)
        if size is not None and there != size:
            return f"content {digest} has {there} bytes instead of {size}"
        why = damage.found(self.path(digest))
        return f"content {digest} is damaged: {why}" if why else ""

    def size(self, digest: Digest) -> int:
        """Bytes; raises NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"content {digest} not found") from None

    def open(self, digest: Digest) -> io.BufferedReader:
        """A file to read, positioned at the start; it stays readable when the content is deleted meanwhile."""
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            raise NotFound(f"content {digest} not found") from None

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
        if self.problem(expected or digest, len(data)) or not self.verify(expected or digest):
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
        key = _key(str(expected) if expected and shared else ref)
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

    def delete(self, digest: Digest) -> int:
        """Delete; the bytes of disk that became free, 0 when it was not there."""
        path = self.path(digest)
        try:
            size = path.stat().st_blocks * BLOCK
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def verify(self, digest: Digest) -> bool:
        """Whether the bytes on disk still have this digest."""
        with self.open(digest) as stream:
            return hashlib.file_digest(stream, digest.algorithm).hexdigest() == digest.hex

    def ingests(self) -> list[IngestStatus]:
        """Every ingest on disk, being written or waiting to be resumed."""
        found = (_status(self._ingests / name) for name in sorted(os.listdir(self._ingests)))
        return [status for status in found if status is not None]

    def recover(self, *, now: float | None = None) -> int:
        """Remove ingests that are unusable or stale; how many. Called at start-up and by the garbage collector."""
        moment = time.time() if now is None else now
        removed = 0
        for name in os.listdir(self._ingests):
            status = _status(self._ingests / name)
            with self._condition:
                if name in self._active:
                    continue
                if status is None or not status.resumable or moment - status.touched > STALE_AFTER:
                    shutil.rmtree(self._ingests / name, ignore_errors=True)
                    removed += 1
        return removed

    def usage(self) -> int:
        """Bytes of blocks that blobs and ingests take on disk."""
        return disk_bytes(self._blobs.parent)

    def _prepare(self, directory: Path, ref: str, expected: Digest | None, size: int | None) -> None:
        """Make the ingest's directory, or empty one that an ingest of something else left."""
        meta = {"ref": ref, "expected": str(expected or ""), "size": size}
        if directory.exists():
            found = _meta(directory)
            same = found is not None and (found["expected"], found["size"]) == (meta["expected"], meta["size"])
            if same and expected is not None:
                return
            shutil.rmtree(directory)
        directory.mkdir(mode=0o700)
        write_file(directory / "meta", json.dumps(meta).encode(), durable=False)


def _key(text: str) -> str:
    """A directory name for any text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _meta(directory: Path) -> dict[str, object] | None:
    try:
        found = json.loads((directory / "meta").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not {"ref", "expected", "size"} <= found.keys():
        return None
    return found


def _status(directory: Path) -> IngestStatus | None:
    """What an ingest directory holds; None when it cannot be resumed."""
    meta = _meta(directory)
    if meta is None:
        return None
    try:
        data = os.stat(directory / "data")
    except OSError:
        return None
    size, expected = meta["size"], str(meta["expected"])
    return IngestStatus(
        str(meta["ref"]),
        expected,
        data.st_size,
        size if isinstance(size, int) else None,
        data.st_mtime,
        resumable=bool(expected) and directory.name == _key(expected),
    )
