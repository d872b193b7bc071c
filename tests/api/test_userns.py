"""Containers in user namespaces as users meet them: ``--userns auto`` and ``userns-remap``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

#: Executes the engine with another /etc, that only it sees.
OWN_ETC = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", 'mount --bind "$0" /etc; exec "$@"']
REMAPPED = 700000


def etc_of(directory: Path, subordinates: str, *, user: bool = True) -> list[str]:
    """A copy of the host's /etc with these entries in subuid and subgid; the prefix of an engine that sees it."""
    shutil.copytree("/etc", directory, symlinks=True, ignore_dangling_symlinks=True)
    if user:
        with (directory / "passwd").open("a") as file:
            file.write("dockremap:x:997:997::/:/bin/false\n")
        with (directory / "group").open("a") as file:
            file.write("dockremap:x:997:\n")
    for name in ("subuid", "subgid"):
        (directory / name).write_text(subordinates)
    return [*OWN_ETC, str(directory)]


@pytest.fixture(scope="module")
def remapped(scratch: Path, busybox_tar: Path) -> Iterator[EngineProcess]:
    """An engine with userns-remap: default."""
    prefix = etc_of(scratch / "etc-remap", f"dockremap:{REMAPPED}:65536\n")
    with EngineProcess.running("--userns-remap", "default", prefix=prefix) as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        yield engine


def pid_of(engine: EngineProcess, name: str) -> int:
    return int(engine.docker("inspect", "-f", "{{.State.Pid}}", name).stdout)


