"""``cp``, ``diff``, ``export`` and ``commit`` as users of Docker know them."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile  # noqa: TID251  what another program reads of ours
from pathlib import Path

import pytest
from tests.compat.conftest import Client

pytestmark = pytest.mark.root

SETUP = (
    "mkdir -p /d/sub; echo one > /d/f; ln -s d /l; ln -s /etc/passwd /lp; ln -s nowhere /dang;"
    "ln /d/f /d/hard; mkfifo /d/fifo; touch -d @100 /d/old; chown 1000:1000 /d/old; chmod 6755 /d/sub"
)


@pytest.fixture(params=["running", "stopped"])
def container(request: pytest.FixtureRequest, cli: Client) -> str:
    """A container with a volume, in both states a copy must not tell apart."""
    if request.param == "running":
        cli("run", "-d", "--name", "box", "-v", "box:/vol", "busybox", "sh", "-c", f"{SETUP}; touch /r; sleep 1000")
        for _ in range(200):
            if cli.any("exec", "box", "test", "-e", "/r").returncode == 0:
                break
    else:
        cli("run", "--name", "box", "-v", "box:/vol", "busybox", "sh", "-c", SETUP)
    return "box"


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def archive(cli: Client, path: str, *flags: str) -> tarfile.TarFile:
    raw = subprocess.run(
        [*cli.program, "cp", *flags, path, "-"], env=cli.environment, capture_output=True, check=True
    ).stdout
    return tarfile.open(fileobj=io.BytesIO(raw))


def test_out_of_a_container(cli: Client, container: str, tmp_path: Path) -> None:
    box = container
    out = tmp_path / "out"
    out.mkdir()
    cli("cp", f"{box}:/d", str(out))
    assert tree(out) == ["d", "d/f", "d/fifo", "d/hard", "d/old", "d/sub"]
    assert (out / "d/f").read_text() == "one\n"
    assert (out / "d/f").stat().st_ino == (out / "d/hard").stat().st_ino
    assert stat.S_ISFIFO((out / "d/fifo").lstat().st_mode)
    assert (out / "d/old").stat().st_mtime == 100
    assert (out / "d/old").stat().st_uid == 0  # the one who copies owns it
    assert stat.S_IMODE((out / "d/sub").stat().st_mode) == 0o6755
    cli("cp", f"{box}:/d", f"{out}/renamed")
    cli("cp", f"{box}:/d/.", f"{out}/content")
    cli("cp", f"{box}:/l/", f"{out}/through")
    for name in ("renamed", "content", "through"):
        assert tree(out / name) == ["f", "fifo", "hard", "old", "sub"]
    cli("cp", f"{box}:/l", str(out))
    assert os.readlink(out / "l") == "d"
    cli("cp", "-L", f"{box}:/l", f"{out}/followed")
    assert (out / "followed/f").exists()
    cli("cp", "-L", f"{box}:/lp", str(out))
    assert "root:x:0:0" in (out / "lp").read_text()
    cli("cp", f"{box}:/d/f", f"{out}/d/old")
    assert (out / "d/old").read_text() == "one\n"
    cli("cp", f"{box}:d/f", f"{out}/relative")
    assert (out / "relative").read_text() == "one\n"


def test_into_a_container(cli: Client, container: str, tmp_path: Path) -> None:
    box = container
    (tmp_path / "h/sub").mkdir(parents=True)
    (tmp_path / "h/one").write_text("1")
    (tmp_path / "h/lnk").symlink_to("one")
    (tmp_path / "hl").symlink_to("h")
    (tmp_path / "two").write_text("2")
    os.chown(tmp_path / "two", 1000, 1000)
    for source, target in (
        ("h", "/h1"), ("h", "/h1"), ("h/", "/h2"), ("h/.", "/h2"), ("h/.", "/h3"), ("h", "/h4/"), ("two", "/two"),
        ("two", "/d"), ("two", "/d/f"), ("hl", "/hl"), ("hl/", "/hl3"), ("two", "/l/"), ("two", "/dang"),
        ("two", "d/rel"), ("two", "/vol"), ("h/lnk", "/lnk"),
    ):  # fmt: skip
        cli("cp", f"{tmp_path}/{source}", f"{box}:{target}")
    cli("cp", "-L", f"{tmp_path}/h/lnk", f"{box}:/lnk2")
    found = {
        member.name: member for path in ("/h1", "/h3", "/d", "/hl", "/hl3", "/two", "/nowhere", "/lnk", "/lnk2", "/vol")
        for member in archive(cli, f"{box}:{path}")
    }  # fmt: skip
    assert {"h1/h/one", "h1/one", "h3/one", "h3/sub", "d/two", "d/rel", "hl3/one", "nowhere", "vol/two"} <= set(found)
    assert [found[name].issym() for name in ("hl", "lnk", "lnk2")] == [True, True, False]
    assert (found["two"].uid, found["two"].gid) == (1000, 1000)
    assert (found["h1/one"].uid, found["h1/one"].size) == (0, 1)
    assert found["d/f"].size == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("{t}/missing", "box:/"), "lstat {t}/missing: no such file or directory"),
        (("{t}/file", "box:/new/"), "no such directory"),
        (("{t}/file", "box:/nope/x"), "Error response from daemon: Could not find the file /nope in container box"),
        (("{t}/dir", "box:/d/f"), "cannot copy directory"),
        (("{t}/file", "nobox:/d/f"), "Error response from daemon: No such container: nobox"),
        (("{t}/file", "{t}/x"), "must specify at least one container source"),
        (("box:/d", "box:/x"), "copying between containers is not supported"),
        (("box:", "{t}/x"), "Error response from daemon: bad parameter: pathcannot be empty"),
        (("box:/nope", "{t}"), "Error response from daemon: Could not find the file /nope in container box"),
        (("box:/d", "{t}/file"), "cannot copy directory"),
        (("box:/d/f", "{t}/new/"), "no such directory"),
        (("box:/d", "{t}/no/where"), 'invalid output path: directory "{t}/no" does not exist'),
        (("box:/d/f", "/dev/null"), 'invalid output path: "/dev/null" must be a directory or a regular file: got a'),
        (("-", "box:/d/f"), 'destination "box:/d/f" must be a directory'),
        (("box:/file", "{t}"), 'cannot overwrite directory "{t}/file" with non-directory "{t}"'),
        (("box:/d", "{t}/conflict"), 'cannot overwrite non-directory "{t}/conflict/d" with directory "{t}/conflict"'),
    ],
)  # fmt: skip
def test_refusals(cli: Client, tmp_path: Path, words: tuple[str, str], text: str) -> None:
    cli("run", "--name", "box", "busybox", "sh", "-c", "mkdir /d; touch /d/f /file")
    (tmp_path / "dir").mkdir()
    (tmp_path / "conflict").mkdir()
    (tmp_path / "conflict/d").touch()
    if words[0] == "box:/file":
        (tmp_path / "file").mkdir()
    else:
        (tmp_path / "file").touch()
    source, target = (word.format(t=tmp_path) for word in words)
    assert text.format(t=tmp_path) in cli.err("cp", source, target)


def test_read_only_places_refuse(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    cli("create", "--name", "box", "--read-only", "-v", "/rw", "-v", f"{tmp_path}:/ro:ro", "busybox", "true")
    assert "container rootfs is marked read-only" in cli.err("cp", f"{tmp_path}/f", "box:/tmp")
    assert "mounted volume is marked read-only" in cli.err("cp", f"{tmp_path}/f", "box:/ro")
    cli("cp", f"{tmp_path}/f", "box:/rw")
    assert [member.name for member in archive(cli, "box:/rw")] == ["rw", "rw/f"]
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_tar_streams_and_the_archive_option(cli: Client, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("given")
        entry.uid, entry.size = 7, 3
        tar.addfile(entry, io.BytesIO(b"abc"))
    cli("create", "--name", "box", "--user", "user", "busybox", "true")
    for flags in ([],) if cli.kind == "reference" else ([], ["-a"]):  # 20.10 looks the user up on the host
        subprocess.run(
            [*cli.program, "cp", *flags, "-", "box:/tmp"], env=cli.environment, input=buffer.getvalue(), check=True
        )
        (member,) = archive(cli, "box:/tmp/given")
        assert member.uid == (1000 if flags else 7)


def test_bytes_survive_both_ways(cli: Client, tmp_path: Path) -> None:
    names = ["plain", "sp ace", "\u00fcn\u00efc\u00f6de", "a" * 200, "new\nline"]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(5000))
    (tmp_path / "big").write_bytes(os.urandom(9_000_001))
    names.append("big")
    with (tmp_path / "sparse").open("wb") as file:
        file.write(b"head")
        file.seek(50 << 20)
        file.write(b"tail")
    cli("create", "--name", "box", "busybox", "true")
    cli("cp", f"{tmp_path}/.", "box:/tmp")
    back = tmp_path / "back"
    cli("cp", "box:/tmp/.", str(back))
    for name in [*names, "sparse"]:
        assert (back / name).read_bytes() == (tmp_path / name).read_bytes()
    if cli.kind == "corten":
        os.setxattr(tmp_path / "plain", "user.colour", b"blue")
        cli("cp", f"{tmp_path}/plain", "box:/tmp")
        cli("cp", "box:/tmp/plain", f"{back}/again")
        assert os.getxattr(back / "again", "user.colour") == b"blue"
        assert (back / "sparse").stat().st_blocks * 512 < 1 << 20


def test_what_a_copy_leaves_is_there_when_the_container_runs(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")
    cli("create", "--name", "box", "-v", "box:/vol", "busybox", "cat", "/tmp/f", "/vol/f")
    cli("cp", f"{tmp_path}/f", "box:/tmp/f")
    cli("cp", f"{tmp_path}/f", "box:/vol/f")
    assert cli.out("start", "-a", "box") == "hellohello"


def test_diff(cli: Client) -> None:
    cli(
        "run", "--name", "box", "busybox", "sh", "-c",
        "mkdir /d; touch /d/f; rm -r /home; rm /bin/awk; rm -r /usr; mkdir /usr; chmod 700 /root; echo x >> /etc/passwd;"
        "mkdir -p /var/a/b; touch /tmp/t; rm /tmp/t; ln -s x /link",
    )  # fmt: skip
    assert sorted(cli.out("diff", "box").splitlines()) == [
        "A /d", "A /d/f", "A /link", "A /var/a", "A /var/a/b", "C /bin", "C /etc", "C /etc/passwd", "C /root", "C /usr",
        "C /var", "D /bin/awk", "D /home", "D /usr/bin", "D /usr/sbin",
    ]  # fmt: skip
    cli("create", "--name", "fresh", "busybox", "true")
    assert cli.out("diff", "fresh") == ""
    assert "No such container: none" in cli.err("diff", "none")


def test_export(cli: Client, tmp_path: Path) -> None:
    cli(
        "run", "--name", "box", "-v", "/vol", "busybox", "sh", "-c", "echo x > /vol/inside; echo y > /made; rm /bin/awk"
    )
    target = tmp_path / "out.tar"
    cli("export", "-o", str(target), "box")
    with tarfile.open(target) as tar:
        names = set(tar.getnames())
        assert "vol" in names
        assert "vol/inside" not in names
        assert "bin/awk" not in names
        assert "bin/sh" in names
        made = tar.extractfile("made")
        assert made is not None
        assert made.read() == b"y\n"
    assert "failed to export container: invalid output path" in cli.err("export", "-o", f"{tmp_path}/no/where", "box")


def test_commit(cli: Client) -> None:
    cli("run", "-d", "--name", "box", "-e", "A=1", "--label", "k=v", "busybox", "sh", "-c", "echo hi > /f; sleep 1000")
    for _ in range(200):
        if cli.any("exec", "box", "test", "-s", "/f").returncode == 0:
            break
    identifier = cli.out(
        "commit", "-a", "me", "-m", "words", "-c", 'CMD ["cat","/f"]', "-c", "ENV B=2", "box", "repo/name:tag"
    )
    try:
        (image,) = json.loads(cli.out("inspect", identifier))
        assert image["RepoTags"] == ["repo/name:tag"]
        assert (image["Author"], image["Comment"]) == ("me", "words")
        assert image["Config"]["Cmd"] == ["cat", "/f"]
        assert {"A=1", "B=2"} <= set(image["Config"]["Env"])
        assert image["Config"]["Labels"] == {"k": "v"}
        (parent,) = json.loads(cli.out("inspect", "busybox"))
        assert image["RootFS"]["Layers"][:-1] == parent["RootFS"]["Layers"]
        assert image["Parent"] == parent["Id"]
        history = cli.out("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "repo/name:tag")
        assert history.splitlines()[0] == "sh -c echo hi > /f; sleep 1000|words"
        assert cli.out("run", "--rm", "repo/name:tag") == "hi"
        assert cli.out("exec", "box", "cat", "/f") == "hi"  # it runs on
    finally:
        cli("rmi", "-f", identifier)
    assert "is not a valid change command" in cli.err("commit", "-c", "FOO x", "box")
    assert "No such container: none" in cli.err("commit", "none")


def test_commit_of_nothing_adds_no_layer(cli: Client) -> None:
    cli("create", "--name", "box", "busybox", "true")
    identifier = cli.out("commit", "box")
    try:
        layers = ("inspect", "-f", "{{json .RootFS.Layers}}")
        assert cli.out(*layers, identifier) == cli.out(*layers, "busybox")
        assert cli.out("history", "-q", identifier).count("\n") == 1
        assert cli.out("run", "--rm", identifier, "echo", "runs") == "runs"
    finally:
        cli("rmi", identifier)
