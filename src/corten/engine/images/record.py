"""What the engine remembers of images: three collections of the database.

``image``            key: image id           the config's facts a list needs, and the unpacked layers
``image-manifest``   key: manifest digest    the blobs a push or save sends; one image may have several manifests
``image-reference``  key: normalised name    ``domain/path:tag`` or ``domain/path@digest`` -> image and manifest
``blob-source``      key: blob digest        repositories known to have the blob, for cross-repository mounts

Owns shapes and their coding. Refuses to know who reads them. The bytes of manifests, configs and layers are in the
content store under their digests; a record is committed after all content it names is durable.
"""

from typing import Any, Final, TypeVar

import msgspec

from corten.errors import CorruptData, InvalidArgument
from corten.oci.digest import Digest
from corten.oci.image import DOCKER_LAYER, OCI_LAYER

IMAGES: Final = "image"
MANIFESTS: Final = "image-manifest"
REFERENCES: Final = "image-reference"
SOURCES: Final = "blob-source"

PLAIN_LAYERS: Final = frozenset((OCI_LAYER, DOCKER_LAYER))

R = TypeVar("R", bound=msgspec.Struct)


class Blob(msgspec.Struct, frozen=True):
    """One layer as it is transferred."""

    digest: Digest
    size: int
    media_type: str


class ManifestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One manifest; ``size`` is that of its own bytes.

    ``local``: it did not come from a registry. Such a manifest over uncompressed layers is not pushed as it is.
    """

    digest: Digest
    media_type: str
    size: int
    image: Digest
    layers: tuple[Blob, ...]
    local: bool = False

    @property
    def plain(self) -> bool:
        """Whether a push would send local layers that nobody has compressed yet."""
        return self.local and any(blob.media_type in PLAIN_LAYERS for blob in self.layers)


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One image; ``id`` is the config's digest, ``chain`` the chain ids lowest first, ``sizes`` unpacked bytes.

    ``created`` in seconds and ``tagged`` in nanoseconds since the epoch. A ``hidden`` image was removed by force while
    a container still needed its layers: nobody sees it, and it goes with the container.
    """

    id: Digest
    manifest: Digest
    chain: tuple[Digest, ...]
    sizes: tuple[int, ...]
    created: int
    os: str
    architecture: str
    variant: str = ""
    parent: str = ""
    labels: dict[str, str] | None = None
    tagged: int = 0
    hidden: bool = False

    @property
    def size(self) -> int:
        """Bytes of all layers, unpacked."""
        return sum(self.sizes)


class ReferenceRecord(msgspec.Struct, frozen=True):
    """What a name leads to."""

    image: Digest
    manifest: Digest


class SourceRecord(msgspec.Struct, frozen=True):
    """Repositories (``domain/path``) that have a blob, newest last."""

    repositories: tuple[str, ...] = ()


def encode(record: msgspec.Struct) -> bytes:
    """A record as stored."""
    return msgspec.json.encode(record, enc_hook=str)


def decode(raw: bytes, kind: type[R]) -> R:
    """A stored record; CorruptData when it cannot be one."""
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=_digest)
    except (msgspec.DecodeError, ValueError) as exc:
        raise CorruptData(str(exc)) from exc


def _digest(kind: type, value: Any) -> Any:
    if kind is Digest and isinstance(value, str):
        try:
            return Digest(value)
        except InvalidArgument as exc:
            raise ValueError(str(exc)) from exc
    raise ValueError(f"expected {kind.__name__}")
