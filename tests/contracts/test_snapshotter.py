"""What every snapshotter must do, run on each: layers go in, containers see the image and keep their changes apart."""

import os
import stat
import subprocess
import threading

import pytest
from tests.harness import tars
from tests.harness.mounts import mounted

from corten.errors import Conflict, InvalidArgument, NotFound, NotSupported
from corten.storage.gc import Roots, collect
from corten.storage.snapshot import native_snapshotter, open_snapshotter, overlay_snapshotter

pytestmark = pytest.mark.root

BASE = tars.archive(
    tars.directory(".", mode=0o751, uid=11), tars.directory("etc", mode=0o711, uid=4), tars.file("etc/keep", b"base"),
    tars.file("etc/gone", b"base"), tars.directory("data"), tars.file("data/a", b"1"), tars.file("data/b", b"2"),
    tars.file("bin", b"program", mode=0o4755), tars.link("hard", "bin"), tars.symlink("var", "data"),
)  # fmt: skip
TOP = tars.archive(
    tars.directory("etc", mode=0o755, uid=4), tars.file("etc/.wh.gone"), tars.file("etc/new", b"top"),
    tars.directory("data"), tars.file("data/.wh..wh..opq"), tars.file("data/c", b"3"),
)  # fmt: skip


@pytest.fixture(params=[overlay_snapshotter, native_snapshotter], ids=["overlay", "native"])
def snapshotter(request, tmp_path):
    return request.param(tmp_path / "root")


@pytest.fixture
def image(snapshotter):
    return add(snapshotter, add(snapshotter, None, BASE), TOP)


def add(snapshotter, parent, stream):
    with snapshotter.prepare_layer() as layer:
        layer.feed(stream)
        return layer.commit(parent)


def test_a_container_sees_the_merged_image(snapshotter, image, tmp_path):
    with mounted(snapshotter.prepare("c1", image), tmp_path / "m") as root:
        assert (root / "etc/keep").read_text() == "base"
        assert not (root / "etc/gone").exists()
        assert (root / "etc/new").read_text() == "top"
        assert sorted(os.listdir(root / "data")) == ["c"]
        assert stat.S_IMODE((root / "bin").stat().st_mode) == 0o4755
        assert (root / "bin").stat().st_ino == (root / "hard").stat().st_ino
        assert os.readlink(root / "var") == "data"
        assert (root.stat().st_uid, stat.S_IMODE(root.stat().st_mode)) == (11, 0o751)
        assert ((root / "etc").stat().st_uid, stat.S_IMODE((root / "etc").stat().st_mode)) == (4, 0o755)


def test_the_mount_points_every_container_gets_are_there(snapshotter, image, tmp_path):
    with mounted(snapshotter.prepare("c1", image), tmp_path / "m") as root:
        for name in ("etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv", "dev/console"):
            assert (root / name).is_file()
        for name in ("proc", "sys", "dev/pts", "dev/shm"):
            assert (root / name).is_dir()
        assert os.readlink(root / "etc/mtab") == "/proc/mounts"
    assert snapshotter.usage("c1") == 0


def test_an_image_with_links_for_mount_points_is_not_changed(snapshotter, tmp_path):
    stream = tars.archive(
        tars.directory("usr/etc"), tars.file("usr/etc/passwd", b"x"), tars.symlink("etc", "usr/etc"),
        tars.symlink("dev", "/etc"), tars.file("proc", b"a file"), tars.file("usr/etc/hosts", b"own"),
    )  # fmt: skip
    with mounted(snapshotter.prepare("c1", add(snapshotter, None, stream)), tmp_path / "m") as root:
        assert os.readlink(root / "etc") == "usr/etc"
        assert os.readlink(root / "dev") == "/etc"
        assert (root / "proc").read_text() == "a file"
        assert sorted(os.listdir(root / "usr/etc")) == ["hosts", "passwd"]


