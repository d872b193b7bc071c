"""A bundle on disk: a directory with config.json (runtime-spec, bundle.md). Reads it, names its cgroup; no more."""

from __future__ import annotations

import os

from corten.errors import InvalidArgument, NotFound
from corten.oci.runtime import decode, validate
from corten.oci.schema import without_nulls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_MAX_CONFIG: Final = 16 << 20


def read_json(path: str) -> Any:
    """One JSON file of at most 16 MiB."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_CONFIG + 1)
    except FileNotFoundError:
        raise NotFound(f"JSON specification file {path} not found") from None
    if len(text) > _MAX_CONFIG:
        raise InvalidArgument(f"{path} is larger than {_MAX_CONFIG} bytes")
    return parse(text, path)


def read_all(fd: int, name: str) -> bytes:
    """What comes from a descriptor until its end, at most 16 MiB."""
    text = b""
    while chunk := os.read(fd, 65536):
        text += chunk
        if len(text) > _MAX_CONFIG:
            raise InvalidArgument(f"{name} is larger than {_MAX_CONFIG} bytes")
    return text


def parse(text: bytes, name: str) -> Any:
    """One JSON document without its nulls; ``name`` is for the error."""
    try:
        return without_nulls(decode(text))
    except ValueError as error:
        raise InvalidArgument(f"{name}: {error}") from None
    except RecursionError:
        raise InvalidArgument(f"{name}: nested too deeply") from None


def load(directory: str) -> tuple[str, dict[str, Any]]:
    """``(absolute directory, config.json)`` after validation."""
    path = os.path.abspath(directory or ".")
    spec: dict[str, Any] = read_json(f"{path}/config.json")
    validate(spec)
    for field in ("ociVersion", "process", "root"):
        if not spec.get(field):
            raise InvalidArgument(f"{field} must be given")
    return path, spec


def cgroup_path(spec: dict[str, Any], identifier: str) -> str:
    """``linux.cgroupsPath``, else a group of this runtime's own; systemd's ``slice:prefix:name`` is refused."""
    path = (spec.get("linux") or {}).get("cgroupsPath") or ""
    if ":" in path:
        raise InvalidArgument(f"linux.cgroupsPath {path!r} is for the systemd manager: use --systemd-cgroup")
    if ".." in path.split("/"):
        raise InvalidArgument(f"linux.cgroupsPath {path!r} must not contain '..'")
    if not path:
        return f"/corten-runtime/{identifier}"
    return str(path) if path.startswith("/") else f"/{path}"
