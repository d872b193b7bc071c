"""``--systemd-cgroup`` with the systemd of this host, by itself and under podman."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cgroup import dbus, scope
from corten.cgroup.group import Group
from corten.cgroup.hierarchy import detect
from tests.kernel.conftest import Bundle, make_busybox_tree
from tests.kernel.runtime import launcher

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.isdir("/run/systemd/system"), reason="needs systemd"),
]
SLICE = "cortentest-inner.slice"
PATH = "/cortentest.slice/cortentest-inner.slice"


def unit(name: str, *properties: str) -> dict[str, str]:
    flags = [word for name in properties for word in ("-p", name)]
    text = subprocess.run(["systemctl", "show", name, *flags], capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def limit(path: str, v1: tuple[str, str], v2: str) -> str:
    group = Group(detect(), path)
    controller, file = v1 if group.hierarchy.version == 1 else (v1[0], v2)
    return Path(group.directory(controller), file).read_text().strip()


def memory(path: str) -> str:
    return limit(path, ("memory", "memory.limit_in_bytes"), "memory.max")


@pytest.fixture
def scoped(bundle: Bundle) -> Bundle:
    bundle.command.append("--systemd-cgroup")
    bundle.parent, bundle.separator = f"{SLICE}:corten", ":"
    bundle.linux["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}}
    return bundle


def test_a_container_is_in_a_scope_of_its_own(scoped: Bundle) -> None:
    name = scoped.start()
    path = f"{PATH}/corten-{name}.scope"
    group = Group(detect(), path)
    assert group.pids()[0] == scoped.state(name)["pid"]
    assert len(scoped.call("ps", "-f", "json", name).stdout.split(",")) <= 2  # a shell and its sleep: nobody else
    shown = unit(f"corten-{name}.scope", "ActiveState", "Slice", "Delegate", "TasksMax", "Description")
    assert shown == {
        "ActiveState": "active", "Slice": SLICE, "Delegate": "yes", "TasksMax": "50", "Description": f"container {name}",
    }  # fmt: skip
    assert scoped.exec(name, "true").returncode == 0
    assert scoped.call("pause", name).returncode == 0
    assert scoped.state(name)["status"] == "paused"
    assert scoped.call("resume", name).returncode == 0
    assert scoped.call("delete", "--force", name).returncode == 0
    assert unit(f"corten-{name}.scope", "LoadState", "ActiveState")["ActiveState"] == "inactive"
    assert not group.exists()


def test_limits_outlive_a_reload_of_systemd(scoped: Bundle) -> None:
    name = scoped.start()
    path = f"{PATH}/corten-{name}.scope"
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert memory(path) == str(64 << 20)
    assert scoped.call("update", "--memory", str(32 << 20), "--pids-limit", "20", name).returncode == 0
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert memory(path) == str(32 << 20)
    assert limit(path, ("pids", "pids.max"), "pids.max") == "20"


def test_run_and_starts_that_fail_leave_no_unit(scoped: Bundle) -> None:
    assert scoped.shell("exit 7").returncode == 7
    missing = scoped.run("nosuch")
    assert "executable file not found" in missing.stderr
    scoped.linux["resources"]["memory"]["limit"] = 64 << 20
    (scoped.directory / "config.json").unlink()
    scoped.parent = "no-slice:corten"
    assert "invalid slice name: no-slice" in scoped.run("true").stderr
    scoped.parent, scoped.separator = "/path", "/"
    assert 'of format "slice:prefix:name"' in scoped.run("true").stderr
    shown = subprocess.run(
        ["systemctl", "list-units", "--all", "--no-legend", "corten-*.scope"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == ""


@pytest.mark.parametrize("which", [0, 1])
def test_both_sockets(monkeypatch: pytest.MonkeyPatch, which: int, tmp_path: Path) -> None:
    if not os.path.exists(dbus.SOCKETS[which]):
        pytest.skip(f"this host has no {dbus.SOCKETS[which]}")
    sockets = [str(tmp_path / "none")] * 2
    sockets[which] = dbus.SOCKETS[which]
    monkeypatch.setattr(dbus, "SOCKETS", tuple(sockets))
    wanted = scope.parse(f"{SLICE}:corten:both{which}", "x")
    placeholder = scope.Placeholder()
    try:
        scope.start(wanted, "a test", scope.properties({"cpu": {"quota": 5000}}, detect().version), placeholder.pid)
        assert unit(wanted.unit, "CPUQuotaPerSecUSec") == {"CPUQuotaPerSecUSec": "50ms"}
    finally:
        placeholder.end()
        scope.stop(wanted.unit)
        scope.stop(wanted.unit)  # no word about one that is gone
    assert unit(wanted.unit, "ActiveState") == {"ActiveState": "inactive"}


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[list[str]]:
    if not (shutil.which("podman") and shutil.which("conmon")):
        pytest.skip("needs podman and conmon")
    directory = Path(tempfile.mkdtemp(prefix="podman-", dir="/run"))
    command = [
        "podman", "--root", str(directory / "root"), "--runroot", str(directory / "run"), "--tmpdir", str(directory / "tmp"),
        "--cgroup-manager=systemd", "--storage-driver=vfs", "--events-backend=file", "--runtime",
        str(launcher.write(directory)),
    ]  # fmt: skip
    tree = make_busybox_tree(tmp_path / "tree")
    subprocess.run(["tar", "-C", tree, "-cf", directory / "image.tar", "."], check=True)
    subprocess.run([*command, "import", directory / "image.tar", "bb"], check=True, capture_output=True)
    yield command
    subprocess.run([*command, "rm", "-fa", "-t", "0"], check=False, capture_output=True)
    subprocess.run(["umount", "-R", "-l", directory / "root"], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)


def test_podman_with_its_own_default(podman: list[str]) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*podman, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    ended = call("run", "--rm", "--network=none", "--memory", "32m", "bb", "sh", "-c", "echo hello; exit 4")
    assert (ended.stdout, ended.returncode) == ("hello\n", 4), ended.stderr
    begun = call("run", "-d", "--name", "one", "--network=none", "--memory", "32m", "bb", "sleep", "1000")
    assert begun.returncode == 0, begun.stderr
    identifier = begun.stdout.strip()
    assert memory(f"/machine.slice/libpod-{identifier}.scope") == str(32 << 20)
    assert call("exec", "one", "echo", "inside").stdout == "inside\n"
    assert call("rm", "-f", "-t", "0", "one").returncode == 0
    assert json.loads(call("ps", "-a", "--format", "json").stdout or "[]") == []
    assert unit(f"libpod-{identifier}.scope", "ActiveState") == {"ActiveState": "inactive"}
