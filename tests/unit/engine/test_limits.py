"""What a client may ask for on which host, what is dropped with which warning, and what an update writes: pure."""

from __future__ import annotations

from typing import Any

import pytest

from corten.api.types.container import HostConfig, ThrottleDevice, WeightDevice
from corten.engine import limits as info
from corten.engine.spec.limits import HostLimits, check_limits, check_parent
from corten.engine.spec.resources import block_devices, changed_limits, limits
from corten.errors import InvalidArgument

HERE = HostLimits(processors=2, cpus="0-1", mems="0")
#: A host of cgroup v2, as Debian 12 has it.
V2 = HostLimits(
    processors=2, cpus="0-1", mems="0",
    features=HERE.features - {"swappiness", "oom_kill_disable", "cpu_realtime"},
)  # fmt: skip
BARE = HostLimits(processors=2, features=frozenset())


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"BlkioWeight": 1001}, "Range of blkio weight is from 10 to 1000"),
        ({"BlkioWeightDevice": [WeightDevice("/dev/x", 5)]}, "invalid weight for device: /dev/x:5"),
        ({"BlkioDeviceReadBps": [ThrottleDevice("/dev/x", -1)]}, "invalid rate for device: /dev/x:-1"),
        ({"CpuRealtimeRuntime": 2000, "CpuRealtimePeriod": 1000},
         "cpu real-time runtime cannot be higher than cpu real-time period"),
        ({"IOMaximumIOps": 1}, "Invalid QoS settings: linux does not support configuration of maximum IOPs"),
        ({"IOMaximumBandwidth": 1}, "Invalid QoS settings: linux does not support configuration of maximum bandwidth"),
        ({"KernelMemoryTCP": 1}, "KernelMemoryTCP is no longer supported"),
        ({"CpuShares": -1}, "invalid CPU shares (-1): value must be a positive integer"),
        ({"Memory": 6 << 20, "MemoryReservation": 7 << 20}, "can not be less than memory reservation limit"),
        ({"MemoryReservation": 5}, "Minimum memory reservation allowed is 6MB"),
        ({"CgroupParent": "system.slice"}, "a slice is systemd's to make"),
        ({"CgroupParent": "/a/../../b"}, "it must be a path without '..'"),
    ],
)  # fmt: skip
def test_refusals(host: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_limits(HostConfig(**host), HERE)
    assert text in str(caught.value)


def test_what_v2_does_not_have_is_dropped_with_dockers_words() -> None:
    host, warnings = check_limits(HostConfig(MemorySwappiness=60, OomKillDisable=True), V2)
    assert (host.MemorySwappiness, host.OomKillDisable) == (None, None)
    lacking = "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted."
    assert warnings == [
        f"{lacking} Memory swappiness discarded.",
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    ]
    host, warnings = check_limits(HostConfig(MemorySwappiness=-1, OomKillDisable=False), V2)
    assert (host.MemorySwappiness, host.OomKillDisable, warnings) == (None, None, [])
    with pytest.raises(InvalidArgument, match="kernel does not support CPU real-time scheduler"):
        check_limits(HostConfig(CpuRealtimeRuntime=1000), V2)


def test_a_host_without_controllers_limits_nothing_and_says_so() -> None:
    wanted = HostConfig(
        Memory=1 << 30, MemoryReservation=1 << 29, CpuShares=2, CpuQuota=5000, CpusetCpus="0", PidsLimit=5,
        BlkioWeight=10, BlkioDeviceWriteIOps=[ThrottleDevice("/dev/x", 1)],
    )  # fmt: skip
    host, warnings = check_limits(wanted, BARE)
    assert limits(host, {}) == {"memory": {"swap": -1}}
    assert [text.split(".")[0] for text in warnings] == [
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted",
        "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted",
        "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted",
        "Your kernel does not support CPU shares or the cgroup is not mounted",
        "Your kernel does not support CPU CFS scheduler",
        "Your kernel does not support cpuset or the cgroup is not mounted",
        "Your kernel does not support Block I/O weight or the cgroup is not mounted",
        "Your kernel does not support IOPS Block write limit or the cgroup is not mounted",
    ]
    with pytest.raises(InvalidArgument, match="NanoCPUs can not be set"):
        check_limits(HostConfig(NanoCpus=10**9), BARE)


def test_what_only_windows_has_is_dropped() -> None:
    host, warnings = check_limits(HostConfig(CpuCount=2, CpuPercent=3), HERE)
    assert (host.CpuCount, host.CpuPercent) == (0, 0)
    assert warnings == [
        "linux does not support CPU percent. Percent discarded.", "linux does not support CPU count. Count discarded.",
    ]  # fmt: skip


def test_a_swap_limit_alone_may_be_updated() -> None:
    check_limits(HostConfig(MemorySwap=1 << 30), HERE, update=True)
    with pytest.raises(InvalidArgument):
        check_limits(HostConfig(MemorySwap=1 << 30), HERE)


@pytest.mark.parametrize("parent", ["", "/", "/my/group", "relative", "x.slices"])
def test_parents(parent: str) -> None:
    check_parent(parent)


def test_block_limits_in_the_document() -> None:
    host = HostConfig(
        BlkioWeight=300, BlkioWeightDevice=[WeightDevice("/dev/a", 20)],
        BlkioDeviceReadBps=[ThrottleDevice("/dev/a", 7)], BlkioDeviceWriteIOps=[ThrottleDevice("/dev/b", 8)],
        CpuRealtimeRuntime=5, CpuRealtimePeriod=10,
    )  # fmt: skip
    assert block_devices(host) == ["/dev/a", "/dev/a", "/dev/b"]
    assert limits(host, {"/dev/a": (8, 0), "/dev/b": (8, 16)}) == {
        "cpu": {"realtimeRuntime": 5, "realtimePeriod": 10},
        "blockIO": {
            "weight": 300,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 20}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 8}],
        },
    }


def test_an_update_writes_whole_sections_and_takes_a_pids_limit_back() -> None:
    old = HostConfig(Memory=1, MemorySwap=4, PidsLimit=9, CpuShares=2, BlkioWeightDevice=[WeightDevice("/dev/a", 20)])
    new = HostConfig(Memory=2, MemorySwap=4, PidsLimit=0, CpuShares=2, BlkioWeightDevice=[WeightDevice("/dev/a", 20)])
    assert changed_limits(old, new) == {"memory": {"limit": 2, "swap": 4}, "pids": {"limit": -1}}
    assert changed_limits(old, old) == {}


def test_info_says_what_is_lacking() -> None:
    assert info.fields(V2.features) == {
        "MemoryLimit": True, "SwapLimit": True, "CpuCfsPeriod": True, "CpuCfsQuota": True, "CPUShares": True,
        "CPUSet": True, "PidsLimit": True, "OomKillDisable": False,
    }  # fmt: skip
    assert info.warnings(V2.features, 2) == []
    assert info.warnings(HERE.features - {"swap"}, 1) == ["WARNING: No swap limit support"]
    assert info.warnings(HERE.features - {"block_weight"}, 2) == ["WARNING: No io.weight support"]
