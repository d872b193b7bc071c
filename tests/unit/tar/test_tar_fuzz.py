"""Tar streams nobody wrote on purpose, and trees that nobody laid out: bounded, seeded by hypothesis."""

from __future__ import annotations

import io
import os
import tarfile  # noqa: TID251  the other reader
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness import tars

from corten.errors import CorruptData, CortenError, NotSupported
from corten.linux.path import Root
from corten.storage import files
from corten.tar import header, writer
from corten.tar.header import Entry
from corten.tar.pack import Packer
from corten.tar.reader import TarReader
from corten.tar.unpack import Owners, Unpacker

_REFUSALS = (CorruptData, NotSupported)
FUZZ = settings(max_examples=150)

GOOD = tars.archive(
    tars.directory("d"), tars.file("d/f", b"x" * 700), tars.symlink("d/l", "f"), tars.link("d/h", "d/f"),
    tars.pax((b"path", b"p" * 300), (b"mtime", b"1.5"), (b"SCHILY.xattr.user.a", b"b")) + tars.file("short", b"y"),
    tars.entry("n", header.CHARACTER, major=1, minor=3), tars.file("z" * 200, b""),
)  # fmt: skip


def read(raw: bytes, step: int) -> list[tuple[bytes, bytes, int]]:
    """Everything a reader finds in ``raw``, given in pieces of ``step``."""
    pieces = iter([raw[start : start + step] for start in range(0, len(raw), step)])
    found = []
    for entry in (reader := TarReader(lambda: next(pieces, b""))):
        found.append((entry.name, entry.kind, sum(map(len, reader.data()))))
    return found


@FUZZ
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6), st.integers(1, 5000))
def test_a_damaged_stream_is_read_or_refused(damage: list[tuple[int, int]], step: int) -> None:
    raw = bytearray(GOOD)
    for place, value in damage:
        raw[place] = value
    try:
        read(bytes(raw), step)
    except _REFUSALS:
        pass


@FUZZ
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=3), st.integers(1, 5000))
def test_data_and_rest_are_the_whole_stream(damage: list[tuple[int, int]], step: int) -> None:
    raw = bytearray(GOOD + b"behind the end")
    for place, value in damage:
        raw[place] = value
    pieces = iter([bytes(raw[start : start + step]) for start in range(0, len(raw), step)])
    told = bytearray()
    reader = TarReader(lambda: next(pieces, b""), told.extend)
    try:
        for number, _ in enumerate(reader):
            for view in reader.data() if number % 2 else ():
                told.extend(view)
        reader.drain()
    except _REFUSALS:
        assert raw.startswith(told)
    else:
        assert told == raw


@FUZZ
@given(st.binary(max_size=4096), st.integers(1, 700))
def test_noise_is_read_or_refused(noise: bytes, step: int) -> None:
    try:
        read(noise, step)
    except _REFUSALS:
        pass


@FUZZ
@given(st.integers(0, len(GOOD)), st.integers(1, 5000))
def test_a_cut_stream_gives_a_prefix_or_is_refused(length: int, step: int) -> None:
    whole = read(GOOD, 1 << 20)
    try:
        found = read(GOOD[:length], step)
    except _REFUSALS:
        return
    assert found == whole[: len(found)]


_PARTS = st.sampled_from(["a", "b", "..", ".", "", "link", "up", "out", "d"])


@FUZZ
@given(st.lists(_PARTS, max_size=6).map("/".join))
def test_path_rules(path: str) -> None:
    """Absolute, never climbing, stable, and the ending means what it meant."""
    whole = files.absolute(path)
    assert whole.startswith("/")
    assert ".." not in whole.split("/")
    assert files.absolute(whole) == whole
    assert whole.endswith("/.") == (path == "." or path.endswith("/."))
    assert files.last_word(whole) not in ("", "..")


@pytest.fixture(scope="module")
def maze() -> object:
    """A tree with links of every kind, beside a canary."""
    with tempfile.TemporaryDirectory(prefix="corten-maze-") as name:
        top = Path(name)
        (top / "canary").mkdir()
        (top / "root/a/b").mkdir(parents=True)
        (top / "root/d").write_text("d")
        (top / "root/link").symlink_to("a/b")
        (top / "root/a/up").symlink_to("../..")
        (top / "root/a/b/out").symlink_to(f"{top}/canary")
        (top / "root/out").symlink_to("../../../../../canary")
        (top / "root/a/d").symlink_to("/d")
        (top / "root/up").symlink_to("up")
        fd = os.open(top / "root", os.O_PATH | os.O_DIRECTORY)
        try:
            yield Root(fd)
        finally:
            os.close(fd)


