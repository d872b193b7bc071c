"""Mounts of the spec: every option of the table, recursive ones, propagation, and the root's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.runtime import options
from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with a mount of its own inside, in a peer group of this test's."""
    path = tmp_path / "host"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    subprocess.run(["mount", "--make-shared", path], check=True)
    (path / "inner").mkdir()
    (path / "late").mkdir()
    (path / "file").write_text("host")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path / "inner"], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-R", "-l", path], check=True)


def found(bundle: Bundle, options: list[str], *, kind: str = "tmpfs", source: str = "tmpfs") -> dict[str, list[str]]:
    """Mount point below /m -> its mount's flags and optional fields, as the program sees them."""
    entry = {"destination": "/m", "type": kind, "source": source, "options": options}
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/m"] + [entry]
    output = bundle.run("cat", "/proc/self/mountinfo")
    assert output.returncode == 0, output.stderr
    fields = [line.split() for line in output.stdout.splitlines()]
    return {
        words[4][2:] or "/": words[5].split(",") + words[6 : words.index("-")]
        for words in fields
        if words[4] == "/m" or words[4].startswith("/m/")
    }


FLAGS = {
    "ro": "ro", "nosuid": "nosuid", "nodev": "nodev", "noexec": "noexec", "noatime": "noatime",
    "nodiratime": "nodiratime", "relatime": "relatime", "nosymfollow": "nosymfollow",
}  # fmt: skip
OPPOSITE = {"ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec", "noatime": "strictatime"}


@pytest.mark.parametrize("option", FLAGS)
def test_attributes_of_a_new_file_system_and_of_a_bind(bundle: Bundle, host: Path, option: str) -> None:
    assert FLAGS[option] in found(bundle, [option])["/"]
    bound = found(bundle, ["rbind", option], kind="bind", source=str(host))
    assert FLAGS[option] in bound["/"]
    if option != "relatime":
        assert FLAGS[option] not in bound["/inner"]
    bound = found(bundle, ["rbind", f"r{option}"], kind="none", source=str(host))
    assert FLAGS[option] in bound["/"]
    assert FLAGS[option] in bound["/inner"]


@pytest.mark.parametrize("option", OPPOSITE)
def test_an_option_is_taken_back_by_its_opposite(bundle: Bundle, host: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,bind,{option}", host / "inner"], check=True)
    bound = found(bundle, ["rbind"], kind="bind", source=str(host))
    assert option in bound["/inner"]
    bound = found(bundle, ["rbind", f"r{OPPOSITE[option]}"], kind="bind", source=str(host))
    assert option not in bound["/inner"]
    assert option not in found(bundle, [option, OPPOSITE[option]])["/"]


def test_bind_without_what_lies_below(bundle: Bundle, host: Path) -> None:
    assert set(found(bundle, ["bind"], kind="bind", source=str(host))) == {"/"}
    assert set(found(bundle, ["rbind"], kind="bind", source=str(host))) == {"/", "/inner"}


def test_a_bind_source_may_be_relative_to_the_bundle(bundle: Bundle) -> None:
    (bundle.directory / "data").mkdir()
    (bundle.directory / "data/x").write_text("relative")
    bundle.spec["mounts"].append({"destination": "/d", "type": "bind", "source": "data", "options": ["bind"]})
    assert bundle.call("run", "-b", str(bundle.directory), _cat(bundle, "/d/x"), cwd="/").stdout == "relative"


def _cat(bundle: Bundle, path: str) -> str:
    bundle.process["args"] = ["cat", path]
    return bundle.write()


@pytest.mark.parametrize(
    ("option", "field"),
    [("private", ""), ("rprivate", ""), ("slave", "master:"), ("shared", "shared:"), ("unbindable", "unbindable")],
)
def test_propagation_of_a_bind(bundle: Bundle, host: Path, option: str, field: str) -> None:
    fields = found(bundle, ["rbind", option], kind="bind", source=str(host))["/"]
    for word in ("master:", "shared:", "unbindable"):
        if word == field:
            assert any(entry.startswith(word) for entry in fields)
        elif not (word == "master:" and option == "shared"):
            assert not any(entry.startswith(word) for entry in fields)


@pytest.mark.parametrize(("propagation", "arrives"), [("rslave", True), ("rprivate", False)])
def test_mounts_of_the_host_arrive_where_the_spec_wants_them(
    bundle: Bundle, host: Path, propagation: str, arrives: bool
) -> None:
    bundle.linux["rootfsPropagation"] = propagation
    bundle.spec["mounts"].append(
        {"destination": "/m", "type": "bind", "source": str(host), "options": ["rbind", propagation]}
    )
    identifier = bundle.start()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", host / "late"], check=True)
    (host / "late/news").write_text("")
    assert (bundle.exec(identifier, "ls", "/m/late").stdout == "news\n") is arrives


@pytest.mark.parametrize(
    ("propagation", "field"), [("shared", "shared:"), ("slave", ""), ("private", ""), ("unbindable", "unbindable")]
)
def test_propagation_of_the_root(bundle: Bundle, propagation: str, field: str) -> None:
    bundle.linux["rootfsPropagation"] = propagation
    before = Path("/proc/self/mountinfo").read_text()
    line = bundle.run("cat", "/proc/self/mountinfo").stdout.splitlines()[0].split()
    optional = line[6 : line.index("-")]
    assert any(entry.startswith(field) for entry in optional) if field else not any("shared" in e for e in optional)
    assert Path("/proc/self/mountinfo").read_text() == before


def test_copy_up_fills_a_tmpfs(bundle: Bundle) -> None:
    (bundle.rootfs / "full/deep").mkdir(parents=True)
    (bundle.rootfs / "full/deep/file").write_text("copied")
    (bundle.rootfs / "full/link").symlink_to("deep/file")
    os.chown(bundle.rootfs / "full/deep/file", 7, 8)
    bundle.spec["mounts"].append(
        {"destination": "/full", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]}
    )
    output = bundle.shell("cat /full/link; stat -c ' %u:%g' /full/deep/file; touch /full/x || echo ro")
    assert output.stdout.split() == ["copied", "7:8", "ro"]
    assert (bundle.rootfs / "full/deep/file").read_text() == "copied"


