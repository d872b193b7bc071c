"""Appending past the page cache: whatever the pieces, the file holds what was written, wherever it lies."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.storage.direct import DirectFile

SEED = 7
SIZES = (0, 1, 511, 4095, 4096, 4097, 1 << 20, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5 << 20)


@contextmanager
def appended(path: Path, offset: int = 0) -> Iterator[DirectFile]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    file = DirectFile(descriptor)
    try:
        file.begin(offset)
        yield file
    finally:
        file.close()
        os.close(descriptor)


@pytest.fixture(params=["/dev/shm", None])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """On a file system without direct I/O (tmpfs, before Linux 6.6) and on the machine's own."""
    with tempfile.TemporaryDirectory(dir=request.param or tmp_path) as name:
        yield Path(name)


def test_every_size_of_piece(folder: Path) -> None:
    chance = random.Random(SEED)
    written = bytearray()
    with appended(folder / "file") as file:
        for _ in range(40):
            piece = chance.randbytes(chance.choice(SIZES))
            file.write(memoryview(piece))
            written += piece
            if chance.random() < 0.3:
                file.flush()
                assert (folder / "file").read_bytes() == written
        file.flush()
    assert (folder / "file").read_bytes() == written


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 3 << 20, (3 << 20) + 77])
def test_it_goes_on_where_an_earlier_one_ended(folder: Path, offset: int) -> None:
    first, second = random.Random(1).randbytes(offset), random.Random(2).randbytes(3 << 20)
    (folder / "file").write_bytes(first)
    with appended(folder / "file", offset) as file:
        file.write(memoryview(second))
        file.flush()
    assert (folder / "file").read_bytes() == first + second


def test_beginning_again_forgets_what_was_not_flushed(folder: Path) -> None:
    with appended(folder / "file") as file:
        file.write(memoryview(b"wrong"))
        file.begin(0)
        file.write(memoryview(b"right"))
        file.flush()
    assert (folder / "file").read_bytes() == b"right"


def test_large_pieces_bypass_the_page_cache(tmp_path: Path) -> None:
    """The flag is there while a whole piece is written, and gone for the rest."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        file = DirectFile(descriptor)
        file.begin(0)
        file.write(memoryview(bytes(2 << 20)))
        assert os.O_DIRECT & _flags(descriptor)
        file.write(memoryview(b"rest"))
        file.flush()
        assert not os.O_DIRECT & _flags(descriptor)
        file.close()
    finally:
        os.close(descriptor)


def _flags(descriptor: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    return next(int(line.split()[1], 8) for line in lines if line.startswith("flags:"))
