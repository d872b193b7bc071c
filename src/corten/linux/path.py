"""Paths inside a container's root, which is hostile: symlinks, ``..`` and files that change while we look.

Every path of a container goes through :class:`Root`. Nothing here leaves the tree, whatever the tree holds: lookups
are openat2(2) with RESOLVE_IN_ROOT (since Linux 5.6), creation walks one component at a time with O_NOFOLLOW on held
directory descriptors (CVE-2024-45310, CVE-2026-41579). Knows nothing of mounts or images.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from corten.linux.syscall import attempt, call, zeroed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Self

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

_IN_ROOT: Final = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_MAX_LINKS: Final = 40  # what the kernel itself follows, path_resolution(7)
_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_ATTEMPTS: Final = 64  # RESOLVE_IN_ROOT answers EAGAIN when something was renamed meanwhile, openat2(2)
_WALK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def openat2(directory: int, path: str | bytes, flags: int, mode: int = 0, *, resolve: int) -> int:
    """openat2(2), since Linux 5.6. ``mode`` must be 0 unless a file may be created."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    encoded = zeroed(path)
    for turn in range(_ATTEMPTS):
        try:
            return call("openat2", directory, encoded, how, len(how), operand=path)
        except BlockingIOError:
            if turn == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


class Root:
    """A directory tree whose content may be hostile; ``fd`` is a descriptor of its top, not owned by this object."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def open(self, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
        """Open ``path`` as if the tree were ``/``: absolute links and ``..`` stay inside, magic links are refused."""
        return openat2(self.fd, path, flags, mode, resolve=_IN_ROOT)

    def find(self, path: str) -> int:
        """A descriptor (O_PATH) of ``path``, -1 when it is not there, or behind something that is no directory."""
        how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _IN_ROOT)
        found = attempt("openat2", self.fd, zeroed(path), how, len(how))
        return found if found >= 0 else -1 if -found in _MISSING else self.open(path)

    def open_plain(self, path: str, flags: int = os.O_PATH) -> int:
        """Open ``path`` and refuse any symlink on the way (ELOOP)."""
        return openat2(self.fd, path, flags, resolve=_IN_ROOT | RESOLVE_NO_SYMLINKS)

    def canonical(self, path: str) -> str:
        """``path`` without links and ``..``, as an absolute path of the tree; what is missing stays as it is written.

        A snapshot for messages and comparisons: a hostile tree may have changed when it returns.
        """
        with _Walk(self.fd, path) as walk:
            while walk.pending:
                try:
                    walk.enter(os.open(walk.pending[-1], _WALK, dir_fd=walk.top))
                except (FileNotFoundError, NotADirectoryError):
                    rest = [*walk.names, *reversed(walk.pending)]
                    return os.path.normpath("/" + "/".join(rest))
            return "/" + "/".join(walk.names)

    def directory(self, path: str, mode: int = 0o755) -> int:
        """A descriptor (O_PATH) of directory ``path``, made with its parents when missing."""
        try:
            return self.open(path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            return _create(self.fd, path, mode, directory=True)

    def file(self, path: str, mode: int = 0o644) -> int:
        """A descriptor (O_PATH) of file ``path``, made empty with its parents when missing."""
        try:
            return self.open(path)
        except FileNotFoundError:
            return _create(self.fd, path, mode, directory=False)

    def read(self, path: str, limit: int) -> bytes:
        """The content of regular file ``path``.

        Refuses anything but a regular file (a FIFO would block, CVE-2024-9676) and more than ``limit`` bytes
        (CVE-2026-47262) with OSError EINVAL or EFBIG.
        """
        probe = self.open(path)
        try:
            _require_regular(probe, path)
        finally:
            os.close(probe)
        fd = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            _require_regular(fd, path)
            content = bytearray()
            while chunk := os.read(fd, 65536):
                content += chunk
                if len(content) > limit:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
            return bytes(content)
        finally:
            os.close(fd)


def _require_regular(fd: int, path: str) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


class _Walk:
    """One component after the other, each behind a held descriptor: ``..`` and absolute links end at the top."""

    __slots__ = ("_held", "_links", "_path", "names", "pending")

    def __init__(self, root: int, path: str) -> None:
        self._held = [os.dup(root)]
        self._path = path
        self._links = 0
        self.names: list[str] = []
        self.pending: list[str] = []
        self._push(path)

    @property
    def top(self) -> int:
        """The descriptor of the directory the next component is looked up in."""
        return self._held[-1]

    def enter(self, fd: int) -> None:
        """``fd`` (taken over) is the next component, opened without following it."""
        part = self.pending.pop()
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            target = _link_target(fd)
            self._links += 1
            if self._links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
            if target.startswith("/"):
                self._rise(len(self.names))
            self._push(target)
        else:
            self._held.append(fd)
            self.names.append(part)
        while self.pending and self.pending[-1] == "..":
            self.pending.pop()
            self._rise(1)

    def take(self) -> int:
        """The last descriptor, the caller's now."""
        return self._held.pop()

    def _push(self, path: str) -> None:
        self.pending += [part for part in reversed(path.split("/")) if part not in ("", ".")]
        while self.pending and self.pending[-1] == "..":
            self.pending.pop()
            self._rise(1)

    def _rise(self, count: int) -> None:
        for _ in range(min(count, len(self.names))):
            os.close(self._held.pop())
            self.names.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        for fd in self._held:
            os.close(fd)


def _create(root: int, path: str, mode: int, *, directory: bool) -> int:
    """Walk ``path`` inside ``root``, making what is missing; also behind dangling links, as if ``root`` were ``/``."""
    with _Walk(root, path) as walk:
        while walk.pending:
            is_directory = directory or len(walk.pending) > 1
            walk.enter(_step(walk.top, walk.pending[-1], mode, directory=is_directory))
        return walk.take()


def _link_target(fd: int) -> str:
    try:
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)


def _step(parent: int, part: str, mode: int, *, directory: bool) -> int:
    """One component: opened without following it, made when missing."""
    for _ in range(_ATTEMPTS):
        try:
            return os.open(part, _WALK, dir_fd=parent)
        except FileNotFoundError:
            pass
        try:
            if directory:
                os.mkdir(part, mode if mode & 0o100 else 0o755, dir_fd=parent)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(part, flags, mode, dir_fd=parent))
        except FileExistsError:
            pass
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), part)
