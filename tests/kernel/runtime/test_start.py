"""container.start() as the shim calls it: overlay roots, our init, a prepared network namespace, exits."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from corten.cgroup import hierarchy
from corten.cgroup.group import Group
from corten.runtime import seal
from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root
PROJECT = str(Path(__file__).parents[3])


@pytest.fixture
def overlay(bundle: Bundle, tmp_path: Path) -> list[dict[str, Any]]:
    layers = tmp_path / "layers"
    layers.mkdir()
    bundle.rootfs.rename(layers / "base")
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    options = ["lowerdir=base", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]
    return [{"type": "overlay", "source": "overlay", "target": "/", "options": options, "chdir": str(layers)}]


def zygote(bundle: Bundle, rootfs: list[dict[str, Any]], script: str, **more: Any) -> tuple[dict[str, Any], str]:
    """``(report, the container's output)``."""
    bundle.process["args"] = ["sh", "-c", script]
    request = {"spec": bundle.spec, "rootfs": rootfs, "cgroup": f"{bundle.parent}/zygote", **more}
    path = bundle.directory / "request.json"
    path.write_text(json.dumps(request))
    command = [*seal.lean_command("tests.kernel.runtime.zygote"), str(path)]
    command[-2] = f"import sys; sys.path.insert(0, {PROJECT!r}); " + command[-2]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert output.returncode == 0, output.stderr
    *said, report = output.stdout.splitlines()
    return json.loads(report), "\n".join(said) + output.stderr


def test_an_overlay_root_and_nothing_on_the_host(bundle: Bundle, overlay: list[dict[str, Any]], tmp_path: Path) -> None:
    report, said = zygote(bundle, overlay, "echo new > /file; cat /proc/self/mountinfo | head -1")
    assert report["code"] == 0
    assert report["messages"] == []
    assert " / / rw" in said
    assert "overlay" in said
    assert (tmp_path / "upper/file").read_text() == "new\n"
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_more_layers_than_a_page_names(bundle: Bundle, overlay: list[dict[str, Any]], tmp_path: Path) -> None:
    names = []
    for number in range(150):
        name = f"{number:030d}"
        (tmp_path / "layers" / name).mkdir()
        (tmp_path / "layers" / name / f"from-{number}").write_text("x")
        names.append(name)
    overlay[0]["options"][0] = "lowerdir=" + ":".join([*names, "base"])
    assert len(overlay[0]["options"][0]) > 4096
    report, said = zygote(bundle, overlay, "ls / | grep -c from-")
    assert report["messages"] == []
    assert said.strip() == "150"


@pytest.mark.parametrize("end", ["exit 7", "kill -TERM $$"])
def test_our_init(bundle: Bundle, overlay: list[dict[str, Any]], end: str) -> None:
    look = "echo $$; cat /proc/1/comm; ls -l /proc/1/exe /proc/1/fd 2>&1 | grep -c denied"
    script = f"(sleep 0.05 &); {look}; sleep 0.2; {end}"
    report, said = zygote(bundle, overlay, script, init=True)
    assert report["messages"] == []
    assert said.split()[:2] == ["2", "corten-init"]
    assert int(said.split()[2]) >= 1
    assert report["code"] == (7 if end == "exit 7" else 143)


def test_our_init_reaps_and_forwards(bundle: Bundle, overlay: list[dict[str, Any]]) -> None:
    orphan = "(sh -c 'sleep 0.05 & exit 0'); sleep 0.3; cat /proc/[0-9]*/stat | grep -c ') Z '"
    script = f"trap 'echo forwarded; exit 3' TERM; {orphan}; kill -TERM 1; sleep 1"
    report, said = zygote(bundle, overlay, script, init=True)
    assert said.split() == ["0", "forwarded"]
    assert report["code"] == 3


def test_our_init_shows_nothing_of_the_host(bundle: Bundle, overlay: list[dict[str, Any]]) -> None:
    bundle.process["capabilities"]["effective"] = [*bundle.process["capabilities"]["effective"], "CAP_SYS_PTRACE"]
    for kind in ("bounding", "permitted"):
        bundle.process["capabilities"][kind] = bundle.process["capabilities"]["effective"]
    script = (
        "od -An -c /proc/1/cmdline; tr -d '\\0' < /proc/1/environ | wc -c; echo $MARK; ps -o args | grep -c [p]ython"
    )
    bundle.process["env"].append("MARK=own")
    report, said = zygote(bundle, overlay, script, init=True)
    assert report["code"] == 1, said
    assert said.split("\n") == ["   c   o   r   t   e   n   -   i   n   i   t  \\0", "0", "own", "0"]


def test_a_tmpfs_has_the_mode_of_what_it_covers_or_its_own(bundle: Bundle, overlay: list[dict[str, Any]]) -> None:
    for target in ("/new/deep", "/root", "/tmp"):
        bundle.spec["mounts"].append({"destination": target, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]})
    mode = (bundle.rootfs.parent / "layers/base/root").stat().st_mode & 0o7777
    _, said = zygote(bundle, overlay, "stat -c %a /new /new/deep /root /tmp")
    assert said.split() == ["755", "1777", f"{mode:o}", "1777"]


def test_a_prepared_network_namespace(bundle: Bundle, overlay: list[dict[str, Any]]) -> None:
    with subprocess.Popen(["unshare", "-n", "sleep", "30"]) as holder:
        try:
            path = f"/proc/{holder.pid}/ns/net"
            while os.readlink(path) == os.readlink("/proc/self/ns/net"):
                pass
            _, said = zygote(bundle, overlay, "readlink /proc/self/ns/net", netns=path)
            assert said.strip() == os.readlink(path)
        finally:
            holder.kill()


def test_exit_by_signal_and_seen_by_a_stranger(bundle: Bundle, overlay: list[dict[str, Any]]) -> None:
    report, _ = zygote(bundle, overlay, "exit 9")
    assert (report["code"], report["signal"]) == (9, 0)
    if report["stranger"] is not None:  # Linux 6.15
        assert report["stranger"] == [9, 0]


def test_errors_come_with_their_kind(bundle: Bundle, overlay: list[dict[str, Any]]) -> None:
    bundle.process["user"] = {"corten.user": "ghost"}
    report, _ = zygote(bundle, overlay, "true")
    text = "unable to find user ghost: no matching entries in passwd file"
    assert report["messages"] == [{"error": {"kind": "InvalidArgument", "text": text}}]


def test_nothing_remains_in_the_cgroups(bundle: Bundle, overlay: list[dict[str, Any]]) -> None:
    zygote(bundle, overlay, "true")
    assert not Group(hierarchy.detect(), f"{bundle.parent}/zygote").exists()
