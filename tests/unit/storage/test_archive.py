"""The tar reader and writer, against GNU tar and against archives nobody should write."""

import io
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness import tars

from corten.errors import CorruptData, NotSupported
from corten.tar import header, writer
from corten.tar.header import Entry
from corten.tar.reader import MAX_EXTENDED, TarReader


def read(stream: bytes, step: int = 1000):
    """Every entry with its data, from pieces of ``step`` bytes."""
    source = io.BytesIO(stream)
    reader = TarReader(lambda: source.read(step))
    return [(entry, b"".join(bytes(view) for view in reader.data())) for entry in reader]


NAMES = st.lists(
    st.binary(min_size=1, max_size=120).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_")),
    min_size=1,
    max_size=4,
).map(b"/".join)

ATTRIBUTES = st.from_regex(rb"user\.[a-z]{1,9}", fullmatch=True)


@settings(max_examples=150)
@given(
    name=NAMES, data=st.binary(max_size=2000), uid=st.integers(0, header.MAX_ID), mtime=st.integers(0, 2**34),
    mode=st.integers(0, 0o7777), step=st.integers(1, 3000),
    xattrs=st.dictionaries(ATTRIBUTES, st.binary(min_size=1, max_size=300), max_size=3),
)  # fmt: skip
def test_what_is_written_is_read_again_whatever_the_pieces(name, data, uid, mtime, mode, step, xattrs):
    written = Entry(
        name, header.REGULAR, size=len(data), uid=uid, gid=7, mode=mode, mtime_ns=mtime * 10**9, xattrs=xattrs or None
    )
    stream = writer.encode(written) + tars.padded(data) + tars.symlink("l", "x" * 150) + writer.END
    (entry, found), (second, _) = read(stream, step)
    assert (entry.name, found, entry.uid, entry.gid, entry.mode) == (name, data, uid, 7, mode)
    assert entry.mtime_ns == mtime * 10**9
    assert entry.xattrs == (xattrs or None)
    assert second.link == b"x" * 150


@pytest.mark.parametrize("dialect", ["v7", "ustar", "gnu", "posix"])
def test_gnu_tar_is_understood_in_all_its_formats(tmp_path, dialect):
    tree = tmp_path / "tree"
    deep = tree / "short" if dialect == "v7" else tree / ("d" * 90) / ("e" * 60)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"content" * 300)
    (tree / "link").symlink_to("t" * 80)
    os.link(deep / "file", tree / "hard")
    (tree / "empty").touch()
    if dialect in ("gnu", "posix"):
        (deep / ("n" * 200)).write_bytes(b"long")
        (tree / "longlink").symlink_to("t" * 300)
        (tree / "umlaut-ü").touch()
    result = subprocess.run(
        ["tar", f"--format={dialect}", "-C", tree, "-cf", "-", "."], capture_output=True, check=True
    )
    found = {entry.name.rstrip(b"/"): (entry, data) for entry, data in read(result.stdout, 777)}
    listed = subprocess.run(
        ["tar", "-tf", "-", "--quoting-style=literal"], input=result.stdout, capture_output=True, check=True
    )
    assert sorted(found) == sorted(line.rstrip(b"/") for line in listed.stdout.splitlines())
    data = {data for entry, data in found.values() if entry.size}
    assert b"content" * 300 in data
    kinds = {entry.kind for entry, _ in found.values()}
    assert {header.DIRECTORY, header.REGULAR, header.SYMLINK, header.LINK} <= kinds


@pytest.mark.parametrize("dialect", ["gnu", "posix"])
def test_files_with_holes_are_understood(tmp_path, dialect):
    with open(tmp_path / "holes", "wb") as stream:
        for number in range(30):
            stream.seek(number * 100_000)
            stream.write(b"data%d" % number)
        stream.truncate(5_000_000)
    result = subprocess.run(
        ["tar", f"--format={dialect}", "--sparse", "-C", tmp_path, "-cf", "-", "holes"], capture_output=True, check=True
    )
    ((entry, data),) = read(result.stdout)
    assert entry.name == b"holes"
    assert entry.size == 5_000_000
    assert entry.sparse is not None
    assert len(data) < 500_000
    rebuilt = bytearray(entry.size)
    position = 0
    for offset, length in entry.sparse:
        rebuilt[offset : offset + length] = data[position : position + length]
        position += length
    assert bytes(rebuilt) == (tmp_path / "holes").read_bytes()


def test_what_we_write_gnu_tar_reads_without_a_word(tmp_path):
    stream = tars.archive(
        tars.directory("d"),
        tars.file(b"d/" + b"n" * 200, b"x" * 1000, uid=3_000_000, xattrs={b"user.a": b"b\nc"}),
        tars.file("ü", b"y"),
        tars.file(("p" * 100) + "/" + ("q" * 90), b"z"),
        tars.symlink("s", "t" * 120),
        tars.link("h", "ü"),
    )
    result = subprocess.run(["tar", "-tvf", "-", "--numeric-owner"], input=stream, capture_output=True, check=True)
    assert result.stderr == b""
    assert b"3000000" in result.stdout
    assert len(result.stdout.splitlines()) == 6
    assert b"PaxHeaders" not in tars.file(("p" * 100) + "/" + ("q" * 90))