def host_ids(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return tuple(int(line.split()[1]) for line in lines if line.startswith(("Uid:", "Gid:")))  # type: ignore[return-value]


def test_each_container_has_ids_that_no_other_running_one_has(engine: EngineProcess) -> None:
    for name in ("one", "two"):
        engine.corten("run", "-d", "--name", name, "--userns", "auto", "busybox", "sleep", "60")
    first, second = host_ids(pid_of(engine, "one")), host_ids(pid_of(engine, "two"))
    assert first[0] == first[1] >= 65536
    assert abs(first[0] - second[0]) >= 65536
    assert engine.docker("inspect", "-f", "{{.HostConfig.UsernsMode}}", "one").stdout == "auto\n"
    engine.docker("rm", "-f", "one")
    engine.corten("run", "-d", "--name", "three", "--userns", "auto:size=100", "busybox", "sleep", "60")
    assert host_ids(pid_of(engine, "three"))[0] != second[0]
    size = engine.docker("exec", "three", "cat", "/proc/self/uid_map").stdout.split()
    assert size == ["0", str(host_ids(pid_of(engine, "three"))[0]), "100"]
    engine.docker("rm", "-f", "two", "three")


def test_files_of_a_running_one_are_refused_by_name(engine: EngineProcess) -> None:
    engine.corten("run", "-d", "--name", "looked", "--userns", "auto", "busybox", "sh", "-c", "echo x > /f; sleep 60")
    refusal = engine.docker("cp", "looked:/f", "-", check=False)
    assert "runs in a user namespace: stop it to copy its files" in refusal.stderr
    engine.docker("kill", "looked")
    assert engine.docker("cp", "looked:/f", "-").stdout.startswith("f\0")
    engine.docker("rm", "looked")


def test_files_volumes_and_the_image_as_users_expect(engine: EngineProcess) -> None:
    """What one start wrote is there with the same owners at the next, under whatever ids that has, and on disk."""
    script = (
        "id -u; stat -c %u:%g /etc/hosts /etc/resolv.conf /data /scratch / /dev/shm;"
        " cat /data/count /count 2>/dev/null; echo more >> /data/count; echo more >> /count; chown 5:6 /data/count;"
        " echo '10.0.0.1 own' >> /etc/hosts && grep -c own /etc/hosts"
    )
    flags = ["--userns", "auto", "-v", "shared:/data", "--tmpfs", "/scratch"]
    engine.corten("run", "-d", "--name", "squatter", "--userns", "auto", "busybox", "sleep", "60")
    engine.corten("create", "--name", "twice", *flags, "busybox", "sh", "-c", script)
    first = engine.corten("start", "-a", "twice").stdout.split()
    assert first == ["0", *["0:0"] * 6, "1"]
    engine.docker("rm", "-f", "squatter")  # its ids are the next ones
    assert engine.corten("start", "-a", "twice").stdout.split() == ["0", *["0:0"] * 6, "more", "more", "1"]
    plain = engine.corten("run", "--rm", "-v", "shared:/data", "busybox", "stat", "-c", "%u:%g", "/data/count").stdout
    assert plain == "5:6\n"
    identifier = engine.docker("inspect", "-f", "{{.Id}}", "twice").stdout.strip()
    written = engine.data_root / "snapshots" / identifier / "upper/count"
    assert (written.stat().st_uid, written.read_text()) == (0, "more\nmore\n")
    engine.docker("rm", "twice")
    engine.docker("volume", "rm", "shared")


def test_a_bind_is_the_hosts_own(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    tmp_path.chmod(0o755)
    script = "stat -c %u /x/file; cat /x/file; touch /x/new || echo refused"
    output = engine.corten("run", "--rm", "--userns", "auto", "-v", f"{tmp_path}:/x", "busybox", "sh", "-c", script)
    assert output.stdout.split() == ["65534", "host", "refused"]
    assert not (tmp_path / "new").exists()


def test_ports_names_and_an_own_network(engine: EngineProcess) -> None:
    """The network namespace is the user namespace's: its root may configure it, and it is wired all the same."""
    script = (
        "ip route | grep -c default; ip addr add 10.7.7.7/32 dev eth0 && ip addr show eth0 | grep -c 10.7.7.7; hostname"
    )
    flags = ["--userns", "auto", "--cap-add", "NET_ADMIN", "--hostname", "inside"]
    output = engine.corten("run", "--rm", *flags, "busybox", "sh", "-c", script)
    assert output.stdout.split() == ["1", "1", "inside"]
    none = engine.corten("run", "--rm", "--userns", "auto", "--network", "none", "busybox", "ls", "/sys/class/net")
    assert none.stdout.split() == ["lo"]
    engine.corten("run", "-d", "--name", "owner", "--userns", "auto", "busybox", "sleep", "60")
    flags = ["--userns", "auto", "--network", "container:owner"]
    assert "eth0" in engine.corten("run", "--rm", *flags, "busybox", "ls", "/sys/class/net").stdout
    engine.docker("rm", "-f", "owner")


def test_exec_terminal_and_restart_of_the_engine(busybox_tar: Path) -> None:
    with EngineProcess.running() as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        engine.corten(
            "run", "-dt", "--name", "stays", "--userns", "auto", "busybox", "sh", "-c", "stat -c %u $(tty); sleep 60"
        )
        ids = host_ids(pid_of(engine, "stays"))
        engine.kill()
        engine.start()
        assert engine.docker("exec", "-u", "7:8", "stays", "id").stdout.startswith("uid=7 gid=8")
        assert engine.docker("logs", "stays").stdout.strip() == "0"
        engine.corten("run", "-d", "--name", "other", "--userns", "auto", "busybox", "sleep", "60")
        assert host_ids(pid_of(engine, "other"))[0] >= ids[0] + 65536  # the ids of what ran before are taken
        refused = engine.docker("exec", "-u", "70000", "stays", "true", check=False)
        assert "not mapped in the container's user namespace" in refused.stdout + refused.stderr
        engine.docker("rm", "-f", "stays", "other")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--userns", "auto", "--privileged"], "privileged mode is incompatible with user namespaces"),
        (["--userns", "auto", "--network", "host"], "cannot share the host's network namespace"),
        (["--userns", "auto", "--pid", "host"], "cannot share the host PID namespace"),
        (["--userns", "auto:size=0"], "invalid userns mode: auto:size=0"),
        (["--userns", "keep-id"], "--userns: invalid USER mode"),
    ],
)
def test_what_is_refused(engine: EngineProcess, flags: list[str], text: str) -> None:
    result = engine.corten("create", *flags, "busybox", "true", check=False)
    assert result.returncode != 0
    assert text in result.stderr
    assert engine.docker("ps", "-aq").stdout == ""


