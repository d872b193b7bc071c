"""Layouts as hosts mount them, from their mountinfo: which version is in force and where its directories are."""

from __future__ import annotations

import pytest

from corten.cgroup import hierarchy

DEBIAN_12_SYSTEMD = """\
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
31 22 0:27 / /sys/fs/pstore rw,nosuid,nodev,noexec,relatime shared:10 - pstore pstore rw
"""
UBUNTU_20_04_HYBRID = """\
30 22 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,size=4096k,nr_inodes=1024,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
35 30 0:31 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,net_cls,net_prio
36 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,cpu,cpuacct
37 30 0:33 / /sys/fs/cgroup/devices rw,nosuid,nodev,noexec,relatime shared:17 - cgroup cgroup rw,devices
38 30 0:34 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:18 - cgroup cgroup rw,memory
"""
CENTOS_7_V1 = """\
24 18 0:21 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,seclabel,mode=755
25 24 0:22 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:9 - cgroup cgroup rw,seclabel,xattr,release_agent=/usr/lib/systemd/systemd-cgroups-agent,name=systemd
27 24 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:10 - cgroup cgroup rw,seclabel,cpuacct,cpu
28 24 0:25 / /sys/fs/cgroup/devices rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,seclabel,devices
33 24 0:30 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,seclabel,memory
"""
OPENRC_HYBRID = """\
30 22 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - tmpfs cgroup_root ro,size=10240k,mode=755
31 30 0:27 / /sys/fs/cgroup/openrc rw,nosuid,nodev,noexec,relatime - cgroup openrc rw,release_agent=/lib/rc/sh/cgroup-release-agent.sh,name=openrc
32 30 0:28 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime - cgroup2 none rw,nsdelegate
33 30 0:29 / /sys/fs/cgroup/cpuset rw,nosuid,nodev,noexec,relatime - cgroup cpuset rw,cpuset
34 30 0:30 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime - cgroup memory rw,memory
"""
IN_A_CONTAINER_V2 = """\
700 690 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
"""
IN_A_CONTAINER_V1 = """\
700 690 0:90 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
701 700 0:33 /docker/0f1e /sys/fs/cgroup/devices ro,nosuid,nodev,noexec,relatime master:17 - cgroup cgroup rw,devices
702 700 0:34 /docker/0f1e /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:18 - cgroup cgroup rw,memory
"""
V2_WITH_A_NAMED_V1 = DEBIAN_12_SYSTEMD + (
    "90 30 0:60 / /sys/fs/cgroup/systemd rw,relatime shared:90 - cgroup cgroup rw,xattr,name=systemd\n"
)
ELSEWHERE_FIRST = (
    "20 1 0:34 /x /var/lib/other\\040place/memory rw - cgroup cgroup rw,memory\n"
    "21 1 0:27 / /var/lib/other\\040place/unified rw - cgroup2 cgroup2 rw\n" + UBUNTU_20_04_HYBRID
)
ONLY_ELSEWHERE = "21 1 0:27 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "version", "unified", "mounts"),
    [
        (DEBIAN_12_SYSTEMD, 2, "/sys/fs/cgroup", []),
        (UBUNTU_20_04_HYBRID, 1, "/sys/fs/cgroup/unified",
         ["systemd", "net_cls,net_prio", "cpu,cpuacct", "devices", "memory"]),
        (CENTOS_7_V1, 1, "", ["systemd", "cpuacct,cpu", "devices", "memory"]),
        (OPENRC_HYBRID, 1, "/sys/fs/cgroup/unified", ["openrc", "cpuset", "memory"]),
        (IN_A_CONTAINER_V2, 2, "/sys/fs/cgroup", []),
        (IN_A_CONTAINER_V1, 1, "", ["devices", "memory"]),
        (V2_WITH_A_NAMED_V1, 2, "/sys/fs/cgroup", []),
        (ELSEWHERE_FIRST, 1, "/sys/fs/cgroup/unified",
         ["systemd", "net_cls,net_prio", "cpu,cpuacct", "devices", "memory"]),
        (ONLY_ELSEWHERE, 2, "/mnt/my groups", []),
        ("", 2, "", []),
    ],
)  # fmt: skip
def test_layouts(mountinfo: str, version: int, unified: str, mounts: list[str]) -> None:
    found = hierarchy.parse(mountinfo)
    assert (found.version, found.unified, list(found.mounts)) == (version, unified, mounts)


def test_controllers_of_v1_are_found_by_each_of_their_names() -> None:
    found = hierarchy.parse(CENTOS_7_V1)
    assert found.controllers["cpu"] == found.controllers["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert "release_agent=/usr/lib/systemd/systemd-cgroups-agent" not in found.controllers
    assert "seclabel" not in found.controllers


def test_a_group_has_a_directory_in_each_hierarchy() -> None:
    assert hierarchy.parse(V2_WITH_A_NAMED_V1).directories("/corten/a") == ["/sys/fs/cgroup/corten/a"]
    assert hierarchy.parse(OPENRC_HYBRID).directories("/corten/a") == [
        "/sys/fs/cgroup/openrc/corten/a", "/sys/fs/cgroup/cpuset/corten/a", "/sys/fs/cgroup/memory/corten/a",
        "/sys/fs/cgroup/unified/corten/a",
    ]  # fmt: skip
