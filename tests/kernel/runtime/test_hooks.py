"""Hooks: when each kind runs, with what, and what a failing one does (runtime-spec, runtime.md "Lifecycle")."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root
HOST = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
QUIET = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Hooks:
    """A hook program that records its kind and keeps the state it was given."""

    def __init__(self, bundle: Bundle, directory: Path) -> None:
        self.record = directory / "record"
        self.directory = directory
        self.script = directory / "hook"
        self.script.write_text(
            f'#!/bin/sh\ncat > {directory}/state-$1; echo "$1" >> {self.record}; test "$2" != fail\n'
        )
        self.script.chmod(0o755)
        self.bundle = bundle

    def set(self, *kinds: str, failing: str = "") -> None:
        self.bundle.spec["hooks"] = {
            kind: [{"path": str(self.script), "args": ["hook", kind, "fail" if kind == failing else ""]}]
            for kind in kinds
        }

    def ran(self) -> list[str]:
        return self.record.read_text().split() if self.record.exists() else []

    def state(self, kind: str) -> dict[str, object]:
        return json.loads((self.directory / f"state-{kind}").read_text())


@pytest.fixture
def hooks(bundle: Bundle, tmp_path: Path) -> Hooks:
    return Hooks(bundle, tmp_path)


def test_every_kind_runs_in_its_turn_with_the_state_on_its_standard_input(bundle: Bundle, hooks: Hooks) -> None:
    hooks.set(*HOST)
    bundle.spec["annotations"] = {"org.example": "x"}
    inside = 'cat > /state; echo "$(id -u) $$ $PPID" > /who'
    bundle.spec["hooks"]["startContainer"] = [
        {"path": "/bin/sh", "args": ["sh", "-c", inside], "env": ["PATH=/bin"], "timeout": 10}
    ]
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.rootfs.chmod(0o777)
    bundle.process["args"] = ["sh", "-c", "test -s /state && exit 5"]
    identifier = bundle.write()
    assert bundle.call("create", "-b", str(bundle.directory), identifier, **QUIET).returncode == 0
    assert hooks.ran() == ["prestart", "createRuntime", "createContainer"]
    assert not (bundle.rootfs / "state").exists()  # startContainer hooks belong to start
    pid = bundle.state(identifier)["pid"]
    assert bundle.call("start", identifier).returncode == 0
    assert hooks.ran()[3:] == ["poststart"]
    assert bundle.call("delete", "--force", identifier).returncode == 0
    assert hooks.ran() == list(HOST)
    expected = {"id": identifier, "bundle": str(bundle.directory), "annotations": {"org.example": "x"}}
    statuses = {kind: hooks.state(kind)["status"] for kind in HOST}
    assert statuses | {"poststart": "running"} == {
        "prestart": "creating", "createRuntime": "creating", "createContainer": "creating", "poststart": "running",
        "poststop": "stopped",
    }  # fmt: skip
    for kind in HOST:
        assert expected.items() <= hooks.state(kind).items()
    assert hooks.state("createRuntime")["pid"] == pid
    assert hooks.state("createContainer")["pid"] == 1  # as the container counts
    state = json.loads((bundle.rootfs / "state").read_text())
    assert (state["status"], state["pid"]) == ("created", 1)
    uid, own, parent = (bundle.rootfs / "who").read_text().split()
    assert (uid, parent) == ("1000", "1")
    assert own != "1"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_ends_the_create_and_poststop_hears_of_it(bundle: Bundle, hooks: Hooks, kind: str) -> None:
    hooks.set(*HOST, failing=kind)
    output = bundle.shell("echo ran")
    assert output.returncode == 1
    assert output.stdout == ""
    assert f"error running {kind} hook #0: {hooks.script}: exit status 1" in output.stderr
    assert hooks.ran() == [*HOST[: HOST.index(kind) + 1], "poststop"]
    assert bundle.call("list", "-q").stdout == ""
    assert not Path("/sys/fs/cgroup/pids", bundle.linux["cgroupsPath"].lstrip("/")).exists()


def test_a_failing_startcontainer_hook_ends_the_start(bundle: Bundle, hooks: Hooks) -> None:
    bundle.spec["hooks"] = {"startContainer": [{"path": "/bin/false"}]}
    output = bundle.shell("touch /ran")
    assert output.returncode == 1
    assert "error running startContainer hook #0: /bin/false: exit status 1" in output.stderr
    assert not (bundle.rootfs / "ran").exists()
    assert bundle.call("list", "-q").stdout == ""


@pytest.mark.parametrize("kind", ["poststart", "poststop"])
def test_a_failing_later_hook_is_a_warning_and_the_rest_run(
    bundle: Bundle, hooks: Hooks, kind: str, tmp_path: Path
) -> None:
    hooks.set(kind, failing=kind)
    bundle.spec["hooks"][kind].append({"path": str(hooks.script), "args": ["hook", "second"]})
    bundle.process["args"] = ["sh", "-c", "exit 3"]
    log = tmp_path / "log"
    output = bundle.call("--log", str(log), "--log-format", "json", "run", bundle.write())
    assert output.returncode == 3
    assert hooks.ran() == [kind, "second"]
    line = json.loads(log.read_text())
    assert line["level"] == "warning"
    assert f"error running {kind} hook #0" in line["msg"]


def test_a_hook_that_takes_too_long_or_does_not_exist(bundle: Bundle, tmp_path: Path) -> None:
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "50"], "timeout": 1}]}
    assert "/bin/sleep: timed out after 1 s" in bundle.run("true").stderr
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/no/such/hook"}]}
    assert "/no/such/hook: no such file or directory" in bundle.run("true").stderr


def test_a_hook_that_reads_nothing_blocks_nobody(bundle: Bundle) -> None:
    bundle.spec["annotations"] = {"big": "x" * 300_000}
    bundle.spec["hooks"] = {kind: [{"path": "/bin/true"}] for kind in ("createRuntime", "poststop")}
    assert bundle.run("true").returncode == 0


def test_hooks_environment_is_what_they_ask_for(bundle: Bundle, tmp_path: Path) -> None:
    script = f"env > {tmp_path}/env; pwd > {tmp_path}/cwd"
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["ONLY=this"]}]}
    assert bundle.run("true", env={**os.environ, "SECRET": "x"}).returncode == 0
    found = (tmp_path / "env").read_text()
    assert "ONLY=this" in found
    assert "SECRET" not in found
    assert (tmp_path / "cwd").read_text().strip() == str(bundle.directory)


def test_a_create_that_is_killed_in_a_hook_leaves_no_process_that_waits_for_the_hook(
    bundle: Bundle, tmp_path: Path
) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nkill -KILL $PPID\n")
    hook.chmod(0o755)
    bundle.spec["hooks"] = {"createRuntime": [{"path": str(hook)}]}
    identifier = bundle.write()
    assert bundle.call("create", "--bundle", str(bundle.directory), identifier, **QUIET).returncode != 0
    deadline = time.monotonic() + 20
    while (status := bundle.state(identifier)["status"]) != "stopped" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert status == "stopped"
    assert bundle.call("delete", identifier).returncode == 0
