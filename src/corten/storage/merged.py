"""Stacked layers read as one tree, without mounting them: what a lookup in the image finds, and what a directory lists.

Follows overlayfs (Documentation/filesystems/overlayfs.rst): the uppermost layer that has a name decides; a whiteout
hides it below, an opaque directory hides everything below itself, directories are merged. Symlinks are resolved here,
component by component inside the tree, never by the kernel in one layer alone; nothing can lead outside
(CVE-2022-23648). Layers do not change while they are read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Self

_WALK: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS: Final = 40  # path_resolution(7)
OPAQUE_XATTRS: Final = ("trusted.overlay.opaque", "user.overlay.opaque")


def is_whiteout(found: os.stat_result) -> bool:
    """overlayfs' whiteout: a character device 0:0."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(directory: int) -> bool:
    """Whether a directory hides what is below it in lower layers."""
    for attribute in OPAQUE_XATTRS:
        with suppress(OSError):
            if os.getxattr(directory, attribute) == b"y":
                return True
    return False


class Directory:
    """A merged directory: its descriptors, uppermost first, open until :meth:`close`."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = list(descriptors)

    @property
    def top(self) -> int:
        """The descriptor whose owner, mode and times are the directory's own."""
        return self._descriptors[0]

    def entry(self, name: str) -> tuple[int, os.stat_result] | None:
        """(directory descriptor that holds it, what it is), or None."""
        for descriptor in self._descriptors:
            with suppress(FileNotFoundError, NotADirectoryError):
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                return None if is_whiteout(found) else (descriptor, found)
        return None

    def names(self) -> list[str]:
        """What is visible in it, sorted."""
        seen: dict[str, None] = {}
        for descriptor in self._descriptors:
            for name in os.listdir(descriptor):
                seen.setdefault(name)
        return sorted(name for name in seen if self.entry(name) is not None)

    def child(self, name: str) -> Directory:
        """The merged subdirectory ``name``, which :meth:`entry` said is a directory."""
        found: list[int] = []
        with ExitStack() as stack:
            for descriptor in self._descriptors:
                try:
                    fd = os.open(name, _WALK, dir_fd=descriptor)
                except FileNotFoundError:
                    continue
                except NotADirectoryError:
                    break  # a whiteout or a file: nothing shows through it
                stack.callback(os.close, fd)
                found.append(fd)
                if is_opaque(fd):
                    break
            if not found:
                raise FileNotFoundError(2, os.strerror(2), name)
            stack.pop_all()
        return Directory(found)

    def duplicate(self) -> Directory:
        """The same directory behind descriptors of its own."""
        return Directory([os.dup(descriptor) for descriptor in self._descriptors])

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_tree(lowers: Sequence[Path]) -> Directory:
    """The root of ``lowers``, uppermost first."""
    found: list[int] = []
    with ExitStack() as stack:
        for lower in lowers:
            fd = os.open(lower, _WALK)
            stack.callback(os.close, fd)
            found.append(fd)
            if is_opaque(fd):
                break
        stack.pop_all()
    return Directory(found)


def find_directory(lowers: Sequence[Path], path: str) -> Directory | None:
    """The directory ``path`` names inside the merged tree, symlinks resolved inside it; None when there is none."""
    with ExitStack() as stack:
        walk = [stack.enter_context(open_tree(lowers))]
        pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                if len(walk) > 1:
                    walk.pop()
                continue
            found = walk[-1].entry(name)
            if found is None:
                return None
            holder, status = found
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(name, dir_fd=holder)
                links += 1
                if links > _MAX_LINKS:
                    return None
                if target.startswith("/"):
                    del walk[1:]
                pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
            elif stat.S_ISDIR(status.st_mode):
                walk.append(stack.enter_context(walk[-1].child(name)))
            else:
                return None
        return walk[-1].duplicate()


def walk(directory: Directory, prefix: str = "") -> Iterator[tuple[str, int, str, os.stat_result, Directory | None]]:
    """(path, holder, name, status, merged directory if it is one) of everything below, parents first, sorted.

    The merged directory is open only until the next item is taken.
    """
    pending: list[tuple[str, Directory, Iterator[str]]] = [(prefix, directory, iter(directory.names()))]
    with ExitStack() as stack:
        while pending:
            path, current, names = pending[-1]
            name = next(names, None)
            if name is None:
                pending.pop()
                if current is not directory:
                    current.close()
                continue
            found = current.entry(name)
            if found is None:
                continue
            holder, status = found
            whole = f"{path}/{name}" if path else name
            if stat.S_ISDIR(status.st_mode):
                child = current.child(name)
                stack.callback(child.close)
                yield whole, holder, name, status, child
                pending.append((whole, child, iter(child.names())))
            else:
                yield whole, holder, name, status, None
