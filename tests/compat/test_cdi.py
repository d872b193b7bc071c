"""CDI devices and --gpus with a real engine, and hooks of the host around a container's life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.compat.conftest import Client
from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def specs(scratch: Path) -> Path:
    directory = scratch / "cdi"
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def engine(busybox_tar: Path, specs: Path) -> Iterator[EngineProcess]:
    with EngineProcess.running("--cdi-spec-dir", str(specs)) as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        yield engine


@pytest.fixture(params=["corten", "docker"])
def client(request: pytest.FixtureRequest, engine: EngineProcess, specs: Path) -> Iterator[Client]:
    program = ["docker"] if request.param == "docker" else [sys.executable, "-m", "corten.cli"]
    client = Client(program, engine.environment, request.param)
    yield client
    client.remove_all()
    for path in specs.iterdir():
        path.unlink()


def write(specs: Path, kind: str, name: str, **edits: Any) -> None:
    device = {"name": name, "containerEdits": edits}
    document = {"cdiVersion": "0.7.0", "kind": kind, "devices": [device]}
    (specs / f"{name}.json").write_text(json.dumps(document))


def test_a_device_brings_node_variable_mount_and_group(client: Client, specs: Path, tmp_path: Path) -> None:
    (tmp_path / "library").write_text("vendor's")
    mount = {"hostPath": str(tmp_path / "library"), "containerPath": "/usr/lib/vendor", "options": ["ro", "bind"]}
    node = {"path": "/dev/vendor0", "hostPath": "/dev/null", "permissions": "rw"}
    write(specs, "vendor.com/class", "one", env=["VENDOR=1"], deviceNodes=[node], mounts=[mount], additionalGids=[4711])
    script = "echo x >/dev/vendor0 && echo $VENDOR && cat /usr/lib/vendor && echo && id -G"
    shown = client.out("run", "--rm", "--device", "vendor.com/class=one", "busybox", "sh", "-c", script).split("\n")
    assert shown[:2] == ["1", "vendor's"]
    assert "4711" in shown[2].split()
    info = json.loads(client.out("info", "--format", "{{json .}}"))
    assert info["CDISpecDirs"] == [str(specs)]
    assert info["DiscoveredDevices"] == [{"Source": "cdi", "ID": "vendor.com/class=one"}]
    error = client.err("run", "--rm", "--device", "vendor.com/class=two", "busybox", "true", code=125)
    assert "CDI device injection failed: unresolvable CDI devices vendor.com/class=two" in error


def test_gpus_are_the_vendors_cdi_devices(client: Client, specs: Path) -> None:
    error = client.err("run", "--rm", "--gpus", "all", "busybox", "true", code=125)
    assert 'could not select device driver "" with capabilities: [[gpu]]' in error
    write(specs, "nvidia.com/gpu", "all", env=["GPU=all"])
    assert client.out("run", "--rm", "--gpus", "all", "busybox", "sh", "-c", "echo $GPU") == "all"


def test_attack_cve_2026_53492_an_image_selects_no_device(
    client: Client, engine: EngineProcess, specs: Path, busybox_tar: Path
) -> None:
    """Variables, labels and annotations by which other engines let an image ask for devices or hooks do nothing here."""
    canary = specs.parent / f"canary-{client.kind}"
    hook = {"hookName": "createRuntime", "path": "/bin/touch", "args": ["touch", str(canary)]}
    write(specs, "nvidia.com/gpu", "all", env=["ESCAPED=1"], hooks=[hook])
    engine.import_image(
        busybox_tar, "evil:latest", "ENV NVIDIA_VISIBLE_DEVICES=all CDI_DEVICES=nvidia.com/gpu=all",
        "LABEL cdi.k8s.io/gpu=nvidia.com/gpu=all com.docker.device=nvidia.com/gpu=all",
    )  # fmt: skip
    try:
        shown = client.out("run", "--rm", "--annotation", "cdi.k8s.io/a=nvidia.com/gpu=all", "evil", "env")
        assert "ESCAPED" not in shown
        assert not canary.exists()
    finally:
        client("rmi", "evil")


def test_hooks_run_in_order_and_see_the_container(client: Client, specs: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    program = tmp_path / "hook"
    # What is told on standard input, then whether the container's root can be found by it.
    program.write_text(
        f"#!{sys.executable} -IS\nimport json, os, sys\nstate = json.load(sys.stdin)\n"
        "config = json.load(open(state['bundle'] + '/config.json'))\n"
        f"seen = os.path.exists(config['root']['path'] + '/bin/busybox')\n"
        f"open({str(journal)!r}, 'a').write(f\"{{sys.argv[1]}} {{state['status']}} {{bool(state.get('pid'))}} {{seen}}\\n\")\n"
    )
    program.chmod(0o755)
    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    hooks = [{"hookName": kind, "path": str(program), "args": ["hook", kind]} for kind in kinds]
    write(specs, "vendor.com/class", "hooked", hooks=hooks)
    client("run", "-d", "--name", "hooked", "--device", "vendor.com/class=hooked", "busybox", "sleep", "1000")
    client("exec", "hooked", "true")
    client("rm", "-f", "hooked")
    deadline = 200
    while "poststop" not in journal.read_text() and deadline:
        deadline -= 1
        subprocess.run(["sleep", "0.05"], check=True)
    assert journal.read_text().splitlines() == [
        "prestart creating True False",
        "createRuntime creating True False",
        "createContainer creating True True",
        "poststart running True False",
        "poststop stopped False False",
    ]


def test_a_hook_that_fails_ends_the_start(client: Client, engine: EngineProcess, specs: Path) -> None:
    hook = {"hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 3"]}
    write(specs, "vendor.com/class", "failing", hooks=[hook])
    error = client.err("run", "--rm", "--device", "vendor.com/class=failing", "busybox", "true", code=125)
    assert "error running createRuntime hook #0: /bin/sh: exit status 3, output: no" in error
    slow = {"hookName": "createRuntime", "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}
    write(specs, "vendor.com/class", "failing", hooks=[slow])
    error = client.err("run", "--rm", "--device", "vendor.com/class=failing", "busybox", "true", code=125)
    assert "/bin/sleep: timed out" in error
    assert os.listdir(engine.exec_root / "bundle") == []
