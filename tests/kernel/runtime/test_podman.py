"""Debian's podman with ``--runtime corten-runtime``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cgroup import hierarchy
from corten.cgroup.group import Group
from corten.runtime import seal

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (shutil.which("podman") and shutil.which("conmon")), reason="needs podman and conmon"),
]


class Podman:
    def __init__(self, directory: Path, rootfs: Path) -> None:
        runtime = directory / "corten-runtime"
        command = " ".join(
            f"'{word}'" if " " not in word else f'"{word}"' for word in seal.lean_command("corten.runtime.main")
        )
        runtime.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        runtime.chmod(0o755)
        self.rootfs = rootfs
        self.command = [
            "podman", "--root", str(directory / "root"), "--runroot", str(directory / "run"), "--tmpdir",
            str(directory / "tmp"), "--cgroup-manager=cgroupfs", "--storage-driver=vfs", "--events-backend=file",
            "--runtime", str(runtime),
        ]  # fmt: skip

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.command, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )


@pytest.fixture
def podman(tmp_path: Path, busybox_rootfs: Path) -> Iterator[Podman]:
    # Podman's sockets need a short path.
    directory = Path(tempfile.mkdtemp(prefix="podman-", dir="/run"))
    made = Podman(directory, busybox_rootfs)
    tar = tmp_path / "image.tar"
    subprocess.run(["tar", "-C", busybox_rootfs, "-cf", tar, "."], check=True)
    assert made("import", str(tar), "bb").returncode == 0
    yield made
    made("rm", "-fa", "-t", "0")
    subprocess.run(["umount", "-R", "-l", directory / "root"], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)
    for name in ("/libpod_parent", "/conmon"):
        Group(hierarchy.detect(), name).delete()


def test_run_exec_stop(podman: Podman) -> None:
    output = podman("run", "--rm", "--network=none", "bb", "sh", "-c", "echo hello; exit 4")
    assert (output.stdout, output.returncode) == ("hello\n", 4)
    script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    assert (
        podman("run", "-d", "--name", "c1", "--network=none", "--memory", "64m", "bb", "sh", "-c", script).returncode
        == 0
    )
    output = podman("exec", "c1", "sh", "-c", "echo inside; exit 6")
    assert (output.stdout, output.returncode) == ("inside\n", 6)
    assert podman("exec", "-t", "c1", "tty").stdout.strip() == "/dev/pts/0"
    assert podman("exec", "c1", "nope").returncode == 127
    assert "c1" in podman("ps").stdout
    assert podman("stop", "-t", "5", "c1").returncode == 0
    assert podman("inspect", "c1", "--format", "{{.State.ExitCode}}").stdout.strip() == "0"
    assert podman("rm", "c1").returncode == 0
    assert podman("run", "--rm", "-t", "--network=none", "bb", "tty").stdout.strip() == "/dev/pts/0"
    assert podman("run", "--rm", "--network=none", "bb", "nope").returncode == 127
