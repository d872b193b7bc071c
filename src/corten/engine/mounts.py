"""What a container mounts beside its root: ``-v``, ``--mount``, ``--tmpfs`` and an image's VOLUMEs as one list; pure.

Owns the grammar of the three spellings and its texts (dockerd's), and their precedence: ``--volumes-from``, then
``-v``, then ``--mount``, then the image's volumes; a later one never hides an earlier one of its own kind. Refuses to
know whether a path exists: :mod:`corten.engine.volumes` and the container's creation look.
"""

import posixpath
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from corten.api.types.container import Mount
from corten.errors import InvalidArgument, NotSupported

PROPAGATIONS: Final = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
DEFAULT_PROPAGATION: Final = "rprivate"
_MODES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("rw", "ro"), "access"),
    **dict.fromkeys(("z", "Z"), "label"),
    **dict.fromkeys(PROPAGATIONS, "propagation"),
    "nocopy": "copy",
    **dict.fromkeys(("consistent", "cached", "delegated", "default"), "consistency"),
}


#: What tmpfs(5) and mount(8) know for a tmpfs; propagation is not among it.
_TMPFS_WORDS: Final = frozenset(
    {
        "async", "atime", "defaults", "dev", "diratime", "dirsync", "exec", "gid", "huge", "mand", "mode", "mpol",
        "noatime", "nodev", "nodiratime", "noexec", "nomand", "norelatime", "nostrictatime", "nosuid", "nr_blocks",
        "nr_inodes", "relatime", "ro", "rw", "size", "strictatime", "suid", "sync", "uid",
    }
)  # fmt: skip


class MountPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mount of a container, persisted with it.

    ``source`` is a host path (bind), a volume's data directory (volume; filled when the volume is known) or empty
    (tmpfs); ``filesystem`` is (type, source) of a volume that is mounted rather than bound. ``read_only_top`` leaves
    submounts of a read-only bind writable. ``layers`` are an image's directories, uppermost first, ``image`` its id.
    ``origin`` is how it was asked for: ``bind`` (-v), ``mount``
    (--mount), ``image`` (VOLUME), ``from`` (--volumes-from).
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    read_only: bool = False
    propagation: str = ""
    options: tuple[str, ...] = ()
    filesystem: tuple[str, str] | None = None
    subpath: str = ""
    labels: dict[str, str] = {}
    driver_options: dict[str, str] = {}
    anonymous: bool = False
    no_copy: bool = False
    recursive: bool = True
    create_source: bool = False
    read_only_top: bool = False
    origin: str = ""
    image: str = ""
    layers: tuple[str, ...] = ()


def _valid_mode(mode: str) -> bool:
    """Known words, at most one of each kind."""
    kinds = [_MODES.get(word, "") for word in mode.split(",")] if mode else []
    return all(kinds) and len(kinds) == len(set(kinds))


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


def _check_target(target: str) -> None:
    if _clean(target) == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{target}' mount path must be absolute")


def parse_bind(raw: str, volume_driver: str = "") -> MountPoint:
    """``[source:]destination[:mode]`` as ``-v`` takes it.

    Raises:
        InvalidArgument: with Docker's text.
    """
    parts = raw.split(":", 3)
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and _valid_mode(parts[1])):
        raise InvalidArgument(f"invalid volume specification: '{raw}'")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    mode = parts[2] if len(parts) == 3 else ""
    if not _valid_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode}")
    kind = "bind" if source.startswith("/") else "volume"
    try:
        _check_target(target)
    except InvalidArgument as exc:
        raise InvalidArgument(
            f"invalid volume specification: '{raw}': invalid mount config for type \"{kind}\": {exc}"
        ) from None
    words = mode.split(",")
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    if kind == "volume" and propagation:
        text = 'invalid mount config for type "volume": field BindOptions must not be specified'
        raise InvalidArgument(f"invalid volume specification: '{raw}': {text}")
    if kind == "bind" and "nocopy" in words:
        text = 'invalid mount config for type "bind": field VolumeOptions must not be specified'
        raise InvalidArgument(f"invalid volume specification: '{raw}': {text}")
    return MountPoint(
        type=kind,
        destination=_clean(target),
        source=_clean(source) if kind == "bind" else "",
        name=source if kind == "volume" else "",
        driver=(volume_driver or "local") if kind == "volume" else "",
        mode=mode,
        read_only="ro" in words,
        propagation=(propagation or DEFAULT_PROPAGATION) if kind == "bind" else "",
        anonymous=kind == "volume" and not source,
        no_copy="nocopy" in words,
        create_source=kind == "bind",
        origin="bind",
    )


