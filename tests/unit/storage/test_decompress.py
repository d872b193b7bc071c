"""Compression is told by its bytes, checked to its end, and never let loose on memory."""

import bz2
import gzip
import lzma
import os
import tracemalloc

import pytest
import zstandard

from corten.errors import CorruptData
from corten.storage.layer.decompress import PIECE, Decompressor, detect

DATA = os.urandom(100_000) + bytes(2_000_000)
FORMATS = {
    "gzip": gzip.compress, "zstd": zstandard.compress, "bzip2": bz2.compress, "xz": lzma.compress, "none": bytes,
}  # fmt: skip


def decompress(stream, step=65536):
    decompressor = Decompressor()
    pieces = []
    for start in range(0, len(stream), step):
        pieces += decompressor.feed(stream[start : start + step])
    return b"".join([*pieces, *decompressor.finish()])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("step", [1, 7, 65536, 10**9])
def test_every_format_in_pieces_of_any_size(name, step):
    data = DATA if step > 100 else DATA[:3000]
    stream = FORMATS[name](data)
    assert detect(stream[:6]) == name
    assert decompress(stream, step) == data


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
def test_several_members_follow_each_other(name):
    stream = b"".join(FORMATS[name](DATA[start : start + 50_000]) for start in range(0, 200_000, 50_000))
    assert decompress(stream) == DATA[:200_000]


def test_zeros_after_gzip_are_padding_and_skippable_zstd_frames_are_skipped():
    assert decompress(gzip.compress(b"x") + bytes(1000)) == b"x"
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    assert decompress(zstandard.compress(b"x" * 100) + skippable) == b"x" * 100


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
def test_truncated_and_damaged_streams_are_refused(name):
    stream = FORMATS[name](DATA[:150_000])
    for cut in (len(stream) - 1, len(stream) // 2, 7):
        with pytest.raises(CorruptData):
            decompress(stream[:cut])
    damaged = bytearray(stream)
    damaged[len(stream) // 2] ^= 0xFF
    if name == "zstd":
        with pytest.raises(CorruptData):
            decompress(stream + b"garbage")
    else:
        with pytest.raises(CorruptData):
            decompress(bytes(damaged))


def test_a_wrong_gzip_checksum_is_refused():
    stream = bytearray(gzip.compress(DATA))
    stream[-6] ^= 1
    with pytest.raises(CorruptData):
        decompress(bytes(stream))


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_a_bomb_comes_out_in_pieces(name):
    bomb = FORMATS[name](bytes(100 << 20))
    assert len(bomb) < 200_000
    decompressor = Decompressor()
    tracemalloc.start()
    total = 0
    for piece in decompressor.feed(bomb):
        assert len(piece) <= PIECE
        total += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 100 << 20
    assert peak < 16 << 20


def test_short_streams():
    assert decompress(b"") == b""
    assert decompress(b"abc") == b"abc"


def test_a_stream_of_tiny_members_is_not_quadratic():
    member = gzip.compress(b"x")
    decompressor = Decompressor()
    total = sum(len(piece) for piece in decompressor.feed(member * 100_000))
    assert total == 100_000
