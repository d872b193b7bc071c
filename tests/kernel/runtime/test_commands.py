"""corten-runtime's commands, as Podman and containerd use them."""

from __future__ import annotations

import json
import os
import pty
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root


def test_run_gives_output_and_exit_code(bundle: Bundle) -> None:
    output = bundle.shell("echo out; echo err >&2; exit 42")
    assert (output.stdout, output.stderr, output.returncode) == ("out\n", "err\n", 42)
    assert os.listdir(bundle.root) == [".seccomp"]


def test_lifecycle(bundle: Bundle, tmp_path: Path) -> None:
    marker = bundle.rootfs / "ran"
    bundle.process["args"] = ["sh", "-c", "touch /ran; trap 'exit 3' TERM; while :; do sleep 0.05; done"]
    identifier = bundle.write()
    pid_file = tmp_path / "pid"
    quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    bundle.call("create", "--bundle", str(bundle.directory), "--pid-file", str(pid_file), identifier, **quiet)
    state = bundle.state(identifier)
    assert state["status"] == "created"
    assert state["pid"] == int(pid_file.read_text())
    assert state["bundle"] == str(bundle.directory)
    time.sleep(0.1)
    assert not marker.exists()
    assert bundle.call("start", identifier).returncode == 0
    assert "already running" in bundle.call("start", identifier).stderr
    deadline = time.monotonic() + 5
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert bundle.state(identifier)["status"] == "running"
    assert "not stopped" in bundle.call("delete", identifier).stderr
    assert bundle.call("pause", identifier).returncode == 0
    assert bundle.state(identifier)["status"] == "paused"
    assert bundle.call("resume", identifier).returncode == 0
    assert json.loads(bundle.call("ps", "--format", "json", identifier).stdout)[0] == state["pid"]
    assert identifier in bundle.call("list", "-q").stdout.split()
    assert bundle.call("update", "--pids-limit", "9", identifier).returncode == 0
    assert bundle.call("kill", identifier, "TERM").returncode == 0
    deadline = time.monotonic() + 5
    while bundle.state(identifier)["status"] != "stopped" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert bundle.call("delete", identifier).returncode == 0
    assert "does not exist" in bundle.call("state", identifier).stderr
    assert bundle.call("delete", "--force", identifier).returncode == 0


def test_a_failed_create_leaves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    log = tmp_path / "log"
    bundle.process["args"] = ["nope"]
    identifier = bundle.write()
    output = bundle.call("--log", str(log), "--log-format", "json", "create", "-b", str(bundle.directory), identifier)
    assert output.returncode == 1
    assert 'exec: "nope": executable file not found in $PATH' in output.stderr
    line = json.loads(log.read_text())
    assert line["level"] == "error"
    assert "executable file not found in $PATH" in line["msg"]
    assert identifier not in os.listdir(bundle.root)
    assert not Path("/sys/fs/cgroup/pids", bundle.linux["cgroupsPath"].lstrip("/")).exists()


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("/nope", "stat /nope: no such file or directory"),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
        ("/etc", 'exec: "/etc": is a directory'),
    ],
)
def test_what_cannot_be_executed(bundle: Bundle, program: str, text: str) -> None:
    output = bundle.run(program)
    assert output.returncode == 1
    assert text in output.stderr


def test_exec(bundle: Bundle) -> None:
    identifier = bundle.start()
    output = bundle.exec(
        identifier, "sh", "-c", "echo $A; pwd; id -u; id -g; exit 9",
        flags=("-e", "A=b", "--cwd", "/tmp", "--user", "7:8"),
    )  # fmt: skip
    assert output.stdout.split() == ["b", "/tmp", "7", "8"]
    assert output.returncode == 9
    assert "executable file not found" in bundle.exec(identifier, "nope").stderr
    inside = bundle.exec(identifier, "sh", "-c", "cat /proc/self/cgroup; ps").stdout
    assert "while :" in inside
    assert all(line.endswith(bundle.linux["cgroupsPath"]) for line in inside.splitlines() if ":/" in line[:40])


