"""``<exec-root>/bundle/<container id>``: a container as the OCI runtime specification wants it on disk.

Only for those who read it: hooks, which are told where it is, and foreign runtimes. It lies on a tmpfs and goes with
the container's process.
"""

from __future__ import annotations

import errno
import os

from corten.oci.document import decode, encode
from corten.shim.loop import note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG = "config.json"
RUNTIME = "runtime.json"


def path(state_directory: str, container_id: str) -> str:
    """The bundle of a container, beside the directory of the shim's state."""
    return f"{os.path.dirname(state_directory)}/bundle/{container_id}"


def claim(directory: str, runtime: dict[str, Any]) -> None:
    """Make the bundle for a runtime that is not our own, which finds no other name in it than its own."""
    remove(directory)
    os.makedirs(directory, 0o700)
    _store(f"{directory}/{RUNTIME}", runtime)


def runtime_of(directory: str) -> dict[str, Any] | None:
    """What :func:`claim` wrote, None for a bundle of our own."""
    return _load(f"{directory}/{RUNTIME}")


def all_ids(state_directory: str) -> list[str]:
    """Containers that have a bundle."""
    try:
        return sorted(os.listdir(path(state_directory, "")))
    except FileNotFoundError:
        return []


def write(directory: str, spec: dict[str, Any], root: str) -> None:
    """Write the bundle; ``root`` is what ``root.path`` shall be."""
    os.makedirs(directory, 0o700, exist_ok=True)
    _store(f"{directory}/{CONFIG}", {**spec, "root": {**(spec.get("root") or {}), "path": root}})


def _store(file: str, document: dict[str, Any]) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, encode(document).encode())
    finally:
        os.close(descriptor)


def read(directory: str) -> dict[str, Any] | None:
    """Its config.json, None when there is no bundle."""
    return _load(f"{directory}/{CONFIG}")


def _load(name: str) -> dict[str, Any] | None:
    try:
        with open(name, "rb") as file:
            document = decode(file.read())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def remove(directory: str) -> None:
    """Delete the bundle's files and empty mount points; nothing is ever mounted there where this process sees it.

    What a command of a runtime still writes there meanwhile stays, until it has ended and this is called again.
    """
    try:
        for entry in list(os.scandir(directory)):
            if entry.is_dir(follow_symlinks=False):
                remove(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(directory)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            note(f"{directory} stays: {error.strerror}")
