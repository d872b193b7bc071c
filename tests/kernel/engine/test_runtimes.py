"""Containers of other runtimes: Debian's runc and crun, and our own command as one of them, driven by docker's client.

crun refuses the hybrid layout of cgroups: the engine runs where its v2 part is hidden.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

WAIT = 30.0
OWN = str(Path(sys.executable).parent / "corten-runtime")
HIDE = (
    "unshare", "--mount", "--propagation", "private", "sh", "-c",
    'if [ -d /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi; exec "$@"', "hide",
)  # fmt: skip
RUNTIMES = ["runc", "crun", OWN]
LOOP = 'trap "exit 5" TERM; n=0; while :; do n=$((n + 1)); echo line $n; sleep 0.05; done'


#: The docker CLI, and ours where there is none (in the virtual machine).
CLIENT = ["docker"] if shutil.which("docker") else [sys.executable, "-m", "corten.cli"]


@contextmanager
def engine_with_image(tar: Path, *flags: str) -> Iterator[EngineProcess]:
    with EngineProcess.running(*flags, prefix=HIDE) as engine:
        if CLIENT != ["docker"]:
            engine.docker = engine.corten  # type: ignore[method-assign]
        engine.import_image(tar, "busybox:latest")
        yield engine


@pytest.fixture(scope="module")
def shared(busybox_tar: Path) -> Iterator[EngineProcess]:
    with engine_with_image(busybox_tar) as engine:
        yield engine


@pytest.fixture
def alone(busybox_tar: Path) -> Iterator[EngineProcess]:
    with engine_with_image(busybox_tar) as engine:
        yield engine


@pytest.fixture(params=RUNTIMES, ids=["runc", "crun", "corten-runtime"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def state(engine: EngineProcess, name: str) -> dict[str, object]:
    return dict(engine.api("GET", f"/containers/{name}/json")["State"])


def leftovers(engine: EngineProcess) -> list[str]:
    """What a runtime or its start left: bundles, states of runtimes, state files of the shim."""
    patterns = ("bundle/*", "runtime/*/[!.]*", "shim/*")  # our own command keeps its compiled filters in .seccomp
    return sorted(
        str(path.relative_to(engine.exec_root)) for pattern in patterns for path in engine.exec_root.glob(pattern)
    )


def assert_nothing_left(engine: EngineProcess) -> None:
    """Files go a moment after the end was told."""
    wait_for(lambda: not leftovers(engine))


def cgroups_of(engine: EngineProcess) -> list[Path]:
    """Groups of containers, in all hierarchies."""
    top = Path("/sys/fs/cgroup")
    return [
        path for pattern in ("*/corten-{}/*/", "corten-{}/*/") for path in top.glob(pattern.format(engine.instance))
    ]


def mounts_of(engine: EngineProcess) -> list[str]:
    """What the shim sees mounted below the engine's roots."""
    lines = Path(f"/proc/{engine.shim_pid()}/mountinfo").read_text().splitlines()
    return [line for line in lines if f" {engine.root}/" in line]


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


# -- run


def test_output_exit_code_and_user(shared: EngineProcess, runtime: str) -> None:
    words = ("run", "--rm", "--runtime", runtime, "-u", "user", "--group-add", "daemon", "busybox")
    result = shared.docker(*words, "sh", "-c", "echo out; echo err >&2; id; echo $HOME; exit 7", check=False)
    assert (result.returncode, result.stderr) == (7, "err\n")
    identity = "uid=1000(user) gid=1000(user) groups=1(daemon),1000(user),2000(extra)"
    assert result.stdout.splitlines() == ["out", identity, "/home"]
    assert_nothing_left(shared)


def test_standard_input_and_its_end(shared: EngineProcess, runtime: str) -> None:
    result = shared.docker("run", "--rm", "-i", "--runtime", runtime, "busybox", "cat", input="a\nb\n")
    assert result.stdout == "a\nb\n"