def test_exec_process_file_and_pid_file(bundle: Bundle, tmp_path: Path) -> None:
    identifier = bundle.start()
    process = {**bundle.process, "args": ["sh", "-c", "sleep 30"], "terminal": False}
    (tmp_path / "process.json").write_text(json.dumps(process))
    quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    flags = ["--detach", "--process", str(tmp_path / "process.json"), "--pid-file", str(tmp_path / "pid")]
    assert bundle.call("exec", *flags, identifier, **quiet).returncode == 0
    pid = int((tmp_path / "pid").read_text())
    assert pid in json.loads(bundle.call("ps", "--format", "json", identifier).stdout)


def test_console_socket(bundle: Bundle, tmp_path: Path) -> None:
    """create with a terminal hands the pty's master over a socket, as conmon and containerd want it."""
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 11, "width": 77}
    bundle.process["args"] = ["sh", "-c", "tty; stty size; stat -c %t:%T /dev/console; read line; echo got $line"]
    identifier = bundle.write()
    path = str(tmp_path / "console.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        created = bundle.call("create", "-b", str(bundle.directory), "--console-socket", path, identifier, **quiet)
        assert created.returncode == 0
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    master = fds[0]
    assert os.isatty(master)
    bundle.call("start", identifier)
    os.write(master, b"hello\n")
    output = b""
    try:
        while chunk := os.read(master, 4096):
            output += chunk
    except OSError:
        pass
    os.close(master)
    words = output.decode().split()
    words.remove("hello")  # the terminal's echo
    assert words[:4] == ["/dev/pts/0", "11", "77", "88:0"]
    assert words[-2:] == ["got", "hello"]


def test_run_on_our_own_terminal(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.process["args"] = ["sh", "-c", "tty; read x; echo $x | tr a-z A-Z; exit 5"]
    identifier = bundle.write()
    ours, theirs = pty.openpty()
    command = [*bundle.command, "run", "-b", str(bundle.directory), identifier]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=bundle.directory) as process:
        os.close(theirs)
        os.write(ours, b"quiet\n")
        output = b""
        try:
            while chunk := os.read(ours, 4096):
                output += chunk
        except OSError:
            pass
        assert process.wait(10) == 5
    os.close(ours)
    assert b"/dev/pts/0" in output
    assert b"QUIET" in output


def test_namespaces_by_path(bundle: Bundle) -> None:
    first = bundle.start()
    pid = bundle.state(first)["pid"]
    for entry in bundle.linux["namespaces"]:
        name = {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts"}.get(entry["type"])
        if name:
            entry["path"] = f"/proc/{pid}/ns/{name}"
    bundle.spec.pop("hostname")
    output = bundle.shell("for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; ps").stdout
    links = output.split()[:4]
    assert links == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "ipc", "uts", "pid")]
    assert "while :" in output


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda spec: spec["linux"]["namespaces"].append({"type": "user"}), "linux: no uid mappings found"),
        (
            lambda spec: spec["linux"].update(cgroupsPath="a.slice:x:y"),
            "is for the systemd manager: use --systemd-cgroup",
        ),
        (lambda spec: spec["process"].update(apparmorProfile="x"), "apparmorProfile: profile 'x' is not loaded"),
        (lambda spec: spec["process"].update(selinuxLabel="x"), "selinuxLabel"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(bundle: Bundle, change, text: str) -> None:
    change(bundle.spec)
    bundle.process["args"] = ["true"]
    identifier = "cx"
    path = bundle.linux.get("cgroupsPath")
    (bundle.directory / "config.json").write_text(json.dumps(bundle.spec))
    assert text in bundle.call("run", "-b", str(bundle.directory), identifier).stderr, path


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="there is a systemd: see test_scopes")
@pytest.mark.parametrize("flag", ["--systemd-cgroup", "--cgroup-manager=systemd"])
def test_without_systemd_its_cgroups_are_refused(bundle: Bundle, flag: str) -> None:
    output = bundle.call(flag, "list")
    assert output.returncode == 1
    assert "systemd support for managing cgroups is not available" in output.stderr


def test_features_and_spec(bundle: Bundle, tmp_path: Path) -> None:
    features = json.loads(bundle.call("features").stdout)
    assert "createRuntime" in features["hooks"]
    assert bundle.call("spec", "-b", str(tmp_path)).returncode == 0
    assert json.loads((tmp_path / "config.json").read_text())["process"]["args"] == ["sh"]
    assert "exists" in bundle.call("spec", "-b", str(tmp_path)).stderr
    assert stat.S_ISREG((tmp_path / "config.json").stat().st_mode)