@FUZZ
@given(parts=st.lists(_PARTS, max_size=7))
def test_a_canonical_path_is_where_the_kernel_goes(maze: Root, parts: list[str]) -> None:
    path = "/".join(parts) or "."
    try:
        fd = maze.open(path)
    except OSError:
        try:
            assert ".." not in maze.canonical(path).split("/")
        except OSError:
            pass
        return
    try:
        again = maze.open_plain(maze.canonical(path))
        assert os.path.samestat(os.fstat(fd), os.fstat(again))
        os.close(again)
    finally:
        os.close(fd)


@FUZZ
@given(
    st.lists(
        st.tuples(
            st.text("ab/.", min_size=1, max_size=8),
            st.sampled_from([header.REGULAR, header.DIRECTORY, header.SYMLINK, header.LINK, header.FIFO]),
            st.text("ab/.", min_size=1, max_size=12),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_no_archive_leaves_its_directory(members: list[tuple[str, bytes, str]], strict: bool) -> None:
    """Without a scope, as the client unpacks: every link that entries lie below is refused."""
    with tempfile.TemporaryDirectory(prefix="corten-fuzz-") as name:
        top = Path(name)
        (top / "in").mkdir()
        (top / "a").mkdir()
        (top / "a/secret").write_text("x")
        raw = b"".join(
            tars.file(path, b"data")
            if kind == header.REGULAR
            else tars.entry(path, kind, link=link.encode(), mode=0o755)
            for path, kind, link in members
        )
        directory = os.open(top / "in", os.O_RDONLY | os.O_DIRECTORY)
        unpacker = Unpacker(directory, scope=None, owners=Owners(keep=False), strict=strict)
        source = iter([raw + writer.END])
        try:
            unpacker.extract(TarReader(lambda: next(source, b"")))
        except (CortenError, OSError):
            pass
        finally:
            unpacker.close()
            os.close(directory)
        assert sorted(os.listdir(top)) == ["a", "in"]
        assert os.listdir(top / "a") == ["secret"]
        assert (top / "a/secret").read_text() == "x"


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
            lambda name: name not in (".", "..")
        ),
        st.binary(max_size=3000),
        max_size=6,
    ),
    st.integers(0, 3),
)
def test_what_is_packed_is_what_is_unpacked_and_what_tarfile_reads(content: dict[str, bytes], holes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="corten-fuzz-") as name:
        top = Path(name)
        (top / "from").mkdir()
        (top / "to").mkdir()
        for file, data in content.items():
            (top / "from" / file).write_bytes(data)
        for number in range(holes):
            with (top / "from" / f"hole{number}").open("wb") as stream:
                stream.seek((number + 1) << 18)
                stream.write(b"end")
        fds = [os.open(top / side, os.O_RDONLY | os.O_DIRECTORY) for side in ("from", "to")]
        raw = b"".join(Packer(sparse=True).tree(fds[0], b"")) + writer.END
        unpacker = Unpacker(fds[1], scope=None, owners=Owners(keep=False), strict=True)
        source = iter([raw])
        unpacker.extract(TarReader(lambda: next(source, b"")))
        unpacker.close()
        for fd in fds:
            os.close(fd)
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            theirs = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        ours = {path.name: path.read_bytes() for path in (top / "to").iterdir()}
        wanted = {path.name: path.read_bytes() for path in (top / "from").iterdir()}
        assert ours == wanted
        assert theirs == wanted


def test_a_sparse_entry_names_its_file_and_its_holes(tmp_path: Path) -> None:
    place = tmp_path / "s"
    with place.open("wb") as stream:
        stream.write(b"head")
        stream.seek(1 << 20)
        stream.write(b"tail")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    raw = b"".join(Packer(sparse=True).tree(fd, b"top/")) + writer.END
    os.close(fd)
    assert len(raw) < 1 << 16
    source = iter([raw])
    reader = TarReader(lambda: next(source, b""))
    entry = reader.next()
    assert isinstance(entry, Entry)
    assert (entry.name, entry.size) == (b"top/s", (1 << 20) + 4)
    assert entry.sparse is not None
    assert len(entry.sparse) == 2
