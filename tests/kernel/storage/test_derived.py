"""Plain layers that are on disk once: the stream comes back byte for byte, damage is told, and nothing is lost."""

import contextlib
import hashlib
import io
import os
import subprocess
import tarfile  # noqa: TID251  # a second, independent writer of tar
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness import tars

from corten.errors import CorruptData, NotFound, NotSupported
from corten.oci.digest import Digest
from corten.storage import gc, survey, verify
from corten.storage.content import ContentStore
from corten.storage.layer.split import REPLACED, SPLIT
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter
from corten.storage.snapshot import overlay_snapshotter
from corten.tar import header

pytestmark = pytest.mark.root

BIG = bytes(range(256)) * 3000
SIMPLE = tars.archive(tars.directory("."), tars.file("d/one", b"1" * 5000), tars.file("d/two", BIG))


class Stores:
    """A layer store and the content that stands on it."""

    def __init__(self, root):
        self.layers = LayerStore(root / "layers")
        self.content = ContentStore(root / "content", self.layers)

    def unpack(self, stream, *, split=True, parent=None, step=70_001):
        with LayerWriter(self.layers, split=split) as layer:
            for start in range(0, len(stream), step):
                layer.feed(stream[start : start + step])
            return layer.commit(parent, self.content.keep)

    def place(self, chain):
        return self.layers.root / chain.hex

    def read(self, digest):
        with self.content.open(digest) as stream:
            return stream.read()


@pytest.fixture
def stores(tmp_path):
    return Stores(tmp_path)


def blobs(stores):
    """Files of the content store: nothing but the derived is content when there are none."""
    return list(stores.content.path(Digest.of(b"")).parent.iterdir())


def gnu_sparse():
    """A file with holes as GNU tar's old format has it: data at 4096 and at the end."""
    data = b"A" * 512 + b"B" * 1024
    raw = bytearray(tars.block(b"holes", b"S", size=b"%011o\0" % len(data), magic=b"ustar  \0"))
    for number, (offset, length) in enumerate([(4096, 512), (1 << 20, 1024)]):
        raw[386 + 24 * number : 410 + 24 * number] = b"%011o\0%011o\0" % (offset, length)
    raw[483:495] = b"%011o\0" % ((1 << 20) + 1024)
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + data


def pax_sparse(real):
    """The same in pax format 1.0, of any size."""
    table = b"2\n0\n512\n%d\n512\n" % (real - 512)
    data = table.ljust(512, b"\0") + b"C" * 512 + b"D" * 512
    records = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"real/name"),
               (b"GNU.sparse.realsize", b"%d" % real))  # fmt: skip
    return tars.pax(*records) + tars.block(b"GNUSparseFile.0/name", size=b"%011o\0" % len(data)) + data