def parse_mount(mount: Mount) -> MountPoint:
    """One ``--mount`` (HostConfig.Mounts).

    Raises:
        InvalidArgument: ``invalid mount config for type "T": ...``
        NotSupported: type npipe, cluster.
    """
    try:
        if not mount.Target:
            raise InvalidArgument("field Target must not be empty")
        _check_target(mount.Target)
        if mount.Type == "bind":
            return _parse_bind_mount(mount)
        if mount.Type == "volume":
            return _parse_volume_mount(mount)
        if mount.Type == "tmpfs":
            return _parse_tmpfs_mount(mount)
        if mount.Type == "image":
            return _parse_image_mount(mount)
        if mount.Type in ("cluster", "npipe"):
            raise NotSupported(f"--mount type={mount.Type} is not supported yet")
        raise InvalidArgument("mount type unknown")
    except InvalidArgument as exc:
        raise InvalidArgument(f'invalid mount config for type "{mount.Type}": {exc}') from None


def _refuse(mount: Mount, *fields: str) -> None:
    for field in fields:
        if getattr(mount, field):
            raise InvalidArgument(f"field {field} must not be specified")


def _parse_bind_mount(mount: Mount) -> MountPoint:
    if not mount.Source:
        raise InvalidArgument("field Source must not be empty")
    _refuse(mount, "VolumeOptions", "TmpfsOptions")
    options = mount.BindOptions
    propagation = (options.Propagation if options else "") or DEFAULT_PROPAGATION
    if propagation not in PROPAGATIONS:
        raise InvalidArgument(f"invalid propagation mode: {propagation}")
    if not mount.Source.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{mount.Source}' mount path must be absolute")
    return MountPoint(
        type="bind",
        destination=_clean(mount.Target),
        source=_clean(mount.Source),
        read_only=mount.ReadOnly,
        propagation=propagation,
        recursive=not (options and options.NonRecursive),
        create_source=bool(options and options.CreateMountpoint),
        read_only_top=bool(options and options.ReadOnlyNonRecursive),
        origin="mount",
    )


def _parse_volume_mount(mount: Mount) -> MountPoint:
    _refuse(mount, "BindOptions", "TmpfsOptions")
    options = mount.VolumeOptions
    subpath = options.Subpath if options else ""
    if subpath and not mount.Source:
        raise InvalidArgument("must not set Subpath when using anonymous volumes")
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise InvalidArgument("subpath must be a relative path within the volume")
    if mount.ReadOnly and not mount.Source:
        raise InvalidArgument("must not set ReadOnly mode when using anonymous volumes")
    driver = options.DriverConfig if options else None
    return MountPoint(
        type="volume",
        destination=_clean(mount.Target),
        name=mount.Source,
        driver=(driver.Name if driver else "") or "local",
        driver_options=dict(driver.Options or {}) if driver else {},
        labels=dict(options.Labels or {}) if options else {},
        mode="z" if not mount.ReadOnly else "",
        read_only=mount.ReadOnly,
        subpath=subpath,
        anonymous=not mount.Source,
        no_copy=bool(options and options.NoCopy),
        origin="mount",
    )


