"""The engine itself on the wire: info, version, login (API 1.51)."""

from typing import Any

import msgspec

from corten.api.types.container import ContainerSummary
from corten.api.types.image import ImageSummary
from corten.api.types.volume import Volume


class ComponentVersion(msgspec.Struct):
    """One of ``Components`` of the version."""

    Name: str
    Version: str
    Details: dict[str, str] | None = None


class Named(msgspec.Struct):
    """``Platform`` of the version."""

    Name: str


class SystemVersion(msgspec.Struct, kw_only=True):
    """``GET /version``."""

    Platform: Named
    Components: list[ComponentVersion]
    Version: str
    ApiVersion: str
    MinAPIVersion: str
    GitCommit: str
    GoVersion: str
    Os: str
    Arch: str
    KernelVersion: str
    BuildTime: str = ""


class AuthConfig(msgspec.Struct, kw_only=True):
    """Body of ``POST /auth``, and the decoded ``X-Registry-Auth`` header."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class AuthResponse(msgspec.Struct):
    """Answer of ``POST /auth``."""

    Status: str
    IdentityToken: str = ""


class DataRootUsage(msgspec.Struct, kw_only=True):
    """What ``LayersSize`` consists of, in bytes on disk; an addition of this engine."""

    Layers: int
    Blobs: int
    InitLayers: int
    Database: int
    Leftovers: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.Layers + self.Blobs + self.InitLayers + self.Database + self.Leftovers


class DiskUsage(msgspec.Struct, kw_only=True):
    """``GET /system/df``; None where a kind was not asked for."""

    LayersSize: int = 0
    Images: list[ImageSummary] | None = None
    Containers: list[ContainerSummary] | None = None
    Volumes: list[Volume] | None = None
    BuildCache: list[dict[str, Any]] | None = None
    DataRoot: DataRootUsage | msgspec.UnsetType = msgspec.UNSET


#: ``GET /info`` is a document of some eighty keys that only grows: it is built in one place and never read here.
SystemInfo = dict[str, Any]
