"""Debian's podman with ``--runtime corten-runtime``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cgroup import hierarchy
from corten.cgroup.group import Group
from tests.kernel.conftest import make_busybox_tree
from tests.kernel.runtime import launcher

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (shutil.which("podman") and shutil.which("conmon")), reason="needs podman and conmon"),
]


class Podman:
    def __init__(self, directory: Path, rootfs: Path) -> None:
        runtime = launcher.write(directory)
        self.rootfs = rootfs
        self.command = [
            "podman", "--root", str(directory / "root"), "--runroot", str(directory / "run"), "--tmpdir",
            str(directory / "tmp"), "--cgroup-manager=cgroupfs", "--storage-driver=vfs", "--events-backend=file",
            "--runtime", str(runtime),
        ]  # fmt: skip

    def __call__(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        defaults = {"capture_output": True, "text": True, "timeout": 60, "check": False, "stdin": subprocess.DEVNULL}
        return subprocess.run([*self.command, *arguments], **{**defaults, **options})  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    # Podman's sockets need a short path.
    directory = Path(tempfile.mkdtemp(prefix="podman-", dir="/run"))
    made = Podman(directory, make_busybox_tree(directory / "tree"))
    tar = directory / "image.tar"
    subprocess.run(["tar", "-C", made.rootfs, "-cf", tar, "."], check=True)
    assert made("import", str(tar), "bb").returncode == 0
    yield made
    made("rm", "-fa", "-t", "0")
    subprocess.run(["umount", "-R", "-l", directory / "root"], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)
    for name in ("/libpod_parent", "/conmon"):
        Group(hierarchy.detect(), name).delete()


def begin(podman: Podman, name: str, *flags: str) -> None:
    """A container that ends at once on SIGTERM."""
    script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    output = podman("run", "-d", "--name", name, "--network=none", *flags, "bb", "sh", "-c", script)
    assert output.returncode == 0, output.stderr


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


def test_pause_kill_stats_and_top(podman: Podman) -> None:
    begin(podman, "c2", "--pids-limit", "50", "--memory", "32m", "--cpus", "0.5")
    assert podman("pause", "c2").returncode == 0
    assert podman("inspect", "c2", "--format", "{{.State.Status}}").stdout.strip() == "paused"
    assert podman("unpause", "c2").returncode == 0
    stats = podman("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "c2")
    assert stats.returncode == 0, stats.stderr
    assert stats.stdout.startswith("c2 ")
    assert "33.55MB" in stats.stdout
    assert podman("update", "--cpus", "0.4", "c2").returncode == 0
    top = podman("top", "c2", "pid", "comm")
    assert "sh" in top.stdout.split()
    assert podman("kill", "--signal", "KILL", "c2").returncode == 0
    assert podman("wait", "c2").stdout.strip() == "137"
    assert podman("start", "c2").returncode == 0
    assert podman("exec", "c2", "true").returncode == 0
    assert podman("rm", "-f", "-t", "0", "c2").returncode == 0


def test_standard_input_terminal_user_and_environment(podman: Podman) -> None:
    run = ("run", "--rm", "--network=none")
    with_input = {"stdin": None, "input": "from outside"}
    assert podman(*run, "-i", "bb", "cat", **with_input).stdout == "from outside"
    asked = podman(*run, "-e", "A=b", "-w", "/tmp", "--user", "1000:10", "bb", "sh", "-c", "echo $A; pwd; id -u; id -g")
    assert asked.stdout.split() == ["b", "/tmp", "1000", "10"]
    begin(podman, "c3", "-t")
    assert podman("exec", "-e", "C=d", "--user", "bob", "-w", "/etc", "c3", "sh", "-c", "echo $C; pwd; id -u").stdout.split() == [
        "d", "/etc", "1000",
    ]  # fmt: skip
    assert podman("exec", "-t", "c3", "tty").stdout.strip() == "/dev/pts/1"
    assert podman("exec", "-d", "c3", "touch", "/done").returncode == 0
    assert podman("exec", "c3", "sh", "-c", "while ! test -e /done; do usleep 20000; done").returncode == 0
    assert podman("rm", "-f", "-t", "0", "c3").returncode == 0


def test_volumes_mounts_limits_and_security(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    binds = ("-v", f"{tmp_path}:/host:ro", "-v", "data:/data", "--tmpfs", "/t:size=1m", "--read-only")
    more = ("--security-opt", "no-new-privileges", "--ulimit", "nofile=77:88", "--shm-size", "2m", "--cap-drop", "ALL")
    script = (
        "cat /host/file; touch /host/x || echo ro; touch /data/y && echo rw; touch /z || echo ro; ulimit -n;"
        "grep -c 'CapEff:.0000000000000000' /proc/self/status; grep NoNewPrivs /proc/self/status"
    )
    output = podman("run", "--rm", "--network=none", *binds, *more, "bb", "sh", "-c", script)
    assert output.stdout.split() == ["hostro", "rw", "ro", "77", "1", "NoNewPrivs:", "1"], output.stderr
    assert podman("volume", "rm", "data").returncode == 0


@pytest.mark.skipif(not shutil.which("catatonit"), reason="needs catatonit, the init of Podman")
def test_init(podman: Podman) -> None:
    output = podman("run", "--rm", "--init", "--network=none", "bb", "sh", "-c", "cat /proc/1/comm; exit 9")
    assert (output.stdout, output.returncode) == ("podman-init\n", 9)


def test_host_namespaces(podman: Podman) -> None:
    script = "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts"
    shared = ("--pid=host", "--ipc=host", "--uts=host")
    output = podman("run", "--rm", "--network=none", *shared, "bb", "sh", "-c", script)
    assert output.stdout.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc", "uts")]
    begin(podman, "c4")
    joined = podman("run", "--rm", "--network=container:c4", "--pid=container:c4", "bb", "ps")
    assert "while :" in joined.stdout
    assert podman("rm", "-f", "-t", "0", "c4").returncode == 0


def test_health_checks(podman: Podman) -> None:
    begin(podman, "c5", "--health-cmd", "test -e /well", "--health-interval", "disable")
    assert podman("healthcheck", "run", "c5").returncode == 1
    assert podman("exec", "c5", "touch", "/well").returncode == 0
    assert podman("healthcheck", "run", "c5").returncode == 0
    assert podman("rm", "-f", "-t", "0", "c5").returncode == 0


def test_privileged_and_devices(podman: Podman) -> None:
    output = podman(
        "run", "--rm", "--privileged", "--network=none", "bb", "sh", "-c", "mount -t tmpfs x /tmp && echo ok"
    )
    assert output.stdout == "ok\n", output.stderr
    output = podman(
        "run", "--rm", "--network=none", "--device", "/dev/null:/dev/mine:rw", "bb", "stat", "-c", "%t:%T", "/dev/mine"
    )
    assert output.stdout == "1:3\n", output.stderr
