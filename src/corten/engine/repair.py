"""What is done about what :mod:`corten.engine.fsck` found.

:func:`mark` says on each damaged piece that it is damaged, so that the next pull or load of an image brings it in
again. :func:`advice` says which commands do that. :func:`repair` needs the data root for itself (containers may run
on) and

 (1) unpacks damaged and missing layers anew where their blobs are sound, lowest first,
 (2) moves what is damaged to ``<data root>/quarantine``, but for layers that a container runs on,
 (3) drops the records of images that cannot be whole any more, unless a container was made from them, and records that
     lead nowhere,
 (4) writes records that were set aside in the database to the quarantine.

A crash at any point leaves a store that the next repair goes on with: a layer is replaced in one step, a piece is
renamed before its record goes, and a piece without a record is garbage the engine collects.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from corten.engine import fsck
from corten.engine.config import EngineConfig
from corten.engine.fsck import DAMAGED, ORPHAN, Finding, Records, Report
from corten.engine.images import record as images
from corten.engine.images.record import ImageRecord, ManifestRecord
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord
from corten.errors import Conflict, CorruptData, CortenError, NotFound
from corten.linux import procfs
from corten.linux.removal import remove_tree
from corten.oci.digest import Digest
from corten.oci.image import CONFIG_LIMIT, decode_config
from corten.oci.reference import Reference
from corten.storage import damage, metadata
from corten.storage.content import ContentStore
from corten.storage.durable import sync_directory, write_file
from corten.storage.ingest import CHUNK
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter
from corten.storage.metadata import Database

QUARANTINE: Final = "quarantine"


class Repaired(msgspec.Struct, frozen=True):
    """``done`` says what was done, for people; ``report`` is what is found afterwards."""

    done: list[str]
    report: Report


def mark(report: Report, data_root: str) -> list[str]:
    """Mark every damaged piece; what could not be marked, for people."""
    content, layers = ContentStore(Path(data_root) / "content"), LayerStore(Path(data_root) / "layers")
    problems = []
    for finding in report.findings:
        if finding.kind != DAMAGED or not (finding.blob or finding.layer):
            continue
        path = content.path(Digest(finding.blob)) if finding.blob else layers.root / Digest(finding.layer).hex
        try:
            if not damage.found(path):
                damage.mark(path, finding.text)
        except OSError as exc:
            problems.append(f"{path} cannot be marked as damaged: {exc.strerror}")
    return problems


def advice(report: Report, data_root: str) -> list[str]:
    """What to do about damaged and missing parts of images: one line for each image."""
    records = Records(metadata.dump(Path(EngineConfig(data_root=data_root).database)))
    doomed = {str(image.id): image for image in _images_of(records, report.findings)}
    return sorted(_remedy(records, image) for image in doomed.values())


def repair(data_root: str) -> Repaired:
    """Everything the module's docstring lists.

    Raises:
        Conflict: an engine uses the data root.
        NotFound: there is no data root.
    """
    database = Path(EngineConfig(data_root=data_root).database)
    if not database.exists():
        raise NotFound(f"{data_root} is no data root: it has no {database.name}")
    lock = os.open(f"{data_root}/engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Conflict(
            f"an engine uses {data_root}: stop it first (containers run on), or pull the damaged images instead"
        ) from None
    try:
        report = fsck.check(data_root, held=True)
        mark(report, data_root)
        work = _Repair(Path(data_root), Records(metadata.dump(database)), report)
        work.run()
        return Repaired(work.done, fsck.check(data_root, held=True) if work.done else report)
    finally:
        os.close(lock)


class _Repair:
    """One repair."""

    def __init__(self, root: Path, records: Records, report: Report) -> None:
        self._root = root
        self._records = records
        self._findings = [finding for finding in report.findings if finding.kind != ORPHAN]
        self._layers = LayerStore(root / "layers")
        self._content = ContentStore(root / "content", self._layers)
        self._blobs = {finding.blob for finding in self._findings}
        self._chains = {finding.layer for finding in self._findings}
        self.done: list[str] = []

    def run(self) -> None:
        """In the module's order."""
        for image in self._records.images.values():
            self._unpack(image)  # (1)
        self._set_aside()  # (2)
        database = Database(Path(EngineConfig(data_root=str(self._root)).database))
        try:
            self._drop(database)  # (3)
            self._export(database)  # (4)
        finally:
            database.close()

    def _unpack(self, image: ImageRecord) -> None:
        manifest = self._records.manifests.get(image.manifest)
        if manifest is None or not self._chains.intersection(image.chain):
            return
        try:
            diff_ids = decode_config(self._content.read(image.id, limit=CONFIG_LIMIT)).rootfs.diff_ids
        except CortenError:
            return
        parent: Digest | None = None
        for chain, blob, diff_id in zip(image.chain, manifest.layers, diff_ids, strict=False):
            if chain in self._chains:
                if (
                    blob.digest in self._blobs
                    or self._runs_on(chain)
                    or not self._replace(blob.digest, diff_id, parent)
                ):
                    return
                self._chains.discard(chain)
                self.done.append(f"layer {chain} was unpacked again")
            parent = chain

    def _replace(self, blob: Digest, diff_id: Digest, parent: Digest | None) -> bool:
        try:
            derived = self._content.derived(blob)
            with self._content.open(blob) as stream, LayerWriter(self._layers, split=derived) as writer:
                for data in iter(lambda: stream.read(CHUNK), b""):
                    writer.feed(data)
                if writer.finish() != diff_id:
                    return False
                writer.commit(parent, self._content.keep)
        except (CorruptData, NotFound):
            return False
        return True

    def _runs_on(self, chain: Digest) -> str:
        """A running container whose image has the layer."""
        for container in self._records.containers.values():
            used = {identifier for _, identifier in container.images()}
            stacks = [image.chain for image in self._records.images.values() if str(image.id) in used]
            if _alive(container) and any(chain in stack for stack in stacks):
                return container.id
        return ""

    def _set_aside(self) -> None:
        damaged = [finding for finding in self._findings if finding.kind == DAMAGED]
        for digest in sorted({finding.blob for finding in damaged} - {""}):
            self._move(self._content.path(Digest(digest)), f"content {digest}", f"blob-{digest.replace(':', '-')}")
        for text in sorted({finding.layer for finding in damaged} & self._chains - {""}):
            chain = Digest(text)
            if container := self._runs_on(chain):
                self.done.append(
                    f"layer {chain} stays: container {container[:12]} runs on it; stop it and repair again"
                )
            else:
                self._move(self._layers.root / chain.hex, f"layer {chain}", f"layer-{chain.hex}")

    def _move(self, path: Path, what: str, name: str) -> None:
        place = self._root / QUARANTINE
        place.mkdir(mode=0o700, exist_ok=True)
        remove_tree(place / name) if (place / name).is_dir() else (place / name).unlink(missing_ok=True)
        try:
            path.rename(place / name)
        except FileNotFoundError:
            return
        sync_directory(path.parent)
        self.done.append(f"{what} was moved to {place / name}")

    def _drop(self, database: Database) -> None:
        records = self._records
        used = {identifier for container in records.containers.values() for _, identifier in container.images()}
        gone = {image.id for image in records.images.values() if str(image.id) not in used and not self._whole(image)}
        manifests = {
            manifest.digest
            for manifest in records.manifests.values()
            if manifest.image in gone or manifest.image not in records.images
        }
        references = [
            name
            for name, target in records.references.items()
            if target.image in gone or target.image not in records.images or target.manifest in manifests
        ]
        with database.transaction(durable=True) as transaction:
            for identifier in gone:
                transaction.delete(images.IMAGES, str(identifier))
                self.done.append(f"image {identifier} was dropped: {_remedy(records, records.images[str(identifier)])}")
            for digest in manifests:
                transaction.delete(images.MANIFESTS, str(digest))
            for name in references:
                transaction.delete(images.REFERENCES, name)
                self.done.append(f"reference {name} was dropped")

    def _whole(self, image: ImageRecord) -> bool:
        """Whether containers can be made from it: blobs that only a push needs may be missing."""
        if image.manifest not in self._records.manifests or self._content.problem(image.id):
            return False
        return all(self._layers.has(chain) and not self._layers.problem(chain) for chain in image.chain)

    def _export(self, database: Database) -> None:
        rows = database.take_quarantined()
        if not rows:
            return
        place = self._root / QUARANTINE
        place.mkdir(mode=0o700, exist_ok=True)
        for number, row in rows.items():
            write_file(place / f"record-{number}.json", msgspec.json.encode(row))
        database.forget_quarantined(rows)
        self.done.append(f"{len(rows)} records that were set aside were moved to {place}")