def test_containers_do_not_see_each_others_changes(snapshotter, image, tmp_path):
    with mounted(snapshotter.prepare("c1", image), tmp_path / "m1") as one:
        (one / "etc/keep").write_text("changed")
        (one / "etc/new").unlink()
        (one / "fresh").write_bytes(bytes(5000))
        with mounted(snapshotter.prepare("c2", image), tmp_path / "m2") as two:
            assert (two / "etc/keep").read_text() == "base"
            assert (two / "etc/new").exists()
            assert not (two / "fresh").exists()
    assert snapshotter.usage("c1") >= 5000
    assert snapshotter.usage("c2") == 0
    with mounted(snapshotter.prepare("c1", image), tmp_path / "m1") as one:  # as after a restart
        assert (one / "etc/keep").read_text() == "changed"
    assert list(snapshotter.containers()) == ["c1", "c2"]
    snapshotter.remove("c1")
    snapshotter.remove("c1")
    assert list(snapshotter.containers()) == ["c2"]
    with pytest.raises(NotFound):
        snapshotter.chain_of("c1")


def test_preparing_again_keeps_what_was_written(snapshotter, image, tmp_path):
    with mounted(snapshotter.prepare("c1", image), tmp_path / "m") as root:
        (root / "note").write_text("kept")
    with mounted(snapshotter.prepare("c1", image), tmp_path / "m") as root:
        assert (root / "note").read_text() == "kept"


def test_a_view_is_read_only(snapshotter, image, tmp_path):
    base = snapshotter.parent(image)
    for chain, names in ((image, ["c"]), (base, ["a", "b"])):
        with mounted(snapshotter.view(chain), tmp_path / "m") as root:
            assert sorted(os.listdir(root / "data")) == names
            with pytest.raises(OSError, match="Read-only"):
                (root / "x").touch()


def test_an_image_of_nothing(snapshotter, tmp_path):
    with mounted(snapshotter.prepare("c1", None), tmp_path / "m") as root:
        (root / "x").write_text("y")
        assert (root / "etc/hosts").is_file()
    assert snapshotter.chain_of("c1") is None


def test_more_than_a_hundred_layers(snapshotter, tmp_path):
    chain = None
    for number in range(130):
        chain = add(snapshotter, chain, tars.archive(tars.file("last", b"%d" % number), tars.file(f"f{number}")))
    assert len(snapshotter.lowers(chain)) == 130
    with mounted(snapshotter.prepare("c1", chain), tmp_path / "m") as root:
        assert (root / "last").read_text() == "129"
        assert len([name for name in os.listdir(root) if name.startswith("f")]) == 130
    with mounted(snapshotter.view(chain), tmp_path / "m") as root:
        assert (root / "f0").exists()


def test_sizes(snapshotter, image):
    assert snapshotter.layer_size(image) == len("top" + "3")
    assert snapshotter.chain_size(image) == len("top" + "3" + "basebase" + "12" + "program")


def test_export_is_what_the_container_sees(snapshotter, image, tmp_path):
    with mounted(snapshotter.prepare("c1", image), tmp_path / "m") as root:
        (root / "fresh").write_text("new")
        (root / "etc/keep").unlink()
    stream = b"".join(snapshotter.export("c1"))
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-C", out, "-xpf", "-"], input=stream, check=True)
    assert (out / "fresh").read_text() == "new"
    assert not (out / "etc/keep").exists()
    assert sorted(os.listdir(out / "data")) == ["c"]
    assert (out / "etc").stat().st_uid == 4
    assert (out / "hard").stat().st_ino == (out / "bin").stat().st_ino


def test_a_diff_makes_the_same_container_again(snapshotter, image, tmp_path):
    with mounted(snapshotter.prepare("c1", image), tmp_path / "m") as root:
        (root / "fresh").write_text("new")
        (root / "etc/keep").unlink()
        (root / "data/c").unlink()
        (root / "data").rmdir()
        (root / "data").mkdir()
        (root / "data/d").write_text("4")
        os.setxattr(root / "fresh", "user.k", b"v")
    if snapshotter.name == "native":
        with pytest.raises(NotSupported, match="commit"):
            snapshotter.diff("c1")
        return
    committed = add(snapshotter, image, b"".join(snapshotter.diff("c1")))
    with mounted(snapshotter.prepare("c2", committed), tmp_path / "m") as root:
        assert (root / "fresh").read_text() == "new"
        assert os.getxattr(root / "fresh", "user.k") == b"v"
        assert not (root / "etc/keep").exists()
        assert (root / "etc/new").exists()
        assert os.listdir(root / "data") == ["d"]