def test_no_ids_are_left_to_give(scratch: Path, busybox_tar: Path) -> None:
    prefix = etc_of(scratch / "etc-few", "containers:900000:70000\n", user=False)
    with EngineProcess.running(prefix=prefix) as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        engine.corten("run", "-d", "--name", "all", "--userns", "auto", "busybox", "sleep", "60")
        assert host_ids(pid_of(engine, "all")) == (900000, 900000)
        second = engine.corten("run", "--rm", "--userns", "auto", "busybox", "true", check=False)
        assert "no range of 65536 ids is left for --userns auto" in second.stderr
        assert engine.corten("run", "--rm", "--userns", "auto:size=4464", "busybox", "true").returncode == 0
        engine.docker("rm", "-f", "all")


def test_remapped_containers(remapped: EngineProcess, tmp_path: Path) -> None:
    assert "name=userns" in remapped.docker("info", "-f", "{{json .SecurityOptions}}").stdout
    remapped.docker("run", "-d", "--name", "mapped", "busybox", "sleep", "60")
    remapped.docker("run", "-d", "--name", "plain", "--userns", "host", "--privileged", "busybox", "sleep", "60")
    assert host_ids(pid_of(remapped, "mapped")) == (REMAPPED, REMAPPED)
    assert host_ids(pid_of(remapped, "plain")) == (0, 0)
    assert remapped.docker("inspect", "-f", "{{.HostConfig.UsernsMode}}", "mapped", "plain").stdout.split("\n")[:2] == [
        "",
        "host",
    ]
    for flags, text in (
        (["--privileged"], "privileged mode is incompatible with user namespaces.  You must run the container in the"),
        (["--network", "host"], "cannot share the host's network namespace when user namespaces are enabled"),
        (["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"),
    ):
        refused = remapped.docker("run", "--rm", *flags, "busybox", "true", check=False)
        assert refused.returncode == 125
        assert text in refused.stderr
    tmp_path.chmod(0o777)
    remapped.docker("run", "--rm", "-v", f"{tmp_path}:/x", "busybox", "touch", "/x/file")
    assert (tmp_path / "file").stat().st_uid == REMAPPED
    auto = remapped.corten("run", "--rm", "--userns", "auto", "busybox", "cat", "/proc/self/uid_map").stdout.split()
    assert int(auto[1]) >= REMAPPED + 65536 or int(auto[1]) + 65536 <= REMAPPED
    remapped.docker("rm", "-f", "mapped", "plain")


@pytest.mark.parametrize(
    ("subordinates", "user", "text"),
    [
        ("", True, 'Can\'t create ID mappings: no subuid ranges found for user "dockremap"'),
        ("dockremap:100000:65536\n", False, 'Can\'t create ID mappings: there is no user "dockremap"'),
        ("dockremap:100000\n", True, "Format not correct for /etc/subuid file"),
    ],
)
def test_an_engine_that_cannot_remap_says_what_to_do(tmp_path: Path, subordinates: str, user: bool, text: str) -> None:
    engine = EngineProcess(tmp_path, ["--userns-remap", "default"], etc_of(tmp_path / "etc", subordinates, user=user))
    with pytest.raises(AssertionError, match="cortend did not start"):
        engine.start()
    assert text in engine.log.read_text()
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True).stdout == b""
    assert not os.path.exists("/etc/dockremap")
