"""States and errors of the runtime specification's lifecycle, and every flag of the command line that is not another
test's subject."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corten.cgroup import hierarchy
from corten.cgroup.group import Group
from corten.linux import procfs
from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root
QUIET = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
LOOP = "trap 'exit 3' TERM; while :; do sleep 0.05; done"


def create(bundle: Bundle, script: str = LOOP, *flags: str) -> str:
    bundle.process["args"] = ["sh", "-c", script]
    identifier = bundle.write()
    assert bundle.call("create", "-b", str(bundle.directory), *flags, identifier, **QUIET).returncode == 0
    return identifier


def ended(bundle: Bundle, identifier: str) -> None:
    for _ in range(200):
        if bundle.state(identifier)["status"] == "stopped":
            return
        time.sleep(0.02)
    raise AssertionError("it does not stop")


def refused(bundle: Bundle, *arguments: str) -> str:
    output = bundle.call(*arguments)
    assert output.returncode == 1
    assert output.stdout == ""
    return output.stderr.strip()


def test_what_each_state_refuses(bundle: Bundle) -> None:
    identifier = create(bundle)
    assert "already exists" in refused(bundle, "create", "-b", str(bundle.directory), identifier)
    assert bundle.state(identifier)["status"] == "created"
    assert refused(bundle, "resume", identifier) == "container not paused"
    assert bundle.call("start", identifier).returncode == 0
    assert refused(bundle, "start", identifier) == "cannot start an already running container"
    assert refused(bundle, "delete", identifier) == f"cannot delete container {identifier} that is not stopped: running"
    assert bundle.call("pause", identifier).returncode == 0
    assert refused(bundle, "pause", identifier) == "container already paused"
    assert "cannot exec in a paused container" in bundle.exec(identifier, "true").stderr
    assert refused(bundle, "delete", identifier) == f"cannot delete container {identifier} that is not stopped: paused"
    assert bundle.call("resume", identifier).returncode == 0
    assert bundle.call("kill", identifier).returncode == 0  # SIGTERM
    ended(bundle, identifier)
    for command in (("kill", identifier, "KILL"), ("pause", identifier), ("update", "--pids-limit", "5", identifier)):
        assert refused(bundle, *command) == "container not running"
    assert "not running" in refused(bundle, "events", "--stats", identifier)
    assert refused(bundle, "start", identifier) == "cannot start a container that has stopped"
    assert bundle.exec(identifier, "true").stderr.strip() == "cannot exec in a stopped container"
    assert bundle.state(identifier)["pid"] == 0
    assert bundle.call("delete", identifier).returncode == 0
    for command in ("state", "start", "kill", "delete", "pause", "resume", "update", "events", "ps"):
        assert refused(bundle, command, identifier) == "container does not exist"
    assert bundle.call("delete", "--force", identifier).returncode == 0


def test_a_created_container_can_be_deleted_and_killed(bundle: Bundle) -> None:
    assert bundle.call("delete", create(bundle)).returncode == 0
    identifier = create(bundle)
    assert bundle.call("kill", identifier, "9").returncode == 0
    ended(bundle, identifier)
    assert bundle.call("delete", identifier).returncode == 0


def test_what_a_killed_create_left_is_removed_by_force(bundle: Bundle) -> None:
    bundle.root.mkdir()
    (bundle.root / "half").mkdir()
    os.mkfifo(bundle.root / "half/exec.fifo")
    assert "does not exist" in refused(bundle, "state", "half")
    assert bundle.call("list", "-q").stdout == ""
    assert bundle.call("delete", "--force", "half").returncode == 0
    assert os.listdir(bundle.root) == []


def test_the_configuration_is_read_once(bundle: Bundle) -> None:
    identifier = create(bundle, "echo first > /said")
    bundle.process["args"] = ["sh", "-c", "echo second > /said"]
    (bundle.directory / "config.json").write_text(json.dumps(bundle.spec))
    bundle.call("start", identifier)
    ended(bundle, identifier)
    assert (bundle.rootfs / "said").read_text() == "first\n"


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "\u00e4", "x" * 1025])
def test_ids_that_are_none(bundle: Bundle, name: str) -> None:
    bundle.write()
    assert "container i" in refused(bundle, "create", "-b", str(bundle.directory), name).lower()


def test_a_cgroup_that_is_somebody_elses_or_frozen(bundle: Bundle) -> None:
    first = create(bundle)
    path = bundle.linux["cgroupsPath"]
    bundle.linux["cgroupsPath"] = path
    (bundle.directory / "config.json").write_text(json.dumps(bundle.spec))
    assert "container's cgroup is not empty: 1 process(es)" in refused(bundle, "run", "-b", str(bundle.directory), "cx")
    assert bundle.state(first)["status"] == "created"
    group = Group.create(hierarchy.detect(), f"{bundle.parent}/frozen", {})
    group.freeze()
    bundle.linux["cgroupsPath"] = f"{bundle.parent}/frozen"
    (bundle.directory / "config.json").write_text(json.dumps(bundle.spec))
    assert "container's cgroup unexpectedly frozen" in refused(bundle, "run", "-b", str(bundle.directory), "cx")
    group.thaw()


def test_kill_by_every_spelling_and_all(bundle: Bundle) -> None:
    for text in ("SIGTERM", "15"):
        identifier = create(bundle)
        bundle.call("start", identifier)
        assert bundle.call("kill", identifier, text).returncode == 0
        ended(bundle, identifier)
        bundle.call("delete", identifier)
    identifier = create(bundle)
    assert bundle.call("kill", identifier, "0").returncode == 0
    assert "unknown signal 'NOTHING'" in refused(bundle, "kill", identifier, "NOTHING")
    bundle.call("start", identifier)
    bundle.call("exec", "--detach", identifier, "sleep", "100", **QUIET)
    assert bundle.call("kill", "--all", identifier, "KILL").returncode == 0
    ended(bundle, identifier)
    assert Group(hierarchy.detect(), bundle.linux["cgroupsPath"]).pids() == []


def test_list_ps_and_their_formats(bundle: Bundle) -> None:
    identifier = create(bundle)
    state = bundle.state(identifier)
    head, row = bundle.call("list").stdout.splitlines()
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert row.split() == [identifier, str(state["pid"]), "created", str(bundle.directory), state["created"], "root"]
    assert json.loads(bundle.call("list", "--format", "json").stdout) == [state]
    assert {"ociVersion", "id", "status", "pid", "bundle", "rootfs", "created", "owner"} <= set(state)
    assert 'invalid format: "xml" (must be table or json)' in refused(bundle, "list", "--format", "xml")
    assert json.loads(bundle.call("ps", "--format", "json", identifier).stdout) == [state["pid"]]
    lines = bundle.call("ps", identifier, "-o", "pid,stat").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["PID", str(state["pid"])]
    (bundle.root / "broken").mkdir()
    (bundle.root / "broken/state.json").write_text("{")
    output = bundle.call("list")
    assert len(output.stdout.splitlines()) == 2
    assert "load container broken" in output.stderr
    (bundle.root / "broken/state.json").unlink()


def test_events(bundle: Bundle) -> None:
    bundle.linux["resources"].update(pids={"limit": 33}, memory={"limit": 32 << 20})
    identifier = bundle.start()
    event = json.loads(bundle.call("events", "--stats", identifier).stdout)
    assert (event["type"], event["id"]) == ("stats", identifier)
    data = event["data"]
    assert data["memory"]["usage"]["limit"] == 32 << 20
    assert 0 < data["memory"]["usage"]["usage"] < 32 << 20
    assert data["pids"]["limit"] == 33
    assert data["pids"]["current"] >= 1
    assert data["cpu"]["usage"]["total"] > 0
    command = [*bundle.command, "events", "--interval", "50ms", identifier]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=bundle.directory) as stream:
        assert stream.stdout is not None
        for _ in range(3):
            assert json.loads(stream.stdout.readline())["type"] == "stats"
        bundle.exec(identifier, "sh", "-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' x)")
        kinds = set()
        while "oom" not in kinds:
            kinds.add(json.loads(stream.stdout.readline())["type"])
        bundle.call("kill", "--all", identifier, "KILL")
        stream.stdout.read()
        assert stream.wait(10) == 0  # it ends with the container
    assert "invalid value" in refused(bundle, "events", "--interval", "often", bundle.start())


def test_update_by_flags_and_by_document(bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20, "swap": 64 << 20}
    identifier = bundle.start()
    group = Group(hierarchy.detect(), bundle.linux["cgroupsPath"])
    one = group.hierarchy.version == 1

    def value(controller: str, first: str, second: str) -> str:
        return Path(group.directory(controller), first if one else second).read_text().strip()

    flags = ["--memory", "32m", "--memory-swap", "40M", "--cpu-period", "50000", "--cpu-quota", "25000"]
    flags += ["--cpu-share", "512", "--pids-limit", "44", "--cpuset-cpus", "0"]
    assert bundle.call("update", *flags, identifier).returncode == 0
    assert value("memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    assert value("pids", "pids.max", "pids.max") == "44"
    assert value("cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    if one:
        assert value("cpu", "cpu.cfs_quota_us", "") == "25000"
        assert value("cpu", "cpu.shares", "") == "512"
    document = json.dumps({"memory": {"limit": 48 << 20, "swap": 48 << 20}, "pids": {"limit": 55}, "cpu": None})
    assert bundle.call("update", "-r", "-", identifier, stdin=None, input=document).returncode == 0
    assert value("memory", "memory.limit_in_bytes", "memory.max") == str(48 << 20)
    (bundle.directory / "limits.json").write_text('{"pids": {"limit": 66}}')
    assert bundle.call("update", "-r", str(bundle.directory / "limits.json"), identifier).returncode == 0
    assert value("pids", "pids.max", "pids.max") == "66"
    wrong = bundle.call("update", "-r", "-", identifier, stdin=None, input='{"pids": {"limit": "many"}}')
    assert wrong.stderr.strip() == "resources.pids.limit must be an integer, not a string"
    assert 'invalid value "lots" for flag -memory' in refused(bundle, "update", "--memory", "lots", identifier)
    assert "--l3-cache-schema is not supported" in refused(bundle, "update", "--l3-cache-schema", "L3:0=f", identifier)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("checkpoint", "x"), "checkpoint is not supported"),
        (("restore", "x"), "restore is not supported"),
        (("run", "--no-pivot", "x"), "--no-pivot is not supported"),
        (("--rootless", "true", "list"), "--rootless=true is not supported"),
        (("--rootless", "maybe", "list"), 'invalid rootless: "maybe"'),
        (("--log-format", "xml", "list"), 'invalid log-format: "xml" (must be text or json)'),
        (("--criu", "x", "list"), "flag provided but not defined: -criu"),
        (("dance",), "No help topic for 'dance'"),
        (("create",), '"create" requires a minimum of 1 argument'),
        (("create", "--bundle"), "flag needs an argument: -bundle"),
    ],
)
def test_what_the_command_line_refuses(bundle: Bundle, arguments: tuple[str, ...], text: str) -> None:
    bundle.write()
    assert text in refused(bundle, *arguments)


def test_logs_in_both_formats_and_debug(bundle: Bundle, tmp_path: Path) -> None:
    log = tmp_path / "log"
    bundle.call("--log", str(log), "--debug", "state", "nobody")
    debug, error = log.read_text().splitlines()
    assert debug.startswith("time=")
    assert 'level=debug msg="state nobody"' in debug
    assert 'level=error msg="container does not exist"' in error
    log.unlink()
    bundle.call("--log", "log", "--log-format", "json", "--debug", "run", bundle.write(), cwd=tmp_path)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["level"] for line in lines] == ["debug", "error"]
    assert {"level", "msg", "time"} == set(lines[0])
    bundle.process["args"] = ["true"]
    assert bundle.call("--debug", "run", bundle.write()).stderr.count("level=debug") == 2
    output = bundle.call("--log", "/no/such/directory/log", "state", "nobody")
    assert output.stderr.splitlines()[0] == "container does not exist"
    assert "cannot be written" in output.stderr


def test_pid_file_pidfd_socket_and_relative_paths(bundle: Bundle, tmp_path: Path) -> None:
    path = str(tmp_path / "pidfd.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        identifier = bundle.write()
        command = ["create", "-b", str(bundle.directory), "--pidfd-socket", path, "--pid-file", "pid", identifier]
        assert bundle.call(*command, cwd=tmp_path, **QUIET).returncode == 0
        connection, _ = listener.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 100, 1)
    pid = int((tmp_path / "pid").read_text())
    assert (data, pid) == (b"pidfd", bundle.state(identifier)["pid"])
    signal.pidfd_send_signal(fds[0], signal.SIGKILL)
    os.close(fds[0])
    ended(bundle, identifier)
    (tmp_path / "taken").mkdir()
    output = bundle.call("run", "-b", str(bundle.directory), "--pid-file", str(tmp_path / "taken"), bundle.write())
    assert "is a directory" in output.stderr


def test_keep_and_listen_fds(bundle: Bundle) -> None:
    bundle.process["args"] = ["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; exit 6"]
    identifier = bundle.write()
    wrap = "import os, sys; os.dup2(1, 3); os.execv(sys.argv[1], sys.argv[1:])"
    command = ["/usr/bin/python3", "-c", wrap, *bundle.command, "run", "--keep", identifier]
    environment = {**os.environ, "LISTEN_FDS": "1"}
    output = subprocess.run(
        command, cwd=bundle.directory, capture_output=True, text=True, env=environment, check=False, timeout=60
    )
    assert (output.stdout, output.returncode) == ("1 1\n", 6), output.stderr
    assert bundle.state(identifier)["status"] == "stopped"
    assert bundle.call("delete", identifier).returncode == 0


def test_consoles_need_somebody_to_hold_them(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    assert "without setting console socket" in refused(bundle, "run", "--detach", bundle.write())
    bundle.process["terminal"] = False
    assert "cannot use console socket" in refused(bundle, "create", "--console-socket", "/x", bundle.write())
    bundle.process["terminal"] = True
    text = refused(bundle, "create", "--console-socket", "/no/socket", bundle.write())
    assert "socket /no/socket: no such file or directory" in text
    assert bundle.call("list", "-q").stdout == ""


@pytest.mark.parametrize("number", [0, 1, 2])
def test_started_with_a_standard_stream_closed(bundle: Bundle, number: int) -> None:
    bundle.process["args"] = ["sh", "-c", "ls /proc/self/fd > /listing"]
    identifier = bundle.write()
    wrap = "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
    command = ["/usr/bin/python3", "-c", wrap, str(number), *bundle.command, "run", identifier]
    output = subprocess.run(command, cwd=bundle.directory, capture_output=True, check=False, timeout=60)
    assert output.returncode == 0
    assert set((bundle.rootfs / "listing").read_text().split()) <= {"0", "1", "2", "3"}


KILLED_CREATE = """
import os, select, signal, sys
from corten.cgroup import hierarchy
from corten.runtime import container, flags, launch, state
began = container.start

