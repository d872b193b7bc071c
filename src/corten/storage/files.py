"""A container's files below a descriptor of its root: looked up, packed and unpacked as ``docker cp`` does it.

Owns Docker's path rules: a path is cleaned lexically first and means the same as inside the container; a trailing
slash or ``/.`` follows a link and insists on a directory; an archive's entries begin with the last word of the path
that was asked for. Every lookup is the kernel's, inside the root (:class:`corten.linux.path.Root`). Knows nothing of
containers, and cannot tell who else changes the files meanwhile.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple

from corten.errors import CortenError
from corten.linux.path import Root
from corten.storage.layer.decompress import Decompressor
from corten.tar import writer
from corten.tar.pack import Packer, directory_entry
from corten.tar.reader import TarReader
from corten.tar.unpack import DIRECTORY, Owners, Scope, Unpacker

_LOOK: Final = os.O_PATH | os.O_NOFOLLOW


class Found(NamedTuple):
    """What a path leads to: its name, its status (of a link: the link's own), and where a link leads in the end."""

    name: str
    status: os.stat_result
    link: str


def absolute(path: str) -> str:
    """``path`` from the root, cleaned lexically; a slash or ``/.`` at its end stays."""
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    if path == "." or path.endswith("/."):
        return f"{cleaned.rstrip('/')}/."
    return f"{cleaned.rstrip('/')}/" if path.endswith("/") else cleaned


def last_word(path: str) -> str:
    """The last component of an :func:`absolute` path: ``.`` for ``/a/.``, ``/`` for the root."""
    return path.rstrip("/").rpartition("/")[2] or "/"


def look(root: Root, path: str) -> Found:
    """What is at ``path``; OSError as lstat(2)."""
    whole = absolute(path)
    fd = root.open(whole, _LOOK)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    link = root.canonical(whole) if stat.S_ISLNK(status.st_mode) else ""
    return Found(last_word(whole), status, link)


def archive(root: Root, path: str, *, sparse: bool = False) -> Generator[bytes, None, None]:
    """The tar stream of what is at ``path``: a directory with everything below it, or one entry."""
    whole = absolute(path)
    base = os.fsencode(last_word(whole))
    packer = Packer(sparse=sparse)
    found = root.open(whole, _LOOK)
    try:
        if stat.S_ISDIR(os.fstat(found).st_mode):
            top = os.open(b".", DIRECTORY, dir_fd=found)
            try:
                prefix = base.rstrip(b"/") + b"/"
                yield from directory_entry(top, prefix)
                yield from packer.tree(top, prefix)
            finally:
                os.close(top)
        else:
            holder = root.open(posixpath.dirname(whole), os.O_PATH | os.O_DIRECTORY)
            try:
                yield from packer.member(holder, base, base, os.stat(base, dir_fd=holder, follow_symlinks=False))
            finally:
                os.close(holder)
    finally:
        os.close(found)
    yield writer.END


def extract(
    root: Root, path: str, source: Callable[[], bytes], *, owners: Owners, strict: bool,
    check: Callable[[int], None] = lambda fd: None,
) -> None:  # fmt: skip
    """Unpack a tar stream, compressed or not, into the directory ``path``; ``check`` may refuse it by its descriptor.

    Raises:
        FileNotFoundError: the directory is not there.
        CortenError: it is none, or what it holds forbids it; CorruptData: the archive.
        OSError: as the kernel says.
    """
    whole = absolute(path)
    try:
        place = root.open(whole, os.O_PATH | os.O_DIRECTORY)
    except NotADirectoryError:
        raise CortenError("extraction point is not a directory") from None
    try:
        directory = os.open(b".", DIRECTORY, dir_fd=place)
    finally:
        os.close(place)
    try:
        check(directory)
        inside = root.canonical(whole)
        unpacker = Unpacker(directory, scope=Scope(root, inside), owners=owners, strict=strict, place=inside)
        try:
            pieces = _plain(source)
            unpacker.extract(TarReader(lambda: next(pieces, b"")))
        finally:
            unpacker.close()
        for _ in pieces:
            pass  # to its end: a cut stream is an error even behind the archive's end
    finally:
        os.close(directory)


def mount_id(fd: int) -> int:
    """Which mount a descriptor lies on: proc_pid_fdinfo(5)."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as info:
        for line in info:
            if line.startswith(b"mnt_id:"):
                return int(line.split()[1])
    return -1


def _plain(source: Callable[[], bytes]) -> Iterator[bytes]:
    decompressor = Decompressor()
    while data := source():
        yield from decompressor.feed(data)
    yield from decompressor.finish()
