"""One blob on its way into the content store: hashed as it arrives, and visible in one step or not at all.

A blob appears in this order, which :meth:`Ingest.commit` follows:
 (1) compare size and digest  (2) fsync the data  (3) rename it into ``blobs``  (4) fsync that directory
 (5) remove the ingest directory.
A crash before 3 leaves an ingest that can be resumed, after 3 a complete blob and an empty ingest directory, which
:meth:`ContentStore.recover` removes. An ingest survives the process: its bytes are hashed again when it is resumed,
so nothing on disk is believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from corten.errors import CorruptData
from corten.oci.digest import Digest
from corten.storage.direct import DirectFile
from corten.storage.durable import is_full, sync_directory

if TYPE_CHECKING:
    from corten.storage.content import ContentStore

CHUNK: Final = 1 << 20


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


def meta(directory: Path) -> dict[str, object] | None:
    """What an ingest's ``meta`` says; None when nobody can read it."""
    try:
        found = json.loads((directory / "meta").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not {"ref", "expected", "size"} <= found.keys():
        return None
    return found


def status(directory: Path) -> IngestStatus | None:
    """What an ingest directory holds; None when it cannot be resumed."""
    known = meta(directory)
    if known is None:
        return None
    try:
        data = os.stat(directory / "data")
    except OSError:
        return None
    size, expected = known["size"], str(known["expected"])
    return IngestStatus(
        str(known["ref"]),
        expected,
        data.st_size,
        size if isinstance(size, int) else None,
        data.st_mtime,
        resumable=bool(expected) and directory.name == key_of(expected),
    )


def key_of(text: str) -> str:
    """A directory name for any text."""
    return hashlib.sha256(text.encode()).hexdigest()