def test_it_is_as_confined_as_with_our_own(shared: EngineProcess, runtime: str) -> None:
    look = (
        "grep -E '^(Cap(Bnd|Eff|Prm)|Seccomp):' /proc/self/status; cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
        "/sys/fs/cgroup/memory.max /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; ls /proc/kcore -l | cut -c1; cat /proc/sys/net/ipv4/ping_group_range; "
        "unshare -m true 2>&1; touch /proc/sys/kernel/x 2>&1; ulimit -n; hostname"
    )
    options = (
        "--cgroupns",
        "private",
        "--memory",
        "32m",
        "--pids-limit",
        "50",
        "--hostname",
        "box",
        "--ulimit",
        "nofile=100:200",
    )
    seen = [
        shared.docker("run", "--rm", "--runtime", name, *options, "busybox", "sh", "-c", look).stdout
        for name in ("corten", runtime)
    ]
    assert "33554432" in seen[0]
    assert seen[1] == seen[0]


def test_a_terminal(shared: EngineProcess, runtime: str) -> None:
    master, slave = pty.openpty()
    command = [
        *CLIENT,
        "run",
        "--rm",
        "-it",
        "--runtime",
        runtime,
        "busybox",
        "sh",
        "-c",
        "tty; read x; echo got $x; exit 4",
    ]
    client = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=shared.environment)
    os.close(slave)
    seen = b""
    while b"/dev/pts/0" not in seen:
        seen += os.read(master, 4096)
    os.write(master, b"word\n")
    try:
        while chunk := os.read(master, 4096):
            seen += chunk
    except OSError:  # EIO: the client is gone
        pass
    os.close(master)
    assert client.wait(WAIT) == 4
    assert b"got word" in seen


