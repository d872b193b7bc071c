"""The documents of an image: descriptors, manifests, indexes and configs, OCI's and Docker's schema 2.

Owns their shape and their strict decoding. Does no I/O, and never re-encodes what was pulled: the store keeps the
original bytes, because a digest names bytes. Where a config is changed (commit, import) :func:`amend` keeps every
key this module does not know.

Documents come from strangers: sizes are bounded by the reader of the bytes (``MANIFEST_LIMIT``, ``CONFIG_LIMIT``), a
document that is a manifest and an index at once is refused (CVE-2021-41190), and ``null`` counts as absent, as for Go.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from corten.errors import InvalidArgument
from corten.oci.digest import Digest

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIG_TYPES: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
LAYER_TYPES: Final = frozenset(
    {OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD}
)

MANIFEST_LIMIT: Final = 4 << 20
"""Largest manifest or index that is read, in bytes (distribution-spec asks for 4 MiB at least)."""
CONFIG_LIMIT: Final = 8 << 20
"""Largest image config that is read, in bytes."""

_Document = TypeVar("_Document", bound=msgspec.Struct)


class Platform(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What an image runs on (image-spec, image-index.md)."""

    architecture: str = ""
    os: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A typed pointer to content."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    data: str = ""
    platform: Platform | None = None
    artifact_type: str = ""

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("descriptor size must not be negative")


class Manifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One image for one platform: its config and its layers, lowest first."""

    schema_version: int
    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = ""
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Index(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Several manifests under one name (OCI index, Docker manifest list)."""

    schema_version: int
    manifests: tuple[Descriptor, ...]
    media_type: str = ""
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Healthcheck(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """``HEALTHCHECK``; durations in nanoseconds."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """What a container of the image runs by default: the ``config`` object, with Docker's additions to OCI's fields.

    ``None`` is ``null`` or absent, which Docker's inspect tells from an empty list.
    """

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    entrypoint: tuple[str, ...] | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: tuple[str, ...] | None = None


class RootFS(msgspec.Struct, frozen=True, omit_defaults=False):
    """The uncompressed layers, lowest first."""

    type: str = "layers"
    diff_ids: tuple[Digest, ...] = ()


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one layer, or one change without a layer, came to be."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """The image config (image-spec, config.md) with the fields Docker adds; its digest is the image id."""

    architecture: str = ""
    os: str = ""
    rootfs: RootFS = RootFS()
    config: ContainerConfig = ContainerConfig()
    created: str | None = None
    author: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    history: tuple[History, ...] = ()
    comment: str = ""
    parent: str = ""
    container: str = ""
    container_config: ContainerConfig | None = None
    docker_version: str = ""

    @property
    def platform(self) -> Platform:
        """The platform the config claims."""
        return Platform(self.architecture, self.os, self.os_version, self.os_features, self.variant)


def decode_manifest(raw: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index; ``media_type`` is what the transport or descriptor called it, if anything.

    Raises:
        InvalidArgument: naming the JSON path, or that the kinds contradict each other.
    """
    document = _load(raw, MANIFEST_LIMIT, "manifest")
    kind = media_type.partition(";")[0].strip() or str(document.get("mediaType") or "")
    claimed = document.get("mediaType")
    if claimed and claimed in INDEX_TYPES | MANIFEST_TYPES and kind in INDEX_TYPES | MANIFEST_TYPES and claimed != kind:
        raise InvalidArgument(f"manifest says it is {claimed} and was sent as {kind}")
    if kind in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED) or document.get("schemaVersion") == 1:
        raise InvalidArgument("schema 1 manifests are not supported: push the image again with a current client")
    is_index = kind in INDEX_TYPES or (kind not in MANIFEST_TYPES and "manifests" in document)
    forbidden = ("layers", "config") if is_index else ("manifests",)
    for key in forbidden:
        if key in document:
            raise InvalidArgument(f"manifest is ambiguous: an {'index' if is_index else 'image manifest'} has {key}")
    found = _convert(document, Index, "index") if is_index else _convert(document, Manifest, "manifest")
    if found.schema_version != 2:
        raise InvalidArgument(f"manifest schemaVersion is {found.schema_version}, must be 2")
    return found


def decode_config(raw: bytes) -> ImageConfig:
    """Read an image config.

    Raises:
        InvalidArgument: naming the JSON path; also for a config without ``rootfs``, which Docker refuses the same way.
    """
    document = _load(raw, CONFIG_LIMIT, "image config")
    if "rootfs" not in document:
        raise InvalidArgument("invalid image config: rootfs is missing")
    return _convert(document, ImageConfig, "image config")


def encode(document: msgspec.Struct) -> bytes:
    """The compact JSON of a new document, keys in the order of its definition."""
    return msgspec.json.encode(document, enc_hook=_plain)


def amend(raw: bytes, changed: ImageConfig) -> bytes:
    """``raw`` with every known key taken from ``changed`` and every unknown key (top level and ``config``) kept."""
    original = _load(raw, CONFIG_LIMIT, "image config")
    known = {field.encode_name for field in msgspec.structs.fields(ImageConfig)}
    inner = {field.encode_name for field in msgspec.structs.fields(ContainerConfig)}
    result: dict[str, Any] = msgspec.to_builtins(changed, enc_hook=_plain)
    old_inner = original.get("config")
    if isinstance(old_inner, dict):
        kept = {key: value for key, value in old_inner.items() if key not in inner}
        result["config"] = {**result.get("config", {}), **kept}
    result.update({key: value for key, value in original.items() if key not in known})
    return msgspec.json.encode(result)


def _load(raw: bytes, limit: int, what: str) -> dict[str, Any]:
    if len(raw) > limit:
        raise InvalidArgument(f"{what} is larger than {limit} bytes")
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid {what}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"invalid {what}: not a JSON object")
    without_null: dict[str, Any] = _without_null(document)
    return without_null


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value


def _convert(document: dict[str, Any], kind: type[_Document], what: str) -> _Document:
    try:
        return msgspec.convert(document, kind, dec_hook=_typed)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid {what}: {error}") from error


def _typed(kind: type, value: Any) -> Any:
    if kind is Digest and isinstance(value, str):
        try:
            return Digest(value)
        except InvalidArgument as error:
            raise ValueError(str(error)) from error
    raise ValueError(f"expected {kind.__name__}")


def _plain(value: Any) -> Any:
    return str(value)
