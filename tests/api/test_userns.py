"""Containers in user namespaces as users meet them: ``--userns auto`` and ``userns-remap``."""

from __future__ import annotations

import io
import os
import shutil
import signal
import struct
import subprocess
import tarfile  # noqa: TID251  what another program reads of ours
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


def members(engine: EngineProcess, path: str) -> dict[str, tarfile.TarInfo]:
    command = ["docker", "cp", path, "-"]
    raw = subprocess.run(command, env=engine.environment, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {member.name: member for member in tar}


@pytest.mark.parametrize("setting", ["auto", "remap"])
def test_files_of_a_running_one_are_copied_with_its_own_ids(
    engine: EngineProcess, remapped: EngineProcess, setting: str, tmp_path: Path
) -> None:
    """Out and in, below its root, in a volume, and after the engine was replaced; the ids are the container's."""
    cli, flags = (engine, ["--userns", "auto"]) if setting == "auto" else (remapped, [])
    script = "mkdir /d; echo x > /d/f; echo y > /v/f; chown 5:6 /d/f /v/f; touch /ready; sleep 60"
    cli.corten("run", "-d", "--name", "box", *flags, "-v", "vol:/v", "-u", "0", "busybox", "sh", "-c", script)
    while cli.docker("exec", "box", "test", "-e", "/ready", check=False).returncode:
        pass
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("given")
    os.chown(tmp_path / "in/file", 7, 8)
    for turn in ("first", "second"):
        found = {**members(cli, "box:/d"), **members(cli, "box:/v"), **members(cli, "box:/etc/hosts")}
        assert {name: (found[name].uid, found[name].gid) for name in ("d", "d/f", "v", "v/f", "hosts")} == {
            "d": (0, 0), "d/f": (5, 6), "v": (0, 0), "v/f": (5, 6), "hosts": (0, 0),
        }  # fmt: skip
        for place in ("/d", "/v"):
            cli.docker("cp", str(tmp_path / "in"), f"box:{place}/{turn}")
        seen = cli.docker(
            "exec", "box", "stat", "-c", "%u:%g", f"/d/{turn}/file", f"/v/{turn}/file", f"/d/{turn}"
        ).stdout.split()
        assert seen == ["7:8", "7:8", "0:0"]
        assert cli.docker("exec", "box", "rm", "-r", f"/d/{turn}", f"/v/{turn}").returncode == 0
        if turn == "first":
            cli.kill()
            cli.start()
    cli.docker("kill", "box")
    assert members(cli, "box:/d/f")["f"].uid == 5
    cli.docker("rm", "box")
    cli.docker("volume", "rm", "vol")


def test_file_capabilities_of_a_running_one_are_its_own(engine: EngineProcess, tmp_path: Path) -> None:
    """What a copy puts in is in force in the container, and comes out as it went in: revision 2 of vfs_cap_data."""
    program = tmp_path / "program"
    program.write_bytes(Path("/usr/bin/busybox").read_bytes())
    program.chmod(0o755)
    bits = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # effective: CAP_NET_RAW
    os.setxattr(program, "security.capability", bits)
    engine.corten("run", "-d", "--name", "box", "--userns", "auto", "-u", "9", "busybox", "sleep", "60")
    engine.docker("cp", str(program), "box:/busybox")
    status = engine.docker("exec", "box", "/busybox", "grep", "CapEff", "/proc/self/status").stdout.split()
    assert status == ["CapEff:", "0000000000002000"]
    assert members(engine, "box:/busybox")["busybox"].pax_headers["SCHILY.xattr.security.capability"].encode(
        "utf-8", "surrogateescape"
    ) == bits  # fmt: skip
    engine.docker("rm", "-f", "box")


def test_the_shim_dies_and_files_can_still_be_copied(busybox_tar: Path) -> None:
    """The engine holds what they are seen through; with both of them gone it is refused by name."""
    with EngineProcess.running() as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        engine.corten("run", "-d", "--name", "box", "--userns", "auto", "busybox", "sh", "-c", "echo x > /f; sleep 60")
        os.kill(engine.shim_pid(), signal.SIGKILL)
        while engine.docker("exec", "box", "cat", "/f", check=False).stdout != "x\n":
            pass
        assert list(members(engine, "box:/f")) == ["f"]
        assert engine.process is not None
        engine.process.send_signal(signal.SIGSTOP)  # it must not give its copies to the next shim
        os.kill(engine.shim_pid(), signal.SIGKILL)
        engine.kill()
        engine.start()
        refused = engine.docker("cp", "box:/f", "-", check=False)
        assert "runs in a user namespace whose mounts were lost" in refused.stderr
        engine.docker("kill", "box")
        assert list(members(engine, "box:/f")) == ["f"]
        engine.docker("rm", "box")


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