NASTY = {
    "nothing": b"",
    "only the end": tars.archive(),
    "no end": tars.file("a", b"data" * 200),
    "plain": SIMPLE,
    "junk behind the end": SIMPLE + os.urandom(3000) + bytes(20_000),
    "a record of 10,240": SIMPLE + bytes(-len(SIMPLE) % 10240),
    "zero length": tars.archive(tars.file("empty"), tars.file("./empty2"), tars.file("d/empty3")),
    "the same path twice": tars.archive(tars.file("a", b"first" * 900), tars.file("b", b"b"), tars.file("a", BIG)),
    "the same path, the same data": tars.archive(*[tars.file("a", b"same" * 900)] * 5),
    "a file becomes a directory": tars.archive(tars.file("a", b"gone" * 900), tars.directory("a"), tars.file("a/b", BIG)),
    "a tree becomes a file": tars.archive(
        tars.file("t/x/a", b"1" * 900), tars.file("t/x/b", b"2" * 900), tars.file("t/x/a", b"3" * 900),
        tars.file("t", b"4" * 900), tars.file("u", b"5")),
    "a tree becomes a link": tars.archive(
        tars.file("t/a", b"1" * 900), tars.symlink("t", "/etc"), tars.file("z", b"1")),
    "hard links": tars.archive(
        tars.file("a", b"linked" * 900), tars.link("b", "a"), tars.file("a", b"new" * 900), tars.link("c", "b"),
        tars.file("b", b"newer" * 900)),
    "below a link": tars.archive(
        tars.directory("real"), tars.symlink("link", "real"), tars.file("link/a", b"1" * 900),
        tars.file("link/sub/b", b"2" * 900), tars.file("real/a", b"3" * 900), tars.file("link/sub", b"4" * 900)),
    "an absolute link": tars.archive(
        tars.symlink("lib", "/usr/lib"), tars.file("lib/a", b"1" * 900), tars.file("top", b"2"),
        tars.file("usr/lib/a", b"3" * 900), tars.file("/abs//./x/../y", b"4" * 900)),
    "whiteouts": tars.archive(
        tars.file("d/.wh.gone"), tars.file("d/.wh.data", b"a whiteout with data" * 99), tars.file("d/.wh..wh..opq"),
        tars.file("e", b"e" * 900), tars.file(".wh.e"), tars.file(".wh..wh.plnk/1.2", b"aufs" * 300),
        tars.file("f/.wh.g"), tars.directory("f/g"), tars.file("f/g/h", b"h" * 900)),
    "devices": tars.archive(
        tars.entry("null", header.CHARACTER, major=1, minor=3), tars.entry("pipe", header.FIFO),
        tars.entry("disk", header.BLOCK_DEVICE, major=7, minor=9), tars.file("pipe", b"now a file" * 99)),
    "long names": tars.archive(
        tars.pax((b"path", b"p/" * 400 + b"f")) + tars.file("short", b"long" * 300),
        tars.block(b"././@LongLink", b"L", size=b"%011o\0" % 301) + tars.padded(b"n/" * 150 + b"\0")
        + tars.file("short", b"gnu" * 300), tars.file(b"\xff\xfe not utf-8 \xc3\xa4", b"x" * 600)),
    "attributes": tars.archive(
        tars.file("cap", b"c" * 600, xattrs={b"security.capability": bytes.fromhex("0100000200200000000000000000000000000000")}),
        tars.file("user", b"u" * 600, xattrs={b"user.a": b"b", b"trusted.x": b"not for us"}),
        tars.file("suid", b"s" * 600, mode=0o4755, uid=12345, gid=54321)),
    "global records": tars.archive(
        tars.block(b"g", b"g", size=b"%011o\0" % 13) + tars.padded(b"13 comment=x\n"), tars.file("a", b"a" * 600)),
    "old sparse": tars.archive(gnu_sparse(), tars.file("a", b"a" * 600)),
    "sparse and replaced": tars.archive(gnu_sparse(), tars.file("holes", b"a" * 600), gnu_sparse()),
    "pax sparse, 16 GiB": tars.archive(pax_sparse(16 << 30)),
    "base-256 size": tars.archive(tars.block(b"x", size=b"\x80" + bytes(9) + b"\x02\x58") + tars.padded(b"y" * 600)),
}  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_the_stream_comes_back_byte_for_byte(stores, name):
    stream = NASTY[name]
    chain = stores.unpack(stream)
    digest = Digest.of(stream)
    assert stores.content.has(digest)
    assert list(stores.content.walk()) == [digest]
    assert stores.content.size(digest) == len(stream)
    assert stores.read(digest) == stream
    assert stores.content.damage(digest) == ""
    assert blobs(stores) == []
    if name not in ("below a link", "an absolute link"):  # one file under two names: compared by the first
        with stores.content.open(digest) as source:
            assert verify.layer([source.read()], stores.place(chain) / "fs") == []
    again = Stores(stores.layers.root.parent)  # as the next engine finds it
    assert again.read(digest) == stream
    second = again.unpack(again.read(digest), parent=chain)
    assert again.layers.has(second)


