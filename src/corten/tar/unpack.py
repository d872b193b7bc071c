"""A tar stream's entries into a directory, through descriptors: whatever the archive says, nothing outside is touched.

Owns the system calls of unpacking. Knows nothing of compression, digests or what a directory is for; whiteouts are
:mod:`corten.storage.layer.extract`'s.

How it stays inside. Every parent directory is held as a descriptor that was opened one component at a time with
O_NOFOLLOW, and everything is created relative to it with one plain name, exclusively, then changed through its own
descriptor. A component that is a symlink is resolved by the kernel inside ``scope`` (openat2 RESOLVE_IN_ROOT), as
Docker's chroot does, or refused where there is no scope. Names are cleaned lexically first; a name that climbs out is
refused. So it does not matter whether somebody changes the tree meanwhile (CVE-2018-15664).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from corten.errors import CorruptData, CortenError, NotSupported
from corten.linux.path import RESOLVE_NO_XDEV, Root, openat2
from corten.linux.removal import remove_tree
from corten.tar import header, names
from corten.tar.header import Entry
from corten.tar.reader import TarReader

_HELD: Final = 48  # descriptors per archive; several are unpacked in parallel under one RLIMIT_NOFILE
_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES: Final = {header.CHARACTER: stat.S_IFCHR, header.BLOCK_DEVICE: stat.S_IFBLK, header.FIFO: stat.S_IFIFO}


class Scope:
    """Where symlinks in an archive's way lead: inside ``root``, where the directory unpacked into has this ``path``."""

    __slots__ = ("path", "root")

    def __init__(self, root: Root, path: str) -> None:
        self.root = root
        self.path = path

    def directory(self, path: bytes) -> int:
        """The directory that ``path`` (below the one unpacked into) leads to, made where it is missing."""
        return self.root.directory(f"{self.path}/{os.fsdecode(path)}")


class Owners:
    """Whose the new files are: their archive's (the default), one owner's, or whoever runs this (``keep`` False)."""

    __slots__ = ("gid", "keep", "uid")

    def __init__(self, *, keep: bool = True, uid: int = -1, gid: int = -1) -> None:
        self.keep = keep
        self.uid = uid
        self.gid = gid

    def of(self, entry: Entry) -> tuple[int, int]:
        """What chown(2) is to be told."""
        if self.uid >= 0 or not self.keep:
            return self.uid, self.gid
        return entry.uid, entry.gid


