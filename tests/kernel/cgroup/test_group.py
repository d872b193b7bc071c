"""Groups on this host's real hierarchies, and the v2 device program on a v2 directory."""

from __future__ import annotations

import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.cgroup import devices, features, hierarchy, shortage
from corten.cgroup.group import Group
from corten.errors import InvalidArgument, RuntimeFailure
from corten.linux import inotify

pytestmark = pytest.mark.root
SOURCES = Path(hierarchy.__file__).parents[2]


@pytest.fixture
def path() -> Iterator[str]:
    parent = f"/corten-test-{secrets.token_hex(4)}"
    yield f"{parent}/g"
    Group(hierarchy.detect(), f"{parent}/g").kill()
    Group(hierarchy.detect(), parent).delete()


def enter(group: Group) -> None:
    """What clone3 and ``join`` do between them: the v2 group, then the v1 ones."""
    directory = group.hierarchy.directories(group.path)[-1]
    if group.hierarchy.unified:
        Path(directory, "cgroup.procs").write_text("0")
    group.join()


def sleeper(group: Group) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], preexec_fn=lambda: enter(group))


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


@pytest.mark.skipif(v1(), reason="needs cgroup v2")
def test_limits_v2(path: str) -> None:
    resources = {
        "memory": {"limit": 32 << 20, "swap": 64 << 20, "reservation": 16 << 20},
        "cpu": {"shares": 1024, "quota": 50000, "period": 200000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 12},
        "unified": {"memory.high": str(24 << 20), "cpu.max.burst": "1000"},
    }
    group = Group.create(hierarchy.detect(), path, resources)
    directory = Path(group.directory(""))
    expected = {
        "memory.max": str(32 << 20), "memory.swap.max": str(32 << 20), "memory.low": str(16 << 20),
        "memory.high": str(24 << 20), "cpu.weight": "39", "cpu.max": "50000 200000", "cpu.max.burst": "1000",
        "cpuset.cpus": "0", "cpuset.cpus.effective": "0", "cpuset.mems": "0", "pids.max": "12",
    }  # fmt: skip
    assert {file: (directory / file).read_text().strip() for file in expected} == expected
    assert group.warnings == []
    group.update({"memory": {"limit": 128 << 20, "swap": -1}, "pids": {"limit": -1}})
    found = [(directory / file).read_text().strip() for file in ("memory.max", "memory.swap.max", "pids.max")]
    assert found == [str(128 << 20), "max", "max"]


@pytest.mark.skipif(v1(), reason="needs cgroup v2")
def test_a_blkio_weight_is_written_where_this_host_keeps_it(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {"blockIO": {"weight": 1000}})
    directory = Path(group.directory("io"))
    if (directory / "io.bfq.weight").exists():
        assert "1000" in (directory / "io.bfq.weight").read_text()
    elif (directory / "io.weight").exists():
        assert "10000" in (directory / "io.weight").read_text()
    else:
        assert any("io.weight" in warning for warning in group.warnings)


@pytest.mark.skipif(v1(), reason="needs cgroup v2")
def test_a_limit_of_processes_holds(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {"pids": {"limit": 2}})
    script = "sleep 5 & sleep 5 & sleep 5 & sleep 5 & kill $(jobs -p)"
    output = subprocess.run(["sh", "-c", script], preexec_fn=lambda: enter(group), capture_output=True, text=True)
    assert "annot fork" in output.stderr


@pytest.mark.skipif(v1(), reason="needs cgroup v2")
def test_an_engine_in_a_container_leaves_the_root_of_its_namespace(path: str, tmp_path: Path) -> None:
    """As in a container that runs an engine: the namespace's root holds it, and may not hand controllers down yet."""
    outer = Group.create(hierarchy.detect(), path, {})
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from corten.cgroup import hierarchy; from corten.cgroup.group import Group\n"
        "group = Group.create(hierarchy.detect(), '/corten/x', {'pids': {'limit': 7}})\n"
        "print(open(group.directory('pids') + '/pids.max').read().strip(), group.warnings)\n"
        "print(open('/proc/self/cgroup').read().strip())\n"
        "group.delete(); group.delete()\n"
    )
    script = (
        "umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && sleep 60 & sleep 0.3; "
        f'/usr/bin/python3 -ISE -c "$0" {SOURCES}; kill $!'
    )
    command = ["unshare", "--cgroup", "--mount", "sh", "-c", script, code]
    output = subprocess.run(command, preexec_fn=lambda: enter(outer), capture_output=True, text=True, check=False)
    assert output.stdout.splitlines() == ["7 []", "0::/init"], output.stderr


def test_a_group_that_cannot_be_made_is_gone_again(path: str) -> None:
    with pytest.raises(InvalidArgument, match="cpus"):
        Group.create(hierarchy.detect(), path, {"cpu": {"cpus": "4095"}})
    assert not Group(hierarchy.detect(), path).exists()
    before = Group.create(hierarchy.detect(), path, {})
    with pytest.raises(InvalidArgument, match="cpus"):
        Group.create(hierarchy.detect(), path, {"cpu": {"cpus": "4095"}})
    assert before.exists()


