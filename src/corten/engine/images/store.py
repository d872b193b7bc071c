"""All image records of an engine: an index in memory over the database.

Owns names, ids and what refers to what. Lives on the event loop's thread; only :meth:`ImageStore.commit` touches the
disk, in a worker thread, and changes memory after the database has. Refuses to touch content or layers.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

import msgspec

from corten.engine.images import record
from corten.engine.images.record import ImageRecord, ManifestRecord, R, ReferenceRecord, SourceRecord
from corten.errors import CorruptData, CortenError, InvalidArgument, NoSuchImage, NotFound
from corten.oci import platform as platforms
from corten.oci.digest import Digest
from corten.oci.image import Platform
from corten.oci.reference import Reference, parse_any
from corten.storage.metadata import Database

MAX_SOURCES: Final = 8
_PREFIX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})\Z")


class Found(NamedTuple):
    """An image looked up; ``reference`` is the name that led there, None for an id."""

    image: ImageRecord
    manifest: ManifestRecord
    reference: Reference | None


class Change(msgspec.Struct):
    """Records to put (value) or delete (None), committed together."""

    images: dict[str, ImageRecord | None] = {}
    manifests: dict[str, ManifestRecord | None] = {}
    references: dict[str, ReferenceRecord | None] = {}
    sources: dict[str, SourceRecord | None] = {}


class ImageStore:
    """Read on the loop, changed by :meth:`commit`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._leases: Counter[Digest] = Counter()
        self.images: dict[str, ImageRecord] = {}
        self.manifests: dict[str, ManifestRecord] = {}
        self.references: dict[str, ReferenceRecord] = {}
        self.sources: dict[str, SourceRecord] = {}

    def load(self) -> list[str]:
        """Read every record; what could not be read is set aside and told in the result."""
        problems: list[str] = []
        for collection, kind in _KINDS.items():
            for key, raw in self._database.load(collection):
                try:
                    self._remember(collection, key, record.decode(raw, kind))
                except (CorruptData, InvalidArgument) as exc:
                    self._database.quarantine(collection, key, str(exc))
                    problems.append(f"{collection} {key}: {exc}")
        for key, reference in list(self.references.items()):
            if reference.image not in self.images or reference.manifest not in self.manifests:
                del self.references[key]
                problems.append(f"{key}: names an image that is not there")
        for identifier, image in list(self.images.items()):
            if image.manifest not in self.manifests:
                del self.images[identifier]
                problems.append(f"image {identifier}: its manifest {image.manifest} is not there")
        return problems

    async def commit(self, change: Change) -> None:
        """Make a change durable, then visible; the caller's content is durable already."""
        async with self._lock:
            await asyncio.shield(asyncio.to_thread(self._write, change))
            _apply(self.manifests, change.manifests)
            _apply(self.images, change.images)
            _apply(self.references, change.references)
            _apply(self.sources, change.sources)

    def find(self, name: str) -> Found:
        """The image a client means by a name, an id or the beginning of an id; NoSuchImage, or InvalidArgument."""
        try:
            wanted = parse_any(name)
        except InvalidArgument:
            found = self._by_prefix(name)
            if found is None:
                raise
            return found
        if isinstance(wanted, Digest):
            image = self.images.get(wanted)
            if image is None or image.hidden:
                raise NoSuchImage(name)
            return Found(image, self.manifests[image.manifest], None)
        reference = wanted.with_default_tag()
        # A name with tag and digest means the digest (distribution/reference).
        exact = reference.with_digest(reference.digest) if reference.digest else reference
        target = self.references.get(str(exact))
        if target is not None:
            return Found(self.images[target.image], self.manifests[target.manifest], exact)
        by_prefix = self._by_prefix(name)
        if by_prefix is not None:
            return by_prefix
        raise NoSuchImage(reference.familiar())

    def find_for(self, name: str, platform: str) -> Found:
        """As :meth:`find`; NotFound when the image is for another ``platform`` ("" is any)."""
        found = self.find(name)
        if not platform:
            return found
        wanted = platforms.parse(platform)
        image = found.image
        actual = platforms.normalise(Platform(architecture=image.architecture, os=image.os, variant=image.variant))
        if not platforms.matches(actual, wanted):
            raise NotFound(
                f"image with reference {name} was found but does not match the specified platform: "
                f"wanted {platforms.display(wanted)}, actual: {platforms.display(actual)}"
            )
        return found

    def names(self, image: Digest) -> list[Reference]:
        """Every reference of an image, tags and digests, sorted by text."""
        return [Reference.parse(key) for key, target in sorted(self.references.items()) if target.image == image]

    def repo_tags(self, image: Digest) -> list[str]:
        """``RepoTags``."""
        return [name.familiar() for name in self.names(image) if name.tag]

    def repo_digests(self, image: Digest) -> list[str]:
        """``RepoDigests``."""
        return [name.familiar() for name in self.names(image) if name.digest]

    def visible(self) -> Iterator[ImageRecord]:
        """Every image a client may see."""
        return (image for image in self.images.values() if not image.hidden)

    def used_content(self) -> set[Digest]:
        """The digests of every manifest, config and layer that a record names."""
        used = {image.id for image in self.images.values()}
        for manifest in self.manifests.values():
            used.add(manifest.digest)
            used.update(blob.digest for blob in manifest.layers)
        return used

    def used_chains(self) -> set[Digest]:
        """The chain ids of every unpacked layer that a record names."""
        return {chain for image in self.images.values() for chain in image.chain}

    @contextmanager
    def lease(self, image: Digest) -> Iterator[None]:
        """Inside, the image is not removed."""
        self._leases[image] += 1
        try:
            yield
        finally:
            self._leases[image] -= 1
            if not self._leases[image]:
                del self._leases[image]

    def leased(self, image: Digest) -> bool:
        """Whether somebody holds a lease."""
        return image in self._leases

    def with_source(self, blobs: Iterable[Digest], repository: str) -> dict[str, SourceRecord | None]:
        """The source records after ``repository`` is known to have ``blobs``; empty when that was known."""
        changed: dict[str, SourceRecord | None] = {}
        for digest in blobs:
            known = self.sources.get(digest, SourceRecord()).repositories
            if repository not in known:
                changed[digest] = SourceRecord((*known, repository)[-MAX_SOURCES:])
        return changed

    def _by_prefix(self, name: str) -> Found | None:
        match = _PREFIX.match(name)
        if match is None:
            return None
        found = [image for image in self.visible() if image.id.hex.startswith(match.group(1))]
        if len(found) > 1:
            raise CortenError(f"multiple IDs found with provided prefix: {name}")
        return Found(found[0], self.manifests[found[0].manifest], None) if found else None

    def _remember(self, collection: str, key: str, value: msgspec.Struct) -> None:
        match value:
            case ImageRecord():
                self.images[str(Digest(key))] = value
            case ManifestRecord():
                self.manifests[str(Digest(key))] = value
            case ReferenceRecord():
                self.references[str(Reference.parse(key))] = value
            case SourceRecord():
                self.sources[str(Digest(key))] = value

    def _write(self, change: Change) -> None:
        tables: tuple[tuple[str, Mapping[str, msgspec.Struct | None]], ...] = (
            (record.MANIFESTS, change.manifests),
            (record.IMAGES, change.images),
            (record.REFERENCES, change.references),
            (record.SOURCES, change.sources),
        )
        with self._database.transaction(durable=True) as transaction:
            for collection, entries in tables:
                for key, value in entries.items():
                    if value is None:
                        transaction.delete(collection, str(key))
                    else:
                        transaction.put(collection, str(key), record.encode(value))


_KINDS: Final[Mapping[str, type[msgspec.Struct]]] = {
    record.MANIFESTS: ManifestRecord,
    record.IMAGES: ImageRecord,
    record.REFERENCES: ReferenceRecord,
    record.SOURCES: SourceRecord,
}


def _apply(table: dict[str, R], changes: Mapping[str, R | None]) -> None:
    for key, value in changes.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
