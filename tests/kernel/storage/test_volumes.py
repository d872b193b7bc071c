"""Local volumes: Docker's rules, the image's content copied in, nothing lost by a crash."""

import os
import stat

import pytest
from tests.harness import tars

from corten.errors import InvalidArgument, NoSuchVolume, NotSupported
from corten.storage.metadata import Database
from corten.storage.snapshot import overlay_snapshotter
from corten.storage.volume import VolumeStore

pytestmark = pytest.mark.root


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "corten.db")
    yield database
    database.close()


@pytest.fixture
def volumes(tmp_path, database):
    return VolumeStore(tmp_path / "volumes", database)


def lowers(tmp_path, *layers):
    snapshotter = overlay_snapshotter(tmp_path / "root")
    chain = None
    for members in layers:
        with snapshotter.prepare_layer() as layer:
            layer.feed(tars.archive(*members))
            chain = layer.commit(chain)
    return snapshotter.lowers(chain)


def test_a_volume_outlives_the_engine(tmp_path, volumes, database):
    made = volumes.create("data", labels={"a": "b"})
    assert volumes.create("data", labels={"other": "ignored"}) == made
    (volumes.path("data") / "file").write_text("kept")
    again = VolumeStore(tmp_path / "volumes", database)
    assert again.recover() == []
    assert again.list() == [made]
    assert again.get("data").labels == {"a": "b"}
    assert (again.path("data") / "file").read_text() == "kept"
    assert again.usage("data") == 4
    assert stat.S_IMODE(again.path("data").stat().st_mode) == 0o755
    again.remove("data")()
    assert again.list() == []
    assert os.listdir(tmp_path / "volumes") == []
    with pytest.raises(NoSuchVolume, match="get data: no such volume"):
        again.path("data")


@pytest.mark.parametrize(
    ("name", "options", "driver", "kind", "words"),
    [
        ("a", {}, "local", InvalidArgument, "too short"),
        ("../x", {}, "local", InvalidArgument, "includes invalid characters for a local volume name"),
        ("a/b", {}, "", InvalidArgument, "includes invalid characters"),
        ("ab", {"colour": "red"}, "local", InvalidArgument, 'invalid option: "colour"'),
        ("ab", {"o": "bind"}, "local", InvalidArgument, 'missing required option: "device"'),
        ("ab", {"size": "1g"}, "local", NotSupported, "quota"),
        ("ab", {}, "nfs", NotSupported, 'driver "nfs"'),
    ],
)
def test_refusals(volumes, tmp_path, name, options, driver, kind, words):
    with pytest.raises(kind, match=words):
        volumes.create(name, options=options, driver=driver)
    assert os.listdir(tmp_path / "volumes") == []


def test_options_say_what_is_mounted(volumes):
    volumes.create("plain")
    volumes.create("host", options={"type": "none", "o": "bind", "device": "/srv"})
    volumes.create("memory", options={"type": "tmpfs", "o": "size=1m,uid=5", "device": "tmpfs"})
    assert volumes.mount("plain", "/x", read_only=True)["options"] == ["rbind", "ro"]
    assert volumes.mount("plain", "/x")["source"] == str(volumes.path("plain"))
    host = volumes.mount("host", "/x")
    assert (host["type"], host["source"], host["options"]) == ("bind", "/srv", ["bind"])
    assert volumes.mount("memory", "/x", read_only=True)["options"] == ["size=1m", "uid=5", "ro"]


def test_the_images_content_is_copied_with_owner_and_mode(tmp_path, volumes):
    layers = lowers(
        tmp_path,
        [tars.directory("srv", mode=0o700, uid=33), tars.file("srv/a", b"1", uid=5), tars.file("srv/gone"),
         tars.directory("srv/sub", mode=0o1777), tars.link("srv/sub/hard", "srv/a")],
        [tars.file("srv/.wh.gone"), tars.file("srv/b", b"2"), tars.symlink("srv/link", "/etc/passwd")],
    )  # fmt: skip
    volumes.create("data")
    assert volumes.copy_up("data", layers, "/srv")
    data = volumes.path("data")
    assert sorted(os.listdir(data)) == ["a", "b", "link", "sub"]
    assert (data.stat().st_uid, stat.S_IMODE(data.stat().st_mode)) == (33, 0o700)
    assert (data / "a").stat().st_uid == 5
    assert (data / "sub/hard").stat().st_ino == (data / "a").stat().st_ino
    assert os.readlink(data / "link") == "/etc/passwd"
    assert stat.S_IMODE((data / "sub").stat().st_mode) == 0o1777
    (data / "a").unlink()
    assert not volumes.copy_up("data", layers, "/srv")
    assert not (data / "a").exists()


