"""Containers' trees by copying: the fallback for hosts where overlayfs cannot be used. Slow, and it says so.

Layers stay in overlayfs' form on disk; the merged image is copied into ``snapshots/<container id>/fs`` when a container
is made, sharing blocks where the filesystem can (FICLONE), keeping hard links, owners, modes, times and attributes.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from corten.errors import NotFound
from corten.linux.removal import remove_tree
from corten.oci.digest import Digest
from corten.storage import initlayer, merged
from corten.storage.layer.store import LayerStore
from corten.storage.trees import Mount, TreeDirectories, TreeRecord
from corten.storage.usage import file_bytes

_FICLONE: Final = 0x40049409  # linux/fs.h
_VIEWS: Final = "view-"


class NativeTrees:
    """:class:`corten.storage.trees.Trees` by plain copies."""

    name = "native"
    limits = None

    def __init__(self, layers: LayerStore, directories: TreeDirectories, init_root: Path) -> None:
        self._layers = layers
        self._directories = directories
        self._init_root = init_root

    def prepare(self, container_id: str, chain: Digest | None, limit: int = 0) -> list[Mount]:
        """A limit is refused before: none could be kept.

        (1) drop a half-made copy  (2) copy image and init layer  (3) tree.json, with the size of the copy.
        """
        directory = self._directories.path(container_id)
        if self._directories.record(container_id) is None:
            remove_tree(directory)  # (1)
            lowers = self._layers.lowers(chain)
            init = initlayer.ensure(self._init_root, chain.hex if chain else "empty", lowers)
            directory.mkdir(mode=0o700)
            copy_merged([init, *lowers], directory / "fs")  # (2)
            self._directories.commit(container_id, TreeRecord(str(chain or ""), file_bytes(directory / "fs")))  # (3)
        return [Mount(type="bind", source=str(directory / "fs"), target="/", options=["rbind", "rw"])]

    def view(self, chain: Digest) -> list[Mount]:
        """A copy per image, kept beside the init layer and made once."""
        target = self._init_root / f"{_VIEWS}{chain.hex}"
        if not target.exists():
            self._init_root.mkdir(mode=0o700, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._init_root))
            copy_merged(self._layers.lowers(chain), fresh / "fs")
            with suppress(OSError):
                os.rename(fresh, target)
            remove_tree(fresh)
        return [Mount(type="bind", source=str(target / "fs"), target="/", options=["rbind", "ro"])]

    def usage(self, container_id: str) -> int:
        """How much the tree has grown; what was rewritten in place does not show."""
        record = self._directories.record(container_id)
        if record is None:
            raise NotFound(f"container {container_id} has no file system")
        return max(file_bytes(self._directories.path(container_id) / "fs") - record.copied, 0)

    def written(self, container_id: str) -> Path | None:
        """Nothing: changes are not kept apart."""
        del container_id
        return None

    def stack(self, container_id: str, chain: Digest | None) -> list[Path]:
        """The copy alone."""
        del chain
        return [self._directories.path(container_id) / "fs"]


def copy_merged(lowers: list[Path], target: Path) -> None:
    """Copy the merged tree of ``lowers`` into the new directory ``target``."""
    target.mkdir(mode=0o755)
    with merged.open_tree(lowers) as root:
        copy_tree(root, target)


def copy_tree(root: merged.Directory, target: Path) -> None:
    """Copy what is below ``root``, and its own attributes, into the existing directory ``target``."""
    links: dict[tuple[int, int], str] = {}
    times: list[tuple[str, os.stat_result]] = []
    base = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for path, holder, name, status, child in merged.walk(root):
            if child is not None:
                os.mkdir(path, 0o700, dir_fd=base)
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=base)
                try:
                    own = os.fstat(child.top)
                    _attributes(child.top, fd, own)
                finally:
                    os.close(fd)
                times.append((path, own))
            elif status.st_nlink > 1 and (first := links.setdefault((status.st_dev, status.st_ino), path)) != path:
                os.link(first, path, src_dir_fd=base, dst_dir_fd=base, follow_symlinks=False)
            else:
                _copy_leaf(holder, name, base, path, status)
        own = os.fstat(root.top)
        _attributes(root.top, base, own)
        for path, own in reversed(times):
            os.utime(path, ns=(own.st_atime_ns, own.st_mtime_ns), dir_fd=base, follow_symlinks=False)
        own = os.fstat(root.top)
        os.utime(base, ns=(own.st_atime_ns, own.st_mtime_ns))
    finally:
        os.close(base)


def _copy_leaf(holder: int, name: str, base: int, path: str, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=holder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            target = os.open(path, flags, 0o600, dir_fd=base)
            try:
                _copy_data(source, target)
                _attributes(source, target, status)
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(target)
        finally:
            os.close(source)
        return
    if kind == stat.S_IFSOCK:
        return
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=holder), path, dir_fd=base)
    else:
        os.mknod(path, kind | 0o600, status.st_rdev, dir_fd=base)
    os.chown(path, status.st_uid, status.st_gid, dir_fd=base, follow_symlinks=False)
    if kind != stat.S_IFLNK:
        os.chmod(path, stat.S_IMODE(status.st_mode), dir_fd=base)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=base, follow_symlinks=False)


def _copy_data(source: int, target: int) -> None:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # not on this filesystem
        while os.copy_file_range(source, target, 1 << 30):
            pass


def _attributes(source: int, target: int, status: os.stat_result) -> None:
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for attribute in os.listxattr(source):
        if not attribute.startswith(("trusted.", "user.overlay.")):
            with suppress(OSError):
                os.setxattr(target, attribute, os.getxattr(source, attribute))