def test_layers_in_use_cannot_be_removed(snapshotter, image):
    base = snapshotter.parent(image)
    with pytest.raises(Conflict):
        snapshotter.remove_layer(base)
    snapshotter.prepare("c1", image)
    with pytest.raises(Conflict, match="container c1"):
        snapshotter.remove_layer(image)
    snapshotter.remove("c1")
    snapshotter.remove_layer(image)()
    assert not snapshotter.has(image)
    snapshotter.remove_layer(base)()
    assert list(snapshotter.chains()) == []
    assert snapshotter.remove_layer(base) is None


def test_collection_keeps_what_roots_and_containers_reach(snapshotter, image, tmp_path):
    from corten.storage.content import ContentStore

    content = ContentStore(tmp_path / "content")
    kept, dropped = content.put(b"kept"), content.put(b"dropped")
    other = add(snapshotter, snapshotter.parent(image), tars.archive(tars.file("other", b"12345")))
    snapshotter.prepare("c1", image)
    snapshotter.prepare("c2", other)
    done = collect(content, snapshotter, Roots(digests=frozenset({kept}), containers=frozenset({"c1"})))
    assert (done.containers, done.chains, done.digests) == (["c2"], [other], [dropped])
    assert done.bytes >= len(b"dropped") + 5
    assert snapshotter.has(image)
    done = collect(content, snapshotter, Roots(chains=frozenset({snapshotter.parent(image)})))
    assert done.chains == [image]
    done = collect(content, snapshotter, Roots())
    assert len(done.chains) == 1
    for free in done.later:
        free()
    assert list(snapshotter.chains()) == []


def test_a_child_cannot_be_committed_before_its_parent(snapshotter, image):
    from corten.oci.digest import Digest

    with snapshotter.prepare_layer() as layer:
        layer.feed(BASE)
        with pytest.raises(NotFound):
            layer.commit(Digest.of(b"unknown"))
    with pytest.raises(NotFound):
        snapshotter.parent(Digest.of(b"unknown"))


@pytest.mark.parametrize("name", ["..", "a/b", "", ".dead-x", "a\n"])
def test_container_ids_cannot_be_paths(snapshotter, name):
    with pytest.raises(InvalidArgument):
        snapshotter.prepare(name, None)


def test_many_threads_at_once(snapshotter, image):
    failures = []

    def work(number):
        try:
            for step in range(5):
                snapshotter.prepare(f"c{number}-{step}", image)
                snapshotter.usage(f"c{number}-{step}")
                snapshotter.remove(f"c{number}-{step}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(snapshotter.containers()) == []


def test_a_tree_of_any_depth_is_removed(snapshotter, tmp_path):
    with mounted(snapshotter.prepare("c1", None), tmp_path / "m") as root:
        here = os.open(root, os.O_PATH)
        for _ in range(3000):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_PATH, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
    snapshotter.remove("c1")
    assert snapshotter.recover() == []


def test_the_layers_cannot_be_reached_by_other_users(snapshotter, image, tmp_path):
    snapshotter.prepare("c1", image)
    for name in ("", "layers", "snapshots", "init"):
        assert stat.S_IMODE((tmp_path / "root" / name).stat().st_mode) == 0o700


def test_the_fallback_is_chosen_and_announced_where_overlayfs_does_not_work(tmp_path):
    assert open_snapshotter(tmp_path / "good").name == "overlay"
    lower, upper, work, place = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for directory in (lower, upper, work, place):
        directory.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, place], check=True)
    try:
        chosen = open_snapshotter(place / "root")
        assert chosen.name == "native"
        assert "slow" in chosen.warnings[0]
        assert sorted(os.listdir(place / "root")) == ["layers", "snapshots"]
    finally:
        subprocess.run(["umount", place], check=True)
