"""Records and configs as the API shows them: pure.

Owns the shapes of inspect, history and list rows. Refuses to look anything up.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from corten.api.types.image import DriverData, HistoryItem, ImageInspect, ImageMetadata, ImageSummary, RootFS
from corten.engine.images.record import ImageRecord
from corten.errors import InvalidArgument
from corten.oci.image import ImageConfig

NEVER: Final = "0001-01-01T00:00:00Z"
MISSING: Final = "<missing>"
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)\Z")
#: What API 1.50 and 1.51 print in ``Config`` even when it is empty (moby ``image_inspect.go``).
_ALWAYS: Final[Mapping[str, Any]] = {
    "User": "",
    "Env": None,
    "Cmd": None,
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
#: Fields of a container that images of old builders carry, and that API 1.50 no longer shows.
_NOT_SHOWN: Final = frozenset(
    ("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "Image",
     "NetworkDisabled", "MacAddress", "StopTimeout")
)  # fmt: skip


def seconds(text: str | None) -> int:
    """An RFC 3339 time as seconds since the epoch; 0 for none, InvalidArgument for what is no time."""
    if not text:
        return 0
    match = _TIME.match(text)
    try:
        if match is not None:
            day, _, zone = match.groups()
            return int(datetime.fromisoformat(day.upper() + ("+00:00" if zone in "Zz" else zone)).timestamp())
    except (OverflowError, ValueError):
        pass  # the 31st of February, hour 25, before the first year there is
    raise InvalidArgument(f"invalid image config: {text[:64]!r} is not an RFC 3339 time")


def timestamp(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as Go prints a time in UTC."""
    if not nanoseconds:
        return NEVER
    whole, rest = divmod(nanoseconds, 10**9)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def inspect(
    image: ImageRecord,
    config: ImageConfig,
    *,
    tags: Sequence[str],
    digests: Sequence[str],
    driver: DriverData,
) -> ImageInspect:
    """``GET /images/{name}/json``."""
    return ImageInspect(
        Id=str(image.id),
        RepoTags=list(tags),
        RepoDigests=list(digests),
        Parent=image.parent or config.parent,
        Comment=config.comment or (config.history[-1].comment if config.history else ""),
        Created=config.created or NEVER,
        Container=config.container,
        ContainerConfig=shown_config(config, container=True) if config.container_config is not None else None,
        DockerVersion=config.docker_version,
        Author=config.author,
        Config=shown_config(config),
        Architecture=config.architecture,
        Variant=config.variant or msgspec.UNSET,
        Os=config.os,
        OsVersion=config.os_version or msgspec.UNSET,
        Size=image.size,
        VirtualSize=image.size,
        GraphDriver=driver,
        RootFS=RootFS(Type=config.rootfs.type, Layers=[str(diff_id) for diff_id in config.rootfs.diff_ids]),
        Metadata=ImageMetadata(LastTagTime=timestamp(image.tagged)),
    )


def shown_config(config: ImageConfig, *, container: bool = False) -> dict[str, Any]:
    """``Config`` (or the old ``ContainerConfig``) with the keys API 1.51 prints."""
    source = config.container_config if container else config.config
    given: dict[str, Any] = msgspec.to_builtins(source)
    return {**_ALWAYS, **{key: value for key, value in given.items() if key not in _NOT_SHOWN}}


def history(image: ImageRecord, config: ImageConfig, tags: Sequence[str]) -> list[HistoryItem]:
    """``GET /images/{name}/history``: newest first; only the newest row has an id, as the store keeps no others."""
    sizes = iter(image.sizes)
    rows = [
        HistoryItem(
            Id=MISSING,
            Created=seconds(entry.created),
            CreatedBy=entry.created_by,
            Tags=None,
            Size=0 if entry.empty_layer else next(sizes, 0),
            Comment=entry.comment,
        )
        for entry in config.history
    ]
    rows.reverse()
    if rows:
        rows[0].Id = str(image.id)
        rows[0].Tags = list(tags) or None
    return rows


def summary(
    image: ImageRecord, *, tags: Sequence[str], digests: Sequence[str], shared: int, containers: int
) -> ImageSummary:
    """One row of ``GET /images/json``."""
    return ImageSummary(
        Id=str(image.id),
        ParentId=image.parent,
        RepoTags=list(tags),
        RepoDigests=list(digests),
        Created=image.created,
        Size=image.size,
        SharedSize=shared,
        VirtualSize=image.size,
        Labels=image.labels,
        Containers=containers,
    )
