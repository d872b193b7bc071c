"""Device nodes of the host as a container may get them: ``--device``, ``--device-cgroup-rule``, all of them when
privileged.

Looks at the host's ``/dev``; paths are the administrator's, never a container's.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from corten.api.types.container import DeviceMapping
from corten.errors import InvalidArgument

_ACCESS: Final = re.compile(r"[rwm]{1,3}\Z")
_RULE: Final = re.compile(r"([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})\Z")
#: Directories of /dev that hold a namespace of their own.
_SKIPPED: Final = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})

Device = dict[str, Any]


def _node(host_path: str, path: str) -> Device | None:
    info = os.stat(host_path)
    if stat.S_ISCHR(info.st_mode):
        kind = "c"
    elif stat.S_ISBLK(info.st_mode):
        kind = "b"
    else:
        return None
    return {
        "path": path,
        "type": kind,
        "major": os.major(info.st_rdev),
        "minor": os.minor(info.st_rdev),
        "fileMode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def _walk(directory: str, path: str) -> Iterator[Device]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda item: item.name):
            if entry.is_symlink():
                continue
            if entry.is_dir():
                if entry.name not in _SKIPPED:
                    yield from _walk(entry.path, f"{path}/{entry.name}")
            elif entry.name != "console" and (node := _node_if_there(entry.path, f"{path}/{entry.name}")) is not None:
                yield node


def _node_if_there(host_path: str, path: str) -> Device | None:
    """What was listed may be gone by now."""
    try:
        return _node(host_path, path)
    except FileNotFoundError:
        return None


def _rule(node: Device, access: str) -> dict[str, Any]:
    return {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"], "access": access}


def find(mapping: DeviceMapping) -> list[Device]:
    """The node, or every node below a directory, that one ``--device`` names; paths as in the container.

    Raises:
        InvalidArgument: Docker's text when it is missing or no device.
    """
    source, target = mapping.PathOnHost, mapping.PathInContainer or mapping.PathOnHost
    try:
        found = list(_walk(source, target)) if os.path.isdir(source) else [_node(source, target)]
    except OSError as exc:
        reason = (os.strerror(exc.errno) if exc.errno else str(exc)).lower()
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{source}": {reason}'
        ) from exc
    nodes = [node for node in found if node is not None]
    if not nodes:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{source}": not a device node'
        )
    return nodes


def select(
    mappings: Sequence[DeviceMapping], rules: Sequence[str], *, privileged: bool
) -> tuple[list[Device], list[dict[str, Any]]]:
    """Nodes to create and cgroup rules to add; a privileged container gets every node of the host and needs no rule."""
    if privileged:
        nodes = list(_walk("/dev", "/dev"))
        return [*nodes, *(node for mapping in mappings for node in find(mapping))], []
    chosen = [(node, mapping.CgroupPermissions or "rwm") for mapping in mappings for node in find(mapping)]
    allowed = [_rule(node, access) for node, access in chosen]
    return [node for node, _ in chosen], [*allowed, *(parse_rule(text) for text in rules)]


def check(mappings: Sequence[DeviceMapping], rules: Sequence[str]) -> None:
    """Raises InvalidArgument for what can be told to be wrong without looking at the host."""
    for mapping in mappings:
        if mapping.CgroupPermissions and not _ACCESS.match(mapping.CgroupPermissions):
            raise InvalidArgument(f"bad mode specified: {mapping.CgroupPermissions}")
    for text in rules:
        parse_rule(text)


def parse_rule(text: str) -> dict[str, Any]:
    """``c 1:3 rwm`` as a cgroup device rule (cgroup-v1 devices.allow)."""
    found = _RULE.match(text)
    if found is None:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = found.groups()
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return rule


def numbers(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Major and minor of device nodes by path; raises InvalidArgument for one that is not there."""
    found = {}
    for path in paths:
        try:
            device = os.stat(path).st_rdev
        except OSError as error:
            raise InvalidArgument(f"stat {path}: {os.strerror(error.errno or 0).lower()}") from None
        found[path] = (os.major(device), os.minor(device))
    return found