def test_data_of_a_file_system_and_what_it_refuses(bundle: Bundle) -> None:
    bundle.spec["mounts"].append(
        {"destination": "/t", "type": "tmpfs", "source": "x", "options": ["size=64k", "mode=711", "uid=5", "lazytime"]}
    )
    assert bundle.shell("stat -c '%a %u' /t; grep ' /t ' /proc/mounts").stdout.split()[:2] == ["711", "5"]
    bundle.spec["mounts"][-1]["options"] = ["nonsense=1"]
    assert 'error mounting "x" to rootfs at "/t": invalid argument' in bundle.run("true").stderr
    bundle.spec["mounts"][-1] |= {"type": "nosuchfs", "options": []}
    assert 'error mounting "x" to rootfs at "/t": no such device' in bundle.run("true").stderr
    bundle.spec["mounts"][-1] = {"destination": "/t", "type": "bind", "source": "/no/such", "options": ["bind"]}
    assert 'error mounting "/no/such" to rootfs at "/t": no such file or directory' in bundle.run("true").stderr


def test_every_option_named_in_features_is_one(bundle: Bundle) -> None:
    known = options.names()
    assert {"bind", "rro", "rnosymfollow", "tmpcopyup", "rshared", "iversion", "lazytime"} <= set(known)
    for option in known:
        if option not in ("idmap", "ridmap"):
            options.parse([option])


@pytest.mark.parametrize("target", ["/proc/sys", "/proc/self/attr", "/link/sys", "/proc/tty"])
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_nothing_is_mounted_inside_proc(bundle: Bundle, target: str, kind: str) -> None:
    (bundle.rootfs / "link").symlink_to("/proc")
    (bundle.directory / "d").mkdir()
    entry = {"destination": target, "type": kind, "source": "d" if kind == "bind" else "x", "options": []}
    bundle.spec["mounts"].append({**entry, "options": ["bind"] if kind == "bind" else []})
    output = bundle.run("true")
    assert output.returncode == 1
    assert f'"{target}" cannot be mounted because it is inside /proc' in output.stderr


def test_files_of_proc_that_may_be_covered(bundle: Bundle) -> None:
    (bundle.directory / "uptime").write_text("ours")
    bundle.spec["mounts"].append(
        {"destination": "/proc/uptime", "type": "bind", "source": "uptime", "options": ["bind"]}
    )
    assert bundle.run("cat", "/proc/uptime").stdout == "ours"
