"""Layers on a real filesystem: unpacked as GNU tar would, whiteouts as overlayfs wants, nothing outside touched."""

import gzip
import os
import stat
import subprocess

import pytest
from tests.harness import tars

from corten.errors import CorruptData, NotSupported
from corten.oci.digest import Digest, chain_id
from corten.storage import verify
from corten.storage.layer.pack import pack
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter
from corten.tar import header

pytestmark = pytest.mark.root


@pytest.fixture
def place(tmp_path):
    """A layer store beside a canary that must not change."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("untouched")
    before = listing(canary)
    yield tmp_path
    assert listing(canary) == before
    assert (canary / "file").read_text() == "untouched"


def listing(root):
    """Everything below ``root`` as find(1) sees it."""
    form = "%P %y %m %U %G %s %T@ %l %n\\n"
    return sorted(subprocess.run(["find", root, "-printf", form], capture_output=True, check=True).stdout.splitlines())


def unpack(place, *members, parent=None, stream=None):
    """Unpack an archive as a layer; (its directory, its chain id)."""
    store = LayerStore(place / "layers")
    with LayerWriter(store) as layer:
        layer.feed(tars.archive(*members) if stream is None else stream)
        chain = layer.commit(parent)
    return store.lowers(chain)[0], chain


def pour(store, stream, times=1):
    """Feed ``stream`` several times and commit."""
    with LayerWriter(store) as layer:
        for _ in range(times):
            layer.feed(stream)
        layer.commit(None)


def no_layer_is_left(place):
    return sorted(os.listdir(place / "layers")) == ["l"]


def is_whiteout(path):
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path):
    return "trusted.overlay.opaque" in os.listxattr(path)


def test_a_tree_comes_out_as_gnu_tar_unpacks_it(place):
    source, reference = place / "source", place / "reference"
    for directory in (source / "usr/lib", source / "etc", reference):
        directory.mkdir(parents=True)
    (source / "lib").symlink_to("usr/lib")
    (source / "usr/lib/program").write_bytes(b"#!" + bytes(100_000))
    (source / "usr/lib/program").chmod(0o4755)
    os.chown(source / "usr/lib/program", 12, 34)
    (source / "etc/read-only").write_text("x")
    (source / "etc/read-only").chmod(0o400)
    (source / "etc").chmod(0o1777)
    os.link(source / "usr/lib/program", source / "hard")
    os.mkfifo(source / "pipe", 0o622)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (source / ("n" * 200)).touch()
    os.setxattr(source / "etc/read-only", "user.note", b"kept")
    subprocess.run(
        ["tar", "--format=posix", "--xattrs", "-C", source, "-cf", place / "a.tar", "."], check=True
    )  # fmt: skip
    subprocess.run(["tar", "--xattrs", "-C", reference, "-xpf", place / "a.tar"], check=True)
    stream = (place / "a.tar").read_bytes()
    fs, chain = unpack(place, stream=gzip.compress(stream))
    assert listing(fs) == listing(reference)
    assert os.getxattr(fs / "etc/read-only", "user.note") == b"kept"
    assert (fs / "null").lstat().st_rdev == os.makedev(1, 3)
    assert chain == Digest.of(stream)
    assert verify.layer([stream], fs) == []
    LayerStore(place / "layers").remove(chain)()


def test_file_capabilities_are_kept_and_steering_attributes_dropped(place):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    fs, _ = unpack(
        place,
        tars.file(
            "ping", b"x", uid=5, mode=0o755,
            xattrs={b"security.capability": capability, b"trusted.overlay.origin": b"/", b"user.overlay.x": b"y"},
        ),
        tars.directory("d", xattrs={b"trusted.overlay.opaque": b"y", b"trusted.overlay.redirect": b"/../.."}),
    )  # fmt: skip
    assert os.listxattr(fs / "ping") == ["security.capability"]
    assert os.getxattr(fs / "ping", "security.capability") == capability
    assert os.listxattr(fs / "d") == []


def test_whiteouts_become_overlayfs_own(place):
    fs, _ = unpack(
        place,
        tars.directory("etc"), tars.file("etc/.wh.gone"), tars.directory("cache"), tars.file("cache/.wh..wh..opq"),
        tars.file("deep/missing/.wh.x"), tars.file(".wh..wh.plnk/1.2", b"aufs"), tars.file(".wh..wh.aufs"),
        tars.file("etc/.wh.both"), tars.directory("etc/both"), tars.file("etc/both/new"),
        tars.directory("kept"), tars.file("kept/new"), tars.file(".wh.kept"),
        tars.file("again"), tars.file(".wh.again"), tars.file(".wh.first"), tars.file("first", b"data"),
    )  # fmt: skip
    assert is_whiteout(fs / "etc/gone")
    assert is_opaque(fs / "cache")
    assert os.listdir(fs / "cache") == []
    assert is_whiteout(fs / "deep/missing/x")
    assert sorted(os.listdir(fs)) == ["again", "cache", "deep", "etc", "first", "kept"]
    assert is_opaque(fs / "etc/both")
    assert os.listdir(fs / "etc/both") == ["new"]
    assert is_opaque(fs / "kept")
    assert os.listdir(fs / "kept") == ["new"]
    assert (fs / "first").read_bytes() == b"data"
    assert (fs / "again").is_file()


def test_directories_the_archive_does_not_describe_take_after_the_lower_layers(place):
    base = tars.archive(
        tars.directory(".", mode=0o711, uid=3), tars.directory("home", mode=0o750, uid=9, mtime_ns=10**18)
    )
    _, parent = unpack(place, stream=base)
    fs, _ = unpack(place, tars.file("home/user/file"), parent=parent)
    assert stat.S_IMODE((fs / "home").stat().st_mode) == 0o750
    assert (fs / "home").stat().st_uid == 9
    assert (fs / "home").stat().st_mtime == 10**9
    assert stat.S_IMODE(fs.stat().st_mode) == 0o711
    assert (fs / "home/user").stat().st_uid == 0


def test_entries_below_a_link_of_the_same_layer_stay_inside(place):
    fs, _ = unpack(
        place,
        tars.directory("usr/lib"), tars.symlink("lib", "usr/lib"), tars.file("lib/a", b"a"),
        tars.symlink("abs", "/usr/lib"), tars.file("abs/b", b"b"), tars.symlink("out", "../../../usr/lib"),
        tars.file("out/c", b"c"), tars.link("abs/d", "lib/a"),
    )  # fmt: skip
    assert sorted(os.listdir(fs / "usr/lib")) == ["a", "b", "c", "d"]
    assert (fs / "lib").is_symlink()
    assert (fs / "usr/lib/a").stat().st_nlink == 2


def test_later_entries_win(place):
    fs, _ = unpack(
        place,
        tars.file("a", b"old"), tars.file("a", b"new"), tars.directory("d"), tars.file("d/x"), tars.file("d", b"file"),
        tars.file("f"), tars.directory("f"), tars.file("f/y"), tars.symlink("l", "nowhere"), tars.directory("l"),
        tars.file("l/z"), tars.directory("keep", mode=0o700), tars.file("keep/k"), tars.directory("keep", mode=0o711),
        tars.symlink("to", "keep"), tars.file("to", b"not through"), tars.symlink("s", "a"), tars.symlink("s", "b"),
        tars.directory("alias"), tars.directory("alias/in"), tars.symlink("short", "alias/in"), tars.file("short/1"),
        tars.file("alias", b"flat"), tars.directory("short"), tars.file("short/2"),
    )  # fmt: skip
    assert (fs / "a").read_bytes() == b"new"
    assert (fs / "d").read_bytes() == b"file"
    assert os.listdir(fs / "f") == ["y"]
    assert os.listdir(fs / "l") == ["z"]
    assert os.listdir(fs / "keep") == ["k"]
    assert stat.S_IMODE((fs / "keep").stat().st_mode) == 0o711
    assert (fs / "to").read_bytes() == b"not through"
    assert os.readlink(fs / "s") == "b"
    assert (fs / "alias").read_bytes() == b"flat"
    assert os.listdir(fs / "short") == ["2"]


@pytest.mark.parametrize(
    "members",
    [
        [tars.file("../canary/file", b"x")],
        [tars.file("a/../../canary/new", b"x")],
        [tars.entry("..", header.DIRECTORY, mode=0o777)],
        [tars.link("got", "../canary/file")],
        [tars.link("got", "/../canary/file"), tars.file("got", b"x")],
        [tars.file("canary/.wh...", b"")],
        [tars.file(".wh..")],
        [tars.file("f"), tars.file("f/below")],
        [tars.entry(".", header.SYMLINK, link=b"/etc")],
        [tars.link("h", "missing")],
        [tars.symlink("loop", "loop"), tars.file("loop/x")],
        [tars.entry("x", b"9")],
        [tars.entry("x", header.SYMLINK)],
        [tars.directory("d"), tars.link("e", "d")],
    ],
)
def test_hostile_archives_are_refused_and_leave_nothing(place, members):
    with pytest.raises((CorruptData, NotSupported)):
        unpack(place, *members)
    assert no_layer_is_left(place)


@pytest.mark.parametrize(
    "target", ["{canary}", "../../../../../../../../../..{canary}", "sub/../../../../../..{canary}"]
)
def test_links_out_of_the_layer_lead_back_inside(place, target):
    outside = target.format(canary=place / "canary")
    fs, _ = unpack(
        place,
        tars.directory("sub"), tars.symlink("out", outside), tars.file("out/file"), tars.file("out/new", b"own"),
        tars.symlink("way", outside + "/file"), tars.link("hard", "way"), tars.file("hard", b"owned"),
        tars.file("out/.wh.file"), tars.file("out/.wh..wh..opq"), tars.directory("out/dir", mode=0o777, uid=7),
        tars.symlink("devices", "/dev"), tars.entry("devices/evil", header.CHARACTER, major=1, minor=3),
    )  # fmt: skip
    assert not os.path.lexists("/dev/evil")
    assert (fs / "hard").is_file()
    assert not (fs / "hard").is_symlink()
    assert (fs / str(place / "canary").lstrip("/") / "new").read_bytes() == b"own"


def test_a_link_to_a_link_is_the_link_cve_2021_30465_style(place):
    outside = str(place / "canary/file")
    fs, _ = unpack(place, tars.symlink("a", outside), tars.link("b", "a"), tars.file("b", b"replaced"))
    assert os.readlink(fs / "a") == outside
    assert (fs / "b").read_bytes() == b"replaced"


def test_very_deep_and_very_wide_archives_need_few_descriptors(place):
    limit = len(os.listdir("/proc/self/fd"))
    deep = b"/".join([b"d"] * 1500)
    members = [tars.file(deep + b"/bottom", b"x"), tars.file(deep + b"/other", b"y")]
    members += [tars.file(f"wide{number}/file", b"z") for number in range(400)]
    members += [tars.link(f"wide{number}/link", f"wide{399 - number}/file") for number in range(400)]
    fs, chain = unpack(place, *members)
    assert len(os.listdir("/proc/self/fd")) == limit
    for number in range(400):
        assert (fs / f"wide{number}/link").stat().st_ino == (fs / f"wide{399 - number}/file").stat().st_ino
    LayerStore(place / "layers").remove(chain)()
    assert no_layer_is_left(place)


def test_odd_names_and_times(place):
    fs, _ = unpack(
        place,
        tars.file("new\nline", b"1"), tars.file(b"\xff\xfe", b"2"), tars.file("CASE", b"3"), tars.file("case", b"4"),
        tars.block(b"old", mtime=b"\xff" * 12), tars.block(b"far", mtime=b"\x80" + b"\x7f" + bytes(10)),
    )  # fmt: skip
    assert sorted(os.listdir(os.fsencode(fs))) == sorted([b"new\nline", b"\xff\xfe", b"CASE", b"case", b"old", b"far"])
    assert (fs / "case").read_bytes() == b"4"
    with pytest.raises(OSError, match="too long"):
        unpack(place, tars.file("n" * 256))


@pytest.mark.parametrize("cut", [0.2, 0.9, 0.999])
def test_a_truncated_layer_leaves_nothing(place, cut):
    stream = gzip.compress(tars.archive(*(tars.file(f"f{number}", os.urandom(5000)) for number in range(100))))
    with pytest.raises(CorruptData):
        unpack(place, stream=stream[: int(len(stream) * cut)])
    assert no_layer_is_left(place)


def test_an_aborted_layer_leaves_nothing_and_nobody_waits(place):
    store = LayerStore(place / "layers")
    with LayerWriter(store) as layer:
        layer.feed(tars.file("big", bytes(40 << 20)))
        layer.feed(bytes(5 << 20))
    assert no_layer_is_left(place)
    with pytest.raises(CorruptData):
        pour(store, b"\xff" * (1 << 20), times=200)  # more than the queue holds: the failure arrives while feeding
    assert no_layer_is_left(place)


def test_a_full_disk_leaves_nothing(place):
    mountpoint = place / "small"
    mountpoint.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mountpoint], check=True)
    try:
        store = LayerStore(mountpoint / "layers")
        with pytest.raises(OSError, match="No space"):
            pour(store, tars.archive(tars.file("big", bytes(20 << 20))))
        assert sorted(os.listdir(mountpoint / "layers")) == ["l"]
    finally:
        subprocess.run(["umount", mountpoint], check=True)


def test_layers_of_one_image_unpack_in_parallel_and_in_any_order(place):
    store = LayerStore(place / "layers")
    streams = [tars.archive(tars.file(f"f{number}", b"x" * 10_000)) for number in range(12)]
    writers = [LayerWriter(store) for _ in streams]
    for start in range(0, 12_000, 700):
        for number in (7, 3, 11, 0, 1, 2, 10, 9, 8, 4, 5, 6):
            writers[number].feed(streams[number][start : start + 700])
    diff_ids = [writer.finish() for writer in reversed(writers)][::-1]
    chain = None
    for writer, diff_id in zip(writers, diff_ids, strict=True):
        expected = chain_id(chain, diff_id)
        chain = writer.commit(chain)
        assert chain == expected
    assert [path.name for path in store.lowers(chain)] == ["fs"] * 12
    assert store.has(chain)
    with LayerWriter(store) as again:  # the same layer from another image
        again.feed(streams[0])
        assert again.commit(None) == diff_ids[0]
    assert len(list(store.chains())) == 12


def test_verification_finds_what_changed(place):
    stream = tars.archive(tars.directory("d"), tars.file("d/f", b"content"), tars.symlink("l", "d/f"), tars.file("g"))
    fs, _ = unpack(place, stream=stream)
    assert verify.layer([stream], fs) == []
    (fs / "d/f").write_bytes(b"c0ntent")
    (fs / "g").unlink()
    (fs / "d").chmod(0o700)
    assert sorted(verify.layer([stream], fs)) == ["d was changed", "d/f was changed", "g is missing"]


def test_packing_a_layer_and_unpacking_it_gives_the_same_layer(place):
    fs, _ = unpack(
        place,
        tars.directory("."), tars.directory("etc", mode=0o711), tars.file("etc/f", b"data" * 1000, uid=5),
        tars.link("hard", "etc/f"), tars.symlink("l", "etc/f"), tars.file("etc/.wh.gone"), tars.directory("cache"),
        tars.file("cache/.wh..wh..opq"), tars.file("cache/new"), tars.entry("fifo", header.FIFO, mode=0o600),
        tars.file("a" * 150, b"long"),
        tars.entry("null", header.CHARACTER, major=1, minor=3), tars.file("attr", xattrs={b"user.x": b"y"}),
        tars.directory("empty"), tars.file("ü" * 60),
    )  # fmt: skip
    stream = b"".join(pack(fs))
    assert stream == b"".join(pack(fs))
    subprocess.run(["tar", "-tf", "-"], input=stream, check=True, capture_output=True)
    second, _ = unpack(place, stream=stream)
    assert [line for line in listing(second) if b" c " not in line] == [
        line for line in listing(fs) if b" c " not in line
    ]
    assert is_whiteout(second / "etc/gone")
    assert is_opaque(second / "cache")
    assert os.getxattr(second / "attr", "user.x") == b"y"
    assert (second / "hard").stat().st_ino == (second / "etc/f").stat().st_ino
