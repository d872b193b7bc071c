"""Containers' trees by overlayfs: nothing is copied, nothing is mounted here; mounts are handed out as values::

    snapshots/<container id>/upper, work       what the container writes; overlayfs' own
    init/<chain id hex>/fs                     the image's init layer

Options are spelled out because distributions build kernels with different defaults (Documentation/filesystems/
overlayfs.rst): without redirect_dir and metacopy an upper directory is a plain diff that :mod:`.layer.pack` can read,
without index it may be moved and backed up.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from corten.linux import capability, mount, namespace
from corten.linux.namespace import CLONE_FS
from corten.oci.digest import Digest
from corten.storage import initlayer
from corten.storage.layer.store import LayerStore, copy_directory_status
from corten.storage.limits import Limits
from corten.storage.trees import Mount, TreeDirectories, TreeRecord
from corten.storage.usage import file_bytes

PROBE: Final = ".probe-"
OPTIONS: Final = ("index=off", "redirect_dir=off", "metacopy=off")


class OverlayTrees:
    """:class:`corten.storage.trees.Trees` by overlayfs."""

    name = "overlay"

    def __init__(self, layers: LayerStore, directories: TreeDirectories, init_root: Path) -> None:
        self._layers = layers
        self._directories = directories
        self._init_root = init_root
        self.limits = Limits(directories.root)

    def prepare(self, container_id: str, chain: Digest | None, limit: int = 0) -> list[Mount]:
        """(1) the init layer  (2) the limit  (3) upper, with the owner and mode of the image's root, and work
        (4) tree.json.
        """
        lowers = self._layers.lowers(chain)
        init = initlayer.ensure(self._init_root, _init_name(chain), lowers)  # (1)
        if self._directories.record(container_id) is None:
            directory = self._directories.path(container_id)
            directory.mkdir(mode=0o700, exist_ok=True)
            if limit:
                self.limits.assign(directory, limit)  # (2)
            (directory / "upper").mkdir(mode=0o755, exist_ok=True)  # (3)
            (directory / "work").mkdir(mode=0o700, exist_ok=True)
            top = os.open(init, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                copy_directory_status(top, directory / "upper")
            finally:
                os.close(top)
            self._directories.commit(container_id, TreeRecord(str(chain or "")))  # (4)
        return [self._mount(container_id, chain)]

    def view(self, chain: Digest) -> list[Mount]:
        """An overlay without upper directory; overlayfs wants two layers for that, so a single one is bound."""
        names = [self._layers.short_name(item) for item in self._layers.stack(chain)]
        if len(names) == 1:
            (lower,) = self._layers.lowers(chain)
            return [Mount(type="bind", source=str(lower), target="/", options=["rbind", "ro"])]
        options = ["ro", f"lowerdir={':'.join(names)}", *OPTIONS]
        short_root = str(self._layers.short_root)
        return [Mount(type="overlay", source="overlay", target="/", options=options, chdir=short_root)]

    def usage(self, container_id: str) -> int:
        """The size of the upper directory's files."""
        return file_bytes(self._directories.path(container_id) / "upper")

    def written(self, container_id: str) -> Path | None:
        """The upper directory."""
        return self._directories.path(container_id) / "upper"

    def stack(self, container_id: str, chain: Digest | None) -> list[Path]:
        """Upper, init layer, image."""
        init = self._init_root / _init_name(chain) / "fs"
        return [self._directories.path(container_id) / "upper", init, *self._layers.lowers(chain)]

    def _mount(self, container_id: str, chain: Digest | None) -> Mount:
        names = [self._layers.short_name(item) for item in self._layers.stack(chain)]
        init = f"../../{self._init_root.name}/{_init_name(chain)}/fs"
        tree = f"../../{self._directories.root.name}/{container_id}"
        options = [f"lowerdir={':'.join([init, *names])}", f"upperdir={tree}/upper", f"workdir={tree}/work", *OPTIONS]
        short_root = str(self._layers.short_root)
        return Mount(type="overlay", source="overlay", target="/", options=options, chdir=short_root)


def _init_name(chain: Digest | None) -> str:
    return chain.hex if chain else "empty"


def probe(data_root: Path) -> str:
    """Why overlayfs cannot be used under ``data_root``; empty when it can.

    A real overlay is made of real directories there and thrown away; it is never attached anywhere.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PROBE, dir=data_root)))
        descriptors: dict[str, int] = {}
        for name in ("lower", "upper", "work"):
            (directory / name).mkdir()
            descriptors[name] = os.open(directory / name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptors[name])
        try:
            context = mount.fsopen("overlay")
            stack.callback(os.close, context)
            for name, descriptor in descriptors.items():
                mount.fsconfig(context, f"{name}dir", f"/proc/self/fd/{descriptor}")
            for option in OPTIONS:
                key, _, value = option.partition("=")
                mount.fsconfig(context, key, value)
            mount.fscreate(context)
            attached = mount.fsmount(context, 0)
            os.close(attached)
            os.mknod(directory / "whiteout", 0o020000, 0)
            os.setxattr(directory / "lower", "trusted.overlay.opaque", b"y")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # says nothing of overlayfs: copying whole images is no answer to a full disk
            return f"overlayfs is not usable on {data_root}: {error.strerror or error}"
    return ""


def probe_idmapped(data_root: str, userns: int) -> str:
    """Why overlayfs cannot be used on id-mapped layers under ``data_root``; empty when it can. ``userns`` is the
    descriptor of a user namespace with a map of 0.

    An overlay is mounted as a container's is, in a mount namespace that ends with a thread of its own.
    """
    problems = [""]

    def run() -> None:
        try:
            _mount_idmapped(Path(data_root), userns)
        except OSError as error:
            why = error.strerror or str(error)
            problems[0] = (
                f"overlayfs takes no id-mapped layers on {data_root} ({why}): Linux 5.19 is needed, and a file system"
                " that can be id-mapped, such as ext4, xfs or btrfs"
            )

    thread = threading.Thread(target=run, name="idmapped-overlay", daemon=True)
    thread.start()
    thread.join()
    return problems[0]


def _mount_idmapped(data_root: Path, userns: int) -> None:
    namespace.unshare(CLONE_FS | namespace.CLONE_NEWNS)
    mount.mount("", "/", "", mount.MS_PRIVATE | mount.MS_REC)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PROBE, dir=data_root)))
        for name in ("lower", "upper", "work"):
            (directory / name).mkdir()
        point = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, point)
        shown = mount.open_tree(point, "", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH)
        stack.callback(os.close, shown)
        mount.mount_setattr(shown, "", mount.AT_EMPTY_PATH, attr_set=mount.MOUNT_ATTR_IDMAP, userns=userns)
        mount.move_mount(shown, point)
        stack.callback(mount.umount2, str(directory), mount.MNT_DETACH)
        layers = ",".join(f"{name}dir={directory}/{name}" for name in ("lower", "upper", "work"))
        data = ",".join((layers, *OPTIONS))
        capability.make_files_as(1, 1)  # what overlayfs makes must have an owner on disk
        mount.mount("overlay", str(directory), "overlay", 0, data)
        stack.callback(mount.umount2, str(directory), mount.MNT_DETACH)
