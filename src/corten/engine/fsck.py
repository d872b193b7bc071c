"""Whether a data root is whole: what the records name is there and undamaged, and nothing is there that none names.

 (1) the database: its pages, and its records         (4) layers: there, and file for file what the blob says
 (2) images: references, manifests and layers agree   (5) containers: tree, directory, volumes
 (3) content: every blob hashed again                 (6) volumes, and what nobody names

Needs no engine; deletes and repairs nothing (the stores make empty folders and short names of layers by themselves):
what a crash leaves half done is the engine's own to put right at its start, and damage is for
:mod:`corten.engine.repair`. While an engine uses the data root, things
come and go: then only what is damaged or missing is told, and only if its record is still there at the end.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from corten.engine import record as containers
from corten.engine.config import EngineConfig
from corten.engine.images import record as images
from corten.engine.images.record import ImageRecord, ManifestRecord, ReferenceRecord, SourceRecord
from corten.engine.record import ContainerRecord
from corten.errors import CortenError, NotFound
from corten.oci.digest import Digest
from corten.oci.image import CONFIG_LIMIT, decode_config
from corten.storage import damage, metadata, verify, volume
from corten.storage.content import ContentStore
from corten.storage.ingest import CHUNK
from corten.storage.layer.store import LayerStore
from corten.storage.trees import TreeDirectories

T = TypeVar("T")

DAMAGED: Final = "damaged"
MISSING: Final = "missing"
ORPHAN: Final = "orphan"
#: (collection, key) of the record that needs what a finding is about.
Owner = tuple[str, str]


class Finding(msgspec.Struct, frozen=True):
    """One thing wrong: ``damaged`` (not what it was), ``missing`` (a record names it) or ``orphan`` (none does).

    ``blob`` or ``layer`` is the digest or chain id of the piece that it is about, if it is about one.
    """

    kind: str
    text: str
    owner: Owner = ("", "")
    blob: str = ""
    layer: str = ""


class Report(msgspec.Struct, frozen=True):
    """``checked`` counts what was looked at, by noun; ``in_use`` says that an engine had the data root open."""

    findings: list[Finding]
    checked: dict[str, int]
    in_use: bool = False


def check(data_root: str, progress: Callable[[str], None] = lambda _: None, *, held: bool = False) -> Report:
    """Everything of one data root; ``progress`` is told what is read next. ``held``: the caller keeps engines out.

    Raises:
        NotFound: there is no data root.
    """
    config = EngineConfig(data_root=data_root)
    if not os.path.exists(config.database):
        raise NotFound(f"{data_root} is no data root: it has no {os.path.basename(config.database)}")
    in_use = not held and _in_use(data_root)
    records = Records(metadata.dump(Path(config.database)))
    checker = _Checker(Path(data_root), records, progress)
    findings = [*records.findings, *checker.run()]
    in_use = in_use or (not held and _in_use(data_root))
    if in_use:
        now = metadata.dump(Path(config.database)).records
        findings = [
            item
            for item in findings
            if item.kind != ORPHAN and (not item.owner[0] or item.owner[1] in now.get(item.owner[0], {}))
        ]
    return Report(findings=findings, checked=checker.checked, in_use=in_use)


def _in_use(data_root: str) -> bool:
    try:
        lock = os.open(f"{data_root}/engine.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


class Records:
    """A database's decoded records, and what was found on the way (1)."""

    def __init__(self, dump: metadata.Dump) -> None:
        self._raw = dump.records
        self.findings = [Finding(DAMAGED, problem) for problem in dump.problems]
        for collection, key, reason in dump.quarantined:
            self.findings.append(Finding(DAMAGED, f"record {collection} {key} was set aside: {reason}"))
        self.images: dict[str, ImageRecord] = self._decode(images.IMAGES, partial(images.decode, kind=ImageRecord))
        self.manifests: dict[str, ManifestRecord] = self._decode(
            images.MANIFESTS, partial(images.decode, kind=ManifestRecord)
        )
        self.references: dict[str, ReferenceRecord] = self._decode(
            images.REFERENCES, partial(images.decode, kind=ReferenceRecord)
        )
        self._decode(images.SOURCES, partial(images.decode, kind=SourceRecord))
        self.containers: dict[str, ContainerRecord] = self._decode(containers.COLLECTION, containers.decode)
        self.volumes: dict[str, volume.Volume] = self._decode(volume.COLLECTION, volume.decode)

    def _decode(self, collection: str, decode: Callable[[bytes], T]) -> dict[str, T]:
        found = {}
        for key, raw in self._raw.get(collection, {}).items():
            try:
                found[key] = decode(raw)
            except (CortenError, msgspec.MsgspecError) as exc:
                self.findings.append(Finding(DAMAGED, f"record {collection} {key}: {exc}", (collection, key)))
        return found


