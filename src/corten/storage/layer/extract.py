"""A layer's entries into an empty directory: :mod:`corten.tar.unpack`, and what a layer means by its whiteouts.

Layers are stacked by overlayfs, so whiteouts become its own: a device node 0:0, and an xattr on opaque directories.
Needing no lower layer, they can be unpacked in any order. An entry later in the archive wins over an earlier one of
the same name; whiteouts speak about lower layers only, wherever they stand.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from corten.errors import CorruptData
from corten.linux.path import Root
from corten.storage.durable import begin_writeback
from corten.storage.layer import name as whiteouts
from corten.storage.layer.split import SplitWriter
from corten.tar import header, names
from corten.tar.header import Entry
from corten.tar.reader import TarReader
from corten.tar.unpack import DIRECTORY, Scope, Unpacker

OPAQUE_XATTR: Final = "trusted.overlay.opaque"
_LARGE: Final = 128 << 10
"""Bytes from which on a file's data is sent to the disk at once: few files, and most of a layer's bytes."""


class Extractor(Unpacker):
    """Unpacks one layer into ``root``, an empty directory of the caller's. Used by one thread.

    Directories the archive did not describe (``implied``) have the lower layers' owner and mode. ``split`` is told
    which files have the archive's data; the reader tells it the rest.
    """

    def __init__(self, root: Path, split: SplitWriter | None = None) -> None:
        top = os.open(root, DIRECTORY)
        super().__init__(top, scope=Scope(Root(top), ""))
        self._top_descriptor = top
        self._split = split
        self._linked = False

    def close(self) -> None:
        """Give the descriptors back."""
        super().close()
        os.close(self._top_descriptor)

    def _top(self, entry: Entry) -> None:
        super()._top(entry)
        self._describe(self._root, entry, b"")

    def _add(self, entry: Entry, reader: TarReader) -> None:
        if whiteouts.WHITEOUT in entry.name:
            path = names.clean(entry.name)
            if self._whiteout(path, *names.split(path), entry):
                return
        super()._add(entry, reader)

    def _directory(self, parent: int, base: bytes, path: bytes, entry: Entry) -> None:
        """One that the archive describes twice has the later description alone."""
        fresh = self._make_directory(parent, base, path)
        fd = self._open(path)
        if not fresh and path not in self.implied:
            for attribute in os.listxattr(fd):
                if attribute != OPAQUE_XATTR:
                    os.removexattr(fd, attribute)
        self._describe(fd, entry, path)

    def _written(self, fd: int, entry: Entry) -> None:
        if entry.size >= _LARGE:
            begin_writeback(fd)
        if self._split is not None:
            path = self._real(fd) if self._linked else names.clean(entry.name)
            self._split.reference(path, [(0, entry.size)] if entry.sparse is None else entry.sparse)

    def _through(self, path: bytes) -> int:
        self._linked = True
        return super()._through(path)

    def _clear(self, parent: int, path: bytes) -> int:
        if self._split is not None:
            base = names.split(path)[1]
            above = self._real(parent) if self._linked else b""
            real = path if not self._linked else above + b"/" + base if above else base
            with suppress(FileNotFoundError):
                self._split.replace(parent, base, real)
        return super()._clear(parent, path)

    def _real(self, fd: int) -> bytes:
        """Where in the tree something open is: once the archive led through a link, its names do not say so."""
        place = os.readlink(b"/proc/self/fd/%d" % fd)
        top = os.readlink(b"/proc/self/fd/%d" % self._top_descriptor)
        return place[len(top) + 1 :]

    def _replaced(self, path: bytes, found: os.stat_result) -> None:
        if _is_whiteout(found):
            self._opaque(path)

    def _not_a_directory(self, parent: int, part: bytes, path: bytes, found: os.stat_result) -> int:
        if not _is_whiteout(found):
            return super()._not_a_directory(parent, part, path, found)
        self._make_directory(parent, part, path)
        self.implied.add(path)
        return os.open(part, DIRECTORY, dir_fd=self._parent(names.split(path)[0]))

    def _whiteout(self, path: bytes, directory: bytes, base: bytes, entry: Entry) -> bool:
        """Whether the entry was a whiteout (or AUFS's own data, which is dropped)."""
        if base == whiteouts.OPAQUE:
            self._parent(directory)
            self._opaque(directory)
            return True
        if whiteouts.is_metadata(path):
            return True
        if not base.startswith(whiteouts.WHITEOUT):
            return False
        if entry.kind not in (header.REGULAR, header.LINK):
            raise CorruptData(f"whiteout {path!r} is not a file")
        target = whiteouts.hidden(base)
        parent = self._parent(directory)
        whole = directory + b"/" + target if directory else target
        try:
            os.mknod(target, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(target, dir_fd=parent, follow_symlinks=False).st_mode):
                self._opaque(whole)
        return True

    def _opaque(self, path: bytes) -> None:
        os.setxattr(self._open(path), OPAQUE_XATTR, b"y")


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
