"""Limits to files, hierarchies out of mountinfo, device rules to programs: pure."""

from __future__ import annotations

import pytest

from corten.cgroup import devices, hierarchy, resources, writer
from corten.errors import NotSupported

HYBRID = """\
25 24 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro
26 25 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
27 25 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
29 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
30 25 0:26 / /mnt/again rw - cgroup cgroup rw,memory
"""


def test_hybrid() -> None:
    found = hierarchy.parse(HYBRID)
    assert found.version == 1
    assert found.unified == "/sys/fs/cgroup/unified"
    assert found.controllers["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert found.mounts["memory"] == "/sys/fs/cgroup/memory"
    assert found.directories("/a/b")[-1] == "/sys/fs/cgroup/unified/a/b"


def test_v2() -> None:
    found = hierarchy.parse("1 1 0:1 / /nowhere/cgroup rw - cgroup2 cgroup2 rw\n")
    assert (found.version, found.unified, dict(found.controllers)) == (2, "/nowhere/cgroup", {})


def test_v2_conversions() -> None:
    made = resources.settings_v2(
        {
            "memory": {"limit": 100, "swap": 300, "reservation": 50},
            "cpu": {"shares": 1024, "quota": 50000, "cpus": "0-1"},
            "pids": {"limit": -1},
            "unified": {"memory.high": "90"},
        }
    )
    assert {(file, value) for _, file, value in made} == {
        ("memory.max", "100"), ("memory.swap.max", "200"), ("memory.low", "50"), ("cpu.weight", "39"),
        ("cpu.max", "50000 100000"), ("cpuset.cpus", "0-1"), ("pids.max", "max"), ("memory.high", "90"),
    }  # fmt: skip


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (0, 1), (1 << 30, 10000)])
def test_weight(shares: int, weight: int) -> None:
    assert resources.weight_of_shares(shares) == weight


def test_swap_needs_a_limit() -> None:
    assert resources.swap_v2(10, -1) == "max"
    with pytest.raises(ValueError, match="without memory limit"):
        resources.swap_v2(0, 5)
    with pytest.raises(ValueError, match=">="):
        resources.swap_v2(10, 5)


def test_v1_lines() -> None:
    assert devices.line_v1({"allow": False, "access": "rwm"}) == ("devices.deny", "a")
    line = devices.line_v1({"allow": True, "type": "c", "major": 1, "minor": None, "access": "rm"})
    assert line == ("devices.allow", "c 1:* rm")


def test_a_program_ends_where_everything_matches() -> None:
    """Instructions behind a verdict nothing can pass are unreachable, which the kernel refuses."""
    refuse = devices.program([{"allow": False, "access": "rwm"}])
    assert len(refuse) // 8 == 8
    assert devices.program([{"allow": True, "type": "c", "major": 1}, {"allow": False, "access": "rwm"}]) == refuse


def test_what_only_v1_has_is_tried_on_v2_so_that_the_writer_says_what_is_lacking() -> None:
    made = resources.settings_v2({"memory": {"swappiness": 10, "disableOOMKiller": True}})
    assert made == [("memory", "memory.swappiness", "10"), ("memory", "memory.oom_control", "1")]
    assert resources.settings_v2({"memory": {"swappiness": 2**64 - 1, "disableOOMKiller": False}}) == []


def test_a_device_without_a_weight_gets_none() -> None:
    wanted = {"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}
    assert resources.settings_v1(wanted) == resources.settings_v2(wanted) == []


def test_files_of_v2_are_refused_on_v1() -> None:
    with pytest.raises(NotSupported, match="unified"):
        resources.settings_v1({"unified": {"memory.high": "1"}})
    assert resources.settings_v2({"unified": {"memory.high": "1"}}) == [("", "memory.high", "1")]


def test_a_block_weight_without_bfq() -> None:
    assert [resources.weight_of_block(weight) for weight in (1, 10, 500, 1000)] == [1, 1, 4950, 10000]


@pytest.mark.parametrize(
    ("rules", "everything"),
    [
        ([{"allow": True, "access": "rwm"}], True),
        ([{"allow": False, "access": "rwm"}, {"allow": True, "type": "a"}], True),
        ([{"allow": True}, {"allow": False, "type": "b", "major": 8}], False),
        ([{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1}], False),
        ([{"allow": False}, {"allow": True, "access": "rw"}], False),
        ([], False),
    ],
)
def test_a_list_that_refuses_nothing(rules: list, everything: bool) -> None:
    assert devices.opens_everything(rules) is everything


def test_block_limits_and_what_stands_in_for_them() -> None:
    block = {"weight": 100, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}
    assert [(file, value) for _, file, value in resources.settings_v1({"blockIO": block})] == [
        ("blkio.weight", "100"), ("blkio.weight_device", "8:0 1000"),
    ]  # fmt: skip
    assert resources.substitute("blkio.weight_device", "8:0 1000") == ("blkio.bfq.weight_device", "8:0 1000")
    assert resources.substitute("io.bfq.weight", "8:0 1000") == ("io.weight", "8:0 10000")
    assert resources.substitute("io.bfq.weight", "10") == ("io.weight", "1")
    assert resources.substitute("memory.max", "1") is None


def test_a_limit_of_memory_never_exceeds_that_of_memory_and_swap() -> None:
    def files(limit: int, swap: int, present: str) -> list[str]:
        made = resources.settings_v1({"memory": {"limit": limit, "swap": swap}})
        return [file.split(".")[1] for _, file, _ in writer.in_order(made, present)]

    assert files(200, 400, "100") == ["memsw", "limit_in_bytes"]
    assert files(50, 60, "100") == ["limit_in_bytes", "memsw"]
    assert files(200, 400, "") == ["limit_in_bytes", "memsw"]


@pytest.mark.parametrize(
    ("file", "value", "text", "undone"),
    [
        ("memory.limit_in_bytes", "5", "9223372036854771712\n", "9223372036854771712"),
        ("cpu.max", "1 2", "max 100000\n", "max 100000"),
        ("cpuset.cpus", "0", "", ""),
        ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "0"),
        ("io.weight", "7", "default 100\n8:0 200\n", "default 100"),
        ("io.weight", "8:0 7", "default 100\n8:0 200\n", "8:0 200"),
        ("blkio.throttle.read_bps_device", "8:0 7", "", "8:0 0"),
        ("io.max", "8:0 rbps=7", "8:0 rbps=9 wbps=max riops=max wiops=max\n", "8:0 rbps=9"),
        ("io.max", "8:16 wiops=7", "8:0 rbps=9 wbps=max riops=max wiops=max\n", "8:16 wiops=max"),
    ],
)
def test_what_undoes_a_write(file: str, value: str, text: str, undone: str) -> None:
    assert writer.previous(file, value, text) == undone