def test_volumes_subpaths_images_and_shared_namespaces(shared: EngineProcess, runtime: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    shared.docker("run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c", "mkdir /v/part; echo inner > /v/part/file")
    result = shared.docker(
        "run", "--rm", "--runtime", runtime, "-v", f"{tmp_path}:/host:ro", "--tmpfs", "/t:size=1m",
        "--mount", "type=volume,src=vol,dst=/part,volume-subpath=part",
        "--mount", "type=image,src=busybox,dst=/image",
        "busybox", "sh", "-c", "cat /host/file /part/file; ls /image/bin/sh; touch /host/x /image/x 2>&1; touch /t/x /part/x; df -m /t | tail -1",
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert lines[:3] == ["of the host", "inner", "/image/bin/sh"]
    assert [line.rpartition(": ")[2] for line in lines[3:5]] == ["Read-only file system"] * 2
    assert lines[5].split()[1] == "1"
    shared.docker("volume", "rm", "vol")
    assert_nothing_left(shared)


def test_namespaces_of_other_containers(shared: EngineProcess, runtime: str) -> None:
    shared.docker("run", "-d", "--name", "first", "--ipc", "shareable", "busybox", "sleep", "1000")
    try:
        joined = ("--network", "container:first", "--pid", "container:first", "--ipc", "container:first")
        links = "for kind in net pid ipc; do readlink /proc/self/ns/$kind; done"
        mine = shared.docker("run", "--rm", "--runtime", runtime, *joined, "busybox", "sh", "-c", links).stdout
        theirs = shared.docker("exec", "first", "sh", "-c", links).stdout
        assert mine == theirs
        assert shared.docker(
            "run", "--rm", "--runtime", runtime, "--pid", "host", "busybox", "cat", "/proc/1/comm"
        ).stdout
    finally:
        shared.docker("rm", "-f", "first")


def test_init(shared: EngineProcess, runtime: str) -> None:
    result = shared.docker("run", "--rm", "--runtime", runtime, "--init", "busybox", "cat", "/proc/1/cmdline")
    assert result.stdout == "/sbin/docker-init\0--\0cat\0/proc/1/cmdline\0"


# -- verbs


def test_the_verbs(shared: EngineProcess, runtime: str, tmp_path: Path) -> None:
    docker = shared.docker
    options = ("--cgroupns", "private", "--runtime", runtime)
    docker("run", "-d", "--name", "one", *options, "busybox", "sh", "-c", LOOP)
    assert docker("inspect", "-f", "{{.HostConfig.Runtime}}", "one").stdout.strip() == runtime
    assert not any("/rootfs" in line or "overlay" in line for line in mounts_of(shared))
    assert "trap" in docker("top", "one").stdout
    assert shared.api("GET", "/containers/one/stats?stream=false&one-shot=true")["pids_stats"]["current"] >= 1
    docker("pause", "one")
    assert state(shared, "one")["Status"] == "paused"
    docker("unpause", "one")
    docker("update", "--memory", "64m", "--memory-swap", "128m", "one")
    limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    assert docker("exec", "one", "sh", "-c", limit).stdout == "67108864\n"
    docker("exec", "one", "sh", "-c", "echo made > /made")
    docker("cp", "one:/made", str(tmp_path))
    assert (tmp_path / "made").read_text() == "made\n"
    docker("cp", str(tmp_path / "made"), "one:/copied")
    assert docker("exec", "one", "cat", "/copied").stdout == "made\n"
    assert "A /copied" in docker("diff", "one").stdout
    docker("kill", "-s", "TERM", "one")
    assert docker("wait", "one").stdout == "5\n"
    assert docker("logs", "one").stdout.startswith("line 1\nline 2\n")
    assert_nothing_left(shared)
    docker("start", "one")
    assert docker("stop", "one").stdout == "one\n"
    assert (state(shared, "one")["Status"], state(shared, "one")["ExitCode"]) == ("exited", 5)
    docker("start", "one")
    docker("pause", "one")
    docker("rm", "-f", "one")
    assert_nothing_left(shared)


def test_exec(shared: EngineProcess, runtime: str) -> None:
    docker = shared.docker
    docker("run", "-d", "--name", "one", "--runtime", runtime, "-e", "A=b", "busybox", "sleep", "1000")
    try:
        seen = docker("exec", "one", "sh", "-c", "echo $A; echo err >&2; exit 9", check=False)
        assert (seen.returncode, seen.stdout, seen.stderr) == (9, "b\n", "err\n")
        assert docker("exec", "-u", "user", "one", "id", "-un").stdout == "user\n"
        assert docker("exec", "-i", "one", "cat", input="in").stdout == "in"
        assert docker("exec", "-w", "/etc", "one", "pwd").stdout == "/etc\n"
        missing = docker("exec", "one", "nosuch", check=False)
        assert missing.returncode == 127
        assert missing.stdout.startswith("OCI runtime exec failed: exec failed: ")
        assert "nosuch" in missing.stdout
        nobody = docker("exec", "-u", "nobody", "one", "id", check=False)
        assert "unable to find user nobody: no matching entries in passwd file" in nobody.stdout + nobody.stderr
        docker("exec", "-d", "one", "sh", "-c", "echo done > /tmp/done")
        wait_for(lambda: docker("exec", "one", "cat", "/tmp/done", check=False).stdout == "done\n")
        master, slave = pty.openpty()
        command = [*CLIENT, "exec", "-it", "one", "sh", "-c", "tty; exit 3"]
        client = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=shared.environment)
        os.close(slave)
        assert client.wait(WAIT) == 3
        assert b"/dev/pts/" in os.read(master, 4096)
        os.close(master)
        assert sorted(Path(path).name for path in leftovers(shared) if path.startswith("bundle/")) == [
            docker("inspect", "-f", "{{.Id}}", "one").stdout.strip()
        ]
        names = {path.name for path in next((shared.exec_root / "bundle").iterdir()).iterdir()}
        assert not [name for name in names if name.endswith((".json", ".tty", ".log")) and len(name) > 32]
    finally:
        docker("rm", "-f", "one")


def test_health_and_restarts(shared: EngineProcess, runtime: str) -> None:
    check = ("--health-cmd", "cat /tmp/well", "--health-interval", "100ms", "--health-retries", "2")
    command = "echo x >> /tmp/runs; touch /tmp/well; sleep 1000"
    shared.docker(
        "run",
        "-d",
        "--name",
        "one",
        "--runtime",
        runtime,
        "--restart",
        "always",
        *check,
        "busybox",
        "sh",
        "-c",
        command,
    )
    try:
        wait_for(lambda: state(shared, "one")["Health"]["Status"] == "healthy")  # type: ignore[index]
        shared.docker("exec", "one", "rm", "/tmp/well")
        wait_for(lambda: state(shared, "one")["Health"]["Status"] == "unhealthy")  # type: ignore[index]
        last = state(shared, "one")["Health"]["Log"][-1]  # type: ignore[index]
        assert (last["ExitCode"], "No such file" in last["Output"]) == (1, True)
        os.kill(int(str(state(shared, "one")["Pid"])), signal.SIGKILL)
        wait_for(lambda: shared.docker("exec", "one", "cat", "/tmp/runs", check=False).stdout == "x\nx\n")
        assert shared.docker("inspect", "-f", "{{.RestartCount}}", "one").stdout == "1\n"
    finally:
        shared.docker("rm", "-f", "one")
    assert_nothing_left(shared)


def test_a_check_that_takes_too_long_is_ended(shared: EngineProcess, runtime: str) -> None:
    check = ("--health-cmd", "echo slow; sleep 1000", "--health-interval", "100ms", "--health-timeout", "500ms")
    shared.docker("run", "-d", "--name", "one", "--runtime", runtime, *check, "busybox", "sleep", "1000")
    try:
        wait_for(lambda: state(shared, "one")["Health"]["Log"])  # type: ignore[index]
        assert state(shared, "one")["Health"]["Log"][0]["ExitCode"] == -1  # type: ignore[index]
    finally:
        shared.docker("rm", "-f", "one")


def test_out_of_memory(shared: EngineProcess, runtime: str) -> None:
    words = ("run", "--name", "one", "--runtime", runtime, "--memory", "16m", "--memory-swap", "16m", "busybox")
    try:
        assert shared.docker(*words, "tail", "/dev/zero", check=False).returncode == 137
        assert state(shared, "one")["OOMKilled"]
    finally:
        shared.docker("rm", "-f", "one")


def test_our_own_client(shared: EngineProcess, runtime: str) -> None:
    result = shared.corten("run", "--rm", "--runtime", runtime, "busybox", "sh", "-c", "echo ours; exit 3", check=False)
    assert (result.returncode, result.stdout) == (3, "ours\n")
    assert shared.corten("run", "--rm", "--runtime", runtime, "busybox", "nosuch", check=False).returncode in (125, 127)
    assert "crun" in shared.corten("info", "-f", "{{json .Runtimes}}").stdout


#: A sandbox, as the host sees it: the first process has a root of its own, and only the runtime reaches what is inside.
SANDBOX = r"""
while [ $# -gt 0 ]; do
    case $1 in
        --root) root=$2; shift;;
        --log | --log-format | --bundle) shift;;
        --pid-file) pid_file=$2; shift;;
        --process) process=$2; shift;;
        --detach | --force) ;;
        *) words="$words $1";;
    esac
    shift
done
set -- $words
case $1 in
    create) sleep 1000 & echo $! >"$root-$2"; echo $! >"$pid_file";;
    exec) text=$(cat "$process"); (echo "$text"; sleep 0.5) & echo $! >"$pid_file";;
    kill) kill -"$3" "$(cat "$root-$2")";;
    delete) kill -9 "$(cat "$root-$2")"; rm "$root-$2";;
esac
"""


def test_a_sandbox(alone: EngineProcess, tmp_path: Path) -> None:
    docker = alone.docker
    (alone.exec_root / "runtime").mkdir(exist_ok=True)
    sandbox = script(tmp_path / "sandbox", SANDBOX)
    docker("run", "-d", "--name", "one", "--runtime", sandbox, "-u", "daemon", "busybox", "true")
    refused = docker("cp", "one:/etc/passwd", "-", check=False)
    assert "its runtime keeps the files of a running container where the host cannot see them" in refused.stderr
    assert json.loads(docker("exec", "one", "id").stdout)["user"]["uid"] == 1
    assert json.loads(docker("exec", "-u", "user", "one", "id").stdout)["user"]["additionalGids"] == [1000, 2000]
    docker("stop", "one")
    assert state(alone, "one")["ExitCode"] == 128 + signal.SIGTERM
    assert_nothing_left(alone)
    docker("cp", "one:/etc/passwd", str(tmp_path))
    docker("rm", "one")


def test_hooks_are_the_runtimes_to_run(busybox_tar: Path, tmp_path: Path, runtime: str) -> None:
    specs, journal = tmp_path / "cdi", tmp_path / "journal"
    specs.mkdir()
    kinds = ["createRuntime", "poststart", "poststop"]
    hooks = [{"hookName": kind, "path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} >> {journal}"]} for kind in kinds]
    device = {"name": "one", "containerEdits": {"hooks": hooks, "env": ["DEVICE=one"]}}
    (specs / "x.json").write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "vendor.com/class", "devices": [device]}))
    with engine_with_image(busybox_tar, "--cdi-spec-dir", str(specs)) as engine:
        words = (
            "run",
            "--rm",
            "--runtime",
            runtime,
            "--device",
            "vendor.com/class=one",
            "busybox",
            "sh",
            "-c",
            "echo $DEVICE",
        )
        assert engine.docker(*words).stdout == "one\n"
        assert journal.read_text().split() == kinds
        assert_nothing_left(engine)