def test_what_gnu_tar_packs_comes_back(stores, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(
        "mkdir -p a/b; echo x >a/b/f; ln a/b/f a/g; ln -s b a/l; truncate -s 5M a/holes; echo end >>a/holes;"
        " mkfifo a/p; printf %0200d 0 >$(printf %0150d 0); cp /bin/ls a/ls; mknod a/n c 1 3",
        shell=True, cwd=tree, check=True,
    )  # fmt: skip
    for options in (["--format=gnu", "--sparse"], ["--format=posix", "--sparse"], ["--format=oldgnu"], ["--format=v7"]):
        archive = tmp_path / f"{options[0]}.tar"
        subprocess.run(["tar", "-C", tree, *options, "-cf", archive, "."], check="v7" not in options[0], stderr=-3)
        stream = archive.read_bytes()
        stores.unpack(stream)
        assert stores.read(Digest.of(stream)) == stream
    assert blobs(stores) == []


def test_the_debian_image_is_kept_once(stores, debian_tar):
    with debian_tar.open("rb") as source:
        digest = Digest.from_hex(hashlib.file_digest(source, "sha256").hexdigest())
        size = source.seek(0, 2)
        source.seek(0)
        with LayerWriter(stores.layers, split=True) as layer:
            while chunk := source.read(1 << 20):
                layer.feed(chunk)
            chain = layer.commit(None)
    assert stores.content.damage(digest) == ""
    assert stores.content.size(digest) == size
    assert (stores.place(chain) / SPLIT).stat().st_size < size / 50
    assert not (stores.place(chain) / REPLACED).exists()


# -- hypothesis: any tar our reader accepts

_NAME = st.sampled_from(
    ["a", "b", "a/b", "a/c", "b/a/c", "./a", "l/x", "l", ".wh.a", "a/.wh.b", "b/.wh..wh..opq", "/a"]
)
_DATA = st.sampled_from([b"", b"x", b"y" * 512, b"z" * 1300])
_MEMBER = st.one_of(
    st.builds(tars.file, _NAME, _DATA), st.builds(tars.directory, _NAME),
    st.builds(tars.symlink, _NAME, st.sampled_from(["a", "/b", "../b", "c"])), st.builds(tars.link, _NAME, _NAME),
    st.builds(lambda name: tars.entry(name, header.FIFO), _NAME), st.just(gnu_sparse()), st.just(pax_sparse(4096)),
)  # fmt: skip
_GOOD = b"".join([tars.directory("d"), tars.file("d/f", b"x" * 700), tars.link("d/h", "d/f"), tars.file("d/f", b"y")])
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def accepted_comes_back(stream, step):
    with tempfile.TemporaryDirectory() as place:
        stores = Stores(Path(place))
        try:
            stores.unpack(stream, step=step)
        except (CorruptData, NotSupported, OSError):
            return False
        assert stores.read(Digest.of(stream)) == stream
        return True


@FUZZ
@given(st.lists(_MEMBER, max_size=9), st.binary(max_size=40), st.integers(100, 3000))
def test_any_archive_that_is_accepted_comes_back(members, tail, step):
    accepted_comes_back(tars.archive(*members) + tail, step)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, len(_GOOD) - 1), st.integers(0, 255)), max_size=4), st.integers(100, 3000))
def test_a_damaged_archive_that_is_accepted_comes_back(damage, step):
    raw = bytearray(_GOOD)
    for place, value in damage:
        raw[place] = value
    accepted_comes_back(bytes(raw), step)


def test_the_property_is_about_something():
    assert accepted_comes_back(tars.archive(_GOOD), 700)


# -- reading


def test_reading_in_pieces_and_seeking(stores):
    stores.unpack(SIMPLE)
    with stores.content.open(Digest.of(SIMPLE)) as stream:
        assert stream.read(700) == SIMPLE[:700]
        assert stream.seek(5000) == 5000
        assert stream.read(3000) == SIMPLE[5000:8000]
        stream.seek(0)
        assert stream.read() == SIMPLE
        stream.seek(-100, 2)
        assert stream.read() == SIMPLE[-100:]
        assert stream.read(10) == b""


def damaged(stores, action):
    """Read after ``action`` did its harm to the tree: the message of the error."""
    chain = stores.unpack(SIMPLE)
    action(stores.place(chain))
    digest = Digest.of(SIMPLE)
    with pytest.raises(CorruptData) as caught:
        stores.read(digest)
    text = str(caught.value)
    assert digest in text
    assert chain.hex in text
    assert stores.content.damage(digest) == text
    assert verify.content(stores.content) == [text]
    return text


def test_changed_bytes_are_told(stores):
    def change(place):
        with open(place / "fs/d/two", "r+b") as file:
            file.seek(1000)
            file.write(b"?")

    assert damaged(stores, change).endswith("a file was changed")


def test_the_last_byte_is_never_given_when_a_file_was_changed(stores):
    chain = stores.unpack(SIMPLE)
    (stores.place(chain) / "fs/d/one").write_bytes(b"2" * 5000)
    given = b""
    with stores.content.open(Digest.of(SIMPLE)) as stream, contextlib.suppress(CorruptData):
        while piece := stream.read1(1000):
            given += piece
    assert len(given) < len(SIMPLE)


