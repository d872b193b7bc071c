"""A new layer out of a tar stream: stored compressed and unpacked in one pass.

Owns the double use of one stream (import and commit): gzip input is kept as it came, everything else becomes igzip
level 2. The compressed blob is what save and push send later, so it is made once. Blocks: for a thread.
"""

import os
import queue
import threading
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple, Self

from corten.engine.images.compress import Compressor
from corten.oci.digest import Digest
from corten.storage.content import ContentStore
from corten.storage.layer.decompress import Decompressor, detect
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter

_HEAD: Final = 6
_QUEUED: Final = 16  # pieces of at most 1 MiB


class StoredLayer(NamedTuple):
    """The blob, and the unpacked layer that waits for its parent."""

    digest: Digest
    size: int
    diff_id: Digest
    writer: LayerWriter


class LayerIntake:
    """One for the whole engine."""

    def __init__(self, content: ContentStore, layers: LayerStore) -> None:
        self._content = content
        self._layers = layers

    def store(self, chunks: Iterator[bytes], purpose: str) -> StoredLayer:
        """Take the whole stream.

        Raises:
            CorruptData, OSError: as :class:`LayerWriter`; nothing is left behind.
        """
        head = b""
        for chunk in chunks:
            head += chunk
            if len(head) >= _HEAD:
                break
        whole = chain([head], chunks)
        writer = LayerWriter(self._layers)
        try:
            with self._content.writer(f"{purpose}-{os.urandom(8).hex()}", shared=False) as ingest:
                try:
                    if detect(head[:_HEAD]) == "gzip":
                        for chunk in whole:
                            ingest.write(chunk)
                            writer.feed(chunk)
                        diff_id = writer.finish()
                        digest = ingest.commit()
                    else:
                        with _Compressing(Compressor(ingest)) as compressing:
                            for chunk in _plain(whole):
                                compressing.feed(chunk)
                                writer.feed(chunk)
                            digest = compressing.finish()
                            diff_id = writer.finish()
                except BaseException:
                    ingest.abort()
                    raise
        except BaseException:
            writer.abort()
            raise
        return StoredLayer(digest, self._content.size(digest), diff_id, writer)


class _Compressing:
    """A compressor in a thread of its own, so that it works beside the hashing and the unpacking of the same bytes.

    The queue is the back-pressure; what goes wrong in the thread is raised by the next call, and the thread takes what
    comes until the end all the same, so that nobody waits for it.
    """

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor
        self._pieces: queue.Queue[bytes] = queue.Queue(_QUEUED)
        self._failure: BaseException | None = None
        self._digest: Digest | None = None
        self._thread = threading.Thread(target=self._run, name="compress", daemon=True)
        self._thread.start()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._failure is not None:
            raise self._failure
        if chunk:
            self._pieces.put(chunk)

    def finish(self) -> Digest:
        """The digest of the stored bytes, once all are."""
        self._end()
        if self._failure is not None:
            raise self._failure
        if self._digest is None:
            self._digest = self._compressor.finish()
        return self._digest

    def _run(self) -> None:
        while piece := self._pieces.get():
            if self._failure is None:
                try:
                    self._compressor.feed(piece)
                except BaseException as error:  # handed to the caller's thread, whatever it is
                    self._failure = error

    def _end(self) -> None:
        if self._thread.is_alive():
            self._pieces.put(b"")
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()


def _plain(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = Decompressor()
    for chunk in chunks:
        yield from decompressor.feed(chunk)
    yield from decompressor.finish()
