"""Debian's containerd with its runc shim and ``--runc-binary corten-runtime``, driven by ctr."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cgroup import hierarchy
from corten.cgroup.group import Group
from tests.kernel.conftest import make_busybox_tree
from tests.kernel.runtime import launcher

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (shutil.which("containerd") and shutil.which("ctr")), reason="needs containerd"),
]
IMAGE = "docker.io/library/bb:latest"
CONFIG = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{0}/c.sock"
[ttrpc]
address = "{0}/t.sock"
"""


class Containerd:
    """A containerd of its own, in a mount namespace where /run/containerd (its shims' sockets) is its own, too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.namespace = f"corten-{os.getpid()}"
        self.runtime = launcher.write(directory)
        (directory / "config.toml").write_text(CONFIG.format(directory))
        own = "mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && exec containerd --config config.toml"
        with (directory / "log").open("wb") as log:
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", own]
            self.process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(200):
            if self("version").returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError((directory / "log").read_text()[-2000:])

    def __call__(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        defaults = {"capture_output": True, "text": True, "timeout": 60, "check": False, "stdin": subprocess.DEVNULL}
        command = ["ctr", "-a", f"{self.directory}/c.sock", "-n", self.namespace, *arguments]
        return subprocess.run(command, **{**defaults, **options})  # type: ignore[call-overload]

    def run(self, *flags: str) -> list[str]:
        """``ctr run`` with our runtime."""
        ours = ["--runtime", "io.containerd.runc.v2", "--runc-binary", str(self.runtime)]
        return ["run", *ours, "--runc-root", f"{self.directory}/runc", "--fifo-dir", f"{self.directory}/fifo", *flags]

    def status(self, name: str) -> str:
        lines = [line.split() for line in self("task", "ls").stdout.splitlines()]
        return next((words[2] for words in lines if words[0] == name), "")

    def await_status(self, name: str, status: str) -> None:
        for _ in range(200):
            if self.status(name) == status:
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} is {self.status(name)}, not {status}")

    def import_image(self) -> None:
        """A docker-archive of one layer."""
        layer, archive = self.directory / "layer.tar", self.directory / "image.tar"
        tree = make_busybox_tree(self.directory / "tree")
        subprocess.run(["tar", "-C", tree, "-cf", layer, "."], check=True)
        digest = "sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest()
        config = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux",
            "config": {"Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": [digest]},
        }  # fmt: skip
        manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
        (self.directory / "config.json").write_text(json.dumps(config))
        (self.directory / "manifest.json").write_text(json.dumps(manifest))
        names = ["config.json", "manifest.json", "layer.tar"]
        subprocess.run(["tar", "-C", self.directory, "-cf", archive, *names], check=True)
        imported = self("image", "import", str(archive))
        assert imported.returncode == 0, imported.stderr

    def close(self) -> None:
        for line in self("task", "ls", "-q").stdout.split():
            self("task", "delete", "--force", line)
        for line in self("container", "ls", "-q").stdout.split():
            self("container", "delete", line)
        self.process.terminate()
        self.process.wait(20)
        Group(hierarchy.detect(), f"/{self.namespace}").delete()


@pytest.fixture(scope="module")
def containerd() -> Iterator[Containerd]:
    directory = Path(tempfile.mkdtemp(prefix="ctr-"))
    made = Containerd(directory)
    try:
        made.import_image()
        yield made
    finally:
        made.close()
        subprocess.run(["umount", "-R", "-q", directory / "state"], check=False, capture_output=True)
        shutil.rmtree(directory)


def test_run_in_the_foreground(containerd: Containerd) -> None:
    output = containerd(*containerd.run("--rm"), IMAGE, "r1", "sh", "-c", "echo out; echo err >&2; id -u; exit 3")
    assert (output.stdout, output.returncode) == ("out\n0\n", 3)
    assert "err" in output.stderr
    output = containerd(*containerd.run("--rm"), IMAGE, "r2", "nope")
    assert output.returncode == 1
    assert 'exec: "nope": executable file not found in $PATH' in output.stderr


def test_a_limit_of_8_mb(containerd: Containerd) -> None:
    output = containerd(*containerd.run("--rm", "--memory-limit", str(8 << 20)), IMAGE, "r3", "echo", "fits")
    assert output.stdout == "fits\n"


def test_with_a_terminal(containerd: Containerd) -> None:
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "capture_output": False}
    output = containerd(*containerd.run("--rm", "--tty"), IMAGE, "r4", "sh", "-c", "tty; exit 5", **streams)
    os.close(theirs)
    assert b"/dev/pts/0" in os.read(ours, 4096)
    os.close(ours)
    assert output.returncode == 5


def test_exec_pause_metrics_kill_delete(containerd: Containerd) -> None:
    loop = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    begun = containerd(*containerd.run("--detach"), IMAGE, "long", "sh", "-c", loop)
    assert begun.returncode == 0, begun.stderr
    assert containerd.status("long") == "RUNNING"
    fifo = ("--fifo-dir", f"{containerd.directory}/fifo")
    inside = ("sh", "-c", "echo inside; hostname; exit 4")
    output = containerd("task", "exec", *fifo, "--exec-id", "e1", "long", *inside)
    assert output.stdout.split()[0] == "inside"
    assert output.returncode == 4
    missing = containerd("task", "exec", *fifo, "--exec-id", "e2", "long", "nope")
    assert missing.returncode != 0
    assert "executable file not found in $PATH" in missing.stderr
    assert containerd("task", "pause", "long").returncode == 0
    assert containerd.status("long") == "PAUSED"
    assert containerd("task", "resume", "long").returncode == 0
    assert containerd.status("long") == "RUNNING"
    assert len(containerd("task", "ps", "long").stdout.splitlines()) >= 2
    assert "long" in containerd("task", "metrics", "long").stdout
    assert containerd("task", "kill", "--signal", "SIGTERM", "long").returncode == 0
    containerd.await_status("long", "STOPPED")
    assert "non-zero exit code 7" in containerd("task", "delete", "long").stderr
    assert containerd("container", "delete", "long").returncode == 0
    assert set(os.listdir(containerd.directory / "runc" / containerd.namespace)) <= {".seccomp"}