def test_a_shorter_file_is_told_by_name(stores):
    assert damaged(stores, lambda place: os.truncate(place / "fs/d/two", 5)).endswith("d/two is too short")


def test_a_missing_file_is_told_by_name(stores):
    assert "d/one: openat2: No such file" in damaged(stores, lambda place: (place / "fs/d/one").unlink())


def test_a_missing_tree_is_told(stores):
    assert "is missing" in damaged(stores, lambda place: (place / "fs").rename(place / "elsewhere"))


def test_a_cut_split_is_told(stores):
    chain = stores.unpack(SIMPLE)
    split = stores.place(chain) / SPLIT
    whole = split.read_bytes()
    for raw in (
        whole[: len(whole) // 2],
        whole[:20],
        b"",
        whole[:30] + b"????" + whole[34:],
        whole[:-60] + whole[-40:],
    ):
        split.write_bytes(raw)
        assert stores.content.damage(Digest.of(SIMPLE)) != ""


@pytest.mark.parametrize("where", ["file", "directory"])
def test_a_link_in_the_tree_is_not_followed_cve_2018_15664(stores, tmp_path, where):
    canary = tmp_path / "canary"
    (canary / "d").mkdir(parents=True)
    (canary / "d/one").write_bytes(b"1" * 5000)
    (canary / "d/two").write_bytes(BIG)

    def link(place):
        victim = place / "fs/d/one" if where == "file" else place / "fs/d"
        victim.rename(tmp_path / "aside")
        victim.symlink_to(canary / "d/one" if where == "file" else canary / "d")

    assert "symbolic link" in damaged(stores, link).lower()


def test_a_fifo_in_the_tree_does_not_block(stores):
    def fifo(place):
        (place / "fs/d/one").unlink()
        os.mkfifo(place / "fs/d/one")

    assert damaged(stores, fifo).endswith("d/one is no regular file")


# -- coming and going


def test_without_a_split_there_is_no_content(stores):
    stores.unpack(SIMPLE, split=False)
    assert not stores.content.has(Digest.of(SIMPLE))
    with pytest.raises(NotFound):
        stores.content.open(Digest.of(SIMPLE))
    with pytest.raises(NotFound):
        stores.content.size(Digest.of(SIMPLE))


def test_deleting_leaves_the_layer_and_tells_what_it_freed(stores):
    chain = stores.unpack(NASTY["hard links"])
    digest = Digest.of(NASTY["hard links"])
    before = stores.layers.disk_usage(chain)
    assert (stores.place(chain) / REPLACED).exists()
    freed = stores.content.delete(digest)
    assert freed > 0
    assert stores.layers.disk_usage(chain) == before - freed
    assert not stores.content.has(digest)
    assert sorted(os.listdir(stores.place(chain))) == ["fs", "layer.json"]
    assert stores.layers.has(chain)
    assert stores.content.delete(digest) == 0


def test_a_blob_of_an_older_data_root_is_read_and_not_derived(stores):
    digest = stores.content.put(SIMPLE)
    stores.unpack(SIMPLE)
    assert list(stores.content.walk()) == [digest]
    assert stores.read(digest) == SIMPLE
    assert stores.content.delete(digest) > len(SIMPLE)
    assert not stores.content.has(digest)


def test_a_layer_that_is_here_already_takes_the_split_over(stores):
    chain = stores.unpack(SIMPLE, split=False)
    usage = stores.layers.disk_usage(chain)
    assert stores.unpack(SIMPLE) == chain
    assert stores.read(Digest.of(SIMPLE)) == SIMPLE
    assert blobs(stores) == []
    assert stores.layers.disk_usage(chain) > usage
    assert [name for name in os.listdir(stores.layers.root) if name.startswith(".")] == []


@pytest.mark.parametrize("reason", ["damaged", "replaced"])
def test_a_layer_that_is_here_already_and_cannot(stores, reason):
    stream = NASTY["the same path twice"] if reason == "replaced" else SIMPLE
    chain = stores.unpack(stream, split=False)
    if reason == "damaged":
        (stores.place(chain) / "fs/d/one").write_bytes(b"?")
    assert stores.unpack(stream) == chain
    assert stores.content.path(Digest.of(stream)).read_bytes() == stream
    assert stores.read(Digest.of(stream)) == stream
    assert [name for name in os.listdir(stores.layers.root) if name.startswith(".")] == []


def two_chains(root, *, both_split):
    """One diff under two chain ids: (snapshotter, content, base layer, first, second)."""
    snapshotter = overlay_snapshotter(root)
    stores = Stores.__new__(Stores)
    stores.layers, stores.content = snapshotter.layers, ContentStore(root / "content", snapshotter.layers)
    base = stores.unpack(tars.archive(tars.file("base", b"b")), split=False)
    return snapshotter, stores, base, stores.unpack(SIMPLE), stores.unpack(SIMPLE, parent=base, split=both_split)


@pytest.mark.parametrize("both_split", [False, True])
def test_the_collector_moves_content_to_the_layer_that_stays(tmp_path, both_split):
    snapshotter, stores, base, first, second = two_chains(tmp_path, both_split=both_split)
    digest = Digest.of(SIMPLE)
    roots = gc.Roots(frozenset({digest}), frozenset({second}))
    done = gc.collect(stores.content, snapshotter, roots)
    assert done.chains == [first]
    assert stores.read(digest) == SIMPLE
    assert blobs(stores) == []
    assert (stores.place(second) / SPLIT).exists()
    for free in done.later:
        free()
    assert stores.read(digest) == SIMPLE
    assert Stores(tmp_path).read(digest) == SIMPLE
    done = gc.collect(stores.content, snapshotter, gc.Roots(frozenset({digest}), frozenset({base})))
    assert done.chains == [second]
    assert stores.content.path(digest).read_bytes() == SIMPLE  # on nothing any more


def test_the_collector_lets_both_go(tmp_path):
    snapshotter, stores, base, first, second = two_chains(tmp_path, both_split=True)
    done = gc.collect(stores.content, snapshotter, gc.Roots(chains=frozenset({base})))
    assert set(done.chains) == {first, second}
    assert not stores.content.has(Digest.of(SIMPLE))
    assert list(stores.content.walk()) == []


def test_the_collector_takes_the_split_alone(tmp_path):
    snapshotter, stores, _, first, second = two_chains(tmp_path, both_split=True)
    done = gc.collect(stores.content, snapshotter, gc.Roots(chains=frozenset({first, second})))
    assert (done.chains, done.digests) == ([], [Digest.of(SIMPLE)])
    assert not stores.content.has(Digest.of(SIMPLE))
    assert snapshotter.has(first)
    assert snapshotter.has(second)


def test_the_survey_adds_up_to_what_du_says(tmp_path):
    snapshotter, stores, _, first, _ = two_chains(tmp_path / "root", both_split=True)
    replaced = stores.unpack(NASTY["the same path twice"])
    root = tmp_path / "root"

    def equal():
        said = int(subprocess.run(["du", "-s", "-B1", root], capture_output=True, check=True).stdout.split()[0])
        return survey.survey(root, snapshotter.layers, set(), set()).total == said

    assert equal()
    stores.content.delete(Digest.of(NASTY["the same path twice"]))
    assert equal()
    stores.content.detach(first, Digest.of(SIMPLE))
    freeing = stores.layers.remove(replaced)
    assert equal()
    freeing()
    assert equal()


def test_a_layer_that_is_no_tar_leaves_nothing(stores):
    with pytest.raises(CorruptData):
        stores.unpack(SIMPLE[:3000])
    assert list(stores.content.walk()) == []
    assert os.listdir(stores.layers.root) == ["l"]


def test_a_tar_of_pythons_comes_back(stores):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("a" * 150, "b/" * 90 + "c", "d"):
            entry = tarfile.TarInfo(name)
            entry.size = 700
            archive.addfile(entry, io.BytesIO(b"7" * 700))
    stores.unpack(target.getvalue())
    assert stores.read(Digest.of(target.getvalue())) == target.getvalue()


def test_reading_while_others_come_and_go(stores):
    """The index is looked at by every thread."""
    import threading

    chains = [stores.unpack(tars.archive(tars.file(f"f{number}", b"x" * 900))) for number in range(20)]
    digests = list(stores.content.walk())
    failures = []

    def look():
        for digest in digests * 20:
            with contextlib.suppress(NotFound, CorruptData):
                if stores.content.has(digest):
                    stores.content.size(digest)
            if sorted(stores.content.walk()) != list(stores.content.walk()):
                failures.append(digest)

    thread = threading.Thread(target=look)
    thread.start()
    for chain in chains:
        stores.layers.remove(chain)()
    thread.join()
    assert list(stores.content.walk()) == []
