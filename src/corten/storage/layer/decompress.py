"""The compression of a layer, told by its first bytes; decompressed in bounded pieces, whatever the ratio.

gzip by igzip (several members, checksums verified), zstd (several frames), bzip2 and xz as ``import`` accepts them, and
none. What a media type claims is not asked: registries are full of wrong ones, and Docker looks at the bytes too.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import zstandard
from isal import igzip_lib

from corten.errors import CorruptData

PIECE: Final = 1 << 20
"""Largest decompressed piece, in bytes (zstd: see ``_Zstd``)."""
_ZSTD_WINDOW: Final = 128 << 20  # zstd -d refuses more as well unless told --long
_ZSTD_INPUT: Final = 4096
_INPUT: Final = 1 << 18
_INPUT_OF_MANY: Final = 1 << 12
_MANY: Final = 32
_MAGIC_LENGTH: Final = 6


class _Stream(Protocol):
    """One member or frame: the interface of bz2.BZ2Decompressor."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class _Zstd:
    """A zstd frame with that interface. The library has no output limit, so input is fed in small pieces.

    4 KiB of input hold at most about 1,000 blocks of 128 KiB: the worst bomb costs 128 MiB at a time.
    """

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._pending = b""
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def needs_input(self) -> bool:
        return not self._pending and not self.eof

    def decompress(self, data: bytes, max_length: int = PIECE, /) -> bytes:
        pending = self._pending + data
        position = 0
        pieces: list[bytes] = []
        size = 0
        while position < len(pending) and size < max_length and not self._frame.eof:
            piece = self._frame.decompress(pending[position : position + _ZSTD_INPUT])
            position += _ZSTD_INPUT
            pieces.append(piece)
            size += len(piece)
        self._pending = pending[position:]
        if self._frame.eof:
            self.unused_data = self._frame.unused_data + self._pending
            self._pending = b""
        return b"".join(pieces)


def _gzip() -> _Stream:
    stream: _Stream = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return stream


_ISAL_ERROR: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub says an instance
_MALFORMED: Final[tuple[type[Exception], ...]] = (
    _ISAL_ERROR,
    zstandard.ZstdError,
    lzma.LZMAError,
    OSError,
    ValueError,
    EOFError,
)
_FORMATS: Final[tuple[tuple[bytes, str, Callable[[], Any]], ...]] = (
    (b"\x1f\x8b\x08", "gzip", _gzip),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstd),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 << 20)),
)


def detect(head: bytes) -> str:
    """``gzip``, ``zstd``, ``bzip2``, ``xz`` or ``none``, from the first 6 bytes of a stream."""
    return next((name for magic, name, _ in _FORMATS if head.startswith(magic)), "none")


class Decompressor:
    """A stream of any supported compression: :meth:`feed` what arrives, then :meth:`finish`."""

    def __init__(self) -> None:
        self._head = b""
        self._name = ""
        self._make: Callable[[], _Stream] | None = None
        self._stream: _Stream | None = None
        self._ended = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decompressed pieces of ``data``.

        Raises:
            CorruptData: malformed, or a wrong checksum.
        """
        if not self._name:
            self._head += data
            if len(self._head) < _MAGIC_LENGTH:
                return
            data = self._begin()
        if self._make is None:
            if data:
                yield data
            return
        position = 0
        while position < len(data):
            # Each member copies what follows it in the slice: where members are tiny, slices must be small as well.
            step = _INPUT_OF_MANY if self._ended > _MANY else _INPUT
            self._ended = 0
            yield from self._members(data[position : position + step])
            position += step

    def finish(self) -> Iterator[bytes]:
        """What is left at the end of the stream.

        Raises:
            CorruptData: the stream was cut.
        """
        if not self._name:
            data = self._begin()
            yield from self._members(data) if self._make else iter([data] if data else [])
        if self._make is not None and self._stream is not None:
            raise CorruptData(f"unexpected EOF: the {self._name} stream is truncated")

    def _begin(self) -> bytes:
        head, self._head = self._head, b""
        self._name = detect(head)
        self._make = next((make for _, name, make in _FORMATS if name == self._name), None)
        return head

    def _members(self, data: bytes) -> Iterator[bytes]:
        """Feed the current member, and begin the next one with what it leaves."""
        while data:
            if self._stream is None:
                data = data.lstrip(b"\0") if self._name == "gzip" else data  # padding after a member, as gzip(1)
                if not data or self._make is None:
                    return
                self._stream = self._make()
            stream = self._stream
            yield from self._pieces(stream, data)
            data = b""
            if stream.eof:
                data, self._stream = stream.unused_data, None
                self._ended += 1

    def _pieces(self, stream: _Stream, data: bytes) -> Iterator[bytes]:
        try:
            while True:
                piece = stream.decompress(data, PIECE)
                if piece:
                    yield piece
                if stream.eof or stream.needs_input:
                    return
                data = b""
        except _MALFORMED as error:
            raise CorruptData(f"invalid {self._name} stream: {error}") from error
