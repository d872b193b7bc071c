"""What a container changed over its image: its upper directory compared with the layers below, entry by entry.

Owns Docker's meaning of "changed": another kind, mode, owner or device; of what is no directory also another size or
time; a directory in which something changed. Follows overlayfs for what is deleted: whiteouts, and everything an
opaque directory hides. Reads what a running container may be writing: what is gone meanwhile is left out.
"""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from corten.storage import merged


class Kind(enum.IntEnum):
    """The API's numbers."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


def changes(upper: Path, lowers: Sequence[Path]) -> Iterator[tuple[str, Kind]]:
    """(absolute path, what happened to it), parents before what is in them, sorted."""
    with merged.open_tree([upper]) as new, merged.open_tree(lowers) as old:
        yield from _below("", new, old)


def _below(path: str, new: merged.Directory, old: merged.Directory | None) -> Iterator[tuple[str, Kind]]:
    names = set(os.listdir(new.top))
    hidden: set[str] = set()
    if old is not None and path and merged.is_opaque(new.top):
        hidden = set(old.names()) - names
    for name in sorted(names | hidden):
        whole = f"{path}/{name}"
        before = old.entry(name) if old is not None else None
        if name in hidden:
            yield whole, Kind.DELETED
            continue
        try:
            status = os.stat(name, dir_fd=new.top, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if merged.is_whiteout(status):
            if before is not None:
                yield whole, Kind.DELETED
        elif stat.S_ISDIR(status.st_mode):
            with suppress(FileNotFoundError, NotADirectoryError):
                yield from _directory(whole, name, status, new, old, before)
        elif before is None:
            yield whole, Kind.ADDED
        elif _differs(before[1], status):
            yield whole, Kind.MODIFIED


def _directory(
    whole: str, name: str, status: os.stat_result, new: merged.Directory, old: merged.Directory | None,
    before: tuple[int, os.stat_result] | None,
) -> Iterator[tuple[str, Kind]]:  # fmt: skip
    """A directory is named before what changed in it, and because something did."""
    child = new.child(name)
    below = old.child(name) if old is not None and before is not None and stat.S_ISDIR(before[1].st_mode) else None
    try:
        inner = _below(whole, child, below)
        if before is None:
            yield whole, Kind.ADDED
        elif _differs(before[1], status):
            yield whole, Kind.MODIFIED
        else:
            first = next(inner, None)
            if first is None:
                return
            yield whole, Kind.MODIFIED
            yield first
        yield from inner
    finally:
        child.close()
        if below is not None:
            below.close()


def _differs(before: os.stat_result, now: os.stat_result) -> bool:
    """Never by inode or change time: those differ for what was only copied up."""
    if any(getattr(before, field) != getattr(now, field) for field in ("st_mode", "st_uid", "st_gid", "st_rdev")):
        return True
    if stat.S_ISDIR(now.st_mode):
        return False
    return (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns)
