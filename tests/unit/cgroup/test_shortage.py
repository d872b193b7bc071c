"""How often memory ran out, from the files of v1 and v2; and what inotify(7) says."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from corten.cgroup import shortage
from corten.cgroup.group import Group
from corten.cgroup.hierarchy import Hierarchy
from corten.linux import inotify


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3),
        ("oom_kill_disable 0\nunder_oom 1\noom_kill 3\n", 3),
        ("oom_kill_disable 1\nunder_oom 1\noom_kill 0\n", 1),
        ("oom_kill_disable 1\nunder_oom 0\noom_kill 2\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\n", 0),
        ("low 0\nhigh 0\nmax 70\noom 4\noom_kill 2\noom_group_kill 0\n", 2),
        ("", 0),
    ],
)
def test_count(text: str, expected: int) -> None:
    assert shortage.count(text) == expected


def version_2(top: Path) -> Group:
    (top / "c" / "inner").mkdir(parents=True)
    return Group(Hierarchy(2, {"memory": str(top)}, {}, str(top)), "/c")


def test_v2_counts_the_groups_below_itself(tmp_path: Path) -> None:
    group = version_2(tmp_path)
    assert shortage.look(group) == 0, "the group has no such file yet, or any more"
    (tmp_path / "c/memory.events").write_text("max 7\noom 2\noom_kill 2\n")
    (tmp_path / "c/inner/memory.events").write_text("max 7\noom 2\noom_kill 2\n")
    assert shortage.look(group) == 2


def test_v1_adds_the_groups_below(tmp_path: Path) -> None:
    group = Group(Hierarchy(1, {"memory": str(tmp_path)}, {"memory": str(tmp_path)}, ""), "/c")
    for directory, kills in (("c", 1), ("c/a", 2), ("c/a/b", 4)):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")
    assert shortage.look(group) == 7


def test_a_host_without_the_controller_counts_nothing() -> None:
    assert shortage.look(Group(Hierarchy(2, {}, {}, "/nowhere"), "/c")) == 0


def test_v2_tells_of_a_change_once_watched(tmp_path: Path) -> None:
    group = version_2(tmp_path)
    (tmp_path / "c/memory.events").write_text("oom_kill 0\n")
    instance = inotify.inotify_init1(inotify.IN_NONBLOCK | inotify.IN_CLOEXEC)
    try:
        number = shortage.watch(instance, group)
        with pytest.raises(BlockingIOError):
            os.read(instance, 4096)
        (tmp_path / "c/memory.events").write_text("oom_kill 1\n")
        assert inotify.watches(os.read(instance, 4096)) == {number}
        inotify.inotify_rm_watch(instance, number)
        with pytest.raises(OSError, match="Invalid argument"):
            inotify.inotify_rm_watch(instance, number)
    finally:
        os.close(instance)


def test_watches_reads_over_names_and_stops_at_a_cut() -> None:
    event = struct.Struct("=iIII")
    data = event.pack(7, 2, 0, 16) + b"name".ljust(16, b"\0") + event.pack(9, 2, 0, 0) + event.pack(-1, 0x4000, 0, 0)
    assert inotify.watches(data) == {7, 9, -1}
    assert inotify.watches(data[:-1]) == {7, 9}
    assert inotify.watches(b"") == set()
