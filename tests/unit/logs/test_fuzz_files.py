"""Log files of any bytes, plain and compressed, in any number: read and followed to their end, whatever is in them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.logs.compress import Compressor, rotated
from corten.logs.json_file import Writer
from corten.logs.reader import Follower, Reader

RECORD = b'{"log":"%d\\n","stream":"stdout","time":"2023-11-14T22:13:%02d.000000000Z"}\n'
GOOD = b"".join(RECORD % (number, number) for number in range(20))
PACKED = gzip.compress(GOOD)
PIECES = st.binary(max_size=80) | st.sampled_from(
    [GOOD, GOOD[:333], GOOD[7:], b"\n" * 5, b"\0" * 50, b"{" * 40 + b"\n"]
)
COMPRESSED = (
    st.binary(max_size=80)
    | st.integers(0, len(PACKED)).map(lambda cut: PACKED[:cut])
    | st.tuples(st.integers(0, len(PACKED) - 1), st.integers(0, 255)).map(
        lambda damage: PACKED[: damage[0]] + bytes((damage[1],)) + PACKED[damage[0] + 1 :]
    )
    | PIECES.map(gzip.compress)
    | st.just(PACKED + PACKED)
)
SET = st.lists(st.tuples(st.booleans(), PIECES, COMPRESSED), max_size=3)


@settings(max_examples=150)
@given(current=PIECES | st.none(), older=SET, tail=st.integers(-1, 50), since=st.integers(0, 8))
def test_fuzz_any_files_are_read_and_followed_alike(
    tmp_path_factory: pytest.TempPathFactory,
    current: bytes | None,
    older: list[tuple[bool, bytes, bytes]],
    tail: int,
    since: int,
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "log"
    if current is not None:
        path.write_bytes(current)
    for number, (compressed, plain, packed) in enumerate(older, 1):
        name = rotated(str(path), number)
        Path(name + ".gz" if compressed else name).write_bytes(packed if compressed else plain)
    begin = (1_700_000_000 + since) * 10**9 if since else 0
    read = list(Reader(str(path)).read(since_ns=begin, tail=tail))
    assert all(entry[1] >= begin for entry in read)
    if tail >= 0:
        assert len(read) <= tail
    follower = Follower(str(path), since_ns=begin, tail=tail)
    try:
        followed = []
        while entries := follower.poll():
            followed += entries
    finally:
        follower.close()
    if current is not None:
        assert followed[-len(read) :] == read if read else True


@given(st.binary(max_size=300))
def test_fuzz_what_compression_left_behind_never_stops_the_next(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    """A ``.gz.new`` of a crash, of any bytes."""
    path = tmp_path_factory.mktemp("fuzz") / "log"
    Path(f"{path}.gz.new").write_bytes(junk)
    Path(f"{path}.1").write_bytes(GOOD)
    compressor = Compressor(str(path), 3)
    while compressor.step():
        pass
    compressor.stop()
    assert sorted(found.name for found in path.parent.iterdir()) == ["log.1.gz"]
    assert len(list(Reader(str(path)).read())) == 20


@pytest.mark.parametrize("name", ["log", "log.1", "log.1.gz", "log.gz.new"])
def test_cve_2026_53489_a_log_that_is_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    """Whoever could put a link there (a crafted checkpoint did) would read, or overwrite, a file of the host."""
    secret = tmp_path / "secret"
    secret.write_bytes(PACKED if name.endswith("gz") else GOOD)
    before = secret.read_bytes()
    place = tmp_path / "container"
    place.mkdir()
    (place / "log").write_bytes(RECORD % (99, 1))
    (place / "log.1").write_bytes(RECORD % (98, 0)) if name == "log.gz.new" else None
    (place / name).unlink(missing_ok=True)
    (place / name).symlink_to(secret)
    if name == "log.gz.new":
        compressor = Compressor(str(place / "log"), 3)
        while compressor.step():
            pass
        compressor.stop()
    else:
        for read in (lambda: list(Reader(str(place / "log")).read()), lambda: Follower(str(place / "log"))):
            with pytest.raises(OSError, match="symbolic link"):
                read()
        if name == "log":
            with pytest.raises(OSError, match="symbolic link"):
                Writer(str(place / "log"), max_size=1000, max_file=2)
    assert secret.read_bytes() == before
