"""Fill a new tmpfs with what it is going to cover (the ``tmpcopyup`` mount option), by descriptors only."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK: Final = 1 << 20


def copy(source: int, target: int) -> None:
    """Directories, regular files and links of ``source`` into ``target``; other kinds are left out, as runc does."""
    readable = os.open(".", _DIRECTORY, dir_fd=source)
    try:
        for name in os.listdir(readable):
            _entry(readable, target, name)
        status = os.fstat(readable)
        os.chown(".", status.st_uid, status.st_gid, dir_fd=target)
        os.chmod(".", stat.S_IMODE(status.st_mode), dir_fd=target)
    finally:
        os.close(readable)


def _entry(source: int, target: int, name: str) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        from_fd = os.open(name, _DIRECTORY, dir_fd=source)
        to_fd = os.open(name, _DIRECTORY, dir_fd=target)
        try:
            copy(from_fd, to_fd)
        finally:
            os.close(from_fd)
            os.close(to_fd)
    elif stat.S_ISREG(status.st_mode):
        _file(source, target, name)


def _file(source: int, target: int, name: str) -> None:
    from_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    to_fd = os.open(name, flags, 0o600, dir_fd=target)
    try:
        while os.sendfile(to_fd, from_fd, None, _CHUNK):
            pass
        status = os.fstat(from_fd)
        os.fchown(to_fd, status.st_uid, status.st_gid)
        os.fchmod(to_fd, stat.S_IMODE(status.st_mode))
        os.utime(to_fd, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(from_fd)
        os.close(to_fd)