# -- starts that fail


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["nosuch"], 127, "nosuch"),
        (["/etc/passwd"], 126, ""),
        (["-w", "/etc/passwd/x", "busybox", "true"], None, "ot a directory"),
    ],
)
def test_a_start_that_fails(shared: EngineProcess, runtime: str, words: list[str], code: int | None, text: str) -> None:
    image = [] if "busybox" in words else ["busybox"]
    if runtime == "crun" and code == 126:
        code = None  # it says "Operation not permitted"
    try:
        result = shared.docker("run", "--name", "one", "--runtime", runtime, *image, *words, check=False)
        start = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        assert start in result.stderr
        assert text in result.stderr
        assert ": unknown" in result.stderr
        assert result.returncode in (125, 126, 127)
        assert code is None or state(shared, "one")["ExitCode"] == code
        assert start in str(state(shared, "one")["Error"])
    finally:
        shared.docker("rm", "-f", "one")
    assert_nothing_left(shared)


def test_what_is_refused(shared: EngineProcess) -> None:
    unknown = shared.docker("run", "--rm", "--runtime", "nosuch", "busybox", "true", check=False)
    assert unknown.returncode == 125
    assert "unknown or invalid runtime name: nosuch" in unknown.stderr
    status, body = shared.request(
        "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Runtime": "nosuch"}}
    )
    assert (status, json.loads(body)) == (400, {"message": "unknown or invalid runtime name: nosuch"})
    mapped = {"Image": "busybox", "HostConfig": {"Runtime": "runc", "UsernsMode": "auto"}}
    status, body = shared.request("POST", "/containers/create", mapped)
    assert status == 501
    assert "user namespaces are not supported with --runtime runc" in json.loads(body)["message"]


