"""``docker save``: images as one tar that is both a docker-archive and an OCI image layout, as Docker writes since 25.

Owns the order and the headers of the archive. Blobs go out exactly as they are stored, so a layer that was pulled
compressed is saved compressed; equal images give equal archives, because every time is that of the image.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from corten.engine.images.bundle import NAME_ANNOTATION, REF_ANNOTATION, blob_path
from corten.engine.images.record import ImageRecord, ManifestRecord
from corten.engine.images.store import Found
from corten.oci.digest import Digest
from corten.oci.image import OCI_INDEX
from corten.oci.reference import Reference
from corten.storage.content import ContentStore
from corten.storage.ingest import CHUNK
from corten.tar import header as tar
from corten.tar import writer

#: Takes the next bytes of the archive; waits while the client is slow.
ByteSink = Callable[[bytes], Awaitable[None]]


class Selected(msgspec.Struct):
    """One image of an archive with every name it gets."""

    image: ImageRecord
    manifest: ManifestRecord
    diff_ids: list[Digest]
    names: list[Reference]


def group(found: Sequence[Found], diff_ids: Callable[[ImageRecord], list[Digest]]) -> list[Selected]:
    """Join names of one image; order as asked for. ``diff_ids`` reads a config and blocks."""
    chosen: dict[Digest, Selected] = {}
    for item in found:
        entry = chosen.get(item.image.id)
        if entry is None:
            entry = chosen[item.image.id] = Selected(item.image, item.manifest, diff_ids(item.image), [])
        if item.reference is not None and item.reference.tag and item.reference not in entry.names:
            entry.names.append(item.reference)
    return list(chosen.values())


async def write(selected: Sequence[Selected], content: ContentStore, sink: ByteSink) -> None:
    """Send the archive."""
    moment = max(entry.image.created for entry in selected)
    for directory in ("blobs/", "blobs/sha256/"):
        await sink(_header(directory, 0, moment, directory=True))
    for digest in _blobs(selected):
        await _blob(digest, content, moment, sink)
    documents = (
        ("index.json", _index(selected)),
        ("manifest.json", _docker_manifest(selected)),
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        ("repositories", _repositories(selected)),
    )
    for name, document in documents:
        raw = msgspec.json.encode(document)
        await sink(_header(name, len(raw), moment) + raw + writer.padding(len(raw)))
    await sink(writer.END)


async def _blob(digest: Digest, content: ContentStore, moment: int, sink: ByteSink) -> None:
    stream = await asyncio.to_thread(content.open, digest)
    with stream:
        size = await asyncio.to_thread(content.size, digest)
        await sink(_header(blob_path(digest), size, moment))
        while chunk := await asyncio.to_thread(stream.read, CHUNK):
            await sink(chunk)
    if size % tar.BLOCK:
        await sink(writer.padding(size))


def _blobs(selected: Sequence[Selected]) -> list[Digest]:
    """Every blob once, sorted as Docker does."""
    found: set[Digest] = set()
    for entry in selected:
        found.update((entry.image.id, entry.manifest.digest))
        found.update(blob.digest for blob in entry.manifest.layers)
    return sorted(found)


def _index(selected: Sequence[Selected]) -> dict[str, Any]:
    manifests = []
    for entry in selected:
        plain: dict[str, Any] = {
            "mediaType": entry.manifest.media_type,
            "digest": str(entry.manifest.digest),
            "size": entry.manifest.size,
        }
        named = [{NAME_ANNOTATION: str(name), REF_ANNOTATION: name.tag} for name in entry.names]
        manifests += [{**plain, "annotations": annotations} for annotations in named] or [plain]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}


def _docker_manifest(selected: Sequence[Selected]) -> list[dict[str, Any]]:
    return [
        {
            "Config": blob_path(entry.image.id),
            "RepoTags": [name.familiar() for name in entry.names] or None,
            "Layers": [blob_path(blob.digest) for blob in entry.manifest.layers],
            "LayerSources": {
                str(diff_id): {"mediaType": blob.media_type, "size": blob.size, "digest": str(blob.digest)}
                for diff_id, blob in zip(entry.diff_ids, entry.manifest.layers, strict=True)
            },
        }
        for entry in selected
    ]


def _repositories(selected: Sequence[Selected]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for entry in selected:
        top = entry.manifest.layers[-1].digest.hex if entry.manifest.layers else entry.image.id.hex
        for name in entry.names:
            found.setdefault(name.familiar_name(), {})[name.tag or ""] = top
    return found


def _header(name: str, size: int, moment: int, *, directory: bool = False) -> bytes:
    kind, mode = (tar.DIRECTORY, 0o755) if directory else (tar.REGULAR, 0o644)
    return writer.encode(tar.Entry(name.encode(), kind, mode=mode, size=size, mtime_ns=moment * 10**9))
