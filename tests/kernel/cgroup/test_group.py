"""Groups on this host's real hierarchies, and the v2 device program on a v2 directory."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cgroup import devices, hierarchy
from corten.cgroup.group import Group
from corten.errors import InvalidArgument

pytestmark = pytest.mark.root


@pytest.fixture
def path() -> Iterator[str]:
    parent = f"/corten-test-{secrets.token_hex(4)}"
    yield f"{parent}/g"
    Group(hierarchy.detect(), f"{parent}/g").kill()
    Group(hierarchy.detect(), parent).delete()


def sleeper(group: Group) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], preexec_fn=group.join)


def v1() -> bool:
    return hierarchy.detect().version == 1


@pytest.mark.skipif(not v1(), reason="needs cgroup v1")
def test_limits_v1(path: str) -> None:
    resources = {
        "memory": {"limit": 32 << 20, "swap": 64 << 20, "reservation": 16 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
        "pids": {"limit": 12},
    }
    group = Group.create(hierarchy.detect(), path, resources)
    lacking = " ".join(group.warnings)
    expected = {
        ("memory", "memory.limit_in_bytes"): str(32 << 20),
        ("memory", "memory.memsw.limit_in_bytes"): str(64 << 20),
        ("memory", "memory.soft_limit_in_bytes"): str(16 << 20),
        ("cpu", "cpu.shares"): "512",
        ("cpu", "cpu.cfs_quota_us"): "50000",
        ("cpuset", "cpuset.cpus"): "0",
        ("pids", "pids.max"): "12",
    }
    for (controller, file), value in expected.items():
        if file not in lacking:
            assert Path(group.directory(controller), file).read_text().strip() == value
    group.update({"memory": {"limit": 128 << 20, "swap": 256 << 20}})
    assert Path(group.directory("memory"), "memory.limit_in_bytes").read_text().strip() == str(128 << 20)


def test_a_value_the_kernel_refuses_is_an_error(path: str) -> None:
    with pytest.raises(InvalidArgument, match="cpus"):
        Group.create(hierarchy.detect(), path, {"cpu": {"cpus": "4095"}})


def test_a_limit_the_host_lacks_is_a_warning(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {"hugepageLimits": [{"pageSize": "3KB", "limit": 1}]})
    assert any("hugetlb" in warning for warning in group.warnings)


def test_join_pids_freeze_kill_delete(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {})
    with sleeper(group) as process:
        assert group.pids() == [process.pid]
        group.freeze()
        assert group.is_frozen()
        group.thaw()
        assert not group.is_frozen()
        group.kill()
        assert process.wait(5) == -9
    group.delete()
    assert not group.exists()


def test_delete_takes_what_the_container_made_below(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {})
    for directory in hierarchy.detect().directories(path):
        os.makedirs(f"{directory}/inner/deeper")
    group.delete()
    assert not group.exists()


def test_oom_is_counted(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {"memory": {"limit": 8 << 20, "swap": 8 << 20}})
    assert group.oom_count() == 0
    code = "b = bytearray(64 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1"
    subprocess.run(["/usr/bin/python3", "-ISE", "-c", code], preexec_fn=group.join, check=False)
    assert group.oom_count() >= 1


def test_a_path_that_climbs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\.\."):
        Group(hierarchy.detect(), "/a/../b")


RULES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
    {"allow": True, "type": "c", "major": 1, "minor": None, "access": "m"},
    {"allow": False, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
]


@pytest.mark.skipif(not hierarchy.detect().unified, reason="needs a cgroup v2 mount")
def test_the_v2_device_program(tmp_path: Path) -> None:
    """The eBPF program the kernel verified, asked through real device files."""
    directory = f"{hierarchy.detect().unified}/corten-test-{secrets.token_hex(4)}"
    os.mkdir(directory)
    fd = os.open(directory, os.O_RDONLY)
    try:
        devices.attach(fd, devices.program(RULES))
        script = (
            f"echo $$ > {directory}/cgroup.procs\n"
            'try() { if eval "$2" 2>/dev/null; then echo $1 yes; else echo $1 no; fi; }\n'
            "try null-w 'echo x > /dev/null'\n"
            "try null-r 'true < /dev/null'\n"
            "try zero-r 'true < /dev/zero'\n"
            "try zero-w 'true > /dev/zero'\n"
            "try full-r 'true < /dev/full'\n"
            f"try mknod 'mknod {tmp_path}/full c 1 7'\n"
            f"try mknod-urandom 'mknod {tmp_path}/urandom c 1 9'\n"
            f"try mknod-tty 'mknod {tmp_path}/tty c 5 0'\n"
        )
        output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, stdin=subprocess.PIPE)
        assert dict(line.split() for line in output.stdout.splitlines()) == {
            "null-w": "yes", "null-r": "yes", "zero-r": "yes", "zero-w": "no", "full-r": "no", "mknod": "yes",
            "mknod-urandom": "no", "mknod-tty": "no",
        }  # fmt: skip
    finally:
        os.close(fd)
        os.rmdir(directory)
