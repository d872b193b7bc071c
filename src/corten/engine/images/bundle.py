"""What is in an image archive: the documents of ``docker save`` and of an OCI image layout, read. Pure.

Owns both formats: Docker's ``manifest.json`` (moby ``image/tarexport``, skopeo ``docker-archive``) and the OCI image
layout (image-spec, image-layout.md). An archive may be both; then Docker's list says which images and names there
are, and a manifest of the layout that describes the same image is kept byte for byte. Names inside an archive are
dictionary keys here and never paths on this host.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from corten.errors import CorruptData, InvalidArgument, NotSupported
from corten.oci import platform as platforms
from corten.oci.digest import Digest
from corten.oci.image import CONFIG_TYPES, Descriptor, Index, Manifest, Platform, decode_manifest
from corten.oci.reference import Reference

MANIFEST_JSON: Final = "manifest.json"
INDEX_JSON: Final = "index.json"
REPOSITORIES: Final = "repositories"
NAME_ANNOTATION: Final = "io.containerd.image.name"
REF_ANNOTATION: Final = "org.opencontainers.image.ref.name"
MAX_LINKS: Final = 16


class DockerItem(msgspec.Struct, rename="pascal"):
    """One entry of ``manifest.json``."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


class ArchivedImage(NamedTuple):
    """One image of an archive: where its parts are, and its manifest's bytes when the archive has one."""

    names: list[Reference]
    config: str
    layers: list[str]
    manifest: bytes | None
    media_type: str


class Documents(NamedTuple):
    """Small files by cleaned name, and links: name -> cleaned name of the target."""

    files: Mapping[str, bytes]
    links: Mapping[str, str]

    def resolve(self, name: str) -> str:
        """Follow links of the archive, at most sixteen."""
        current = clean(name)
        for _ in range(MAX_LINKS):
            if current not in self.links:
                return current
            current = self.links[current]
        raise CorruptData(f"invalid archive: too many links at {name}")

    def read(self, name: str) -> bytes:
        """A small file; CorruptData when the archive has none of that name."""
        found = self.files.get(self.resolve(name))
        if found is None:
            raise CorruptData(f"invalid archive: {name} is missing")
        return found


def clean(name: str) -> str:
    """One spelling of a member's name."""
    return posixpath.normpath("/" + name).lstrip("/")


def link_target(name: str, target: str, *, symbolic: bool) -> str:
    """Where a link of the archive leads."""
    return clean(posixpath.join(posixpath.dirname(name), target) if symbolic else target)


def blob_path(digest: Digest) -> str:
    """``blobs/sha256/<hex>``."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def images(documents: Documents, wanted: Platform | None) -> list[ArchivedImage]:
    """Every image of the archive that can be loaded here.

    Raises CorruptData for a broken archive, InvalidArgument for one without images, NotSupported for the format
    before Docker 1.10.
    """
    layout = list(_layout_images(documents, wanted)) if INDEX_JSON in documents.files else []
    if MANIFEST_JSON in documents.files:
        return [_docker_image(item, documents, layout) for item in _items(documents.read(MANIFEST_JSON))]
    if layout:
        return layout
    if INDEX_JSON in documents.files:
        asked = platforms.display(wanted or platforms.host())
        raise InvalidArgument(f"the archive has no image for {asked}")
    if REPOSITORIES in documents.files:
        raise NotSupported(
            "archives of Docker before 1.10 (without manifest.json) are not supported: save the image again"
        )
    raise InvalidArgument("invalid archive: neither manifest.json nor index.json was found")


def _items(raw: bytes) -> list[DockerItem]:
    try:
        return msgspec.json.decode(raw, type=list[DockerItem])
    except msgspec.DecodeError as exc:
        raise CorruptData(f"invalid archive: manifest.json: {exc}") from exc


def _docker_image(item: DockerItem, documents: Documents, layout: Sequence[ArchivedImage]) -> ArchivedImage:
    config = documents.resolve(item.config)
    layers = [documents.resolve(layer) for layer in item.layers or ()]
    names = [_tagged(text) for text in item.repo_tags or ()]
    for other in layout:
        if other.config == config and other.layers == layers:
            return other._replace(names=names)
    return ArchivedImage(names, config, layers, None, "")


def _tagged(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.tag is None:
        raise CorruptData(f"invalid archive: invalid tag {text!r}")
    return reference


def _layout_images(documents: Documents, wanted: Platform | None) -> Iterator[ArchivedImage]:
    index = decode_manifest(documents.read(INDEX_JSON), "application/vnd.oci.image.index.v1+json")
    assert isinstance(index, Index)
    for descriptor in index.manifests:
        raw = documents.files.get(blob_path(descriptor.digest))
        if raw is None:
            continue
        _verify(descriptor.digest, raw)
        document = decode_manifest(raw, descriptor.media_type)
        if isinstance(document, Index):
            chosen = _choose(document, documents, wanted)
            if chosen is None:
                continue
            descriptor = msgspec.structs.replace(chosen, annotations=descriptor.annotations)
            raw = documents.read(blob_path(descriptor.digest))
            _verify(descriptor.digest, raw)
            document = decode_manifest(raw, descriptor.media_type)
        if isinstance(document, Manifest) and document.config.media_type in CONFIG_TYPES:
            yield _layout_image(descriptor, document, raw)


def _layout_image(descriptor: Descriptor, manifest: Manifest, raw: bytes) -> ArchivedImage:
    return ArchivedImage(
        names_of(descriptor.annotations),
        blob_path(manifest.config.digest),
        [blob_path(layer.digest) for layer in manifest.layers],
        raw,
        manifest.media_type or descriptor.media_type,
    )


def _choose(index: Index, documents: Documents, wanted: Platform | None) -> Descriptor | None:
    """The best manifest of an index among those the archive really has."""
    here = [item for item in index.manifests if blob_path(item.digest) in documents.files]
    return platforms.choose(here, wanted or platforms.host())


def names_of(annotations: Mapping[str, Any]) -> list[Reference]:
    """The name an index gives an image; a bare tag (as skopeo writes without a name) names nothing."""
    text = str(annotations.get(NAME_ANNOTATION) or annotations.get(REF_ANNOTATION) or "")
    if NAME_ANNOTATION not in annotations and not any(mark in text for mark in ":/"):
        return []
    try:
        reference = Reference.parse(text).with_default_tag()
    except InvalidArgument:
        return []
    return [reference] if reference.tag else []


def _verify(digest: Digest, raw: bytes) -> None:
    if Digest.of(raw) != digest:
        raise CorruptData(f"invalid archive: {blob_path(digest)} does not have the digest its name says")
