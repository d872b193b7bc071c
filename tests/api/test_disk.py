"""``system df``: the rows add up to what du(1) says, and each byte is in the row of what it belongs to."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

MIB = 1 << 20


@pytest.fixture(scope="module")
def engine(busybox_tar: Path) -> Iterator[EngineProcess]:
    with EngineProcess.running() as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        yield engine


@pytest.fixture
def empty(engine: EngineProcess) -> Iterator[EngineProcess]:
    """The engine with an image; containers and volumes are gone afterwards."""
    yield engine
    for identifier in engine.docker("ps", "-aq").stdout.split():
        engine.docker("rm", "-f", "-v", identifier)
    for name in engine.docker("volume", "ls", "-q").stdout.split():
        engine.docker("volume", "rm", name)


def du(path: Path) -> int:
    output = subprocess.run(["du", "-sx", "--block-size=1", str(path)], capture_output=True, text=True, check=True)
    return int(output.stdout.split()[0])


def total(usage: dict[str, Any]) -> int:
    """The sum of the SIZE column, as clients compute it."""
    containers = sum(row["SizeRw"] for row in usage["Containers"])
    volumes = sum(row["UsageData"]["Size"] for row in usage["Volumes"])
    cache = sum(row["Size"] for row in usage["BuildCache"])
    return int(usage["LayersSize"] + containers + volumes + cache)


def settled_usage(engine: EngineProcess) -> tuple[dict[str, Any], int]:
    """df and du of one state: asked again while something is still being written."""
    deadline = time.monotonic() + 20
    while True:
        before = du(engine.data_root)
        usage = engine.api("GET", "/system/df")
        if before == du(engine.data_root) or time.monotonic() > deadline:
            return usage, before
        time.sleep(0.1)


def test_the_rows_add_up_to_du(empty: EngineProcess) -> None:
    engine = empty
    script = (
        "dd if=/dev/zero of=/upper bs=1M count=3; dd if=/dev/zero of=/data/file bs=1M count=5; "
        "ln /upper /link; head -c 2000000 /dev/zero | tr '\\0' a"
    )
    engine.docker("run", "--name", "wrote", "-v", "named:/data", "busybox", "sh", "-c", script)
    engine.docker("run", "-d", "--name", "runs", "-v", "/anonymous", "busybox", "sleep", "600")
    strange = engine.data_root / "snapshots" / ("f" * 64) / "upper"
    strange.mkdir(parents=True)
    (strange / "orphan").write_bytes(b"x" * 4 * MIB)
    try:
        usage, expected = settled_usage(engine)
    finally:
        subprocess.run(["rm", "-r", str(strange.parent)], check=True)
    assert abs(total(usage) - expected) <= expected // 100

    containers = {row["Names"][0]: row for row in usage["Containers"]}
    assert 3 * MIB + 2_000_000 <= containers["/wrote"]["SizeRw"] <= 6 * MIB  # the file once, and the log
    assert containers["/runs"]["SizeRw"] < MIB
    assert containers["/wrote"]["SizeRootFs"] > containers["/wrote"]["SizeRw"]
    volumes = {row["Name"]: row["UsageData"] for row in usage["Volumes"]}
    assert 5 * MIB <= volumes["named"]["Size"] < 6 * MIB
    assert sorted(row["RefCount"] for row in volumes.values()) == [1, 1]
    parts = usage["DataRoot"]
    assert sum(parts.values()) == usage["LayersSize"]
    assert 4 * MIB <= parts["Leftovers"] < 5 * MIB
    assert all(size > 0 for size in parts.values())
    assert usage["BuildCache"] == []


def test_layers_that_two_images_have_are_shared(empty: EngineProcess) -> None:
    engine = empty
    engine.docker("tag", "busybox", "again")
    (image,) = engine.api("GET", "/system/df?type=image")["Images"]
    assert image["SharedSize"] == 0
    assert image["Containers"] == 0
    engine.docker("create", "--name", "one", "busybox", "true")
    (image,) = engine.api("GET", "/system/df?type=image")["Images"]
    assert image["Containers"] == 1
    engine.docker("rmi", "again")


def test_images_on_a_common_base_add_up_to_du_with_the_base_once(empty: EngineProcess) -> None:
    engine = empty
    for name, size in (("one", 4), ("two", 6)):
        engine.docker("run", "--name", name, "busybox", "dd", "if=/dev/urandom", "of=/own", "bs=1M", f"count={size}")
        engine.docker("commit", name, f"{name}:latest")
        engine.docker("rm", name)
    usage, _ = settled_usage(engine)
    rows = {row["RepoTags"][0]: row for row in usage["Images"]}
    own = {name: rows[f"{name}:latest"]["Size"] - rows[f"{name}:latest"]["SharedSize"] for name in ("one", "two")}
    shared = {rows[f"{name}:latest"]["SharedSize"] for name in ("one", "two")}
    assert len(shared) == 1  # the base's files and blob
    on_disk = sum(
        du(path) for pattern in ("layers/" + "?" * 64, "content/blobs/*/*") for path in engine.data_root.glob(pattern)
    )
    config_and_manifest_of_the_base = rows["busybox:latest"]["Size"] - rows["busybox:latest"]["SharedSize"]
    counted = sum(own.values()) + shared.pop() + config_and_manifest_of_the_base
    assert abs(counted - on_disk) <= on_disk / 100
    engine.docker("rmi", "one", "two")


def test_one_kind_only(empty: EngineProcess) -> None:
    engine = empty
    usage = engine.api("GET", "/system/df?type=volume&type=container")
    assert (usage["Images"], usage["BuildCache"], usage["LayersSize"]) == (None, None, 0)
    assert (usage["Containers"], usage["Volumes"]) == ([], [])
    assert "DataRoot" not in usage
    status, body = engine.request("GET", "/system/df?type=pod")
    assert (status, json.loads(body)["message"]) == (400, "unknown object type: pod")


def test_a_tree_of_any_depth_is_counted(empty: EngineProcess) -> None:
    """A container may nest directories beyond Python's recursion and PATH_MAX."""
    engine = empty
    identifier = engine.docker("create", "--name", "deep", "busybox", "true").stdout.strip()
    engine.docker("start", "-a", "deep")
    before = engine.api("GET", "/system/df?type=container")["Containers"][0]["SizeRw"]
    nested(engine.data_root / "snapshots" / identifier / "upper", 1500)
    (row,) = engine.api("GET", "/system/df?type=container")["Containers"]
    assert row["SizeRw"] - before == 1501 * 4096
    assert engine.api("GET", "/containers/json?all=1&size=1")[0]["SizeRw"] == 2


