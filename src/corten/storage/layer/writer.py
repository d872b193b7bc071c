"""A compressed layer in, an unpacked directory out, while it downloads.

::

    caller's thread                                  one thread of the layer's own
    feed(bytes) -> decompress -> sha256 -> [queue of at most 16 pieces] -> tar reader -> files
    finish()    -> end of stream -------------------------------------->  waits, returns the diff id
    commit()    -> LayerStore.publish

A plain layer may be unpacked with its split (:mod:`corten.storage.layer.split`), so that its bytes need no other place.

Decompression, hashing and most system calls let go of the interpreter lock, so the two threads use two cores. The
queue is the back-pressure: a disk slower than the network makes :meth:`LayerWriter.feed` wait. What goes wrong in the
unpacking thread is raised by the next call.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from corten.errors import Conflict
from corten.oci.digest import Digest
from corten.storage.layer.decompress import Decompressor
from corten.storage.layer.extract import Extractor
from corten.storage.layer.split import SplitWriter
from corten.storage.layer.store import LayerStore
from corten.tar.reader import TarReader

_QUEUED: Final = 16  # pieces of at most 1 MiB


class LayerWriter:
    """One layer on its way to disk. As a context manager it is aborted unless it was committed."""

    def __init__(self, store: LayerStore, *, split: bool = False) -> None:
        """``split``: the layer comes uncompressed, and what its tree does not hold of it is kept beside that."""
        self._store = store
        self._split = split
        self._directory: Path | None = store.new_directory()
        self._decompressor = Decompressor()
        self._hash = hashlib.sha256()
        self._pieces: queue.Queue[bytes] = queue.Queue(_QUEUED)
        self._source = _Source(self._pieces)
        self._failure: BaseException | None = None
        self._diff_id: Digest | None = None
        self._implied: set[bytes] = set()
        self._ended = False
        self.size = 0
        """Bytes of file data, known once finished."""
        self.stream_size = 0
        """Bytes of the layer, uncompressed, so far."""
        self._thread = threading.Thread(target=self._unpack, args=(self._directory,), name="unpack", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the layer as it is stored: compressed or not.

        Raises:
            CorruptData: the stream, or what was unpacked so far, is malformed or hostile.
            OSError: the disk is full, ...
        """
        for piece in self._decompressor.feed(data):
            self._push(piece)

    def finish(self) -> Digest:
        """The diff id, once everything is unpacked.

        Raises:
            CorruptData, OSError: as :meth:`feed`; also for a truncated stream.
        """
        if self._diff_id is None:
            for piece in self._decompressor.finish():
                self._push(piece)
            self._end()
            self._raise()
            self._diff_id = self.digest
        return self._diff_id

    @property
    def digest(self) -> Digest:
        """The digest of the uncompressed bytes so far, also of those that came after a failure."""
        return Digest.from_hex(self._hash.hexdigest())

    def commit(self, parent: Digest | None, again: Callable[[Path, Digest], None] | None = None) -> Digest:
        """Publish the layer on ``parent`` (a chain id); the new chain id. Finishes first if need be.

        Where the layer is here already, ``again`` sees the directory of this one, and the chain id, before it goes.
        """
        diff_id = self.finish()
        if self._directory is None:
            raise Conflict("layer was committed or aborted already")
        chain = self._store.publish(
            self._directory, diff_id, parent, size=self.size, implied=self._implied, again=again
        )
        self._directory = None
        return chain

    def abort(self) -> None:
        """Delete what was unpacked; nothing happens after a commit."""
        self._source.abandoned = True
        self._end()
        if self._directory is not None:
            self._store.discard(self._directory)
            self._directory = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _push(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.stream_size += len(piece)
        self._raise()
        self._pieces.put(piece)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._pieces.put(b"")
            self._thread.join()

    def _unpack(self, directory: Path) -> None:
        """The unpacking thread: it takes pieces until the empty one, also after it failed, so that nobody waits."""
        source = self._source
        try:
            with ExitStack() as stack:
                split = SplitWriter(directory) if self._split else None
                if split is not None:
                    stack.callback(split.close)
                extractor = Extractor(directory / "fs", split)
                stack.callback(extractor.close)
                reader = TarReader(source, split.literal if split is not None else None)
                extractor.extract(reader)
                reader.drain()
                if split is not None:
                    split.finish()
            self.size = extractor.size
            self._implied = extractor.implied
        except BaseException as error:  # handed to the caller's thread, whatever it is
            self._failure = self._failure or error
        source.drain()

    @property
    def failed(self) -> bool:
        """Whether it cannot be committed any more."""
        return self._failure is not None


class _Source:
    """The queue as the tar reader wants it; it remembers the end."""

    def __init__(self, pieces: queue.Queue[bytes]) -> None:
        self._pieces = pieces
        self.ended = False
        self.abandoned = False
        """Set by the other thread: nobody wants the layer any more."""

    def __call__(self) -> bytes:
        if self.ended:
            return b""
        piece = self._pieces.get()
        self.ended = not piece
        if self.abandoned and piece:
            raise Conflict("layer was aborted")
        return piece

    def drain(self) -> None:
        """Take and forget everything up to the end."""
        while not self.ended:
            self.ended = not self._pieces.get()
