"""Single options of ``run``: their effect, or Docker's refusal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.compat.conftest import Client

pytestmark = pytest.mark.root


def test_a_mac_address_is_the_containers(cli: Client) -> None:
    if cli.kind == "reference":
        pytest.skip("needs API 1.44")
    mac = "92:d0:c6:0a:29:33"
    assert cli.out("run", "--rm", "--mac-address", mac, "busybox", "cat", "/sys/class/net/eth0/address") == mac
    cli("run", "-d", "--name", "owner", "busybox", "sleep", "1000")
    error = cli.err("run", "--rm", "--network", "container:owner", "--mac-address", mac, "busybox", "true", code=125)
    assert "conflicting options: mac-address and the network mode" in error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--volumes-from", "nosuch"], "No such container: nosuch"),
        (["--tmpfs", "/"], "invalid specification: destination can't be '/'"),
        (["--tmpfs", "/x:bogus"], 'invalid tmpfs option ["bogus"]'),
        (["--cap-add", "nosuch"], 'invalid CapAdd: unknown capability: "CAP_NOSUCH"'),
        (
            ["--storage-opt", "size=1g"],
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        (["--isolation", "hyperv"], "solation: \"hyperv\" - linux only supports 'default'"),
        (["--gpus", "all"], 'could not select device driver "" with capabilities: [[gpu]]'),
        (["--gpus", "driver=foo,count=1"], 'could not select device driver "foo" with capabilities: [[gpu]]'),
    ],
)
def test_refusals_in_dockers_words(cli: Client, arguments: list[str], text: str) -> None:
    assert text in cli.err("run", "--rm", *arguments, "busybox", "true", code=125)
    assert cli.out("ps", "-aq") == ""


def test_volumes_from_keeps_modes_and_takes_ro(cli: Client, tmp_path: Path) -> None:
    cli(
        "create",
        "--name",
        "first",
        "-v",
        "/data",
        "-v",
        f"{tmp_path}:/ro:ro",
        "-v",
        f"{tmp_path}:/rw",
        "busybox",
        "true",
    )
    script = "for d in data ro rw; do touch /$d/x 2>/dev/null && echo $d; done; true"
    assert cli.out("run", "--rm", "--volumes-from", "first", "busybox", "sh", "-c", script) == "data\nrw"
    assert cli.out("run", "--rm", "--volumes-from", "first:ro", "busybox", "sh", "-c", script) == ""


def test_mounts_are_exchanged_with_the_host_as_asked(cli: Client, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    if cli.kind == "reference":
        pytest.skip("the reference lives in another mount namespace than this test in some set-ups")
    subprocess.run(["mount", "-t", "tmpfs", "none", shared], check=True)
    try:
        error = cli.err("run", "--rm", "-v", f"{shared}:/x:rshared", "busybox", "true", code=125)
        assert f"path {shared} is mounted on {shared} but it is not a shared mount" in error
        subprocess.run(["mount", "--make-shared", shared], check=True)
        (shared / "sub").mkdir()
        for mode, seen in (("rslave", "1"), ("rprivate", "0")):
            cli("run", "-d", "--name", mode, "-v", f"{shared}:/x:{mode}", "busybox", "sleep", "1000")
            subprocess.run(["mount", "-t", "tmpfs", "none", shared / "sub"], check=True)
            try:
                assert cli.out("exec", mode, "sh", "-c", "grep -c ' /x/sub ' /proc/mounts; true") == seen
            finally:
                subprocess.run(["umount", shared / "sub"], check=True)
        mounting = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"]
        cli("run", "--rm", *mounting, "-v", f"{shared}:/x:rshared", "busybox", "mount", "-t", "tmpfs", "none", "/x/sub")
        try:
            assert f" {shared}/sub " in Path("/proc/self/mountinfo").read_text()
        finally:
            subprocess.run(["umount", shared / "sub"], check=True)
    finally:
        subprocess.run(["umount", shared], check=True)


def test_a_volume_driver_that_is_not_there(cli: Client) -> None:
    """With ``run`` the docker CLI would take the answer for a missing image, and pull it."""
    text = 'create vol: error looking up volume plugin nosuch: plugin "nosuch" not found'
    assert text in cli.err("volume", "create", "-d", "nosuch", "vol")
    assert cli.any("create", "--pull", "never", "--volume-driver", "nosuch", "-v", "vol:/x", "busybox").returncode == 1
    assert cli.out("volume", "ls", "-q") == ""


def test_volumes_of_an_image_with_relative_paths(cli: Client, busybox_tar: Path) -> None:
    """``VOLUME data`` in a Dockerfile; the docker CLI makes the same of ``-v v:/x``, which looks like a drive to it."""
    cli("import", "-c", "VOLUME data", "-c", "VOLUME ../up", str(busybox_tar), "relative:1")
    try:
        look = "grep -o ' /data ' /proc/mounts; grep -o ' /up ' /proc/mounts; echo x > /data/f"
        assert cli.out("run", "--name", "box", "relative:1", "sh", "-c", look).split() == ["/data", "/up"]
        assert len(cli.out("volume", "ls", "-q").split()) == 2
        cli("rm", "-v", "box")
        assert cli.out("volume", "ls", "-q") == ""
    finally:
        cli("rmi", "-f", "relative:1")
