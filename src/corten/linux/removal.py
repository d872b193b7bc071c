"""Deleting trees that containers made: any depth, any name, without following a link out of them.

shutil.rmtree recurses and gives up at about 900 levels; a container may nest directories without limit.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path


def remove_tree(path: Path) -> None:
    """Delete ``path`` and what is below it; nothing happens when it is not there.

    Raises:
        OSError: something could not be deleted (an immutable file); the rest is gone as far as it was reached.
    """
    with suppress(RecursionError, FileNotFoundError):
        shutil.rmtree(path)
    if path.is_dir() and not path.is_symlink():
        _remove_flat(path)


def _remove_flat(path: Path) -> None:
    """Delete in two levels only: a directory inside a directory is first renamed up to the top."""
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        pending = _empty(top, top)
        while pending:
            name = pending.pop()
            directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                pending += _empty(directory, top)
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _empty(directory: int, top: int) -> list[str]:
    """Unlink the files of ``directory`` and move its directories under ``top``; their names there."""
    moved = []
    for name in os.listdir(directory):
        if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)
            continue
        fresh = f".removing-{secrets.token_hex(8)}"
        os.rename(name, fresh, src_dir_fd=directory, dst_dir_fd=top)
        moved.append(fresh)
    return moved
