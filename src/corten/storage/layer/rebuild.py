"""The plain tar stream of a layer, made again from its tree and its split (:mod:`corten.storage.layer.split`).

Owns the reading of the tree: files are opened through a descriptor of its top by openat2(2), which follows no link and
leaves it by none, and nothing but a regular file is read. Every byte is hashed on its way out: who has read the last
one has the layer the digest names, or :class:`CorruptData`.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from corten.errors import CorruptData
from corten.linux.path import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from corten.oci.digest import Digest
from corten.storage.layer.split import REPLACED, Frame, Split

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_TOP: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_INSIDE: Final = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_SKIP: Final = 1 << 20


class Rebuilt(io.RawIOBase):
    """The stream as a file to read; seeking back begins anew, so that everything is hashed in order.

    ``layer`` is the directory with the tree; ``split`` lies in it, or in another one of the same layer.

    Raises (when it is read):
        CorruptData: the tree or the split is not what was unpacked; the message names layer, digest and file.
    """

    def __init__(self, layer: Path, split: Path, digest: Digest) -> None:
        self._name = layer.name
        self._digest = digest
        self._split = Split(split)
        self._held: list[int] = []
        self._file = -1
        self._frames: Iterator[tuple[int, Frame]] = iter(())
        self._literal = memoryview(b"")
        self._path = b""
        self._left = self._offset = self._position = 0
        self._hash = hashlib.new(digest.algorithm)
        try:
            self._held.append(os.open(layer / "fs", _TOP))
            if self._split.end.moved:
                self._held.append(os.open(layer / REPLACED, _TOP))
        except FileNotFoundError as error:
            self.close()
            raise CorruptData(self._problem(f"{error.filename} is missing")) from error
        self.size = self._split.size
        """Bytes of the stream."""
        self._begin()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, at the price of reading what lies between."""
        return True

    def tell(self) -> int:
        """Where the next byte is from."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to ``offset``; the new position."""
        target = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        target = min(max(target, 0), self.size)
        if target < self._position:
            self._leave()
            self._begin()
        skipped = bytearray(min(_SKIP, target - self._position))
        while self._position < target:
            self.readinto(memoryview(skipped)[: target - self._position])
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` as far as the stream goes."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and (self._literal or self._left or self._next()):
            if self._literal:
                taken = min(len(view) - done, len(self._literal))
                view[done : done + taken] = self._literal[:taken]
                self._literal = self._literal[taken:]
            else:
                taken = self._file_into(view[done : done + self._left])
            done += taken
        self._hash.update(view[:done])
        self._position += done
        if done < len(view) and self._position < self.size:
            raise CorruptData(self._problem("the split is too short"))
        if self._position >= self.size and self._hash.hexdigest() != self._digest.hex:
            raise CorruptData(self._problem("a file was changed"))
        return done

    def close(self) -> None:
        """Give the descriptors back."""
        if not self.closed:
            self._leave()
            self._split.close()
            for descriptor in self._held:
                os.close(descriptor)
            self._held.clear()
        super().close()

    def _begin(self) -> None:
        self._frames = enumerate(self._split.frames())
        self._literal = memoryview(b"")
        self._left = 0
        self._hash = hashlib.new(self._digest.algorithm)
        self._position = 0

    def _next(self) -> bool:
        """Take the next frame; False behind the last one."""
        self._leave()
        try:
            number, frame = next(self._frames, (-1, Frame(b"", b"", 0, 0)))
        except CorruptData as error:
            raise CorruptData(self._problem(str(error))) from error
        if number < 0:
            return False
        self._literal = memoryview(frame.literal)
        self._left, self._offset, self._path = frame.size, frame.offset, frame.path
        if frame.size:
            moved = self._split.end.moved.get(number)
            self._open(self._held[0] if moved is None else self._held[1], frame.path if moved is None else moved)
        return True

    def _open(self, top: int, path: bytes) -> None:
        self._path = path
        try:
            self._file = openat2(top, path, _READ, resolve=_INSIDE)
        except OSError as error:
            raise CorruptData(self._problem(f"{_text(path)}: {error.strerror}")) from error
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise CorruptData(self._problem(f"{_text(path)} is no regular file"))

    def _file_into(self, view: memoryview) -> int:
        taken = os.preadv(self._file, [view], self._offset)
        if not taken:
            raise CorruptData(self._problem(f"{_text(self._path)} is too short"))
        self._offset += taken
        self._left -= taken
        if not self._left:
            self._leave()
        return taken

    def _leave(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _problem(self, what: str) -> str:
        return f"content {self._digest} cannot be made again from layer {self._name}: {what}"


def _text(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
