"""Exec instances on the wire (API 1.51).

Owns names, defaults and shapes; refuses to know what a field does.
"""

import msgspec


class ExecCreate(msgspec.Struct, kw_only=True):
    """Body of ``POST /containers/{id}/exec``; ``ConsoleSize`` is (height, width)."""

    User: str = ""
    Privileged: bool = False
    Tty: bool = False
    ConsoleSize: tuple[int, int] | None = None
    AttachStdin: bool = False
    AttachStderr: bool = False
    AttachStdout: bool = False
    DetachKeys: str = ""
    Env: list[str] | None = None
    WorkingDir: str = ""
    Cmd: list[str] | None = None


class ExecCreateResponse(msgspec.Struct):
    """Answer of ``POST /containers/{id}/exec``."""

    Id: str


class ExecStart(msgspec.Struct, kw_only=True):
    """Body of ``POST /exec/{id}/start``."""

    Detach: bool = False
    Tty: bool = False
    ConsoleSize: tuple[int, int] | None = None


class ExecProcessConfig(msgspec.Struct, kw_only=True):
    """``ProcessConfig`` of an exec's inspect; the names are lower case on the wire too."""

    tty: bool = False
    entrypoint: str = ""
    arguments: list[str] = []
    privileged: bool = False
    user: str = ""


class ExecInspect(msgspec.Struct, kw_only=True):
    """``GET /exec/{id}/json``."""

    ID: str
    Running: bool
    ExitCode: int | None
    ProcessConfig: ExecProcessConfig
    OpenStdin: bool
    OpenStderr: bool
    OpenStdout: bool
    CanRemove: bool
    ContainerID: str
    DetachKeys: str
    Pid: int
