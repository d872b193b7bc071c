"""What a group uses, from the files of both versions as kernels print them; the arithmetic on top."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.cgroup import stats
from corten.cgroup.group import Group
from corten.cgroup.hierarchy import Hierarchy
from corten.cli.commands import stats as shown
from corten.engine.containers import stats as engine

V2 = {
    "cpu.stat": "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 4\nnr_throttled 1\nthrottled_usec 70\n",
    "memory.stat": "anon 4096\nfile 8192\ninactive_file 2048\nworkingset_refault_anon 3\nworkingset_refault_file 4\n",
    "memory.current": "16384\n",
    "memory.peak": "20480\n",
    "memory.max": "max\n",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n",
    "pids.current": "3\n",
    "pids.max": "100\n",
    "io.stat": "254:0 rbytes=512 wbytes=1024 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n",
}


@pytest.fixture
def group(tmp_path: Path) -> Group:
    directory = tmp_path / "c"
    directory.mkdir()
    for name, text in V2.items():
        (directory / name).write_text(text)
    names = ("cpu", "memory", "pids", "io")
    return Group(Hierarchy(2, dict.fromkeys(names, str(tmp_path)), {}, str(tmp_path)), "/c")


def test_v2_processor_time_is_in_nanoseconds(group: Group) -> None:
    found = stats.cpu(group)
    assert found["usage"] == {"total": 5_000_000, "kernel": 2_000_000, "user": 3_000_000}
    assert found["throttling"] == {"periods": 4, "throttledPeriods": 1, "throttledTime": 70_000}


def test_v2_memory_as_docker_shows_it(group: Group) -> None:
    made = engine.memory_stats(stats.memory(group), 1 << 30, stats.out_of_memory(group))
    assert (made.usage, made.limit, made.failcnt) == (16384, 1 << 30, 2)
    assert made.stats["inactive_file"] == 2048
    assert made.stats["workingset_refault"] == 7
    assert shown.memory_without_cache({"usage": 16384, "stats": {"inactive_file": 2048}}) == 14336


def test_v2_processes_and_blocks(group: Group) -> None:
    assert stats.pids(group) == {"current": 3, "limit": 100}
    made = engine.blkio_stats(stats.blkio(group), version=2)
    assert made.io_service_bytes_recursive == [
        {"major": 254, "minor": 0, "op": "read", "value": 512}, {"major": 254, "minor": 0, "op": "write", "value": 1024},
    ]  # fmt: skip


def test_a_group_that_is_gone_uses_nothing(tmp_path: Path) -> None:
    gone = Group(Hierarchy(2, {"memory": str(tmp_path)}, {}, str(tmp_path)), "/gone")
    assert stats.cpu(gone)["usage"]["total"] == 0
    assert stats.memory(gone)["usage"]["usage"] == 0


def test_v1_entries_leave_the_sum_out() -> None:
    text = "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n"
    assert [entry["value"] for entry in stats.entries(text)] == [10, 20, 30]


@pytest.mark.parametrize(
    ("now", "before", "share"),
    [
        ((300, 1000), (100, 0), 40.0),
        ((100, 1000), (100, 0), 0.0),
        ((100, 0), (0, 0), 0.0),
        ((50, 1000), (100, 0), 0.0),
    ],
)
def test_the_share_of_processors(now: tuple[int, int], before: tuple[int, int], share: float) -> None:
    def half(numbers: tuple[int, int]) -> dict:
        usage, system = numbers
        return {"cpu_usage": {"total_usage": usage}, "system_cpu_usage": system, "online_cpus": 2}

    assert shown.processor_share({"cpu_stats": half(now), "precpu_stats": half(before)}) == share


def test_interfaces_the_kernel_makes_are_not_shown() -> None:
    counters = list(range(16))
    found = engine.network_stats({"lo": counters, "tunl0": counters, "eth0": counters})
    assert list(found) == ["eth0"]
    assert (found["eth0"].rx_bytes, found["eth0"].tx_bytes) == (0, 8)
