"""Containers in user namespaces: what they are inside, what they are outside, what they cannot do."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from corten.runtime.seccomp import default_profile
from tests.kernel.conftest import DOCKER_CAPABILITIES, Bundle
from tests.kernel.runtime.test_start import overlay, zygote

__all__ = ["overlay"]
pytestmark = pytest.mark.root

BASE = 2_000_000_000
SIZE = 65536
MAPS = [{"containerID": 0, "hostID": BASE, "size": SIZE}]
STRONG = [
    *DOCKER_CAPABILITIES,
    "CAP_SYS_ADMIN",
    "CAP_NET_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_SYS_TIME",
    "CAP_DAC_READ_SEARCH",
]


def remap(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAPS


def give(tree: Path) -> None:
    for path in [tree, *tree.rglob("*")]:
        os.chown(path, BASE, BASE, follow_symlinks=False)


@pytest.fixture
def remapped(bundle: Bundle) -> Bundle:
    """The busybox bundle in a user namespace of its own; its tree belongs to the namespace's root, as podman has it."""
    remap(bundle)
    give(bundle.rootfs)
    return bundle


@pytest.fixture
def strong(remapped: Bundle) -> Bundle:
    """The same with capabilities that mean the whole host elsewhere, and the filter such a container has."""
    remapped.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), STRONG)
    remapped.linux["seccomp"] = default_profile(STRONG)
    return remapped


def test_root_inside_is_nobody_outside(remapped: Bundle) -> None:
    identifier = remapped.start()
    pid = remapped.state(identifier)["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"Uid:\t{BASE}\t{BASE}\t{BASE}\t{BASE}\n" in status
    assert f"Gid:\t{BASE}\t{BASE}\t{BASE}\t{BASE}\n" in status
    inside = remapped.exec(identifier, "sh", "-c", "id -u; cat /proc/self/uid_map; cat /proc/self/setgroups")
    assert inside.stdout.split() == ["0", "0", str(BASE), str(SIZE), "allow"], inside.stderr


def test_every_namespace_is_owned_by_the_user_namespace(strong: Bundle) -> None:
    """Its root configures its network, its host name and its clock offsets, and mounts a tmpfs of its own."""
    strong.linux["namespaces"].append({"type": "cgroup"})
    script = (
        "ip link set lo up && ip addr add 10.1.1.1/24 dev lo && hostname inside && hostname && mount -t tmpfs x /tmp"
        " && for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done"
    )
    output = strong.shell(script)
    assert output.stdout.split()[0] == "inside", output.stderr
    ours = [os.readlink(f"/proc/self/ns/{name}") for name in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")]
    assert not set(output.stdout.split()[1:]) & set(ours)


def test_who_owns_what_inside(remapped: Bundle) -> None:
    remapped.spec["mounts"].append(
        {"destination": "/mine", "type": "tmpfs", "source": "tmpfs", "options": ["uid=7", "gid=8", "mode=700"]}
    )
    remapped.process["cwd"] = "/made"
    remapped.linux["devices"] = [
        {"path": "/dev/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6}
    ]
    paths = "/ /dev /dev/null /dev/pts /dev/pts/ptmx /dev/shm /dev/mqueue /made /tmp /dev/fd /mine /dev/own"
    output = remapped.shell(f"stat -c '%n %u:%g' {paths}; echo x > /dev/null && cat /dev/zero | head -c 1 | wc -c")
    found = dict(line.split() for line in output.stdout.splitlines()[:-1])
    assert found.pop("/mine") == "7:8", output.stderr
    assert found.pop("/dev/own") == "5:6"
    assert {name: owner for name, owner in found.items() if owner != "0:0"} == {}
    assert output.stdout.splitlines()[-1] == "1"


def test_streams_and_terminals_are_the_users_own(remapped: Bundle) -> None:
    remapped.process["user"] = {"corten.user": "bob"}
    assert remapped.shell("id -u; echo again > /proc/self/fd/1").stdout.split() == ["1000", "again"]
    identifier = remapped.start()
    for user, uid in (("0", 0), ("bob", 1000)):
        output = remapped.exec(identifier, "sh", "-c", "id -u; echo again > /proc/self/fd/1", flags=("-u", user))
        assert output.stdout.split() == [str(uid), "again"], output.stderr
    remapped.process["terminal"] = True
    remapped.process["user"] = {"corten.user": "bob"}
    output = remapped.shell("stat -c %u $(tty); echo again > $(tty); stat -c %u /dev/console")
    assert output.stdout.split() == ["1000", "again", "1000"], output.stderr


def test_an_exec_is_in_the_user_namespace_with_its_capabilities_there(remapped: Bundle) -> None:
    identifier = remapped.start()
    pid = remapped.state(identifier)["pid"]
    output = remapped.exec(identifier, "sh", "-c", "readlink /proc/self/ns/user; grep Cap /proc/self/status")
    first = Path(f"/proc/{pid}/status").read_text()
    assert output.stdout.splitlines()[0] == os.readlink(f"/proc/{pid}/ns/user")
    assert output.stdout.splitlines()[1:] == [line for line in first.splitlines() if line.startswith("Cap")]


@pytest.mark.parametrize("flags", [("-u", "70000"), ("-u", "0:70000"), ("-g", "70000")])
def test_a_user_outside_of_the_maps_is_refused_by_its_number(remapped: Bundle, flags: tuple[str, ...]) -> None:
    identifier = remapped.start()
    output = remapped.exec(identifier, "id", flags=flags)
    assert output.returncode != 0
    assert "not mapped in the container's user namespace" in output.stderr


def test_limits_are_set_and_the_score_is_written_by_the_host(remapped: Bundle) -> None:
    remapped.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 70, "hard": 90}]
    remapped.process["oomScoreAdj"] = 300
    output = remapped.shell("ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj")
    assert output.stdout.split() == ["70", "90", "300"], output.stderr


def test_a_user_namespace_by_path_and_a_network_of_somebody_else(remapped: Bundle, tmp_path: Path) -> None:
    first = remapped.start()
    pid = remapped.state(first)["pid"]
    for entry in remapped.linux["namespaces"]:
        if entry["type"] == "user":
            entry["path"] = f"/proc/{pid}/ns/user"
        elif entry["type"] == "network":
            entry["path"] = f"/proc/{pid}/ns/net"
    del remapped.linux["uidMappings"], remapped.linux["gidMappings"]
    output = remapped.shell("for n in user net pid; do readlink /proc/self/ns/$n; done; id -u; stat -c %u /sys /")
    assert output.stdout.split()[:2] == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("user", "net")]
    assert output.stdout.split()[2] != os.readlink(f"/proc/{pid}/ns/pid")
    assert output.stdout.split()[3] == "0", output.stderr
    remapped.linux["uidMappings"] = remapped.linux["gidMappings"] = [{"containerID": 0, "hostID": 5, "size": 1}]
    assert "the user namespace that is joined has other mappings" in remapped.shell("true").stderr


