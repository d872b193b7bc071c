"""Members of ``process`` and ``linux`` that decide what the program is: clocks, scheduling, personality, keys, settings."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path

import pytest

from corten.linux import capability, process
from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root
HERE = len(os.sched_getaffinity(0))


@pytest.mark.skipif(not Path("/proc/self/ns/time").exists(), reason="needs a kernel with time namespaces")
class TestTimeNamespace:
    OFFSET = 1_000_000

    def ask(self, bundle: Bundle, command: str) -> tuple[float, str]:
        bundle.linux["namespaces"].append({"type": "time"})
        bundle.linux["timeOffsets"] = {"boottime": {"secs": self.OFFSET, "nanosecs": 5}, "monotonic": {"secs": 7}}
        script = ("sh", "-c", "cat /proc/uptime; cat /proc/self/timens_offsets; readlink /proc/self/ns/time")
        output = bundle.run(*script) if command == "run" else bundle.exec(bundle.start(), *script)
        assert output.returncode == 0, output.stderr
        uptime, rest = output.stdout.split("\n", 1)
        return float(uptime.split()[0]), rest

    @pytest.mark.parametrize("command", ["run", "exec"])
    def test_offsets(self, bundle: Bundle, command: str) -> None:
        before = float(Path("/proc/uptime").read_text().split()[0])
        uptime, rest = self.ask(bundle, command)
        assert before + self.OFFSET <= uptime < before + self.OFFSET + 1000
        assert rest.split()[:6] == ["monotonic", "7", "0", "boottime", str(self.OFFSET), "5"]
        assert rest.split()[6] != os.readlink("/proc/self/ns/time")
        assert float(Path("/proc/uptime").read_text().split()[0]) < before + 1000

    def test_joined_by_path(self, bundle: Bundle) -> None:
        bundle.linux["namespaces"].append({"type": "time"})
        bundle.linux["timeOffsets"] = {"boottime": {"secs": self.OFFSET}}
        pid = bundle.state(bundle.start())["pid"]
        bundle.linux["namespaces"][-1]["path"] = f"/proc/{pid}/ns/time"
        bundle.linux.pop("timeOffsets")
        link = bundle.run("readlink", "/proc/self/ns/time").stdout.strip()
        assert link == os.readlink(f"/proc/{pid}/ns/time")


@pytest.mark.parametrize("command", ["run", "exec"])
def test_personality(bundle: Bundle, command: str) -> None:
    bundle.linux["personality"] = {"domain": "LINUX32"}
    output = bundle.run("cat", "/proc/self/personality") if command == "run" else None
    output = output or bundle.exec(bundle.start(), "cat", "/proc/self/personality")
    assert output.stdout.strip() == "00000008"


def test_scheduler_and_io_priority(bundle: Bundle) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    fields = bundle.run("cat", "/proc/self/stat").stdout.rsplit(") ", 1)[1].split()
    assert (fields[16], fields[38]) == ("5", "3")  # nice and policy: fields 19 and 41 of proc_pid_stat(5)
    pid = bundle.state(bundle.start("sleep 30"))["pid"]
    assert _io_priority(pid) == 2 << 13 | 6


def _io_priority(pid: int) -> int:
    numbers = {"x86_64": 252, "aarch64": 31}
    return int(ctypes.CDLL(None).syscall(numbers[os.uname().machine], 1, pid))


def test_a_scheduler_that_cannot_be_had_is_named(bundle: Bundle) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 1000}
    output = bundle.run("true")
    assert output.returncode == 1
    assert "process.scheduler cannot be set: invalid argument" in output.stderr


@pytest.mark.skipif(HERE < 2, reason="needs two CPUs")
def test_exec_cpu_affinity(bundle: Bundle, tmp_path: Path) -> None:
    identifier = bundle.start()
    script = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status"]
    document = {**bundle.process, "args": script}
    everything = bundle.call("exec", identifier, *script).stdout.split()[1]
    for wanted, affinity in (("1", {"initial": "0-1", "final": "1"}), (everything, {"initial": "0"})):
        document["execCPUAffinity"] = affinity
        (tmp_path / "process.json").write_text(json.dumps(document))
        output = bundle.call("exec", "--process", str(tmp_path / "process.json"), identifier)
        assert output.stdout.split() == ["Cpus_allowed_list:", wanted]


def test_oom_score_and_umask(bundle: Bundle) -> None:
    bundle.process["oomScoreAdj"] = 400
    bundle.process["user"] = {"uid": 0, "gid": 0, "umask": 0o27, "additionalGids": [5, 6]}
    output = bundle.shell("cat /proc/self/oom_score_adj; umask; id -G")
    assert output.stdout.splitlines() == ["400", "0027", "0 5 6"]


def test_capability_sets_and_what_is_unknown(bundle: Bundle, tmp_path: Path) -> None:
    sets = {kind: ["CAP_CHOWN", "CAP_KILL"] for kind in ("bounding", "permitted", "effective", "inheritable")}
    bundle.process["capabilities"] = {**sets, "ambient": ["CAP_KILL"], "effective": ["CAP_KILL", "CAP_TO_FLY"]}
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    log = tmp_path / "log"
    bundle.process["args"] = ["grep", "Cap", "/proc/self/status"]
    output = bundle.call("--log", str(log), "run", bundle.write())
    found = dict(line.split(":\t") for line in output.stdout.splitlines())
    kill = capability.MASKS["CAP_KILL"]
    both = capability.MASKS["CAP_CHOWN"] | kill
    assert {key: int(value, 16) for key, value in found.items()} == {
        "CapInh": both, "CapPrm": kill, "CapEff": kill, "CapBnd": both, "CapAmb": kill,
    }  # fmt: skip
    assert "level=warning" in log.read_text()
    assert "capability CAP_TO_FLY is not known here" in log.read_text()


@pytest.mark.skipif(not Path("/proc/keys").exists(), reason="needs a kernel with keyrings")
@pytest.mark.parametrize("command", ["run", "exec"])
def test_the_session_keyring_is_not_the_starters(bundle: Bundle, command: str) -> None:
    """A keyring of the starter's session is not seen inside, unless --no-new-keyring leaves it there.

    By another user, who sees what his own session leads to; root sees every key of root's.
    """
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    process.join_session_keyring(b"corten-test-ring")
    bundle.linux["maskedPaths"] = []
    bundle.process["args"] = ["sh", "-c", "while :; do sleep 1; done"] if command == "exec" else ["cat", "/proc/keys"]
    seen = []
    for flags in ((), ("--no-new-keyring",)):
        identifier = bundle.write()
        if command == "run":
            output = bundle.call("run", *flags, identifier)
        else:
            quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            bundle.call("run", "--detach", *flags, identifier, **quiet)
            output = bundle.exec(identifier, "cat", "/proc/keys")
        assert output.returncode == 0, output.stderr
        seen.append("corten-test-ring" in output.stdout)
    assert seen == [False, True]


def test_rlimits(bundle: Bundle) -> None:
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 1024},
        {"type": "RLIMIT_FSIZE", "soft": 4096, "hard": (1 << 64) - 1},
    ]
    found = bundle.run("cat", "/proc/self/limits").stdout.splitlines()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in found}
    assert limits["Max core file size"] == ["0", "1024"]
    assert limits["Max file size"] == ["4096", "unlimited"]
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOTHING", "soft": 0, "hard": 0}]
    assert "invalid rlimit type: RLIMIT_NOTHING" in bundle.run("true").stderr


def test_sysctls_reach_only_the_containers_namespaces(bundle: Bundle) -> None:
    files = ["/proc/sys/kernel/shm_rmid_forced", "/proc/sys/fs/mqueue/msg_max"]
    before = [Path(file).read_text() for file in files]
    bundle.linux["sysctl"] = {"kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "23", "net/ipv4/ip_forward": "1"}
    output = bundle.run("cat", *files, "/proc/sys/net/ipv4/ip_forward")
    assert output.stdout.split() == ["1", "23", "1"], output.stderr
    assert [Path(file).read_text() for file in files] == before
    bundle.linux["sysctl"] = {"kernel.panic": "77"}
    assert 'sysctl "kernel.panic" is not in a separate kernel namespace' in bundle.run("true").stderr


def test_console_size_is_ignored_without_a_terminal(bundle: Bundle) -> None:
    bundle.process["consoleSize"] = {"height": 3, "width": 4}
    assert bundle.run("true").returncode == 0


def test_domain_name(bundle: Bundle) -> None:
    bundle.spec["domainname"] = "inside.example"
    assert bundle.run("cat", "/proc/sys/kernel/domainname").stdout.strip() == "inside.example"
    assert Path("/proc/sys/kernel/domainname").read_text().strip() != "inside.example"


def test_devices_of_the_spec(bundle: Bundle) -> None:
    bundle.linux["devices"] = [
        {"type": "c", "path": "/dev/mine", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8},
        {"type": "p", "path": "/deep/pipe", "fileMode": 0o600},
    ]
    output = bundle.shell("stat -c '%F %t:%T %a %u:%g' /dev/mine /deep/pipe")
    assert output.stdout.splitlines() == ["character special file 1:3 640 7:8", "fifo 0:0 600 0:0"]