def test_without_a_device_list_in_force_there_is_no_group(path: str) -> None:
    """A host that has neither a devices controller nor cgroup v2 to hang a program on."""
    bare = hierarchy.Hierarchy(1, {}, {}, "")
    with pytest.raises(RuntimeFailure, match="allow list cannot be put in force"):
        Group.create(bare, path, {"devices": [{"allow": False, "access": "rwm"}]})
    privileged = Group.create(bare, path, {"devices": [{"allow": True, "access": "rwm"}]})
    assert privileged.warnings == ["devices are not limited: this host has no devices controller"]


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


HOG = "b = bytearray(64 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1"


def hog(*groups: Group) -> subprocess.Popen[bytes]:
    """A process that takes more memory than it gets, in the last of the groups."""
    return subprocess.Popen(
        ["/usr/bin/python3", "-ISE", "-c", HOG], preexec_fn=lambda: [enter(group) for group in groups] and None
    )


@contextmanager
def told(group: Group) -> Iterator[int]:
    """The descriptor that tells when to look."""
    if v1():
        descriptor = shortage.subscribe(group)
    else:
        descriptor = inotify.inotify_init1(inotify.IN_NONBLOCK | inotify.IN_CLOEXEC)
        shortage.watch(descriptor, group)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_oom_is_told_and_counted(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {"memory": {"limit": 8 << 20, "swap": 8 << 20}})
    with told(group) as descriptor:
        assert shortage.look(group) == 0
        assert not select.select([descriptor], [], [], 0)[0]
        assert hog(group).wait(20) == -9
        assert select.select([descriptor], [], [], 0)[0]
        assert shortage.look(group) >= 1


def test_oom_of_a_group_the_container_made_counts_as_its_own(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {"memory": {"limit": 8 << 20, "swap": 8 << 20}})
    inner = Group.create(hierarchy.detect(), f"{path}/inner", {})
    with told(group) as descriptor:
        assert hog(inner).wait(20) == -9
        assert select.select([descriptor], [], [], 0)[0]
    assert shortage.look(group) == shortage.look(inner) >= 1


@pytest.mark.skipif(not v1(), reason="cgroup v1 alone can let them wait")
def test_oom_without_a_kill_is_told_and_counted_while_it_lasts(path: str) -> None:
    resources = {"memory": {"limit": 8 << 20, "swap": 8 << 20, "disableOOMKiller": True}}
    group = Group.create(hierarchy.detect(), path, resources)
    with told(group) as descriptor, hog(group) as process:
        assert select.select([descriptor], [], [], 20)[0]
        for _ in range(2000):
            if shortage.look(group):
                break
            time.sleep(0.005)
        assert shortage.look(group) == 1
        process.kill()  # what waits for memory can be killed, and with it the others of the group
        assert process.wait(20) == -9
    assert shortage.look(group) == 0


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


def test_a_refused_limit_leaves_the_others_as_they_were(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {"memory": {"limit": 64 << 20}, "pids": {"limit": 12}})
    pids = Path(group.directory("pids"), "pids.max")
    memory = Path(group.directory("memory"), "memory.limit_in_bytes" if v1() else "memory.max")
    with pytest.raises(InvalidArgument, match="failed to write"):
        group.update({"memory": {"limit": 32 << 20}, "pids": {"limit": 7}, "cpu": {"cpus": "4095"}})
    assert pids.read_text() == "12\n"
    assert memory.read_text() == f"{64 << 20}\n"
    group.update({"pids": {"limit": -1}})
    assert pids.read_text() == "max\n"


@pytest.mark.skipif(not v1(), reason="needs cgroup v1")
def test_memory_in_use_is_not_taken_away(path: str) -> None:
    group = Group.create(hierarchy.detect(), path, {"memory": {"limit": 64 << 20, "swap": 64 << 20}})
    size = 24 << 20
    script = (
        f"import mmap, time; m = mmap.mmap(-1, {size}); m.write(b'x' * {size}); print(1, flush=True); time.sleep(60)"
    )
    hog = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, preexec_fn=lambda: enter(group))
    try:
        assert hog.stdout is not None
        assert hog.stdout.readline() == b"1\n"
        with pytest.raises(InvalidArgument, match="unable to set memory limit to 8388608 \\(current usage: "):
            group.update({"memory": {"limit": 8 << 20, "swap": 8 << 20}})
        limit = Path(group.directory("memory"), "memory.limit_in_bytes").read_text()
        assert limit == f"{64 << 20}\n"
    finally:
        hog.kill()
        hog.wait()
        hog.stdout.close()


def test_features_are_what_the_kernel_offers() -> None:
    parent = f"/corten-test-{secrets.token_hex(4)}"
    found = features.detect(hierarchy.detect(), parent)
    assert {"memory", "cpu_cfs", "cpu_shares", "pids", "cpuset"} <= found
    assert ("swappiness" in found) == v1()
    assert not Group(hierarchy.detect(), parent).exists()