def test_large_numbers_are_read_and_written():
    entry = Entry(b"big", header.REGULAR, size=2**40, mtime_ns=2**35 * 10**9)
    source = io.BytesIO(writer.encode(entry))
    found = TarReader(lambda: source.read(512)).next()
    assert found is not None
    assert (found.size, found.mtime_ns) == (2**40, 2**35 * 10**9)
    assert header.number(b"\x80" + bytes(6) + b"\x01\x00\x00\x00\x00") == 2**32
    assert header.number(b"\xff" * 12) == -1


def test_the_pax_size_counts_when_the_header_says_zero_cve_2025_62518():
    inner = tars.file("smuggled", b"evil")
    stream = tars.archive(tars.pax((b"size", b"%d" % len(inner))), tars.block(b"outer"), inner, tars.file("last"))
    assert [entry.name for entry, _ in read(stream)] == [b"outer", b"last"]


def test_libarchive_attributes_are_read():
    stream = tars.archive(tars.pax((b"LIBARCHIVE.xattr.user.a%20b", b"dmFsdWU")), tars.block(b"f"))
    assert read(stream)[0][0].xattrs == {b"user.a b": b"value"}


def test_global_records_change_nothing():
    body = writer._record(b"path", b"evil")
    stream = tars.archive(tars.block(b"g", b"g", size=b"%011o\0" % len(body)), tars.padded(body), tars.file("good"))
    assert [entry.name for entry, _ in read(stream)] == [b"good"]


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (tars.file("a", b"x")[:-1], "unexpected EOF"),
        (tars.file("a", b"x")[:700], "unexpected EOF"),
        (tars.file("a")[:100], "unexpected EOF"),
        (b"\xff" * 512, "not a number|checksum"),
        (b"a" + tars.file("a")[1:].replace(b"ustar", b"ustas"), "checksum"),
        (tars.block(b"a", size=b"\xff" * 12), "out of range"),
        (tars.block(b"a", size=b"-0000000001\0"), "not a number"),
        (tars.block(b"a", size=b"0000_000001\0"), "not a number"),
        (tars.block(b"a", size=b"00000000009\0"), "not octal"),
        (tars.block(b"a", uid=b"\x80\0\0\1\0\0\0\0"), "owner"),
        (tars.block(b"a", uid=b"\x80\0\0\0\xff\xff\xff\xff"), "owner"),
        (tars.pax((b"uid", b"4294967295")) + tars.block(b"a"), "owner"),
        (tars.pax((b"uid", b"-1")) + tars.block(b"a"), "not a number"),
        (tars.pax((b"size", b"9" * 30)) + tars.block(b"a"), "not a number"),
        (tars.pax((b"path", b"a\0b")) + tars.block(b"a"), "NUL"),
        (tars.pax((b"mtime", b"inf")) + tars.block(b"a"), "mtime"),
        (tars.block(b"x", b"x", size=b"00000000012\0") + tars.padded(b"99 path=a\n"), "overflows"),
        (tars.block(b"x", b"x", size=b"00000000012\0") + tars.padded(b"9 path=aa\n"), "overflows"),
        (tars.block(b"x", b"x", size=b"00000000012\0") + tars.padded(b"abcdefghij"), "without a length"),
        (tars.block(b"x", b"x", size=b"%011o\0" % (MAX_EXTENDED + 1)), "extended header"),
        (tars.block(b"L", b"L", size=b"77777777777\0"), "extended header"),
        (tars.pax((b"path", b"a")) + writer.END, "without an entry"),
        (bytes(512) + tars.file("a"), "after an empty block"),
        (tars.block(b""), "without a name"),
    ],
)  # fmt: skip
def test_malformed_archives_are_refused(stream, words):
    with pytest.raises(CorruptData, match=words):
        read(stream)


@pytest.mark.parametrize(
    "body",
    [b"1\n-5\n4\n", b"2\n0\n4\n", b"x\n", b"9999999\n", b"1\n0\n9999\n", b"2\n4\n1\n0\n1\n", b"1\n0\n4\n", b"1" * 512],
)
def test_hostile_sparse_maps_are_refused(body):
    data = tars.padded(body) + b"data!"
    stream = tars.archive(
        tars.pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"100")),
        tars.file("f", data),
    )
    with pytest.raises(CorruptData, match="sparse"):
        read(stream)


def test_old_sparse_variants_are_refused_by_name():
    with pytest.raises(NotSupported, match="--sparse"):
        read(tars.archive(tars.pax((b"GNU.sparse.size", b"5"), (b"GNU.sparse.map", b"0,5")), tars.file("f", b"12345")))


def test_an_archive_may_end_without_its_marker():
    assert len(read(tars.file("a", b"x"))) == 1
    assert len(read(tars.file("a", b"x") + bytes(512))) == 1
    assert read(b"") == []


@given(st.binary(max_size=3000), st.integers(0, 2000), st.integers(1, 600))
def test_damage_anywhere_ends_in_an_error_or_in_entries_never_in_a_crash(damage, position, step):
    stream = bytearray(tars.archive(tars.pax((b"path", b"abc")), tars.file("x", b"data"), tars.symlink("s", "t")))
    stream[position : position + len(damage)] = damage
    try:
        read(bytes(stream), step)
    except (CorruptData, NotSupported):
        pass
