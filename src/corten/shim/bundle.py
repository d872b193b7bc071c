"""``<exec-root>/bundle/<container id>``: a container as the OCI runtime specification wants it on disk.

Only for those who read it: hooks, which are told where it is, and foreign runtimes. It lies on a tmpfs and goes with
the container's process.
"""

from __future__ import annotations

import os

from corten.linux import mount
from corten.oci.document import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG = "config.json"
ROOT = "rootfs"


def path(state_directory: str, container_id: str) -> str:
    """The bundle of a container, beside the directory of the shim's state."""
    return f"{os.path.dirname(state_directory)}/bundle/{container_id}"


def write(directory: str, spec: dict[str, Any], root: str) -> None:
    """Write the bundle; ``root`` is what ``root.path`` shall be."""
    os.makedirs(directory, 0o700, exist_ok=True)
    document = {**spec, "root": {**(spec.get("root") or {}), "path": root}}
    descriptor = os.open(f"{directory}/{CONFIG}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, encode(document).encode())
    finally:
        os.close(descriptor)


def read(directory: str) -> dict[str, Any] | None:
    """Its config.json, None when there is no bundle."""
    try:
        with open(f"{directory}/{CONFIG}", "rb") as file:
            document = decode(file.read())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def remove(directory: str) -> None:
    """Unmount its root, if it is mounted, and delete the bundle's own files; nothing below the root is touched."""
    try:
        mount.umount2(f"{directory}/{ROOT}", mount.MNT_DETACH)
    except OSError:  # not mounted, or no bundle
        pass
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        if name == ROOT:
            os.rmdir(f"{directory}/{ROOT}")
        else:
            os.unlink(f"{directory}/{name}")
    os.rmdir(directory)
