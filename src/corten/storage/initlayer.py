"""The init layer of an image: the mount points every container gets, made once per image.

Without it the first start of each container would create them in its upper directory, and overlayfs would first copy
/etc up (300 us; LIMITS of the start path). It lies between the image and the container's own directory. What the image
has already is left out, and so is anything behind a symlink or a file of the image: hiding those would change it.
Directories carry the image's owner and mode, since overlayfs shows the uppermost's. Knows nothing of what is mounted.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from corten.linux.removal import remove_tree
from corten.storage import merged
from corten.storage.layer.store import copy_directory_status

# Docker's daemon/initlayer/setup_unix.go: path, and what it is.
_DIRECTORY: Final = "directory"
_FILE: Final = "file"
POINTS: Final = (
    ("dev", _DIRECTORY), ("dev/pts", _DIRECTORY), ("dev/shm", _DIRECTORY), ("proc", _DIRECTORY), ("sys", _DIRECTORY),
    ("etc", _DIRECTORY), ("etc/resolv.conf", _FILE), ("etc/hosts", _FILE), ("etc/hostname", _FILE),
    ("dev/console", _FILE), (".dockerenv", _FILE), ("etc/mtab", "/proc/mounts"),
)  # fmt: skip


def ensure(root: Path, name: str, lowers: Sequence[Path]) -> Path:
    """The init layer ``root/<name>/fs`` for the image ``lowers`` (uppermost first), made when it is missing."""
    target = root / name
    if (target / "fs").is_dir():
        return target / "fs"
    root.mkdir(mode=0o700, exist_ok=True)
    fresh = root / f".new-{secrets.token_hex(8)}"
    try:
        (fresh / "fs").mkdir(mode=0o755, parents=True)
        _fill(fresh / "fs", lowers)
        os.rename(fresh, target)
    except OSError:
        remove_tree(fresh)
        if not (target / "fs").is_dir():  # another thread was faster otherwise
            raise
    return target / "fs"


def _fill(fs: Path, lowers: Sequence[Path]) -> None:
    for path, kind in POINTS:
        parent, _, name = path.rpartition("/")
        if not (fs / parent).is_dir():
            continue  # the image has something else there
        found = _lookup(lowers, parent, name)
        if kind == _DIRECTORY:
            if found is None or stat.S_ISDIR(found.st_mode):
                (fs / path).mkdir(mode=0o755)
        elif found is None:
            _leaf(fs / path, kind)
    for path in [path for path, kind in reversed(POINTS) if kind == _DIRECTORY] + [""]:
        _adopt(fs, path, lowers)


def _lookup(lowers: Sequence[Path], parent: str, name: str) -> os.stat_result | None:
    """What the image has at ``parent/name``, no link followed."""
    with ExitStack() as stack:
        holder = _plain(stack, lowers, parent)
        found = holder.entry(name) if holder else None
        return found[1] if found else None


def _plain(stack: ExitStack, lowers: Sequence[Path], path: str) -> merged.Directory | None:
    """The image's directory ``path``, no link followed; None when it has none."""
    directory = stack.enter_context(merged.open_tree(lowers))
    for part in filter(None, path.split("/")):
        found = directory.entry(part)
        if found is None or not stat.S_ISDIR(found[1].st_mode):
            return None
        directory = stack.enter_context(directory.child(part))
    return directory


def _leaf(path: Path, kind: str) -> None:
    if kind == _FILE:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))
        path.chmod(0o755)
    else:
        path.symlink_to(kind)


def _adopt(fs: Path, path: str, lowers: Sequence[Path]) -> None:
    """Give a directory of the init layer the image's owner, mode and time."""
    if not lowers or not (fs / path).is_dir():
        return
    with ExitStack() as stack:
        directory = _plain(stack, lowers, path)
        if directory is not None:
            copy_directory_status(directory.top, fs / path)
