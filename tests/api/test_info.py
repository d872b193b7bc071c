"""``/info`` and ``/version``, member by member: that they are API 1.51's, and that what they say is so."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

#: Members of SystemInfo in Docker's description of API 1.51, with what JSON has there.
INFO: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(
        ("ID", "Driver", "DockerRootDir", "SystemTime", "LoggingDriver", "CgroupDriver", "CgroupVersion", "KernelVersion",
         "OperatingSystem", "OSVersion", "OSType", "Architecture", "IndexServerAddress", "HttpProxy", "HttpsProxy",
         "NoProxy", "Name", "ServerVersion", "DefaultRuntime", "Isolation", "InitBinary"), str),
    **dict.fromkeys(
        ("Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped", "Images", "NFd", "NGoroutines",
         "NEventsListener", "NCPU", "MemTotal"), int),
    **dict.fromkeys(
        ("MemoryLimit", "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit", "OomKillDisable",
         "IPv4Forwarding", "Debug", "ExperimentalBuild", "LiveRestoreEnabled"), bool),
    **dict.fromkeys(
        ("DriverStatus", "Labels", "SecurityOptions", "DefaultAddressPools", "DiscoveredDevices", "CDISpecDirs"), list),
    **dict.fromkeys(
        ("Plugins", "RegistryConfig", "Runtimes", "Swarm", "ContainerdCommit", "RuncCommit", "InitCommit",
         "FirewallBackend"), dict),
    "GenericResources": type(None),
    "Warnings": (list, type(None)),
}  # fmt: skip
#: In the description, but left out by who has nothing to say: there is no containerd, no licence, no such limit.
OMITTED = {"Containerd", "ProductLicense", "KernelMemoryTCP", "BridgeNfIptables", "BridgeNfIp6tables"}
VERSION = {
    "Platform", "Components", "Version", "ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch",
    "KernelVersion", "BuildTime",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(busybox_tar: Path) -> Iterator[EngineProcess]:
    """An engine with something to tell."""
    proxies = [
        "HTTPS_PROXY=http://user:secret@proxy.test:3128/x",
        "http_proxy=plain.test:8080",
        "NO_PROXY=*.test,10.0.0.0/8",
    ]
    flags = ["--label", "a=b", "--debug", "--insecure-registry", "reg.test:5000", "--insecure-registry", "10.9.0.0/16"]
    pools = ["--default-address-pool", "base=172.30.0.0/16,size=24"]
    with EngineProcess.running(*flags, *pools, prefix=["env", *proxies]) as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        yield engine


def info(engine: EngineProcess, version: str = "1.51") -> dict[str, Any]:
    found: dict[str, Any] = engine.api("GET", f"/v{version}/info")
    return found


def test_the_members_are_those_of_the_description(engine: EngineProcess) -> None:
    found = info(engine)
    assert set(found) == set(INFO)
    assert {
        name for name, kind in INFO.items() if type(found[name]) not in (kind if isinstance(kind, tuple) else (kind,))
    } == set()
    assert not OMITTED & set(found)
    assert set(found["RegistryConfig"]) == {"InsecureRegistryCIDRs", "IndexConfigs", "Mirrors"}
    assert all(set(found[name]) == {"ID"} for name in ("ContainerdCommit", "RuncCommit", "InitCommit"))


def test_the_host_is_described_as_it_is(engine: EngineProcess) -> None:
    found = info(engine)
    names = os.uname()
    assert (found["KernelVersion"], found["Architecture"], found["Name"]) == (
        names.release,
        names.machine,
        socket.gethostname(),
    )
    assert found["NCPU"] == os.cpu_count()
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    assert found["MemTotal"] == int(total.split()[1]) * 1024
    assert found["DockerRootDir"] == str(engine.data_root)
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", engine.data_root], capture_output=True, text=True, check=True
    ).stdout
    status = dict(found["DriverStatus"])
    assert status["Backing Filesystem"] == {"ext2/ext3\n": "extfs"}.get(kind, kind.strip())
    assert (found["Driver"], status["Supports d_type"], status["userxattr"]) == ("overlay2", "true", "false")
    assert found["IPv4Forwarding"] == (Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n")
    assert (
        abs(time.time() - time.mktime(time.strptime(found["SystemTime"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone)
        < 60
    )


def test_numbers_follow_what_happens(engine: EngineProcess) -> None:
    def counts() -> tuple[int, ...]:
        found = info(engine)
        return tuple(found[f"Containers{state}"] for state in ("", "Running", "Paused", "Stopped"))

    for name in ("runs", "paused"):
        engine.docker("run", "-d", "--name", name, "busybox", "sleep", "60")
    engine.docker("create", "--name", "made", "busybox", "true")
    engine.docker("pause", "paused")
    assert counts() == (3, 1, 1, 1)
    engine.docker("rm", "-f", "runs", "paused", "made")
    assert counts() == (0, 0, 0, 0)
    quiet = info(engine)
    assert engine.process is not None
    assert abs(quiet["NFd"] - len(os.listdir(f"/proc/{engine.process.pid}/fd"))) < 10
    listening = subprocess.Popen(["docker", "events"], env=engine.environment, stdout=subprocess.DEVNULL)
    try:
        while info(engine)["NEventsListener"] != quiet["NEventsListener"] + 1:
            assert listening.poll() is None
    finally:
        listening.kill()
        listening.wait()


def test_settings_are_told_and_secrets_are_not(told: EngineProcess) -> None:
    found = info(told)
    assert (found["HttpProxy"], found["NoProxy"]) == ("plain.test:8080", "*.test,10.0.0.0/8")
    assert found["HttpsProxy"] == "http://xxxxx:xxxxx@proxy.test:3128/x"
    assert found["Debug"] is True
    assert found["Labels"] == ["a=b"]
    assert found["DefaultAddressPools"] == [{"Base": "172.30.0.0/16", "Size": 24}]
    registries = found["RegistryConfig"]
    assert registries["InsecureRegistryCIDRs"] == ["::1/128", "127.0.0.0/8", "10.9.0.0/16"]
    assert registries["IndexConfigs"]["reg.test:5000"] == {
        "Name": "reg.test:5000", "Mirrors": [], "Secure": False, "Official": False,
    }  # fmt: skip
    assert "secret" not in told.docker("info").stdout + told.corten("info").stdout


def test_older_clients_find_what_they_look_for(engine: EngineProcess) -> None:
    old, middle, new = info(engine, "1.41"), info(engine, "1.48"), info(engine, "1.50")
    for found in (old, middle):
        assert found["RuncCommit"] == {"ID": found["RuncCommit"]["ID"], "Expected": found["RuncCommit"]["ID"]}
        assert {"BridgeNfIptables", "BridgeNfIp6tables"} <= set(found)
    assert old["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] == []
    assert "AllowNondistributableArtifactsCIDRs" not in middle["RegistryConfig"]
    assert "FirewallBackend" not in middle
    assert set(new) == set(INFO)
    loaded = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    assert old["BridgeNfIptables"] == (loaded.exists() and loaded.read_text() == "1\n")


def test_version(engine: EngineProcess) -> None:
    found = engine.api("GET", "/version")
    assert set(found) == VERSION
    assert (found["ApiVersion"], found["MinAPIVersion"], found["Os"]) == ("1.51", "1.24", "linux")
    assert found["KernelVersion"] == os.uname().release
    component = found["Components"][0]
    assert component["Version"] == found["Version"]
    same = ("ApiVersion", "MinAPIVersion", "Arch", "GitCommit", "GoVersion", "KernelVersion", "Os", "BuildTime")
    assert [component["Details"][name] for name in same] == [found[name] for name in same]
    assert time.strptime(found["BuildTime"][:19], "%Y-%m-%dT%H:%M:%S").tm_year >= 2025
    assert "Built:" in engine.docker("version").stdout
