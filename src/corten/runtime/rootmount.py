"""The root mount: an overlay of layers, a directory bound, or the bundle's own.

It is stacked on a directory of the host inside the caller's own mount namespace; nobody else sees it.
"""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.linux import mount as m
from corten.runtime.detached import mount_flags, new_filesystem, set_attributes
from corten.runtime.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from corten.runtime.shift import Shift

_PAGE: Final = 4096
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def root_point(mounts: Sequence[dict[str, Any]], path: str) -> str:
    """The host directory :func:`mount_root` stacks the root on."""
    if not mounts:
        return path
    entry = mounts[0]
    if entry["type"] != "overlay":
        return str(entry["source"])
    return entry.get("chdir") or _upper_directory(entry["options"])


def mount_root(mounts: Sequence[dict[str, Any]], path: str, shift: Shift | None = None) -> int:
    """Mount the root and return its descriptor: ``mounts[0]`` when given (target "/"), else ``path`` bound on itself.

    The mount is stacked on a directory of the host inside the caller's own mount namespace; nobody else sees it. Where
    the entry names a directory ``idmap``, the container's ids are the owners of the files below it: it is covered with
    an id-mapped clone of itself while the root is mounted, through which the layers are found.
    """
    if not mounts:
        directory = os.open(path, _DIRECTORY)
        tree = m.open_tree(directory, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH | m.AT_RECURSIVE)
        m.move_mount(tree, directory)
        os.close(directory)
        return tree
    entry = mounts[0]
    if shift is None or not entry.get("idmap"):
        return _mount_overlay(entry) if entry["type"] == "overlay" else _mount_bound(entry)
    point = os.open(root_point(mounts, path), _DIRECTORY)
    shift.cover(entry["idmap"])
    tree = _mount_overlay(entry) if entry["type"] == "overlay" else _mount_bound(entry)
    m.move_mount(tree, point)
    os.close(point)
    m.umount2(entry["idmap"], m.MNT_DETACH)
    return tree


def _mount_bound(entry: dict[str, Any]) -> int:
    tree = m.open_tree(m.AT_FDCWD, entry["source"], m.OPEN_TREE_CLONE | m.AT_RECURSIVE)
    options = parse(entry.get("options") or ())
    set_attributes(tree, options.attr_set, options.attr_clr)
    point = os.open(entry["source"], _DIRECTORY)
    m.move_mount(tree, point)
    os.close(point)
    return tree


def _mount_overlay(entry: dict[str, Any]) -> int:
    """Layers may be named relative to ``chdir``, so that some hundreds of them fit the page mount(2) reads."""
    point = root_point([entry], "")
    os.chdir(point)
    options = parse(entry["options"])
    data = ",".join(key if value is None else f"{key}={value}" for key, value in options.data)
    if len(data) >= _PAGE:
        data = ",".join(key if value is None else f"{key}={value}" for key, value in shorten(point, options.data))
    m.mount("overlay", point, "overlay", mount_flags(options.attr_set), data)
    tree = os.open(point, _DIRECTORY)  # the path again, now leading to what is mounted on it
    os.chdir("/")
    return tree


def _upper_directory(options: Sequence[str]) -> str:
    for option in options:
        key, _, value = option.partition("=")
        if key in ("upperdir", "lowerdir"):
            return os.path.dirname(value.partition(":")[0]) or "/"
    raise RuntimeFailure("the root mount has neither lowerdir nor upperdir")


def shorten(point: str, data: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """The layers by numbers: links in a tmpfs nobody else sees, which becomes the working directory.

    ``lowerdir+`` of fsconfig(2) would do without, but only since Linux 6.8.
    """
    links = new_filesystem("tmpfs", "tmpfs", [("mode", "700")], 0)
    made: list[tuple[str, str | None]] = []
    for key, value in data:
        if key == "lowerdir" and value:
            layers = value.split(":")
            for number, layer in enumerate(layers):
                os.symlink(os.path.join(point, layer), str(number), dir_fd=links)
            value = ":".join(map(str, range(len(layers))))
        elif key in ("upperdir", "workdir") and value:
            value = os.path.join(point, value)
        made.append((key, value))
    os.fchdir(links)
    os.close(links)
    return made