def test_a_link_out_of_a_tree_is_not_followed(empty: EngineProcess) -> None:
    engine = empty
    engine.docker("run", "--name", "links", "busybox", "sh", "-c", "ln -s / root; ln -s ../../../../../.. up")
    (row,) = engine.api("GET", "/system/df?type=container")["Containers"]
    assert row["SizeRw"] < MIB


def nested(top: Path, depth: int) -> None:
    """Directories in directories, a file in the last."""
    current = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 60, dir_fd=current)
        deeper = os.open("d" * 60, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = deeper
    os.write(file := os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=current), b"xy")
    os.close(file)
    os.close(current)


@pytest.mark.parametrize("program", ["corten", "docker"])
def test_both_clients_print_it(empty: EngineProcess, program: str) -> None:
    engine = empty
    client = getattr(engine, program)
    engine.docker("create", "--name", "made", "-v", "named:/data", "busybox", "true")
    lines = client("system", "df").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["TYPE", "Images", "Containers", "Local Volumes", "Build Cache"]
    assert client("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}").stdout.splitlines() == [
        "Images 1 1", "Containers 1 0", "Local Volumes 1 1", "Build Cache 0 0",
    ]  # fmt: skip
    verbose = client("system", "df", "-v").stdout
    for part in ("Images space usage:", "busybox", "Containers space usage:", "made", "Local Volumes space usage:"):
        assert part in verbose
    assert ("Data root usage" in verbose) == (program == "corten")


