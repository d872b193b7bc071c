"""Images on the wire: inspect, list, history, removal, prune (API 1.51).

Owns names, defaults and shapes; refuses to know where an image is kept. ``None`` where Docker prints ``null``.
"""

from typing import Any

import msgspec


class RootFS(msgspec.Struct, omit_defaults=True):
    """``RootFS`` of an image."""

    Type: str = ""
    Layers: list[str] = []


class DriverData(msgspec.Struct):
    """``GraphDriver``: where the layers are on this host."""

    Name: str
    Data: dict[str, str] | None = None


class ImageMetadata(msgspec.Struct):
    """``Metadata``: what this engine knows about the image beyond its content."""

    LastTagTime: str = "0001-01-01T00:00:00Z"


class ImageInspect(msgspec.Struct, kw_only=True):
    """``GET /images/{name}/json``; ``Config`` is the image's own object with every key Docker prints.

    ``VirtualSize``, ``Container`` and ``ContainerConfig`` belong to old API versions: the server drops them.
    """

    Id: str
    RepoTags: list[str]
    RepoDigests: list[str]
    Parent: str = ""
    Comment: str = ""
    Created: str = ""
    Container: str = ""
    ContainerConfig: dict[str, Any] | None = None
    DockerVersion: str = ""
    Author: str = ""
    Config: dict[str, Any] | None = None
    Architecture: str = ""
    Variant: str | msgspec.UnsetType = msgspec.UNSET
    Os: str = ""
    OsVersion: str | msgspec.UnsetType = msgspec.UNSET
    Size: int = 0
    VirtualSize: int = 0
    GraphDriver: DriverData
    RootFS: RootFS
    Metadata: ImageMetadata


class ImageSummary(msgspec.Struct, kw_only=True):
    """One row of ``GET /images/json``; ``SharedSize`` and ``Containers`` are -1 when not computed."""

    Id: str
    ParentId: str = ""
    RepoTags: list[str]
    RepoDigests: list[str]
    Created: int = 0
    Size: int = 0
    SharedSize: int = -1
    VirtualSize: int = 0
    Labels: dict[str, str] | None = None
    Containers: int = -1


class HistoryItem(msgspec.Struct):
    """One row of ``GET /images/{name}/history``, newest first; ``Created`` in seconds since the epoch."""

    Id: str
    Created: int
    CreatedBy: str
    Tags: list[str] | None
    Size: int
    Comment: str


class DeleteItem(msgspec.Struct, omit_defaults=True):
    """One row of ``DELETE /images/{name}``: exactly one of the two is set."""

    Untagged: str = ""
    Deleted: str = ""


class ImagePruneResponse(msgspec.Struct):
    """``POST /images/prune``."""

    ImagesDeleted: list[DeleteItem] | None
    SpaceReclaimed: int


class SearchResult(msgspec.Struct):
    """A row of ``GET /images/search``; ``is_automated`` is history and always false."""

    star_count: int
    is_official: bool
    name: str
    is_automated: bool = False
    description: str = ""