def test_a_volume_that_has_content_is_left_alone(tmp_path, volumes):
    layers = lowers(tmp_path, [tars.file("srv/a", b"1")])
    volumes.create("data")
    (volumes.path("data") / "own").touch()
    assert not volumes.copy_up("data", layers, "/srv")
    assert os.listdir(volumes.path("data")) == ["own"]


@pytest.mark.parametrize(
    "target", ["/up", "/absolute", "/../../../../{secret}", "/loop", "/file", "/no/such", "/chain"]
)
def test_paths_of_the_image_never_lead_to_the_host_cve_2022_23648(tmp_path, volumes, target):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "password").write_text("host")
    layers = lowers(
        tmp_path,
        [tars.symlink("up", "../../../../../../../.." + str(secret)), tars.symlink("absolute", str(secret)),
         tars.symlink("loop", "loop"), tars.file("file"), tars.symlink("chain", "up/../absolute")],
        [tars.file("top")],
    )  # fmt: skip
    volumes.create("data")
    assert not volumes.copy_up("data", layers, target.format(secret=secret))
    assert os.listdir(volumes.path("data")) == []


def test_links_of_the_image_are_followed_inside_it_across_layers(tmp_path, volumes):
    layers = lowers(
        tmp_path,
        [tars.symlink("var", "/usr/var"), tars.file("usr/var/lib/app/x", b"1"), tars.file("other/deep/y", b"2")],
        [tars.symlink("usr/var/lib/alias", "../../../other")],
    )  # fmt: skip
    volumes.create("one")
    assert volumes.copy_up("one", layers, "/var/lib/app")
    assert os.listdir(volumes.path("one")) == ["x"]
    volumes.create("two")
    assert volumes.copy_up("two", layers, "var/lib/alias/./deep/../deep")
    assert os.listdir(volumes.path("two")) == ["y"]


def test_a_copy_that_was_cut_short_is_done_again(tmp_path, volumes):
    layers = lowers(tmp_path, [tars.file("srv/a", b"1"), tars.file("srv/b", b"2")])
    volumes.create("data")
    (volumes.path("data") / "a").write_text("half")
    (tmp_path / "volumes/data/copying").touch()
    assert volumes.copy_up("data", layers, "/srv")
    assert (volumes.path("data") / "a").read_text() == "1"
    assert sorted(os.listdir(tmp_path / "volumes/data")) == ["_data"]


def test_recovery_finishes_what_a_crash_interrupted(tmp_path, volumes, database):
    root = tmp_path / "volumes"
    for name in ("removed", "vanished"):
        volumes.create(name)
    os.rename(root / "removed", root / ".dead-removed-01234567")
    os.rename(root / "vanished", tmp_path / "elsewhere")
    (root / ".new-0123").mkdir()
    (root / "created/_data").mkdir(parents=True)
    (root / "orphan/_data").mkdir(parents=True)
    (root / "orphan/_data/precious").touch()
    again = VolumeStore(root, database)
    for free in again.recover():
        free()
    assert [volume.name for volume in again.list()] == ["orphan", "vanished"]
    assert sorted(os.listdir(root)) == ["orphan", "vanished"]
    assert (again.path("orphan") / "precious").exists()
    assert len(again.problems) == 2
    assert [volume.name for volume in VolumeStore(root, database).list()] == ["orphan", "vanished"]


def test_an_unreadable_record_is_set_aside_and_the_data_kept(tmp_path, volumes, database):
    volumes.create("data")
    (volumes.path("data") / "precious").touch()
    with database.transaction() as change:
        change.put("volumes", "data", b"{")
    again = VolumeStore(tmp_path / "volumes", database)
    again.recover()
    assert [volume.name for volume in again.list()] == ["data"]
    assert (again.path("data") / "precious").exists()
    assert len(again.problems) == 2