def test_counting_does_not_go_through_mounts_of_a_container(empty: EngineProcess, tmp_path: Path) -> None:
    """What a bind mount brings is the host's, not the container's."""
    engine = empty
    (tmp_path / "large").write_bytes(os.urandom(3 * MIB))
    engine.docker("run", "-d", "--name", "bound", "-v", f"{tmp_path}:/host", "busybox", "sleep", "600")
    (row,) = engine.api("GET", "/system/df?type=container")["Containers"]
    assert row["SizeRw"] < MIB


@pytest.mark.parametrize("program", ["corten", "docker"])
def test_a_prune_of_everything_gives_back_what_it_says(busybox_tar: Path, program: str) -> None:
    with EngineProcess.running() as engine:
        client = getattr(engine, program)
        before = du(engine.data_root)
        engine.import_image(busybox_tar, "busybox:latest")
        engine.docker(
            "run", "-v", "/anonymous", "busybox", "dd", "if=/dev/zero", "of=/anonymous/file", "bs=1M", "count=2"
        )
        engine.docker("run", "--name", "log", "busybox", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' a")
        engine.docker("volume", "create", "named")
        full = du(engine.data_root)
        text = client("system", "prune", "-a", "-f", "--volumes", "--filter", "label!=keep").stdout
        lines = text.splitlines()
        titles = [line for line in lines if line.endswith(":")]
        assert titles == ["Deleted Containers:", "Deleted Volumes:", "Deleted Images:"]
        kept = engine.docker("volume", "ls", "-q").stdout.split()
        assert "named" in kept
        freed = full - du(engine.data_root)
        assert lines[-1].startswith("Total reclaimed space: ")
        said = float(lines[-1].split()[-1].removesuffix("MB")) * 1e6
        assert abs(said - freed) <= freed // 50
        assert "Total reclaimed space: " in client("volume", "prune", "-a", "-f").stdout
        assert engine.docker("volume", "ls", "-q").stdout == ""
        assert du(engine.data_root) - before < MIB


@pytest.mark.parametrize("program", ["corten", "docker"])
def test_what_prune_says_before_it_asks(empty: EngineProcess, program: str) -> None:
    client = getattr(empty, program)
    asked = client("system", "prune", "-a", "--volumes", "--filter", "label=x", input="n\n").stdout
    assert asked == (
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all networks not used by at least one container\n"
        "  - all anonymous volumes not used by at least one container\n"
        "  - all images without at least one container associated to them\n"
        "  - all build cache\n\n"
        "  Items to be pruned will be filtered with:\n"
        "  - label=x\n\n"
        "Are you sure you want to continue? [y/N] "
    )
    assert client("volume", "prune", "-a", "--filter", "all=1", check=False).returncode == 1
    assert client("network", "prune", "-f", "--filter", "until=1h").stdout == ""
    refused = client("network", "prune", "-f", "--filter", "name=x", check=False)
    assert (refused.returncode, refused.stderr) == (1, "Error response from daemon: invalid filter 'name'\n")


def test_prune_chooses_by_its_filters(empty: EngineProcess) -> None:
    engine = empty
    for name, label in (("one", "keep=yes"), ("two", "keep=no"), ("three", "other")):
        engine.docker("create", "--name", name, "--label", label, "busybox", "true")
        engine.docker("volume", "create", "--label", label, name)
    gone = engine.corten("container", "prune", "-f", "--filter", "label!=keep").stdout
    assert len(gone.splitlines()) == 4  # title, one id, empty line, total
    engine.corten("container", "prune", "-f", "--filter", "until=1h")
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split() == ["two", "one"]
    engine.corten("container", "prune", "-f", "--filter", "label=keep=no")
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split() == ["one"]
    assert "Deleted" not in engine.corten("volume", "prune", "-f").stdout
    engine.corten("volume", "prune", "-a", "-f", "--filter", "label=keep")
    assert engine.docker("volume", "ls", "-q").stdout.split() == ["three"]
