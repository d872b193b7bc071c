"""What a tree takes on disk, as du(1) counts: blocks, not lengths; a hard-linked file once; directories too.

It is about what can be given back. Knows nothing of what the tree is for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from corten.linux.path import Root

BLOCK: Final = 512  # stat(2), st_blocks
_REACH: Final = 2048
"""Length of a relative path at which its directory is held open instead: PATH_MAX is 4096, depth has no limit."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def disk_bytes(path: Path) -> int:
    """Bytes of blocks of ``path`` and everything below it on the same file system; 0 when it is not there."""
    return _sum(path, lambda found: found.st_blocks * BLOCK)


def file_bytes(path: Path) -> int:
    """Lengths of the regular files below ``path``, as Docker counts sizes; 0 when it is not there."""
    return _sum(path, lambda found: found.st_size if stat.S_ISREG(found.st_mode) else 0)


class _Walk:
    """One walk. A container may change the tree meanwhile: no link is followed, what is gone is not counted.

    Paths of any depth are walked, with few descriptors.
    """

    def __init__(self, measure: Callable[[os.stat_result], int], device: int) -> None:
        self._measure = measure
        self._device = device
        self._seen: set[int] = set()
        self._held: set[int] = set()
        self._pending: list[tuple[int, str]] = []  # a name "" ends its descriptor

    def run(self, top: int) -> int:
        """The sum of everything below ``top``, which is closed."""
        self._hold(top, ["."])
        total = 0
        try:
            while self._pending:
                base, name = self._pending.pop()
                if not name:
                    self._held.discard(base)
                    os.close(base)
                    continue
                with suppress(OSError):  # gone or replaced meanwhile
                    total += self._directory(base, name)
        finally:
            for descriptor in self._held:
                os.close(descriptor)
        return total

    def _hold(self, descriptor: int, names: list[str]) -> None:
        """Keep ``descriptor`` until everything below ``names`` is done."""
        self._held.add(descriptor)
        self._pending.append((descriptor, ""))
        self._pending.extend((descriptor, name) for name in names)

    def _directory(self, base: int, name: str) -> int:
        """The sum of one directory's entries; its directories wait."""
        total = 0
        below: list[str] = []
        directory = Root(base).open_plain(name, _DIRECTORY)
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        total += self._entry(entry, below)
            if below and len(name) > _REACH:
                self._hold(os.dup(directory), below)
            else:
                self._pending.extend((base, f"{name}/{child}") for child in below)
        finally:
            os.close(directory)
        return total

    def _entry(self, entry: os.DirEntry[str], below: list[str]) -> int:
        found = entry.stat(follow_symlinks=False)
        if found.st_dev != self._device or found.st_ino in self._seen:
            return 0
        if entry.is_dir(follow_symlinks=False):
            below.append(entry.name)
        elif found.st_nlink > 1:
            self._seen.add(found.st_ino)
        return self._measure(found)


def _sum(path: Path, measure: Callable[[os.stat_result], int]) -> int:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    try:
        top = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # no directory
        return measure(status)
    return measure(status) + _Walk(measure, status.st_dev).run(top)
