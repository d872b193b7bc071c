"""An image archive read once, front to back, in a worker thread.

Owns the split of an archive into documents (kept in memory, bounded) and layers (streamed into the content store and
unpacked at the same time, before anybody knows which image they belong to). Refuses to know images: what the
documents mean is read by :mod:`corten.engine.images.bundle` afterwards.

A layer is what is no JSON: archives name their members in half a dozen ways, and layers come before the list of them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple

from corten.engine.images.bundle import Documents, clean, link_target
from corten.errors import CorruptData, InvalidArgument
from corten.oci.digest import Digest, is_digest
from corten.oci.image import CONFIG_LIMIT
from corten.storage.content import ContentStore
from corten.storage.layer.decompress import Decompressor, detect
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter
from corten.tar import header
from corten.tar.header import Entry
from corten.tar.reader import TarReader

MAX_DOCUMENTS: Final = 64 << 20
MAX_MEMBERS: Final = 100_000
PROGRESS_BYTES: Final = 1 << 20
_HEAD: Final = 6
_SMALLEST_LAYER: Final = 18  # the empty gzip member is 20 bytes, the empty zstd frame 9 of which none is a tar

#: Told how far a layer is: (member's name, bytes so far, size).
Progress = Callable[[str, int, int], None]


class StoredLayer(NamedTuple):
    """A layer of the archive; ``writer`` holds it unpacked, None when its blob was there before.

    ``form`` is how it is compressed. A plain one has no blob of its own: it is content once it is published, and
    ``problem`` says why it cannot be. ``replaced``: a damaged blob was there, so the layer's files here are in doubt
    too.
    """

    digest: Digest
    size: int
    form: str
    writer: LayerWriter | None
    diff_id: Digest | None
    replaced: bool = False
    problem: str = ""


class Unbundled:
    """What was read; closing it drops every unpacked layer nobody committed."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.layers: dict[str, StoredLayer] = {}
        self.added: list[Digest] = []
        """Blobs this archive brought in."""
        self._stack = ExitStack()

    @property
    def documents(self) -> Documents:
        """The small files and the links."""
        return Documents(self.files, self.links)

    def hold(self, writer: LayerWriter) -> LayerWriter:
        """Drop ``writer`` at the end unless it was committed."""
        return self._stack.enter_context(writer)

    def close(self) -> None:
        """Drop what is left; blocks."""
        self._stack.close()


class Unbundler:
    """Reads one archive; ``chunks`` may be compressed."""

    def __init__(self, content: ContentStore, layers: LayerStore, progress: Progress) -> None:
        self._content = content
        self._layers = layers
        self._progress = progress
        self._bytes = 0

    def read(self, chunks: Iterator[bytes], found: Unbundled) -> None:
        """Fill ``found``; CorruptData or InvalidArgument for what is no image archive."""
        pieces = _decompressed(chunks)
        reader = TarReader(lambda: next(pieces, b""))
        count = 0
        for entry in reader:
            count += 1
            if count > MAX_MEMBERS:
                raise InvalidArgument(f"invalid archive: more than {MAX_MEMBERS} members")
            name = clean(os.fsdecode(entry.name))
            if entry.kind in (header.SYMLINK, header.LINK):
                target = os.fsdecode(entry.link)
                found.links[name] = link_target(name, target, symbolic=entry.kind == header.SYMLINK)
            elif entry.kind == header.REGULAR and entry.sparse is None:
                self._member(name, entry, reader, found)
        reader.drain()
        if not count:
            raise InvalidArgument("invalid archive: it is empty or no tar")

    def _member(self, name: str, entry: Entry, reader: TarReader, found: Unbundled) -> None:
        data = reader.data()
        first = b""
        while len(first) < _HEAD and (piece := next(data, None)):
            first += piece
        if entry.size <= CONFIG_LIMIT and first[:1] in (b"{", b"["):
            self._bytes += entry.size
            if self._bytes > MAX_DOCUMENTS:
                raise InvalidArgument("invalid archive: its documents are too large")
            found.files[name] = first + b"".join(bytes(piece) for piece in data)
        elif entry.size > _SMALLEST_LAYER:
            self._layer(name, entry.size, first, data, found)

    def _layer(self, name: str, size: int, first: bytes, data: Iterator[memoryview], found: Unbundled) -> None:
        expected = _digest_of(name)
        form = detect(first[:_HEAD])
        if expected is not None and not self._content.problem(expected, size):
            self._progress(name, size, size)
            found.layers[name] = StoredLayer(expected, size, form, None, None)
            return
        pieces = self._told(name, size, _joined(first, data))
        replaced = expected is not None and self._content.path(expected).exists()
        if form == "none" and not replaced and (expected is None or expected.algorithm == "sha256"):
            stored = self._plain(expected, size, pieces, found)
        else:
            stored = self._packed(expected, size, form, pieces, found)._replace(replaced=replaced)
        found.added.append(stored.digest)
        found.layers[name] = stored

    def _plain(self, expected: Digest | None, size: int, pieces: Iterator[bytes], found: Unbundled) -> StoredLayer:
        """Unpack with the split, and nothing else; what turns out to be no layer is hashed to its end."""
        writer = found.hold(LayerWriter(self._layers, split=True))
        problem = ""
        for piece in pieces:
            try:
                writer.feed(piece)
            except CorruptData as error:
                problem = str(error)
        try:
            writer.finish()
        except CorruptData as error:
            problem = str(error)
        digest = writer.digest
        if expected is not None and digest != expected:
            raise CorruptData(
                f"filesystem layer verification failed for digest {expected}: content has digest {digest}"
            )
        if problem:
            writer.abort()
            return StoredLayer(digest, size, "none", None, None, problem=problem)
        return StoredLayer(digest, size, "none", writer, digest)

    def _packed(
        self, expected: Digest | None, size: int, form: str, pieces: Iterator[bytes], found: Unbundled
    ) -> StoredLayer:
        key = f"load-{os.urandom(8).hex()}"
        with self._content.writer(key, expected=expected, size=size, shared=False) as ingest:
            writer: LayerWriter | None = found.hold(LayerWriter(self._layers))
            try:
                for piece in pieces:
                    ingest.write(piece)
                    writer = _feed(writer, piece)
                diff_id = None if writer is None else writer.finish()
                digest = ingest.commit()
            except BaseException:
                ingest.abort()
                raise
        return StoredLayer(digest, size, form, writer, diff_id)

    def _told(self, name: str, size: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces; progress is told of them."""
        position = reported = 0
        for piece in pieces:
            yield piece
            position += len(piece)
            if position - reported >= PROGRESS_BYTES or position == size:
                self._progress(name, position, size)
                reported = position


def _feed(writer: LayerWriter | None, piece: bytes) -> LayerWriter | None:
    """Unpack as long as it is a layer: an archive may carry blobs that are none (attestations, charts)."""
    if writer is None:
        return None
    try:
        writer.feed(piece)
    except CorruptData:
        writer.abort()
        return None
    return writer


def _joined(first: bytes, data: Iterator[memoryview]) -> Iterator[bytes]:
    yield first
    for piece in data:
        yield bytes(piece)


def _digest_of(name: str) -> Digest | None:
    """The digest a member ``blobs/<algorithm>/<hex>`` claims."""
    parts = name.split("/")
    if len(parts) == 3 and parts[0] == "blobs" and is_digest(f"{parts[1]}:{parts[2]}"):
        return Digest(f"{parts[1]}:{parts[2]}")
    return None


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = Decompressor()
    for chunk in chunks:
        yield from decompressor.feed(chunk)
    yield from decompressor.finish()