def test_the_hosts_network_stays_the_hosts(strong: Bundle) -> None:
    """A network namespace of the initial user namespace: there, and nothing in it may be changed."""
    for entry in strong.linux["namespaces"]:
        if entry["type"] == "network":
            entry["path"] = "/proc/self/ns/net"
    output = strong.shell("readlink /proc/self/ns/net; ls /sys/class/net; ip addr add 10.9.9.9/32 dev lo")
    assert output.stdout.split()[0] == os.readlink("/proc/self/ns/net")
    assert "lo" in output.stdout.split()
    assert "not permitted" in output.stderr


# -- id-mapped mounts


def test_layers_are_shared_unshifted(
    bundle: Bundle,
    overlay: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """The image's files keep their owners on disk, what the container writes has the container's ids there."""
    os.chown(tmp_path / "layers/base/etc/passwd", 3, 4)
    before = {path: path.lstat() for path in (tmp_path / "layers").rglob("*")}
    remap(bundle)
    overlay[0]["idmap"] = str(tmp_path)
    script = (
        "stat -c %u:%g / /etc /etc/passwd; echo x >> /etc/passwd; stat -c %u:%g /etc/passwd; echo new > /file;"
        " mkdir /deep; chown 1000:1001 /file; chmod 4755 /file; rm /etc/group; mv /root /toor; ln -s x /link"
    )
    report, said = zygote(bundle, overlay, script)
    assert (report["code"], report["messages"]) == (0, []), said
    assert said.split() == ["0:0", "0:0", "3:4", "3:4"]
    assert {path: path.lstat() for path in (tmp_path / "layers").rglob("*")} == before
    upper = tmp_path / "upper"
    owners = {str(path.relative_to(upper)): (path.lstat().st_uid, path.lstat().st_gid) for path in upper.rglob("*")}
    assert owners.pop("file") == (1000, 1001)
    assert owners.pop("etc/passwd") == (3, 4)
    assert set(owners.values()) == {(0, 0)}
    assert stat.S_IMODE((upper / "file").lstat().st_mode) == 0o4755
    assert stat.S_ISCHR((upper / "etc/group").lstat().st_mode)


def test_two_containers_with_other_maps_on_the_same_layers(
    bundle: Bundle,
    overlay: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    remap(bundle)
    overlay[0]["idmap"] = str(tmp_path)
    for base in (BASE, BASE + SIZE):
        bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": base, "size": SIZE}]
        bundle.linux["gidMappings"] = bundle.linux["uidMappings"]
        report, said = zygote(bundle, overlay, f"cat /count; echo {base} >> /count; stat -c %u /count")
        assert report["code"] == 0, said
    assert (tmp_path / "upper/count").read_text().split() == [str(BASE), str(BASE + SIZE)]
    assert (tmp_path / "upper/count").stat().st_uid == 0


def test_a_bind_is_shifted_when_asked_and_only_then(remapped: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("host")
    own = {"uidMappings": [{"containerID": 0, "hostID": BASE + 9, "size": 1}]}
    own["gidMappings"] = own["uidMappings"]
    remapped.spec["mounts"] += [
        {"destination": "/plain", "type": "bind", "source": str(source), "options": ["bind"]},
        {"destination": "/mapped", "type": "bind", "source": str(source), "options": ["bind", "idmap"]},
        {"destination": "/other", "type": "bind", "source": str(source), "options": ["rbind", "ro"], **own},
    ]
    output = remapped.shell("stat -c %u /plain/file /mapped/file /other/file; echo x > /mapped/new; echo x > /plain/no")
    assert output.stdout.split() == ["65534", "0", "9"], output.stderr
    assert "/plain/no: Permission denied" in output.stderr
    assert (source / "new").stat().st_uid == 0
    assert not (source / "no").exists()


def test_id_mapped_mounts_without_a_user_namespace(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    mount: dict[str, Any] = {"destination": "/x", "type": "bind", "source": str(tmp_path), "options": ["bind", "idmap"]}
    bundle.spec["mounts"].append(mount)
    assert "idmap needs mappings where no user namespace is" in bundle.shell("true").stderr
    mount["uidMappings"] = mount["gidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert bundle.shell("stat -c %u:%g /x/file").stdout.split() == ["1000:1000"]
    del mount["gidMappings"]
    assert "uidMappings without gidMappings" in bundle.shell("true").stderr


def test_a_file_system_that_cannot_be_mapped_is_refused_by_name(remapped: Bundle) -> None:
    remapped.spec["mounts"].append(
        {"destination": "/x", "type": "bind", "source": "/proc/sys", "options": ["bind", "idmap"]}
    )
    assert "has no id-mapped mounts" in remapped.shell("true").stderr


# -- attacks


def test_cve_2022_0492_no_release_agent_can_be_written(strong: Bundle, canary: Path) -> None:
    """Mounting a cgroup v1 hierarchy anew and naming a program of the host that root there would run."""
    script = (
        "mkdir /tmp/c; for t in memory cpu pids freezer rdma misc; do mount -t cgroup -o $t x /tmp/c 2>/dev/null &&"
        f" {{ echo '#!/bin/sh\ntouch {canary}/owned' > /tmp/agent; chmod 755 /tmp/agent;"
        " echo /tmp/agent > /tmp/c/release_agent && echo OWNED; echo 1 > /tmp/c/notify_on_release && echo NOTIFY;"
        " umount /tmp/c; }; done; for f in $(find /sys/fs/cgroup -name release_agent 2>/dev/null);"
        " do echo x > $f && echo OWNED; done; true"
    )
    output = strong.shell(script)
    assert output.returncode == 0
    assert "OWNED" not in output.stdout
    assert not (canary / "owned").exists()


def test_masks_and_read_only_paths_are_locked(strong: Bundle) -> None:
    """CAP_SYS_ADMIN in the namespace: no umount, no remount, no fresh procfs, no bind of what lies below a mask."""
    script = (
        "for p in /proc/kcore /proc/keys /proc/timer_list /sys/firmware /proc/sys /proc/bus /proc /sys /dev /etc/ro;"
        " do umount $p 2>/dev/null && echo BARE $p; umount -l $p 2>/dev/null && echo BARE $p; done;"
        " for p in /proc/sys /proc/bus /sys /etc/ro; do mount -o remount,bind,rw $p 2>/dev/null && echo RW $p; done;"
        " mkdir /tmp/p /tmp/b; mount -t proc x /tmp/p 2>/dev/null && echo FRESH proc;"
        " mount -t sysfs x /tmp/p 2>/dev/null && echo FRESH sysfs;"
        " mount --bind /proc /tmp/b 2>/dev/null && [ -s /tmp/b/keys ] && echo BELOW;"
        " echo 1 > /proc/sys/kernel/randomize_va_space && echo WRITTEN; cat /etc/ro/file; echo x > /etc/ro/file; true"
    )
    source = strong.directory / "ro"
    source.mkdir()
    (source / "file").write_text("kept\n")
    os.chown(source / "file", BASE, BASE)
    strong.spec["mounts"].append(
        {"destination": "/etc/ro", "type": "bind", "source": str(source), "options": ["bind", "ro"]}
    )
    output = strong.shell(script)
    assert output.stdout == "kept\n", output.stdout
    assert (source / "file").read_text() == "kept\n"


def test_cve_2022_0185_settings_of_the_host_cannot_be_written(strong: Bundle) -> None:
    """With a writable /proc/sys: what the namespaces own changes, what the host owns does not."""
    strong.linux["readonlyPaths"] = []
    before = Path("/proc/sys/kernel/panic").read_text(), Path("/proc/sys/vm/swappiness").read_text()
    script = (
        "for f in kernel/panic kernel/core_pattern vm/swappiness kernel/modprobe fs/binfmt_misc/register;"
        " do echo 1 > /proc/sys/$f && echo OWNED $f; done; echo b > /proc/sysrq-trigger && echo OWNED;"
        " echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward"
    )
    assert strong.shell(script).stdout.split() == ["1"]
    assert before == (Path("/proc/sys/kernel/panic").read_text(), Path("/proc/sys/vm/swappiness").read_text())


def test_no_device_node_of_the_containers_making_opens(strong: Bundle) -> None:
    """mknod needs the host's privilege; a node that came with the image lies on a file system without devices."""
    os.mknod(strong.rootfs / "planted", 0o20666, os.makedev(1, 1))
    os.chown(strong.rootfs / "planted", BASE, BASE)
    script = (
        "mknod /tmp/mem c 1 1 && echo MADE; mount -t tmpfs x /tmp; mknod /tmp/mem c 1 1 && echo MADE;"
        " head -c 1 /planted >/dev/null && echo OPENED; true"
    )
    assert strong.shell(script).stdout == ""


def test_files_and_processes_of_the_host_are_out_of_reach(strong: Bundle, canary: Path) -> None:
    """Root with every capability of its namespace, a bind of a directory only the host's root may read."""
    canary.chmod(0o700)
    strong.spec["mounts"].append(
        {"destination": "/canary", "type": "bind", "source": str(canary), "options": ["rbind"]}
    )
    script = (
        "cat /canary/secret; touch /canary/x; chown 0 /canary; chmod 777 /canary; mount --bind /canary /tmp && ls /tmp"
    )
    output = strong.shell(script)
    assert "canary" not in output.stdout
    assert canary.stat().st_mode & 0o7777 == 0o700


def test_setuid_programs_become_the_containers_root_and_nobody_elses(
    bundle: Bundle,
    overlay: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """A setuid program of the layer keeps its ids through the id-mapped mount, and is root of the namespace only."""
    base = tmp_path / "layers/base"
    program = base / "setuid"  # busybox gives up what it does not need
    shutil.copy("/bin/cat", program)
    for library in re.findall(r"/\S+", subprocess.run(["ldd", "/bin/cat"], capture_output=True, text=True).stdout):
        (base / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, base / library[1:])
    remap(bundle)
    overlay[0]["idmap"] = str(tmp_path)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    for owner, uid in ((0, "0"), (1234, "1234")):
        os.chown(program, owner, owner)
        program.chmod(0o4755)  # chown takes the bit away
        report, said = zygote(bundle, overlay, "exec /setuid /proc/self/status")
        assert report["code"] == 0, said
        line = next(line for line in said.splitlines() if line.startswith("Uid:"))
        assert line.split()[1:3] == ["1000", uid], said


def test_the_builder_leaves_nothing_in_the_container(remapped: Bundle) -> None:
    """Neither its process, nor a descriptor, nor a name of the host in the mount table."""
    output = remapped.shell("ls /proc | grep -c '^[0-9]'; ls /proc/self/fd | wc -l; cat /proc/self/mountinfo")
    lines = output.stdout.splitlines()
    assert lines[0] in ("2", "3")  # the shell, ls, perhaps grep
    assert int(lines[1]) <= 4
    assert "/ns/" not in output.stdout


def test_cve_2016_9962_the_builder_cannot_be_looked_into(remapped: Bundle, tmp_path: Path) -> None:
    """A container whose pid namespace the next one shares watches while the builder is born there."""
    watch = (
        "while :; do for p in /proc/[0-9]*; do for l in root cwd exe fd/3; do"
        " readlink $p/$l 2>/dev/null | grep -q -e python -e corten && touch /tmp/seen; done; done; done"
    )
    first = remapped.start(watch)
    pid = remapped.state(first)["pid"]
    for entry in remapped.linux["namespaces"]:
        if entry["type"] == "pid":
            entry["path"] = f"/proc/{pid}/ns/pid"
    for _ in range(4):
        assert remapped.run("true").returncode == 0
    assert not (remapped.rootfs / "tmp/seen").exists()


def test_a_failure_of_the_builder_is_the_starters_error(remapped: Bundle) -> None:
    remapped.spec["mounts"].append({"destination": "/x", "type": "bind", "source": "/nonexistent", "options": ["bind"]})
    output = remapped.shell("true")
    assert output.returncode != 0
    assert 'error mounting "/nonexistent" to rootfs at "/x": no such file or directory' in output.stderr
    remapped.spec["mounts"].pop()
    assert "executable file not found" in remapped.run("nope").stderr


def test_hooks_run_as_the_host(remapped: Bundle, tmp_path: Path) -> None:
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\nid -u >> {tmp_path}/seen\ncat >> {tmp_path}/state\necho >> {tmp_path}/state\n")
    script.chmod(0o755)
    remapped.spec["hooks"] = {kind: [{"path": str(script)}] for kind in ("createRuntime", "createContainer")}
    assert remapped.shell("true").returncode == 0
    assert (tmp_path / "seen").read_text().split() == ["0", "0"]
    assert json.loads((tmp_path / "state").read_text().splitlines()[0])["pid"] > 1


# -- maps and clocks that cannot be


@pytest.mark.parametrize(
    ("uids", "text"),
    [
        ([{"containerID": 1, "hostID": BASE, "size": 5}], "uid 0 is not mapped"),
        ([{"containerID": 0, "hostID": BASE, "size": 0}], "size at least 1"),
        ([{"containerID": 0, "hostID": BASE, "size": 9}, {"containerID": 8, "hostID": 5, "size": 1}], "overlap at 8"),
        ([{"containerID": 0, "hostID": 4294967290, "size": 65536}], "past the last id"),
    ],
)
def test_maps_that_cannot_be(remapped: Bundle, uids: list[dict[str, int]], text: str) -> None:
    remapped.linux["uidMappings"] = uids
    assert text in remapped.shell("true").stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/time"), reason="needs time namespaces (Linux 5.6)")
@pytest.mark.parametrize("remapped_too", [False, True])
def test_a_time_namespace_has_its_own_clocks(bundle: Bundle, remapped_too: bool) -> None:
    if remapped_too:
        remap(bundle)
        give(bundle.rootfs)
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 86400 * 1000}, "monotonic": {"secs": 5, "nanosecs": 7}}
    identifier = bundle.start()
    output = bundle.exec(identifier, "sh", "-c", "cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets")
    own = float(Path("/proc/uptime").read_text().split()[0])
    words = output.stdout.split()
    assert int(words[0]) >= 86400 * 1000 + int(own) - 60, output.stderr
    assert words[1:] == ["monotonic", "5", "7", "boottime", "86400000", "0"]
    bundle.linux["timeOffsets"]["realtime"] = {"secs": 1}
    assert "unknown clock 'realtime'" in bundle.shell("true").stderr
