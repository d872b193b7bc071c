"""What is bound into a container: detached clones of host paths, of parts of volumes and of images.

Host paths are cloned with open_tree(2) before anything of the container is looked at; a part of a volume is looked up
beneath it, because containers write there.
"""

from __future__ import annotations

import errno
import os

from corten.errors import RuntimeFailure
from corten.linux import mount as m
from corten.linux.path import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2
from corten.runtime.detached import new_filesystem, set_attributes
from corten.runtime.rootmount import shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def source_of(entry: dict[str, Any], flags: int) -> int:
    """A detached clone of what is to be bound; with the engine's key ``corten.subpath`` of a part of it.

    Containers write there: the part is looked up beneath the source and cloned by its descriptor, so that no link
    leads out of it, now or a moment later (CVE-2017-1002101, CVE-2021-25741, CVE-2024-21626).
    """
    inner = entry.get("corten.subpath")
    layers = entry.get("corten.layers")
    if layers:
        return _image(layers, entry["source"], inner or "")
    if not inner:
        return m.open_tree(m.AT_FDCWD, entry["source"], flags)
    top = os.open(entry["source"], _DIRECTORY)
    try:
        part = _part(top, inner, entry["source"])
    finally:
        os.close(top)
    try:
        return m.open_tree(part, "", flags | m.AT_EMPTY_PATH)
    finally:
        os.close(part)


def _part(top: int, inner: str, source: str) -> int:
    """``inner`` beneath the directory ``top``, which messages call ``source``."""
    try:
        return openat2(top, inner, os.O_PATH, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ELOOP):
            text = f'path concatenation escapes the base directory, base: "{source}", subpath: "{inner}"'
        else:
            text = f"cannot access path {source}/{inner}: {os.strerror(error.errno or 0).lower()}"
        raise RuntimeFailure(text) from None


def _image(layers: Sequence[str], source: str, inner: str) -> int:
    """A detached, read-only tree of an image, or of a part of it.

    It is attached for a moment on its own lowest layer, in our mount namespace: a part of a tree that is attached
    nowhere can be cloned only since Linux 6.15.
    """
    where = os.open(layers[-1], _DIRECTORY)
    try:
        if len(layers) == 1:  # overlayfs wants two
            tree = m.open_tree(where, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
        else:
            tree = new_filesystem("overlay", "overlay", shorten("/", [("lowerdir", ":".join(layers))]), 0)
            os.chdir("/")
        set_attributes(tree, m.MOUNT_ATTR_RDONLY, 0)
        if not inner:
            return tree
        m.move_mount(tree, where)
        part = _part(tree, inner, source)
        clone = m.open_tree(part, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
        m.umount2(f"/proc/self/fd/{tree}", m.MNT_DETACH)
        os.close(part)
        os.close(tree)
        return clone
    finally:
        os.close(where)