def _parse_image_mount(mount: Mount) -> MountPoint:
    """Always read-only: nothing of an image changes."""
    if not mount.Source:
        raise InvalidArgument("field Source must not be empty")
    _refuse(mount, "BindOptions", "VolumeOptions", "TmpfsOptions")
    subpath = mount.ImageOptions.Subpath if mount.ImageOptions else ""
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise InvalidArgument("subpath must be a relative path within the image")
    return MountPoint(
        type="image",
        destination=_clean(mount.Target),
        source=mount.Source,
        read_only=True,
        subpath=subpath,
        origin="mount",
    )


def _parse_tmpfs_mount(mount: Mount) -> MountPoint:
    _refuse(mount, "BindOptions", "VolumeOptions")
    if mount.Source:
        raise InvalidArgument("field Source must not be specified")
    words = ["ro"] if mount.ReadOnly else []
    options = mount.TmpfsOptions
    if options:
        if options.Mode:
            words.append(f"mode={options.Mode:o}")
        if options.SizeBytes:
            words.append(f"size={options.SizeBytes}")
        for option in options.Options or ():
            if len(option) not in (1, 2) or option[0] not in ("exec", "noexec"):
                raise InvalidArgument(f"invalid option: {'='.join(option)}")
            words.append("=".join(option))
    return MountPoint(
        type="tmpfs", destination=_clean(mount.Target), read_only=mount.ReadOnly, options=tuple(words), origin="mount"
    )


def check_tmpfs(path: str, options: str) -> None:
    """One entry of HostConfig.Tmpfs. Raises InvalidArgument with Docker's text."""
    if _clean(path) == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path}' mount path must be absolute")
    for word in options.split(",") if options else ():
        if word and word.partition("=")[0] not in _TMPFS_WORDS:
            shown = " ".join(f'"{part}"' for part in word.split("=", 1))
            raise InvalidArgument(f"invalid tmpfs option [{shown}]")


def parse_volumes_from(text: str) -> tuple[str, str]:
    """``container[:mode]`` as (container, mode)."""
    if not text:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    container, _, mode = text.partition(":")
    if mode and (not _valid_mode(mode) or any(_MODES[word] in ("propagation", "copy") for word in mode.split(","))):
        raise InvalidArgument(f"invalid mode: {mode}")
    return container, mode or "rw"


def merge_mounts(
    inherited: Iterable[MountPoint],
    binds: Iterable[MountPoint],
    mounts: Iterable[MountPoint],
    volumes: Iterable[str],
    tmpfs: Iterable[str],
) -> tuple[MountPoint, ...]:
    """All mounts of a container, by destination; ``volumes`` are paths of anonymous volumes (image VOLUME, ``-v
    /path``).

    Raises:
        InvalidArgument: ``Duplicate mount point: /x``.
    """
    chosen = {point.destination: point for point in inherited}
    named = {_clean(path) for path in tmpfs}
    explicit: set[str] = set()
    for point in (*binds, *mounts):
        if point.destination in explicit or point.destination in named:
            raise InvalidArgument(f"Duplicate mount point: {point.destination}")
        explicit.add(point.destination)
        chosen[point.destination] = point
    for path in volumes:
        destination = _clean(f"/{path.lstrip('/')}")  # images have VOLUME with relative paths: from the root, as Docker
        _check_target(destination)
        if destination not in chosen and destination not in named:
            chosen[destination] = MountPoint(
                type="volume", destination=destination, driver="local", anonymous=True, origin="image"
            )
    return tuple(chosen.values())


def tmpfs_options(*layers: Iterable[str]) -> list[str]:
    """Mount options where a later word replaces an earlier one of the same kind (``exec`` and ``noexec``,
    ``size=``).
    """
    merged: dict[str, str] = {}
    opposites = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "async": "sync", "atime": "noatime"}
    for layer in layers:
        for word in layer:
            if word:
                key = word.partition("=")[0]
                key = opposites.get(key, key)
                merged.pop(key, None)
                merged[key] = word
    return list(merged.values())
