"""``corten doctor``: what it makes of a host, and that it reads this one."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from corten.daemon import doctor
from corten.engine import host as hosts

GOOD = hosts.Host(
    kernel="6.1.0-18-amd64",
    architecture="x86_64",
    root=True,
    systemd=True,
    cgroups=hosts.Cgroups("2", frozenset({"cpu", "cpuset", "memory", "pids", "io"})),
    namespaces=frozenset(hosts.NAMESPACES),
    max_user_namespaces=1000,
    overlayfs=True,
    fuse=True,
    bridge=True,
    nftables=True,
    seccomp=True,
    libseccomp=True,
    libnftables=True,
    apparmor=True,
    selinux=False,
    sys_resource=True,
    open_files=(1048576, 1048576),
    processes=(-1, -1),
    ip_forward=True,
    disk_total=100 << 30,
    disk_free=50 << 30,
)


def levels(**changes: object) -> dict[str, str]:
    """The topics that are not ok on a good host with ``changes``."""
    findings = doctor.diagnose(msgspec.structs.replace(GOOD, **changes))
    return {finding.topic: finding.level for finding in findings if finding.level != doctor.OK}


def test_a_good_host_lacks_nothing() -> None:
    assert levels() == {}
    assert doctor.render(doctor.diagnose(GOOD)).endswith("nothing is missing")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kernel": "5.4.0"}, {"kernel": "fatal"}),
        ({"architecture": "riscv64"}, {"kernel": "fatal"}),
        ({"root": False}, {"user": "lack"}),
        ({"cgroups": hosts.Cgroups("", frozenset())}, {"cgroup": "lack"}),
        ({"cgroups": hosts.Cgroups("1", frozenset({"cpu", "memory"}))}, {"cgroup controllers": "lack"}),
        ({"namespaces": frozenset({"mnt", "pid"})}, {"namespaces": "fatal"}),
        ({"namespaces": frozenset(hosts.NAMESPACES) - {"user"}}, {"namespaces": "lack"}),
        ({"overlayfs": False}, {"overlayfs": "lack"}),
        ({"libseccomp": False}, {"libseccomp": "fatal"}),
        ({"nftables": False}, {"nftables": "lack"}),
        ({"apparmor": False}, {"mandatory access control": "lack"}),
        ({"sys_resource": False}, {"CAP_SYS_RESOURCE": "lack"}),
        ({"open_files": (1024, 1024)}, {"limit of open files": "lack"}),
        ({"ip_forward": False}, {"IP forwarding": "lack"}),
        ({"disk_free": 1 << 30}, {"disk": "lack"}),
    ],
)
def test_each_lack_is_named(changes: dict[str, object], expected: dict[str, str]) -> None:
    assert levels(**changes) == expected


def test_every_lack_says_what_it_costs() -> None:
    poor = msgspec.structs.replace(
        GOOD, overlayfs=False, nftables=False, sys_resource=False, disk_free=0, libseccomp=False
    )
    assert all(finding.cost for finding in doctor.diagnose(poor) if finding.level != doctor.OK)


@pytest.mark.parametrize(
    ("release", "version"), [("6.18.44-x", (6, 18)), ("5.10.0", (5, 10)), ("6.1", (6, 1)), ("weird", (0, 0))]
)
def test_kernel_version(release: str, version: tuple[int, int]) -> None:
    assert hosts.kernel_version(release) == version


def test_this_host_is_read() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "corten.daemon.doctor", "--json"], capture_output=True, text=True, check=False
    )
    topics = {row["topic"]: row for row in json.loads(result.stdout)}
    assert topics["kernel"]["found"].startswith("Linux ")
    assert result.returncode == any(row["level"] == "fatal" for row in topics.values())


def test_unknown_argument_is_refused() -> None:
    assert doctor.main(["--what"]) == 2
    assert doctor.main(["--repair"]) == 2
