"""The default container is what Docker's is: mounts, capabilities, devices, namespaces, filter."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from corten.cgroup import hierarchy, shortage
from corten.cgroup.group import Group
from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root
LSM = Path("/sys/kernel/security/lsm").read_text().split(",") if Path("/sys/kernel/security/lsm").exists() else []


def status(output: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in output.splitlines() if ":\t" in line)


def test_capabilities_and_filter_are_dockers(bundle: Bundle) -> None:
    found = status(bundle.run("cat", "/proc/self/status").stdout)
    assert found["CapBnd"] == found["CapEff"] == found["CapPrm"] == "00000000a80425fb"
    assert found["CapAmb"] == "0" * 16
    assert found["Seccomp"] == "2"


def test_cve_2022_24769_inheritable_capabilities_are_empty_in_run_and_exec(bundle: Bundle) -> None:
    assert status(bundle.run("cat", "/proc/self/status").stdout)["CapInh"] == "0" * 16
    identifier = bundle.start()
    found = status(bundle.exec(identifier, "cat", "/proc/self/status").stdout)
    assert found["CapInh"] == "0" * 16
    assert found["CapBnd"] == "00000000a80425fb"
    assert found["Seccomp"] == "2"


def test_the_mounts_are_dockers(bundle: Bundle) -> None:
    lines = bundle.run("cat", "/proc/self/mountinfo").stdout.splitlines()
    mounts = {line.split(" ")[4]: line.split(" ")[5] for line in lines}
    assert mounts["/proc"] == "rw,nosuid,nodev,noexec,relatime"
    assert mounts["/dev"] == "rw,nosuid"
    assert mounts["/dev/pts"] == "rw,nosuid,noexec,relatime"
    assert mounts["/sys"] == "ro,nosuid,nodev,noexec,relatime"
    assert mounts["/proc/sys"] == "ro,nosuid,nodev,noexec,relatime"
    assert mounts["/sys/firmware"].startswith("ro")
    assert mounts["/proc/keys"].startswith("rw,nosuid")


def test_cve_2022_0492_no_cgroup_mount_is_writable(bundle: Bundle) -> None:
    lines = bundle.run("cat", "/proc/self/mountinfo").stdout.splitlines()
    cgroups = [line for line in lines if line.split(" ")[4].startswith("/sys/fs/cgroup")]
    assert cgroups
    assert all(line.split(" ")[5].startswith("ro") for line in cgroups)
    assert bundle.shell("echo /x > /sys/fs/cgroup/memory/release_agent").returncode != 0


@pytest.mark.skipif(hierarchy.detect().version == 1, reason="needs cgroup v2")
def test_v2_shows_the_container_its_own_group_read_only(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "cgroup"})
    bundle.linux["resources"]["pids"] = {"limit": 77}
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    script = "cd /sys/fs/cgroup; cat pids.max memory.max; wc -l < cgroup.procs; echo 88 > pids.max; mkdir x"
    output = bundle.shell(script)
    assert output.stdout.split()[:2] == ["77", str(64 << 20)]
    assert int(output.stdout.split()[2]) >= 1
    assert output.stderr.count("Read-only file system") == 2
    assert bundle.shell("cat /proc/self/cgroup").stdout == "0::/\n"


@pytest.mark.skipif(hierarchy.detect().version == 1, reason="needs cgroup v2")
def test_v2_an_exec_is_born_in_the_containers_group(bundle: Bundle) -> None:
    identifier = bundle.start()
    group = f"0::{bundle.parent}/{identifier}\n"
    assert bundle.exec(identifier, "cat", "/proc/self/cgroup").stdout == group
    assert bundle.exec(identifier, "cat", "/proc/1/cgroup").stdout == group


@pytest.mark.skipif("apparmor" not in LSM, reason="needs a kernel that runs AppArmor")
@pytest.mark.parametrize("command", ["run", "exec"])
def test_a_loaded_apparmor_profile_confines_the_program(bundle: Bundle, command: str, tmp_path: Path) -> None:
    name = f"corten-test-{os.getpid()}"
    text = f"profile {name} flags=(attach_disconnected) {{\n  file,\n  capability,\n  signal,\n  deny /secret r,\n}}\n"
    profile = tmp_path / "profile"
    profile.write_text(text)
    subprocess.run(["apparmor_parser", "-K", "-r", str(profile)], check=True)
    try:
        (bundle.rootfs / "secret").write_text("x")
        script = "cat /proc/self/attr/apparmor/current; cat /secret"
        if command == "run":
            bundle.process["apparmorProfile"] = name
            output = bundle.shell(script)
        else:
            output = bundle.exec(bundle.start(), "sh", "-c", script, flags=("--apparmor", name))
        assert output.stdout == f"{name} (enforce)\n"
        assert "Permission denied" in output.stderr
    finally:
        subprocess.run(["apparmor_parser", "-R", str(profile)], check=True)


def test_masked_files_are_the_null_device(bundle: Bundle) -> None:
    assert bundle.shell("cat /proc/keys /proc/timer_list | wc -c").stdout.strip() == "0"
    assert bundle.shell("ls /sys/firmware | wc -l").stdout.strip() == "0"
    assert bundle.shell("echo 1 > /proc/sys/kernel/panic").returncode != 0


def test_every_namespace_is_its_own(bundle: Bundle) -> None:
    kinds = ("mnt", "pid", "net", "ipc", "uts")
    links = bundle.shell("for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done").stdout.split()
    assert len(links) == len(kinds)
    for kind, link in zip(kinds, links, strict=True):
        assert link != os.readlink(f"/proc/self/ns/{kind}")
    assert bundle.shell("echo $$; hostname").stdout.split() == ["1", "corten"]


def test_cgroup_namespace_hides_the_hosts_paths(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "cgroup"})
    lines = bundle.run("cat", "/proc/self/cgroup").stdout.splitlines()
    assert lines
    assert {line.rsplit(":", 1)[1] for line in lines} == {"/"}


def test_devices_are_dockers_and_nothing_else_opens(bundle: Bundle) -> None:
    listing = bundle.shell("ls /dev").stdout.split()
    expected = {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty"}
    assert expected | {"urandom", "zero"} <= set(listing)
    assert bundle.shell("echo x > /dev/null; head -c 4 /dev/zero | wc -c").stdout.strip() == "4"
    denied = bundle.shell("mknod /tmp/mem c 1 1 && cat /tmp/mem")
    assert denied.returncode != 0
    assert "not permitted" in denied.stderr


def test_mount_and_unshare_are_refused(bundle: Bundle) -> None:
    assert bundle.shell("mount -t tmpfs tmpfs /tmp").returncode != 0


def test_newer_calls_than_the_profile_answer_enosys(bundle: Bundle) -> None:
    from corten.linux.seccomp import compile_profile

    program = compile_profile(bundle.linux["seccomp"])
    assert program[:8] == bytes([0x20, 0, 0, 0, 4, 0, 0, 0])


def test_read_only_root(bundle: Bundle) -> None:
    bundle.spec["root"]["readonly"] = True
    assert "Read-only file system" in bundle.shell("touch /x").stderr
    assert not (bundle.rootfs / "x").exists()


def test_tmpfs_binds_and_their_flags(bundle: Bundle, tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "inner").mkdir(parents=True)
    (host / "file").write_text("from the host\n")
    bundle.spec["mounts"] += [
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=700", "noexec"]},
        {"destination": "/ro", "type": "bind", "source": str(host), "options": ["rbind", "ro", "rprivate"]},
        {"destination": "/rw", "type": "bind", "source": str(host), "options": ["rbind", "rprivate"]},
        {"destination": "/etc/one", "type": "bind", "source": str(host / "file"), "options": ["bind", "ro"]},
    ]
    output = bundle.shell(
        "cat /etc/one; touch /ro/x; touch /rw/y && echo written; stat -c %a /t; "
        "head -c 100000 /dev/zero > /t/big || echo full"
    )
    assert output.stdout.splitlines() == ["from the host", "written", "700", "full"]
    assert "Read-only" in output.stderr
    assert (host / "y").exists()
    assert not (host / "x").exists()


def test_recursive_read_only_bind_reaches_inner_mounts(bundle: Bundle, tmp_path: Path) -> None:
    import subprocess

    host = tmp_path / "host"
    (host / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", host / "inner"], check=True)
    try:
        options = {"ro": ["rbind", "ro"], "rro": ["rbind", "rro"]}
        bundle.spec["mounts"] += [
            {"destination": f"/{name}", "type": "bind", "source": str(host), "options": words}
            for name, words in options.items()
        ]
        output = bundle.shell("touch /ro/inner/a && echo top-only; touch /rro/inner/b || echo all")
        assert output.stdout.split() == ["top-only", "all"]
    finally:
        subprocess.run(["umount", host / "inner"], check=True)


def test_rlimits_environment_directory_and_user(bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    bundle.process["cwd"] = "/made/for/me"
    bundle.process["env"] += ["A=1", "B=x=y"]
    bundle.process["user"] = {"corten.user": "bob"}
    output = bundle.shell("ulimit -n; ulimit -Hn; pwd; echo $A $B $HOME; id -u; id -g; id -G").stdout.splitlines()
    assert output == ["100", "200", "/made/for/me", "1 x=y /home/bob", "1000", "1000", "1000 10"]


def test_sysctl_goes_to_the_containers_namespace(bundle: Bundle) -> None:
    before = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    bundle.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "7"}
    assert bundle.run("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start").stdout.strip() == "7"
    assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == before


def test_limits_are_in_the_cgroup(bundle: Bundle) -> None:
    bundle.linux["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 7}, cpu={"shares": 512})
    identifier = bundle.start()
    group = Group(hierarchy.detect(), bundle.linux["cgroupsPath"])
    assert Path(group.directory("pids"), "pids.max").read_text().strip() == "7"
    assert bundle.state(identifier)["pid"] in group.pids()
    many = bundle.exec(identifier, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 3 & done")
    assert "can't fork" in many.stderr


@pytest.mark.parametrize("megabytes", [8, 6])
def test_a_small_memory_limit_has_room_for_the_first_process(bundle: Bundle, megabytes: int) -> None:
    """Docker's least is 6 MB. What our side of the start leaves charged is a part of it."""
    bundle.linux["resources"]["memory"] = {"limit": megabytes << 20, "swap": megabytes << 20}
    identifier = bundle.start()
    group = Group(hierarchy.detect(), bundle.linux["cgroupsPath"])
    peak = Path(
        group.directory("memory"), "memory.max_usage_in_bytes" if group.hierarchy.version == 1 else "memory.peak"
    )
    assert not peak.exists() or int(peak.read_text()) < 4 << 20  # memory.peak: since Linux 5.19
    assert bundle.exec(identifier, "echo", "inside").stdout == "inside\n"
    assert shortage.look(group) == 0


def test_no_new_privileges(bundle: Bundle) -> None:
    bundle.process["noNewPrivileges"] = True
    assert status(bundle.run("cat", "/proc/self/status").stdout)["NoNewPrivs"] == "1"


def test_privileged_container_has_what_the_host_can_give(bundle: Bundle) -> None:
    from corten.linux.capability import BITS, bounding_has

    everything = list(BITS)
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), everything)
    bundle.linux.pop("seccomp")
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    bundle.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    found = status(bundle.run("cat", "/proc/self/status").stdout)
    here = sum(1 << bit for bit in BITS.values() if bounding_has(bit))
    assert int(found["CapEff"], 16) == here
    assert bundle.shell("mount -t tmpfs tmpfs /tmp && echo mounted").stdout == "mounted\n"