def test_a_runtime_that_is_no_program(busybox_tar: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o755)
    flags = (
        "--add-runtime",
        f"gone={tmp_path}/gone",
        "--add-runtime",
        f"text={tmp_path}/text",
        "--default-runtime",
        "gone",
    )
    with engine_with_image(busybox_tar, *flags) as engine:
        info = engine.api("GET", "/info")
        assert info["DefaultRuntime"] == "gone"
        assert info["Runtimes"]["gone"] == {"path": f"{tmp_path}/gone"}
        gone = engine.docker("run", "--rm", "busybox", "true", check=False)
        assert f"fork/exec {tmp_path}/gone: no such file or directory" in gone.stderr
        text = engine.docker("run", "--rm", "--runtime", "text", "busybox", "true", check=False)
        assert f"fork/exec {tmp_path}/text: exec format error" in text.stderr
        assert engine.docker("run", "--rm", "--runtime", "corten", "busybox", "echo", "ours").stdout == "ours\n"
        assert_nothing_left(engine)


# -- faults


def test_a_runtime_that_hangs_holds_up_nobody_else(alone: EngineProcess, tmp_path: Path) -> None:
    release = tmp_path / "release"
    slow = script(
        tmp_path / "slow",
        f'case "$*" in *" create "*) until [ -e {release} ]; do sleep 0.05; done;; esac\nexec runc "$@"',
    )
    command = [*CLIENT, "run", "--name", "late", "--runtime", slow, "busybox", "echo", "late"]
    client = subprocess.Popen(command, env=alone.environment, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: list((alone.exec_root / "bundle").glob("*/config.json")))
    assert alone.docker("run", "--rm", "busybox", "echo", "ours").stdout == "ours\n"
    assert alone.docker("run", "--rm", "--runtime", "runc", "busybox", "echo", "theirs").stdout == "theirs\n"
    assert client.poll() is None
    release.touch()
    assert client.communicate(timeout=WAIT)[0] == "late\n"


