"""A layer's entries into a directory, through descriptors: whatever the archive says, nothing outside is touched.

Owns the syscalls of unpacking. Knows nothing of compression, digests or where layers live.

How it stays inside. Every parent directory is held as a descriptor that was opened one component at a time with
O_NOFOLLOW, and everything is created relative to it with one plain name, exclusively. A component that turns out to be
a symlink (made by this same layer) is resolved by the kernel inside the root (openat2 RESOLVE_IN_ROOT), as Docker's
chroot does. Names are cleaned lexically first; a name that climbs out is refused.

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

from corten.errors import CorruptData, NotSupported
from corten.linux.path import Root
from corten.storage.archive import header
from corten.storage.archive.header import Entry
from corten.storage.archive.reader import TarReader
from corten.storage.durable import begin_writeback
from corten.storage.layer import name as names
from corten.storage.removal import remove_tree

OPAQUE_XATTR: Final = "trusted.overlay.opaque"
_LARGE: Final = 128 << 10
"""Bytes from which on a file's data is sent to the disk at once: few files, and most of a layer's bytes."""
_HELD: Final = 48  # descriptors per layer; layers unpack in parallel under one RLIMIT_NOFILE
_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES: Final = {header.CHARACTER: stat.S_IFCHR, header.BLOCK_DEVICE: stat.S_IFBLK, header.FIFO: stat.S_IFIFO}


class Extractor:
    """Unpacks one layer into ``root``, an empty directory of the caller's. Used by one thread."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _DIRECTORY)
        self._path = root
        self._held: dict[bytes, int] = {}
        self._times: dict[bytes, int] = {}
        self._umask = _umask()
        self.implied: set[bytes] = {b""}
        """Directories the archive did not describe but put something in: their owner and mode are the lower layers'."""
        self.size = 0
        """Bytes of file data."""

    def close(self) -> None:
        """Give the descriptors back."""
        self._forget()
        os.close(self._root)

    def extract(self, reader: TarReader) -> None:
        """Unpack all entries, then set the times of directories.

        Raises:
            CorruptData: the archive is malformed or hostile.
            NotSupported: an entry of a kind nobody defines.
            OSError: the disk is full, a name is too long for the filesystem, ...
        """
        while (entry := reader.next()) is not None:
            self._add(entry, reader)
        for path, mtime in self._times.items():
            directory, base = names.split(path)
            parent = self._parent(directory) if path else self._root
            with suppress(FileNotFoundError):  # replaced meanwhile under another name
                os.utime(base or b".", ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)

    def _add(self, entry: Entry, reader: TarReader) -> None:
        path = names.clean(entry.name)
        if not path:
            if entry.kind != header.DIRECTORY:
                raise CorruptData("archive entry would replace the root")
            self._describe(self._root, entry, path)
            return
        directory, base = names.split(path)
        if names.WHITEOUT in path and self._whiteout(path, directory, base, entry):
            return
        parent = self._parent(directory)
        try:
            if entry.kind == header.REGULAR:
                self._file(parent, base, path, entry, reader)
            elif entry.kind == header.DIRECTORY:
                self._directory(parent, base, path, entry)
            else:
                self._special(parent, base, path, entry)
        except FileExistsError:
            parent = self._clear(parent, path)
            if entry.kind == header.REGULAR:
                self._file(parent, base, path, entry, reader)
            else:
                self._special(parent, base, path, entry)

    def _file(self, parent: int, base: bytes, path: bytes, entry: Entry, reader: TarReader) -> None:
        mode = entry.mode
        fd = os.open(base, _FILE, mode & 0o777, dir_fd=parent)
        try:
            if entry.sparse is None:
                for view in reader.data():
                    _write(fd, view)
            else:
                _write_pieces(fd, entry, reader)
            if entry.uid or entry.gid:
                os.fchown(fd, entry.uid, entry.gid)
            if mode & (0o7000 | self._umask):
                os.fchmod(fd, mode)
            if entry.xattrs:
                _set_xattrs(fd, entry.xattrs)
            mtime = _bounded(entry.mtime_ns)
            os.utime(fd, ns=(mtime, mtime))
            if entry.size >= _LARGE:
                begin_writeback(fd)
        finally:
            os.close(fd)
        self.size += entry.size

    def _directory(self, parent: int, base: bytes, path: bytes, entry: Entry) -> None:
        fresh = self._make_directory(parent, base, path)
        fd = self._open(path)
        if not fresh and path not in self.implied:
            for attribute in os.listxattr(fd):
                if attribute != OPAQUE_XATTR:
                    os.removexattr(fd, attribute)
        self._describe(fd, entry, path)

    def _make_directory(self, parent: int, base: bytes, path: bytes) -> bool:
        """Whether it had to be made: a directory is kept, anything else gives way (opaquely if it was a whiteout)."""
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            found = os.stat(base, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                return False
            os.mkdir(base, 0o700, dir_fd=self._clear(parent, path))
            if _is_whiteout(found):
                self._opaque(path)
        return True

    def _describe(self, fd: int, entry: Entry, path: bytes) -> None:
        """Owner, mode and xattrs of a directory now; its time at the end, when nothing more is put in it."""
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            _set_xattrs(fd, entry.xattrs)
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
            kind = _DEVICES[entry.kind]
            os.mknod(base, kind | (entry.mode & 0o777), os.makedev(entry.major, entry.minor), dir_fd=parent)
        else:
            raise NotSupported(f"unhandled tar header type {entry.kind.decode(errors='backslashreplace')}")
        if entry.uid or entry.gid:
            os.chown(base, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != header.SYMLINK:
            os.chmod(base, entry.mode, dir_fd=parent)
        mtime = _bounded(entry.mtime_ns)
        os.utime(base, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)

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

    def _whiteout(self, path: bytes, directory: bytes, base: bytes, entry: Entry) -> bool:
        """Whether the entry was a whiteout (or AUFS's own data, which is dropped)."""
        if base == names.OPAQUE:
            self._parent(directory)
            self._opaque(directory)
            return True
        if names.is_metadata(path):
            return True
        if not base.startswith(names.WHITEOUT):
            return False
        if entry.kind not in (header.REGULAR, header.LINK):
            raise CorruptData(f"whiteout {path!r} is not a file")
        target = names.hidden(base)
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
            fd = self._hold(b"/".join(parts[: count + 1]), self._step(fd, parts[count], parts[: count + 1]))
        return fd

    def _step(self, parent: int, part: bytes, so_far: list[bytes]) -> int:
        """Open one component below an open one: never through a symlink, except as resolved inside the root."""
        path = b"/".join(so_far)
        try:
            return os.open(part, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=parent)
            self.implied.add(path)
            return os.open(part, _DIRECTORY, dir_fd=parent)
        except NotADirectoryError:  # what O_DIRECTORY|O_NOFOLLOW says of a symlink, and of a file
            found = os.stat(part, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            return self._through(path)
        if _is_whiteout(found):
            self._make_directory(parent, part, path)
            self.implied.add(path)
            return os.open(part, _DIRECTORY, dir_fd=self._parent(names.split(path)[0]))
        raise CorruptData(f"archive puts entries below {path!r}, which is not a directory")

    def _through(self, path: bytes) -> int:
        """Resolve a symlink inside the root; what it names there is made when it is missing."""
        try:
            place = Root(self._root).directory(os.fsdecode(path))
        except OSError as error:
            raise CorruptData(f"archive puts entries below the link {path!r}: {error.strerror}") from error
        try:
            return os.open(b".", _DIRECTORY, dir_fd=place)
        finally:
            os.close(place)

    def _hold(self, path: bytes, fd: int) -> int:
        """Keep a directory open; the one held longest makes room (never the caller's, which is newest)."""
        while len(self._held) >= _HELD:
            os.close(self._held.pop(next(iter(self._held))))
        self._held[path] = fd
        return fd

    def _clear(self, parent: int, path: bytes) -> int:
        """Remove what an earlier entry of the same name made, and everything known about it; the parent, open again.

        Every held descriptor is let go: a link may have led into the removed tree under another name.
        """
        directory, base = names.split(path)
        try:
            os.unlink(base, dir_fd=parent)
        except IsADirectoryError:
            remove_tree(Path(f"/proc/self/fd/{parent}", os.fsdecode(base)))
        self._forget()
        below = path + b"/"
        self._times = {key: value for key, value in self._times.items() if key != path and not key.startswith(below)}
        self.implied = {key for key in self.implied if key != path and not key.startswith(below)}
        return self._parent(directory)

    def _forget(self) -> None:
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()


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


def _set_xattrs(fd: int, xattrs: header.Records) -> None:
    """Attributes an image may carry: user.*, file capabilities, ACLs. trusted.* would steer overlayfs itself."""
    for key, value in xattrs.items():
        allowed = (
            key in (b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default")
            or (key.startswith(b"user.") and not key.startswith(b"user.overlay."))
        )  # fmt: skip
        if allowed:
            with suppress(NotImplementedError):
                _set_xattr(fd, key, value)


def _set_xattr(fd: int, key: bytes, value: bytes) -> None:
    try:
        os.setxattr(fd, key, value)
    except OSError as error:
        # ENOTSUP: the filesystem has none; Docker goes on too. A lost file capability shows when the program runs.
        if error.errno != 95:
            raise


def _bounded(mtime_ns: int) -> int:
    """A time the filesystem can hold; Docker puts the epoch for others as well."""
    return mtime_ns if 0 <= mtime_ns < 2**33 * 1_000_000_000 else 0


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _umask() -> int:
    """The umask, read without changing it: umask(2) would change it for every thread."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o777
