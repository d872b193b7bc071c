"""Volumes on the wire (API 1.51)."""

from typing import Any

import msgspec


class UsageData(msgspec.Struct):
    """``UsageData`` of a volume; -1 where it was not computed."""

    Size: int = -1
    RefCount: int = -1


_UsageData = UsageData


class Volume(msgspec.Struct, kw_only=True):
    """One volume in list, inspect and create."""

    CreatedAt: str
    Driver: str
    Labels: dict[str, str] | None
    Mountpoint: str
    Name: str
    Options: dict[str, str] | None
    Scope: str = "local"
    UsageData: _UsageData | msgspec.UnsetType = msgspec.UNSET


class VolumeCreate(msgspec.Struct, kw_only=True):
    """Body of ``POST /volumes/create``."""

    Name: str = ""
    Driver: str = ""
    DriverOpts: dict[str, str] | None = None
    Labels: dict[str, str] | None = None
    ClusterVolumeSpec: dict[str, Any] | None = None


class VolumeListResponse(msgspec.Struct):
    """``GET /volumes``."""

    Volumes: list[Volume]
    Warnings: list[str] | None = None


class VolumePruneResponse(msgspec.Struct):
    """``POST /volumes/prune``."""

    VolumesDeleted: list[str] | None = None
    SpaceReclaimed: int = 0
