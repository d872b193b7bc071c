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
from contextlib import nullcontext
from typing import Final, NamedTuple

from corten.errors import CortenError
from corten.linux.path import Root
from corten.storage.layer.decompress import Decompressor
from corten.storage.ownership import Ownership
from corten.tar import writer
from corten.tar.pack import Packer
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
    archive = Archive(root, path)
    archive.close()
    return archive.found


class Archive:
    """The tar stream of what is at ``path``: a directory with everything below it, or one entry.

    It is opened once: whatever the name leads to later, this is what is packed. ``ownership`` gives its entries other
    ids. OSError as lstat(2).
    """

    def __init__(self, root: Root, path: str, *, sparse: bool = False, ownership: Ownership | None = None) -> None:
        whole = absolute(path)
        self._sparse = sparse
        self._revise = None if ownership is None else ownership.leaving
        self._fd = root.open(whole, _LOOK)
        try:
            status = os.fstat(self._fd)
            link = root.canonical(whole) if stat.S_ISLNK(status.st_mode) else ""
        except OSError:
            self.close()
            raise
        self.found = Found(last_word(whole), status, link)

    def pieces(self) -> Generator[bytes, None, None]:
        """The stream."""
        packer = Packer(sparse=self._sparse, revise=self._revise)
        base = os.fsencode(self.found.name)
        if stat.S_ISDIR(self.found.status.st_mode):
            top = os.open(b".", DIRECTORY, dir_fd=self._fd)
            try:
                prefix = base.rstrip(b"/") + b"/"
                yield packer.directory(top, prefix)
                yield from packer.tree(top, prefix)
            finally:
                os.close(top)
        else:
            yield from packer.node(self._fd, base)
        yield writer.END

    def close(self) -> None:
        """Give the descriptor back, once the stream is over."""
        os.close(self._fd)


def extract(
    root: Root, path: str, source: Callable[[], bytes], *, owners: Owners, strict: bool,
    check: Callable[[int], None] = lambda fd: None, ownership: Ownership | None = None,
) -> None:  # fmt: skip
    """Unpack a tar stream, compressed or not, into the directory ``path``; ``check`` may refuse it by its descriptor.

    ``owners`` are ids of the host, those of the stream the container's: ``ownership`` translates them.

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
        unpacker = Unpacker(
            directory, scope=Scope(root, inside), owners=owners, strict=strict, place=inside,
            revise=None if ownership is None else ownership.arriving,
        )  # fmt: skip
        try:
            pieces = _plain(source)
            with ownership.act() if ownership else nullcontext():
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