def start(request):
    global started
    started = began(request)
    os.write(1, b"%d\\n" % started.pid)
    return started

def save(held):
    select.select([started.sync], [], [])  # the child has said all it says before it waits for the word
    os.kill(os.getpid(), signal.SIGKILL)

container.start, state.Container.save = start, save
options = flags.Options()
options.values["bundle"] = sys.argv[2]
nobody = lambda text: None
launch.create(state.Host(sys.argv[1], hierarchy.detect(), warn=nobody, debug=nobody), sys.argv[3], options)
"""


def test_a_create_that_is_killed_before_its_state_is_written_leaves_no_process(bundle: Bundle) -> None:
    """Nobody could find it, and it would wait for the word of ``start`` for ever."""
    bundle.process["args"] = ["sleep", "1000"]
    identifier = bundle.write()
    command = [sys.executable, "-c", KILLED_CREATE, str(bundle.root), str(bundle.directory), identifier]
    bundle.root.mkdir(exist_ok=True)
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False, cwd=bundle.directory)
    assert killed.returncode == -signal.SIGKILL
    for _ in range(2000):
        try:
            if procfs.state(int(killed.stdout)) == "Z":
                break
        except FileNotFoundError:
            break
        time.sleep(0.01)
    else:
        os.kill(int(killed.stdout), signal.SIGKILL)
        pytest.fail("the first process waits for ever")