class Unpacker:
    """Unpacks archives into the directory behind ``root``, which stays the caller's. Used by one thread.

    ``strict``: a directory is never replaced by something else, nor the reverse; ``place`` is how messages name the
    directory. ``revise`` may change an entry before anything is done with it: whose it is, and its attributes.
    """

    def __init__(
        self, root: int, *, scope: Scope | None, owners: Owners | None = None, strict: bool = False, place: str = "",
        revise: Callable[[Entry], None] | None = None,
    ) -> None:  # fmt: skip
        self._root = root
        self._scope = scope
        self._owners = owners or Owners()
        self._strict = strict
        self._place = place
        self._revise = revise
        self._held: dict[bytes, int] = {}
        self._times: dict[bytes, int] = {}
        self._umask = _umask()
        self.implied: set[bytes] = {b""}
        """Directories the archive did not describe but put something in."""
        self.size = 0
        """Bytes of file data."""

    def close(self) -> None:
        """Give the descriptors back."""
        self._forget()

    def extract(self, reader: TarReader) -> None:
        """Unpack all entries, then set the times of directories.

        Raises:
            CorruptData: the archive is malformed or hostile.
            CortenError: it would change a kind, and this is ``strict``.
            NotSupported: an entry of a kind nobody defines.
            OSError: the disk is full, a name is too long for the filesystem, ...
        """
        while (entry := reader.next()) is not None:
            if self._revise is not None:
                self._revise(entry)
            self._add(entry, reader)
        for path, mtime in self._times.items():
            directory, base = names.split(path)
            parent = self._parent(directory) if path else self._root
            with suppress(FileNotFoundError):  # replaced meanwhile under another name
                os.utime(base or b".", ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)

    def _add(self, entry: Entry, reader: TarReader) -> None:
        path = names.clean(entry.name)
        if not path:
            self._top(entry)
            return
        directory, base = names.split(path)
        parent = self._parent(directory)
        try:
            if entry.kind == header.REGULAR:
                self._file(parent, base, entry, reader)
            elif entry.kind == header.DIRECTORY:
                self._directory(parent, base, path, entry)
            else:
                self._special(parent, base, path, entry)
        except FileExistsError:
            parent = self._clear(parent, path)
            if entry.kind == header.REGULAR:
                self._file(parent, base, entry, reader)
            else:
                self._special(parent, base, path, entry)

    def _top(self, entry: Entry) -> None:
        """The directory itself: what is there keeps its owner, mode and time."""
        if entry.kind != header.DIRECTORY:
            raise CorruptData("archive entry would replace the root")

    def _file(self, parent: int, base: bytes, entry: Entry, reader: TarReader) -> None:
        mode = entry.mode
        fd = os.open(base, _FILE, mode & 0o777, dir_fd=parent)
        try:
            if entry.sparse is None:
                for view in reader.data():
                    _write(fd, view)
            else:
                _write_pieces(fd, entry, reader)
            self._own(fd, entry)
            if mode & (0o7000 | self._umask):
                os.fchmod(fd, mode)
            if entry.xattrs:
                self._set_xattrs(fd, entry.xattrs)
            mtime = _bounded(entry.mtime_ns)
            os.utime(fd, ns=(mtime, mtime))
            self._written(fd, entry)
        finally:
            os.close(fd)
        self.size += entry.size

    def _written(self, fd: int, entry: Entry) -> None:
        """A file is whole; for those who want to say so to the disk."""

    def _own(self, fd: int, entry: Entry) -> None:
        """The owner of something new, which is ours so far."""
        uid, gid = self._owners.of(entry)
        if (uid or gid) and (uid, gid) != (-1, -1):
            os.fchown(fd, uid, gid)

    def _directory(self, parent: int, base: bytes, path: bytes, entry: Entry) -> None:
        self._make_directory(parent, base, path)
        self._describe(self._open(path), entry, path)

    def _make_directory(self, parent: int, base: bytes, path: bytes) -> bool:
        """Whether it had to be made: a directory is kept, anything else gives way."""
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            found = os.stat(base, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                return False
            if self._strict:
                raise CortenError(
                    f'cannot overwrite non-directory "{self._shown(path)}" with directory "{self._place}"'
                ) from None
            os.mkdir(base, 0o700, dir_fd=self._clear(parent, path))
            self._replaced(path, found)
        return True

    def _replaced(self, path: bytes, found: os.stat_result) -> None:
        """A directory took the place of ``found``."""

    def _describe(self, fd: int, entry: Entry, path: bytes) -> None:
        """Owner, mode and xattrs of a directory now; its time at the end, when nothing more is put in it."""
        if self._owners.of(entry) != (-1, -1):
            os.fchown(fd, *self._owners.of(entry))
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._set_xattrs(fd, entry.xattrs)
        self.implied.discard(path)
        self._times[path] = _bounded(entry.mtime_ns)

    def _special(self, parent: int, base: bytes, path: bytes, entry: Entry) -> None:
        if entry.kind == header.LINK:
            self._link(parent, base, path, entry)
            return
        if entry.kind == header.SYMLINK:
            if not entry.link or len(entry.link) > names.MAX_PATH:
                raise CorruptData(f"archive symlink {path!r} has an impossible target")
            os.symlink(entry.link, base, dir_fd=parent)
        elif entry.kind in _DEVICES:
            self._node(parent, base, entry)
        else:
            raise NotSupported(f"unhandled tar header type {entry.kind.decode(errors='backslashreplace')}")
        uid, gid = self._owners.of(entry)
        if entry.kind == header.SYMLINK and (uid or gid):
            os.chown(base, uid, gid, dir_fd=parent, follow_symlinks=False)
        mtime = _bounded(entry.mtime_ns)
        os.utime(base, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)

    def _node(self, parent: int, base: bytes, entry: Entry) -> None:
        """A device or a FIFO. Its owner and mode go through its descriptor: chmod(2) by name follows a link that came
        in between, and out of the tree."""
        kind = _DEVICES[entry.kind]
        os.mknod(base, kind | (entry.mode & 0o777), os.makedev(entry.major, entry.minor), dir_fd=parent)
        fd = os.open(base, _NODE, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(fd).st_mode) != kind:
                raise CortenError(f"{self._shown(base)} was exchanged while it was made")
            uid, gid = self._owners.of(entry)
            if uid or gid:
                os.chown(f"/proc/self/fd/{fd}", uid, gid)
            os.chmod(f"/proc/self/fd/{fd}", entry.mode)
        finally:
            os.close(fd)

    def _link(self, parent: int, base: bytes, path: bytes, entry: Entry) -> None:
        """linkat(2) without AT_SYMLINK_FOLLOW: a link to a symlink is the symlink again, wherever it points."""
        target = names.clean(entry.link)
        if not target:
            raise CorruptData(f"archive link {path!r} has no target")
        if target == path:
            return
        directory, source = names.split(target)
        kept = os.dup(parent)  # finding the target may close `parent` to make room
        try:
            os.link(source, base, src_dir_fd=self._parent(directory), dst_dir_fd=kept, follow_symlinks=False)
        except FileNotFoundError:
            raise CorruptData(f"archive link {path!r} to {target!r}, which the archive does not hold") from None
        except PermissionError as error:
            raise CorruptData(f"archive link {path!r} to {target!r}, which cannot be linked") from error
        finally:
            os.close(kept)

    def _parent(self, directory: bytes) -> int:
        """A descriptor of ``directory``, held; made with its parents when the archive never described it."""
        if not directory:
            return self._root
        fd = self._held.get(directory)
        return self._open(directory) if fd is None else fd

    def _open(self, path: bytes) -> int:
        if not path:
            return self._root
        if (fd := self._held.get(path)) is not None:
            return fd
        parts = path.split(b"/")
        known = next((n for n in range(len(parts) - 1, 0, -1) if b"/".join(parts[:n]) in self._held), 0)
        fd = self._held[b"/".join(parts[:known])] if known else self._root
        for count in range(known, len(parts)):
            so_far = b"/".join(parts[: count + 1])
            fd = self._hold(so_far, self._step(fd, parts[count], so_far))
        return fd

    def _step(self, parent: int, part: bytes, path: bytes) -> int:
        """Open one component below an open one: never through a symlink, except as resolved inside the scope."""
        try:
            return os.open(part, DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            with suppress(FileExistsError):  # somebody else's, made in this moment
                os.mkdir(part, 0o755, dir_fd=parent)
                self.implied.add(path)
            return os.open(part, DIRECTORY, dir_fd=parent)
        except NotADirectoryError:  # what O_DIRECTORY|O_NOFOLLOW says of a symlink, and of a file
            found = os.stat(part, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            return self._through(path)
        return self._not_a_directory(parent, part, path, found)

    def _not_a_directory(self, parent: int, part: bytes, path: bytes, found: os.stat_result) -> int:
        """Something else is where a directory is wanted."""
        raise CorruptData(f"archive puts entries below {path!r}, which is not a directory")

    def _through(self, path: bytes) -> int:
        """Resolve a symlink inside the scope; what it names there is made when it is missing."""
        if self._scope is None:
            raise CorruptData(f"archive puts entries below the link {path!r}")
        try:
            place = self._scope.directory(path)
        except OSError as error:
            raise CorruptData(f"archive puts entries below the link {path!r}: {error.strerror}") from error
        try:
            return os.open(b".", DIRECTORY, dir_fd=place)
        finally:
            os.close(place)

    def _hold(self, path: bytes, fd: int) -> int:
        """Keep a directory open; the one held longest makes room (never the caller's, which is newest)."""
        while len(self._held) >= _HELD:
            os.close(self._held.pop(next(iter(self._held))))
        self._held[path] = fd
        return fd

    def _clear(self, parent: int, path: bytes) -> int:
        """Remove what is in the way of an entry, and everything known about it; the parent, open again.

        Every held descriptor is let go: a link may have led into the removed tree under another name.
        """
        directory, base = names.split(path)
        _refuse_mount(parent, base)
        try:
            os.unlink(base, dir_fd=parent)
        except IsADirectoryError:
            if self._strict:
                raise CortenError(
                    f'cannot overwrite directory "{self._shown(path)}" with non-directory "{self._place}"'
                ) from None
            _refuse_mounts_below(parent, base)
            remove_tree(Path(f"/proc/self/fd/{parent}", os.fsdecode(base)))
        except FileNotFoundError:
            pass  # gone by itself
        self._forget()
        below = path + b"/"
        self._times = {key: value for key, value in self._times.items() if key != path and not key.startswith(below)}
        self.implied = {key for key in self.implied if key != path and not key.startswith(below)}
        return self._parent(directory)

    def _forget(self) -> None:
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    def _shown(self, path: bytes) -> str:
        return f"{self._place.rstrip('/')}/{os.fsdecode(path)}"

    def _set_xattrs(self, fd: int, xattrs: header.Records) -> None:
        """Attributes an image may carry: user.*, file capabilities, ACLs. trusted.* would steer overlayfs itself."""
        for key, value in xattrs.items():
            allowed = (
                key in (b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default")
                or (key.startswith(b"user.") and not key.startswith(b"user.overlay."))
            )  # fmt: skip
            if allowed:
                try:
                    os.setxattr(fd, key, value)
                except OSError as error:
                    # The filesystem has none, or this user may not: Docker goes on too. A lost file capability shows
                    # when the program runs.
                    if error.errno != errno.ENOTSUP and (self._owners.keep or error.errno != errno.EPERM):
                        raise


def _refuse_mount(parent: int, base: bytes) -> None:
    """What is mounted on is not removed: the kernel would take the mount off in every other namespace (unlink(2) is
    EBUSY in the caller's only, since Linux 3.18)."""
    try:
        os.close(openat2(parent, base, _NODE, resolve=RESOLVE_NO_XDEV))
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), os.fsdecode(base)) from None


def _refuse_mounts_below(parent: int, base: bytes) -> None:
    """The same for everything in a directory that is going to be removed."""
    try:
        directory = os.open(base, DIRECTORY, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for name in os.listdir(directory):
            _refuse_mount(directory, os.fsencode(name))
            _refuse_mounts_below(directory, os.fsencode(name))
    finally:
        os.close(directory)


def _write(fd: int, view: memoryview) -> None:
    written = os.write(fd, view)
    while written < len(view):
        written += os.write(fd, view[written:])


def _write_pieces(fd: int, entry: Entry, reader: TarReader) -> None:
    """Data of a sparse file to its places; the rest stays a hole."""
    pieces = iter(entry.sparse or ())
    offset = left = 0
    for view in reader.data():
        while view:
            while not left:
                offset, left = next(pieces)
            written = os.pwrite(fd, view[:left], offset)
            offset += written
            left -= written
            view = view[written:]
    os.ftruncate(fd, entry.size)


def _bounded(mtime_ns: int) -> int:
    """A time the filesystem can hold; Docker puts the epoch for others as well."""
    return mtime_ns if 0 <= mtime_ns < 2**33 * 1_000_000_000 else 0


def _umask() -> int:
    """The umask, read without changing it: umask(2) would change it for every thread."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o777
