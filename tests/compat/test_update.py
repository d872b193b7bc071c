"""``update`` on containers that run and that do not, and limits that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compat.conftest import Client

from corten.cgroup.hierarchy import detect

pytestmark = pytest.mark.root


def show(cli: Client, name: str, *fields: str) -> str:
    return cli.out("inspect", "-f", " ".join("{{.HostConfig.%s}}" % field for field in fields), name)


def group_file(cli: Client, name: str, controller: str, file: str) -> str:
    """A file of the container's cgroup, whoever made it."""
    pid = cli.out("inspect", "-f", "{{.State.Pid}}", name)
    hierarchy = detect()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if (hierarchy.version == 2 and not names) or controller in names.split(","):
            return Path(hierarchy.controllers[controller] + path, file).read_text().strip()
    raise AssertionError(f"no {controller} in /proc/{pid}/cgroup")


needs_v1 = pytest.mark.skipif(detect().version == 2, reason="reads files of cgroup v1")


@needs_v1
def test_a_running_container(cli: Client) -> None:
    cli("run", "-d", "--name", "runs", "-m", "64m", "--pids-limit", "30", "busybox", "sleep", "1000")
    assert cli.out("update", "-m", "32m", "--memory-swap", "48m", "runs") == "runs"
    assert group_file(cli, "runs", "memory", "memory.limit_in_bytes") == str(32 << 20)
    assert group_file(cli, "runs", "memory", "memory.memsw.limit_in_bytes") == str(48 << 20)
    cli("update", "-m", "256m", "--memory-swap", "512m", "--memory-reservation", "16m", "runs")
    assert group_file(cli, "runs", "memory", "memory.limit_in_bytes") == str(256 << 20)
    assert show(cli, "runs", "Memory", "MemorySwap", "MemoryReservation") == f"{256 << 20} {512 << 20} {16 << 20}"
    cli("update", "--cpus", "0.5", "--cpu-shares", "200", "--cpuset-cpus", "0", "--pids-limit", "9", "runs")
    assert group_file(cli, "runs", "cpu", "cpu.cfs_quota_us") == "50000"
    assert group_file(cli, "runs", "cpu", "cpu.shares") == "200"
    assert group_file(cli, "runs", "cpuset", "cpuset.cpus") == "0"
    assert group_file(cli, "runs", "pids", "pids.max") == "9"
    cli("update", "--pids-limit", "-1", "runs")
    assert group_file(cli, "runs", "pids", "pids.max") == "max"
    cli("pause", "runs")
    cli("update", "--cpu-shares", "300", "runs")
    assert group_file(cli, "runs", "cpu", "cpu.shares") == "300"


@needs_v1
def test_what_is_changed_before_the_start_is_in_force_after_it(cli: Client) -> None:
    cli("create", "--name", "later", "busybox", "sleep", "1000")
    assert cli.out("update", "--cpu-quota", "40000", "--cpu-period", "80000", "--restart", "on-failure:3", "later")
    assert show(cli, "later", "CpuQuota", "RestartPolicy.Name", "RestartPolicy.MaximumRetryCount") == (
        "40000 on-failure 3"
    )
    cli("start", "later")
    assert group_file(cli, "later", "cpu", "cpu.cfs_quota_us") == "40000"


def test_refusals(cli: Client) -> None:
    cli("create", "--name", "plain", "busybox", "true")
    cli("create", "--name", "cpus", "--cpus", "1", "busybox", "true")
    cli("create", "--name", "quota", "--cpu-quota", "50000", "busybox", "true")
    cli("create", "--name", "gone", "--rm", "busybox", "true")
    identifier = cli.out("inspect", "-f", "{{.Id}}", "plain")
    assert cli.err("update", "plain") == "you must provide one or more flags when using this command\n"
    assert cli.err("update", "-m", "32m", "plain") == (
        f"Error response from daemon: Cannot update container {identifier}: Memory limit should be smaller than "
        "already set memoryswap limit, update the memoryswap at the same time\n"
    )
    assert "Minimum memory limit allowed is 6MB" in cli.err("update", "-m", "1m", "plain")
    assert "CPU Quota cannot be updated as NanoCPUs has already been set" in cli.err(
        "update", "--cpu-quota", "2000", "cpus"
    )
    assert "Nano CPUs cannot be updated as CPU Quota has already been set" in cli.err("update", "--cpus", "1", "quota")
    assert "Requested CPUs are not available - requested 4095" in cli.err("update", "--cpuset-cpus", "4095", "plain")
    assert "Restart policy cannot be updated because AutoRemove is enabled for the container" in cli.err(
        "update", "--restart", "always", "gone"
    )
    assert "invalid restart policy" in cli.err("update", "--restart", "perhaps", "plain")
    result = cli("update", "--cpu-shares", "100", "nowhere", "plain", code=1)
    assert result.stdout == "plain\n"
    assert result.stderr == "Error response from daemon: No such container: nowhere\n"
    assert show(cli, "plain", "CpuShares", "Memory") == "100 0"


@needs_v1
def test_what_the_kernel_refuses_changes_nothing(cli: Client) -> None:
    """All of its processes together hold more than the new limit, and nothing of it can be given back."""
    script = "dd if=/dev/zero of=/dev/shm/held bs=1M count=24 2>/dev/null; touch /ready; sleep 1000"
    cli("run", "-d", "--name", "holds", "-m", "64m", "--memory-swap", "64m", "--cpu-shares", "512",
        "busybox", "sh", "-c", script)  # fmt: skip
    for _ in range(100):
        if cli.any("exec", "holds", "test", "-e", "/ready").returncode == 0:
            break
    error = cli.err("update", "--cpu-shares", "99", "-m", "8m", "--memory-swap", "8m", "holds")
    assert "Cannot update container" in error
    assert group_file(cli, "holds", "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert show(cli, "holds", "Memory", "CpuShares") == f"{64 << 20} 512"
    if cli.kind != "reference":  # runc leaves what it wrote before the refusal
        assert group_file(cli, "holds", "cpu", "cpu.shares") == "512"


@needs_v1
def test_block_limits(cli: Client) -> None:
    disk = next((path for path in ("/dev/vda", "/dev/sda", "/dev/nvme0n1") if Path(path).exists()), "")
    if not disk:
        pytest.skip("no disk of a usual name")
    cli("run", "-d", "--name", "reads", "--device-read-bps", f"{disk}:2mb", "--device-write-iops", f"{disk}:50",
        "busybox", "sleep", "1000")  # fmt: skip
    assert group_file(cli, "reads", "blkio", "blkio.throttle.read_bps_device").endswith(f" {2 << 20}")
    assert group_file(cli, "reads", "blkio", "blkio.throttle.write_iops_device").endswith(" 50")
    cli("create", "--name", "nowhere", "--device-read-bps", "/dev/nope:1mb", "busybox", "true")
    assert "stat /dev/nope: no such file or directory" in cli.err("start", "nowhere")
    if cli.kind != "reference":  # Debian's dockerd does not look for BFQ's own file
        cli("run", "-d", "--name", "weighs", "--blkio-weight", "200", "busybox", "sleep", "1000")
        assert "200" in group_file(cli, "weighs", "blkio", "blkio.bfq.weight")
