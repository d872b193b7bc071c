"""A new layer out of a tar stream: stored compressed and unpacked in one pass.

Owns the double use of one stream (import and commit): gzip input is kept as it came, everything else becomes igzip
level 2. The compressed blob is what save and push send later, so it is made once. Blocks: for a thread.
"""

import os
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from corten.engine.images.compress import Compressor
from corten.oci.digest import Digest
from corten.storage.content import ContentStore
from corten.storage.layer.decompress import Decompressor, detect
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter

_HEAD: Final = 6


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
                        compressor = Compressor(ingest)
                        for chunk in _plain(whole):
                            writer.feed(chunk)
                            compressor.feed(chunk)
                        diff_id = writer.finish()
                        digest = compressor.finish()
                except BaseException:
                    ingest.abort()
                    raise
        except BaseException:
            writer.abort()
            raise
        return StoredLayer(digest, self._content.size(digest), diff_id, writer)


def _plain(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = Decompressor()
    for chunk in chunks:
        yield from decompressor.feed(chunk)
    yield from decompressor.finish()