class _Checker:
    """One pass over the stores."""

    def __init__(self, data_root: Path, records: Records, progress: Callable[[str], None]) -> None:
        self._root = data_root
        self._records = records
        self._progress = progress
        self._layers = LayerStore(data_root / "layers")
        self._content = ContentStore(data_root / "content", self._layers)
        self._trees = TreeDirectories(data_root / "snapshots")
        self._damaged: set[Digest] = set()
        self.checked = {"containers": len(records.containers), "images": len(records.images), "blobs": 0, "layers": 0}
        self.checked["volumes"] = len(records.volumes)

    def run(self) -> Iterator[Finding]:
        """Every finding, in the order of the module's list."""
        yield from self._images()  # (2)
        yield from self._blobs()  # (3)
        yield from self._unpacked()  # (4)
        yield from self._containers()  # (5)
        yield from self._volumes()  # (6)
        yield from self._leftovers()  # (6)

    def _images(self) -> Iterator[Finding]:
        records = self._records
        for name, reference in records.references.items():
            owner = (images.REFERENCES, name)
            if reference.image not in records.images:
                yield Finding(MISSING, f"reference {name} names image {reference.image}, which has no record", owner)
            if reference.manifest not in records.manifests:
                yield Finding(MISSING, f"reference {name} names manifest {reference.manifest}: no record", owner)
        for manifest in records.manifests.values():
            if manifest.image not in records.images:
                owner = (images.MANIFESTS, manifest.digest)
                yield Finding(MISSING, f"manifest {manifest.digest} names image {manifest.image}: no record", owner)
        for image in records.images.values():
            owner = (images.IMAGES, image.id)
            if image.manifest not in records.manifests:
                yield Finding(MISSING, f"image {image.id} names manifest {image.manifest}, which has no record", owner)
            if self._content.has(image.id):
                try:
                    decode_config(self._content.read(image.id, limit=CONFIG_LIMIT))
                except CortenError as exc:
                    yield Finding(DAMAGED, f"config of image {image.id}: {exc}", owner, blob=image.id)

    def _needed(self) -> dict[Digest, Owner]:
        """Every content a record names."""
        needed: dict[Digest, Owner] = {}
        for manifest in self._records.manifests.values():
            for digest in (manifest.digest, *(blob.digest for blob in manifest.layers)):
                needed[digest] = (images.MANIFESTS, manifest.digest)
        needed.update((image.id, (images.IMAGES, image.id)) for image in self._records.images.values())
        return needed

    def _blobs(self) -> Iterator[Finding]:
        needed = self._needed()
        there = set()
        for digest in self._content.walk():
            self._progress(f"content {digest}")
            self.checked["blobs"] += 1
            there.add(digest)
            try:
                problems = self._content.damages(digest)
            except NotFound:
                there.discard(digest)  # removed this moment; missing below if a record needs it
                continue
            if problems:
                if len(problems) >= len(self._content.layers_of(digest)):
                    self._damaged.add(digest)
                owner = needed.get(digest, ("", ""))
                for chain, problem in problems.items():
                    yield Finding(DAMAGED, problem, owner, blob="" if chain else digest, layer=chain)
            elif digest not in needed:
                yield Finding(ORPHAN, f"content {digest}: no record names it")
        for digest in sorted(needed.keys() - there):
            yield Finding(MISSING, f"content {digest} is missing", needed[digest], blob=digest)

    def _unpacked(self) -> Iterator[Finding]:
        needed: set[Digest] = set()
        for manifest in self._records.manifests.values():
            image = self._records.images.get(manifest.image)
            if image is None or image.manifest != manifest.digest:
                continue
            for chain, blob in zip(image.chain, manifest.layers, strict=False):
                if chain not in needed:
                    needed.add(chain)
                    yield from self._layer(chain, blob.digest, (images.IMAGES, image.id))
        for chain in self._layers.chains():
            if chain not in needed:
                yield Finding(ORPHAN, f"layer {chain}: no image has it")

    def _layer(self, chain: Digest, blob: Digest, owner: Owner) -> Iterator[Finding]:
        self._progress(f"layer {chain}")
        self.checked["layers"] += 1
        try:
            self._layers.get(chain)
        except CortenError as exc:
            yield Finding(MISSING if isinstance(exc, NotFound) else DAMAGED, str(exc), owner, layer=chain)
            return
        if blob in self._damaged or not self._content.has(blob):
            if why := damage.found(self._layers.root / chain.hex):
                yield Finding(DAMAGED, f"layer {chain}: {why}", owner, layer=chain)
            return  # told already; there is nothing to compare with
        try:
            with self._content.open(blob, chain) as stream:
                problems = verify.layer(iter(lambda: stream.read(CHUNK), b""), self._layers.root / chain.hex / "fs")
        except (CortenError, OSError) as exc:
            problems = [str(exc)]
        for problem in problems:
            yield Finding(DAMAGED, f"layer {chain}: {problem}", owner, layer=chain)

    def _containers(self) -> Iterator[Finding]:
        for container_id, record in self._records.containers.items():
            owner = (containers.COLLECTION, container_id)
            begun = record.state.started_ns > 0  # before that there is nothing in it that a start does not make again
            try:
                chain = self._trees.chain(container_id)
                if str(chain or "") != record.chain_id:
                    yield Finding(DAMAGED, f"container {container_id}: its tree stands on another image", owner)
                elif chain is not None and not self._layers.has(chain):
                    yield Finding(MISSING, f"container {container_id}: its image's layer {chain} is missing", owner)
            except NotFound as exc:
                if begun:
                    yield Finding(MISSING, str(exc), owner)
            except CortenError as exc:
                yield Finding(DAMAGED, str(exc), owner)
            if begun and not (self._root / "containers" / container_id).is_dir():
                yield Finding(MISSING, f"container {container_id}: its directory is missing", owner)
            for point in record.mounts:
                if point.name and point.name not in self._records.volumes:
                    yield Finding(MISSING, f"container {container_id}: its volume {point.name} is missing", owner)
        for container_id in _orphans(self._trees, self._records.containers):
            yield Finding(ORPHAN, f"tree of container {container_id}: no record names it")
        for container_id in _orphans(_names(self._root / "containers"), self._records.containers):
            yield Finding(ORPHAN, f"directory of container {container_id}: no record names it")

    def _volumes(self) -> Iterator[Finding]:
        for name in self._records.volumes:
            if not (self._root / "volumes" / name / "_data").is_dir():
                yield Finding(MISSING, f"volume {name}: its data is missing", (volume.COLLECTION, name))
        for name in _orphans(_names(self._root / "volumes"), self._records.volumes):
            if not name.startswith("."):
                yield Finding(ORPHAN, f"directory of volume {name}: no record names it")

    def _leftovers(self) -> Iterator[Finding]:
        """What is being made or deleted; without an engine nobody goes on with it. Downloads may be resumed."""
        for folder in ("layers", "snapshots", "volumes", "init"):
            for name in _names(self._root / folder):
                if name.startswith("."):
                    yield Finding(ORPHAN, f"{folder}/{name} is half made or half deleted")
        for name in _names(self._root):
            if name.startswith("."):
                yield Finding(ORPHAN, f"{name} is half made or half deleted")
        for name in _names(self._root / "layers" / "l"):
            if not (self._root / "layers" / "l" / name).exists():
                yield Finding(ORPHAN, f"layers/l/{name} points nowhere")
        resumable = sum(status.resumable for status in self._content.ingests())
        unusable = len(_names(self._root / "content" / "ingest")) - resumable
        if unusable:
            yield Finding(ORPHAN, f"{unusable} ingests in content/ingest cannot be resumed")


def _orphans(there: Iterable[str], known: dict[str, T]) -> list[str]:
    return [name for name in there if name not in known]


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