def _alive(container: ContainerRecord) -> bool:
    """Whether its first process lives: pid and start time name one process for ever."""
    if container.state.status not in (Status.RUNNING, Status.PAUSED):
        return False
    try:
        return procfs.start_ticks(container.state.pid) == container.state.start_ticks
    except (OSError, ValueError):
        return False


def _images_of(records: Records, findings: Iterable[Finding]) -> Iterator[ImageRecord]:
    """The images that findings are about."""
    for finding in findings:
        if finding.kind == ORPHAN:
            continue
        for image in records.images.values():
            manifests = _manifests(records, image)
            blobs = {image.id, *(manifest.digest for manifest in manifests)}
            blobs.update(blob.digest for manifest in manifests for blob in manifest.layers)
            if finding.blob in blobs or finding.layer in image.chain:
                yield image


def _manifests(records: Records, image: ImageRecord) -> Sequence[ManifestRecord]:
    return [manifest for manifest in records.manifests.values() if manifest.image == image.id]


def _remedy(records: Records, image: ImageRecord) -> str:
    """How to get an image back: pulled by its name, where it has one that a registry knows."""
    known = [(Reference.parse(name), target) for name, target in records.references.items() if target.image == image.id]
    known.sort(key=lambda item: (not item[0].tag, str(item[0])))
    pulled = [
        name.familiar()
        for name, target in known
        if target.manifest in records.manifests and not records.manifests[target.manifest].local
    ]
    if pulled:
        return f"corten pull {pulled[0]}"
    shown = known[0][0].familiar() if known else image.id.hex[:12]
    return f"load or build {shown} again: it came from no registry"