@pytest.mark.parametrize("verb", ["create", "start"])
def test_a_runtime_that_dies_in_the_middle(alone: EngineProcess, tmp_path: Path, verb: str) -> None:
    done = {"create": "runc", "start": "true"}[verb]  # a container is there, and nobody hears of it
    dying = script(tmp_path / "dying", f'case "$*" in *" {verb} "*) {done} "$@"; kill -9 $$;; esac\nexec runc "$@"')
    result = alone.docker("run", "--name", "one", "--runtime", dying, "busybox", "sleep", "1000", check=False)
    assert f"OCI runtime {verb} failed: runtime did not terminate successfully: exit status 137" in result.stderr
    assert state(alone, "one")["Status"] == "created"
    assert_nothing_left(alone)
    wait_for(lambda: not cgroups_of(alone))
    alone.docker("rm", "one")


def test_a_runtime_that_cannot_kill_or_delete_keeps_nothing_alive(alone: EngineProcess, tmp_path: Path) -> None:
    lame = script(
        tmp_path / "lame", 'case "$*" in *" kill "*|*" delete "*) echo lame >&2; exit 1;; esac\nexec runc "$@"'
    )
    alone.docker("run", "-d", "--name", "one", "--runtime", lame, "busybox", "sleep", "1000")
    refused = alone.docker("kill", "-s", "HUP", "one", check=False)
    assert "the runtime cannot send signal 1: lame" in refused.stderr
    alone.docker("rm", "-f", "one")
    assert not list((alone.exec_root / "bundle").iterdir())


def test_a_runtime_that_is_gone(alone: EngineProcess, tmp_path: Path) -> None:
    gone = script(tmp_path / "gone", 'exec runc "$@"')
    alone.docker("run", "-d", "--name", "one", "--runtime", gone, "busybox", "sh", "-c", LOOP)
    os.unlink(gone)
    assert f"fork/exec {gone}: no such file or directory" in alone.docker("exec", "one", "true", check=False).stdout
    alone.docker("stop", "one")
    assert state(alone, "one")["ExitCode"] == 5
    refused = alone.docker("start", "one", check=False)
    assert f"unknown or invalid runtime name: {gone}" in refused.stderr
    script(tmp_path / "gone", 'exec runc "$@"')
    alone.docker("start", "one")  # what the runtime could not be told to forget is not in the way
    alone.docker("stop", "one")
    alone.docker("rm", "one")
    assert_nothing_left(alone)


def test_the_engine_dies_and_the_next_one_has_it_all(alone: EngineProcess, runtime: str) -> None:
    docker = alone.docker
    docker("run", "-d", "--name", "one", "--runtime", runtime, "busybox", "sh", "-c", LOOP)
    docker("exec", "-d", "one", "sh", "-c", "sleep 1000")
    alone.kill()
    alone.start()
    assert state(alone, "one")["Running"]
    before = len(docker("logs", "one").stdout.splitlines())
    wait_for(lambda: len(docker("logs", "one").stdout.splitlines()) > before)
    lines = docker("logs", "one").stdout.splitlines()
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    assert docker("exec", "one", "echo", "hello").stdout == "hello\n"
    docker("stop", "one")
    assert state(alone, "one")["ExitCode"] == 5
    docker("rm", "one")
    assert_nothing_left(alone)


def test_the_shim_dies_and_the_next_one_adopts(alone: EngineProcess, runtime: str) -> None:
    docker = alone.docker
    docker("run", "-d", "--name", "one", "--runtime", runtime, "busybox", "sh", "-c", LOOP)
    old = alone.shim_pid()
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: alone.shim_pid() not in (0, old))
    wait_for(lambda: docker("exec", "one", "echo", "hello", check=False).stdout == "hello\n")
    before = len(docker("logs", "one").stdout.splitlines())
    wait_for(lambda: len(docker("logs", "one").stdout.splitlines()) > before)
    docker("stop", "one")
    assert state(alone, "one")["Status"] == "exited"
    assert state(alone, "one")["ExitCode"] in (5, 255)  # unknown to a stranger before Linux 6.15, never 0
    assert_nothing_left(alone)
    docker("start", "one")
    docker("rm", "-f", "one")
    assert_nothing_left(alone)


