"""Whether what is stored is still what was stored: content against its digest, unpacked layers against their content.

An unpacked layer keeps no checksums of its own; it is compared with the tar stream it came from, which the content
store has. Reads only. Names of problems are for people.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from corten.errors import CorruptData
from corten.linux.path import Root
from corten.storage.content import ContentStore
from corten.storage.layer import name as whiteouts
from corten.storage.layer.decompress import Decompressor
from corten.tar import header, names
from corten.tar.reader import TarReader

_KINDS = {
    header.REGULAR: stat.S_IFREG, header.DIRECTORY: stat.S_IFDIR, header.SYMLINK: stat.S_IFLNK,
    header.CHARACTER: stat.S_IFCHR, header.BLOCK_DEVICE: stat.S_IFBLK, header.FIFO: stat.S_IFIFO,
}  # fmt: skip


class _Expected(NamedTuple):
    kind: int
    mode: int
    uid: int
    gid: int
    content: bytes  # sha256 of a file, target of a symlink


def content(store: ContentStore) -> list[str]:
    """Every content whose bytes no longer match its digest."""
    return [problem for digest in store.walk() if (problem := store.damage(digest))]


def layer(stream: Iterable[bytes], fs: Path) -> list[str]:
    """Every difference between a layer's stream (compressed or not) and its directory.

    Raises:
        CorruptData: the stream itself is damaged.
    """
    expected = _expectations(stream)
    problems: list[str] = []
    top = os.open(fs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        root = Root(top)
        for path, wanted in expected.items():
            found = _look(root, path)
            if found is None:
                problems.append(f"{_text(path)} is missing")
            elif found != wanted:
                problems.append(f"{_text(path)} was changed")
    finally:
        os.close(top)
    return problems


def _expectations(stream: Iterable[bytes]) -> dict[bytes, _Expected]:
    pieces = _decompressed(stream)
    reader = TarReader(lambda: next(pieces, b""))
    found: dict[bytes, _Expected] = {}
    for entry in reader:
        path = names.clean(entry.name)
        base = names.split(path)[1]
        if base.startswith(whiteouts.WHITEOUT) or whiteouts.is_metadata(path):
            continue
        if entry.kind == header.LINK:
            source = names.clean(entry.link)
            if source in found:
                found[path] = found[source]
            continue
        if entry.sparse is not None:
            found.pop(path, None)
            continue  # its data is in pieces; its digest would need the holes
        kind = _KINDS.get(entry.kind)
        if kind is None:
            raise CorruptData(f"unhandled tar header type {entry.kind!r}")
        body = b""
        if kind == stat.S_IFREG:
            digest = hashlib.sha256()
            for view in reader.data():
                digest.update(view)
            body = digest.digest()
        elif kind == stat.S_IFLNK:
            body = entry.link
        if kind != stat.S_IFDIR:
            for below in [other for other in found if other.startswith(path + b"/")]:
                del found[below]
        found[path] = _Expected(kind, 0 if kind == stat.S_IFLNK else entry.mode, entry.uid, entry.gid, body)
    return found


def _look(root: Root, path: bytes) -> _Expected | None:
    """What is on disk; None when nothing is."""
    name = os.fsdecode(path) or "."
    try:
        place = root.open(name, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(place)
        kind, body = stat.S_IFMT(status.st_mode), b""
        if kind == stat.S_IFREG:
            with open(root.open(name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                body = hashlib.file_digest(stream, "sha256").digest()
        elif kind == stat.S_IFLNK:
            body = os.readlink(b"", dir_fd=place)
    finally:
        os.close(place)
    mode = 0 if kind == stat.S_IFLNK else stat.S_IMODE(status.st_mode)
    return _Expected(kind, mode, status.st_uid, status.st_gid, body)


def _decompressed(stream: Iterable[bytes]) -> Iterator[bytes]:
    decompressor = Decompressor()
    for data in stream:
        yield from decompressor.feed(data)
    yield from decompressor.finish()


def _text(path: bytes) -> str:
    return path.decode(errors="backslashreplace") or "/"
