"""Writes that survive a power cut, and the syncs they are made of.

Owns the order temp file -> fsync -> rename -> fsync of the directory. Knows nothing of what is written.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import threading
from pathlib import Path
from typing import Final, TypeGuard

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE: Final = 2


def is_full(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether a disk or a quota had no more room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def sync_directory(path: Path) -> None:
    """fsync(2) a directory: makes renames and creations in it durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace ``path`` by ``data`` in one step; readers see the old or the new content, never a mix.

    (1) write a temporary file beside it  (2) fsync it  (3) rename it over  (4) fsync the directory.
    Without ``durable`` steps 2 and 4 are left to a sync that the caller makes anyway.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as stream:  # (1)
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())  # (2)
        os.rename(temporary, path)  # (3)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)  # (4)


def begin_writeback(descriptor: int, offset: int = 0, count: int = 0) -> None:
    """Have the kernel write a file's data from ``offset`` on (all for ``count`` 0) while the caller goes on.

    sync_file_range(2) promises nothing and waits for nothing; it only leaves less to the fsync(2) or syncfs(2) that
    does. A file system that has it not is not told twice.
    """
    _LIBC.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(count), _SYNC_FILE_RANGE_WRITE)


class FilesystemSync:
    """syncfs(2) on one filesystem, shared by those who ask at the same time.

    A caller is served by a sync that *began* after it asked; callers that come while one runs share the next one.
    So an image of 30 layers costs a few syncs, not 30.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._condition = threading.Condition()
        self._begun = 0
        self._done = 0
        self._running = False

    def __call__(self) -> None:
        """Return once everything written to the filesystem before this call is on stable storage."""
        with self._condition:
            wanted = self._begun + 1
            while self._done < wanted:
                if self._running:
                    self._condition.wait()
                else:
                    self._run()

    def _run(self) -> None:
        """One sync, the condition's lock let go meanwhile; who waited tries again when it failed."""
        self._running = True
        self._begun += 1
        turn = self._begun
        self._condition.release()
        try:
            _syncfs(self._path)
        except BaseException:
            self._condition.acquire()
            raise
        else:
            self._condition.acquire()
            self._done = turn
        finally:
            self._running = False
            self._condition.notify_all()


def _syncfs(path: Path) -> None:
    """syncfs(2); since Linux 5.8 it reports write-back errors."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(path))
    finally:
        os.close(descriptor)