def test_the_shim_dies_while_a_runtime_creates(alone: EngineProcess, tmp_path: Path) -> None:
    created = tmp_path / "created"
    slow = script(
        tmp_path / "slow",
        f'case "$*" in *" create "*) runc "$@"; touch {created}; exec sleep 1000;; esac\nexec runc "$@"',
    )
    command = [*CLIENT, "run", "--name", "one", "--runtime", slow, "busybox", "sleep", "1000"]
    client = subprocess.Popen(command, env=alone.environment, stderr=subprocess.PIPE)
    wait_for(created.exists)
    old = alone.shim_pid()
    os.kill(old, signal.SIGKILL)
    assert client.wait(WAIT) != 0
    assert client.stderr is not None
    client.stderr.close()
    wait_for(lambda: alone.shim_pid() not in (0, old))
    wait_for(lambda: leftovers(alone) == [])
    wait_for(lambda: not cgroups_of(alone))
    script(tmp_path / "slow", 'exec runc "$@"')
    alone.docker("start", "one")
    alone.docker("rm", "-f", "one")
    assert_nothing_left(alone)


def test_the_engine_dies_while_a_runtime_creates(alone: EngineProcess, tmp_path: Path) -> None:
    release = tmp_path / "release"
    slow = script(
        tmp_path / "slow",
        f'case "$*" in *" create "*) until [ -e {release} ]; do sleep 0.05; done;; esac\nexec runc "$@"',
    )
    alone.docker("create", "--name", "one", "--runtime", slow, "busybox", "sleep", "1000")
    client = subprocess.Popen([*CLIENT, "start", "one"], env=alone.environment, stderr=subprocess.PIPE)
    wait_for(lambda: list((alone.exec_root / "bundle").glob("*/config.json")))
    alone.kill()
    client.communicate(timeout=WAIT)
    alone.start()
    release.touch()
    wait_for(lambda: (alone.docker("top", "one", check=False)).stdout.count("sleep 1000") == 1)
    pid = int(str(state(alone, "one")["Pid"]))
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
    alone.docker("rm", "-f", "one")
    assert_nothing_left(alone)


def test_what_daemons_in_the_hosts_pid_namespace_leave_is_waited_for(alone: EngineProcess) -> None:
    command = "sh -c 'sleep 0.3 & echo $!'; sleep 1000"
    alone.docker("run", "-d", "--name", "one", "--runtime", "runc", "--pid", "host", "busybox", "sh", "-c", command)
    wait_for(lambda: alone.docker("logs", "one").stdout)
    orphan = int(alone.docker("logs", "one").stdout)
    wait_for(lambda: not Path(f"/proc/{orphan}").exists())
    alone.docker("rm", "-f", "one")


def test_attack_cve_2019_14271_users_are_looked_up_without_leaving_the_root(
    shared: EngineProcess, runtime: str
) -> None:
    """A passwd file that is a link out of the root, and one that is a fifo, are not followed and not waited for."""
    docker = shared.docker
    name = docker("create", "--name", "one", "--runtime", runtime, "-u", "canary", "busybox", "true").stdout.strip()
    canary = shared.root / "canary"
    canary.write_text("canary:x:0:0::/:/bin/sh\n")
    upper = shared.data_root / "snapshots" / name / "upper" / "etc"
    upper.mkdir(parents=True)
    try:
        (upper / "passwd").symlink_to(f"../../../../../../../../../..{canary}")
        escaped = docker("start", "one", check=False)
        assert "unable to find user canary: no matching entries in passwd file" in escaped.stderr
        (upper / "passwd").unlink()
        os.mkfifo(upper / "passwd")
        blocked = docker("start", "one", check=False)
        assert "/etc/passwd of the container cannot be read: not a regular file" in blocked.stderr
    finally:
        docker("rm", "-f", "one")
    assert_nothing_left(shared)
