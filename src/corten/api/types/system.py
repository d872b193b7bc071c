"""The engine itself on the wire: info, version, login (API 1.51)."""

from typing import Any

import msgspec


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
    Experimental: bool = False
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


#: ``GET /info`` is a document of some eighty keys that only grows: it is built in one place and never read here.
SystemInfo = dict[str, Any]
