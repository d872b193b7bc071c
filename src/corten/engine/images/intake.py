"""A new layer out of a tar stream: unpacked, and stored, in one pass.

Owns the two forms (import and commit): gzip input is kept as it came beside the unpacked layer; of everything else the
plain tar is the layer, which its tree and split hold (:mod:`corten.storage.layer.split`). Blocks: for a thread.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Final, NamedTuple

from corten.oci.digest import Digest
from corten.storage.content import ContentStore
from corten.storage.layer.decompress import Decompressor, detect
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter

_HEAD: Final = 6


class StoredLayer(NamedTuple):
    """The layer as it travels, ``gzip`` or plain, and the unpacked one that waits for its parent.

    A plain one is content once the unpacked layer is published.
    """

    digest: Digest
    size: int
    diff_id: Digest
    writer: LayerWriter
    gzip: bool


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
        packed = detect(head[:_HEAD]) == "gzip"
        with ExitStack() as stack:
            writer = stack.enter_context(LayerWriter(self._layers, split=not packed))
            if packed:
                digest = self._packed(whole, writer, f"{purpose}-{os.urandom(8).hex()}")
                size = self._content.size(digest)
            else:
                for chunk in _plain(whole):
                    writer.feed(chunk)
                digest, size = writer.finish(), writer.stream_size
            stack.pop_all()
        return StoredLayer(digest, size, writer.finish(), writer, packed)

    def _packed(self, chunks: Iterator[bytes], writer: LayerWriter, key: str) -> Digest:
        with self._content.writer(key, shared=False) as ingest:
            try:
                for chunk in chunks:
                    ingest.write(chunk)
                    writer.feed(chunk)
                writer.finish()
                return ingest.commit()
            except BaseException:
                ingest.abort()
                raise


def _plain(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = Decompressor()
    for chunk in chunks:
        yield from decompressor.feed(chunk)
    yield from decompressor.finish()
