"""``run``: what a program sees, and what its caller is told."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.compat.conftest import Client

pytestmark = pytest.mark.root

LONG = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (["nosuch"], 127),
        (["/nosuch"], 127),
        (["/etc/passwd"], 126),
        (["/etc"], 126),
    ],
)
def test_exit_code(cli: Client, command: list[str], code: int) -> None:
    cli("run", "--rm", "busybox", *command, code=code)
    assert cli.out("ps", "-aq") == ""


def test_texts_of_a_program_that_cannot_start(cli: Client) -> None:
    assert 'exec: "nosuch": executable file not found in $PATH' in cli.err("run", "--rm", "busybox", "nosuch", code=127)
    assert "no such file or directory" in cli.err("run", "--rm", "busybox", "/nosuch", code=127)
    assert 'exec: "/etc/passwd": permission denied' in cli.err("run", "--rm", "busybox", "/etc/passwd", code=126)


def test_engine_errors_are_125(cli: Client) -> None:
    assert "unknown flag: --nosuch" in cli.err("run", "--nosuch", "busybox", code=125)
    assert "invalid reference format" in cli.err("run", "--rm", "BAD IMAGE", code=125)
    assert "Minimum memory limit allowed is 6MB" in cli.err("run", "--rm", "-m", "1m", "busybox", "true", code=125)
    cli("run", "-d", "--name", "taken", "busybox", "true")
    error = cli.err("run", "--name", "taken", "busybox", "true", code=125)
    assert 'Conflict. The container name "/taken" is already in use by container "' in error


def test_output_streams_are_kept_apart(cli: Client) -> None:
    result = cli("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_large_output_is_complete(cli: Client) -> None:
    text = cli("run", "--rm", "busybox", "seq", "200000").stdout
    assert text == "".join(f"{number}\n" for number in range(1, 200001))


def test_standard_input_reaches_the_program_and_ends(cli: Client) -> None:
    text = "".join(f"line {number}\n" for number in range(50000))
    assert cli("run", "--rm", "-i", "busybox", "cat", text=text).stdout == text
    assert cli.out("run", "--rm", "-i", "busybox", "sh", "-c", "wc -l; echo after the end", text="a\nb\n").split(
        "\n"
    ) == [
        "2",
        "after the end",
    ]


def test_without_i_standard_input_is_empty(cli: Client) -> None:
    assert cli.out("run", "--rm", "busybox", "cat", text="ignored") == ""


def test_environment(cli: Client, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\nFROM_FILE=yes\nBOTH=file\n")
    lines = cli.out(
        "run", "--rm", "--env-file", str(file), "-e", "BOTH=flag", "-e", "A=b c", "busybox", "env"
    ).splitlines()
    assert {"FROM_FILE=yes", "BOTH=flag", "A=b c", "HOME=/root"} <= set(lines)
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in lines
    assert any(re.fullmatch(r"HOSTNAME=[0-9a-f]{12}", line) for line in lines)


def test_working_directory_is_made(cli: Client) -> None:
    assert cli.out("run", "--rm", "-w", "/tmp", "busybox", "pwd") == "/tmp"
    assert cli.out("run", "--rm", "-w", "/made/up", "busybox", "pwd") == "/made/up"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("1000", "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"),
        ("user", "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"),
        ("user:daemon", "uid=1000(user) gid=1(daemon) groups=1(daemon)"),
        ("7:8", "uid=7 gid=8 groups=8"),
        ("7", "uid=7 gid=0(root) groups=0(root)"),
    ],
)
def test_user(cli: Client, user: str, expected: str) -> None:
    assert cli.out("run", "--rm", "-u", user, "busybox", "id") == expected


def test_unknown_user_is_refused(cli: Client) -> None:
    result = cli.any("run", "--rm", "-u", "nosuch", "busybox", "true")
    assert result.returncode in (125, 126)
    assert "unable to find user nosuch: no matching entries in passwd file" in result.stderr


def test_hostname_and_names(cli: Client) -> None:
    assert cli.out(
        "run",
        "--rm",
        "-h",
        "box",
        "--add-host",
        "peer:10.9.8.7",
        "busybox",
        "sh",
        "-c",
        "hostname; grep peer /etc/hosts",
    ) == ("box\n10.9.8.7\tpeer")
    assert (
        cli.out("run", "--rm", "--dns", "10.1.2.3", "busybox", "grep", "nameserver", "/etc/resolv.conf")
        == "nameserver 10.1.2.3"
    )


def test_read_only_root_with_tmpfs(cli: Client) -> None:
    assert "Read-only file system" in cli.err("run", "--rm", "--read-only", "busybox", "touch", "/x")
    words = ("run", "--rm", "--read-only", "--tmpfs", "/t:size=1m,mode=1777", "busybox")
    assert (
        cli.out(*words, "sh", "-c", "echo x > /t/x && cat /t/x && df -k /t | tail -1 | awk '{print $2}'") == "x\n1024"
    )


def test_mounts(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    bind = f"{tmp_path}:/host"
    assert (
        cli.out("run", "--rm", "-v", bind, "busybox", "sh", "-c", "cat /host/in; echo back > /host/out")
        == "from the host"
    )
    assert (tmp_path / "out").read_text() == "back\n"
    assert "Read-only" in cli.err("run", "--rm", "-v", f"{bind}:ro", "busybox", "touch", "/host/x")
    cli("run", "--rm", "-v", "kept:/data", "busybox", "sh", "-c", "echo kept > /data/x")
    assert cli.out("run", "--rm", "--mount", "type=volume,src=kept,dst=/d,readonly", "busybox", "cat", "/d/x") == "kept"
    assert cli.out("volume", "ls", "-q") == "kept"
    cli("run", "--rm", "-v", "/anonymous", "busybox", "true")
    assert cli.out("volume", "ls", "-q") == "kept"


def test_named_volume_takes_the_images_content(cli: Client) -> None:
    assert (
        cli.out("run", "--rm", "-v", "copied:/etc", "busybox", "head", "-1", "/etc/passwd")
        == "root:x:0:0:root:/root:/bin/sh"
    )
    assert cli.out("run", "--rm", "-v", "copied:/c", "busybox", "ls", "/c/group") == "/c/group"


def test_missing_bind_source_of_mount_is_refused(cli: Client) -> None:
    error = cli.err("run", "--rm", "--mount", "type=bind,src=/nosuch/path,dst=/x", "busybox", "true", code=125)
    assert "bind source path does not exist: /nosuch/path" in error


def test_limits(cli: Client) -> None:
    script = """
    cd /sys/fs/cgroup
    if [ -e cgroup.controllers ]; then cat memory.max pids.max cpu.max
    else cat memory/memory.limit_in_bytes pids/pids.max; echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us); fi
    """
    words = ("run", "--rm", "-m", "32m", "--pids-limit", "50", "--cpus", "0.5", "busybox", "sh", "-c", script)
    assert cli.out(*words).splitlines() == ["33554432", "50", "50000 100000"]


def test_out_of_memory_is_reported(cli: Client) -> None:
    words = ("run", "--name", "hog", "-m", "24m", "--memory-swap", "24m", "busybox")
    cli(
        *words,
        "sh",
        "-c",
        "tail -c 200m /dev/zero | tail -c 190m | wc -c; exec sh -c 'x=$(head -c 100m /dev/zero | tr \"\\\\000\" x)'",
        code=137,
    )
    assert cli.out("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hog") == "true 137"


def test_capabilities_and_privileges(cli: Client) -> None:
    grep = ("busybox", "grep", "-E", "^(CapEff|CapInh|CapAmb|NoNewPrivs|Seccomp):", "/proc/self/status")

    def status(*flags: str) -> dict[str, str]:
        lines = cli.out("run", "--rm", *flags, *grep).splitlines()
        return {line.split(":")[0]: line.split()[1].lstrip("0") or "0" for line in lines}

    assert status() == {"CapInh": "0", "CapEff": "a80425fb", "CapAmb": "0", "NoNewPrivs": "0", "Seccomp": "2"}
    assert status("--cap-drop", "ALL", "--cap-add", "NET_ADMIN")["CapEff"] == "1000"
    assert status("--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"
    assert status("--security-opt", "seccomp=unconfined")["Seccomp"] == "0"
    assert status("-u", "1000")["CapEff"] == "0"
    if cli.kind == "reference":
        return  # Debian's runc gives up on --privileged where one capability is missing
    privileged = status("--privileged")
    assert privileged["Seccomp"] == "0"
    assert len(privileged["CapEff"]) > 8


def test_seccomp_refuses_what_docker_refuses(cli: Client) -> None:
    assert "Operation not permitted" in cli.any("run", "--rm", "busybox", "unshare", "-m", "true").stderr
    assert "Operation not permitted" in cli.any(
        "run", "--rm", "busybox", "mount", "-t", "tmpfs", "x", "/tmp"
    ).stderr.replace("permission denied", "Operation not permitted")


def test_process_tree_is_its_own(cli: Client) -> None:
    assert cli.out("run", "--rm", "busybox", "sh", "-c", "echo $$; ls /proc | grep -c '^[0-9]'").split("\n")[0] == "1"


def test_init_reaps(cli: Client) -> None:
    script = "(sleep 0.01 & exec true) & sleep 0.3; cat /proc/1/comm; ps | grep -c '[Z]' || true; exit 5"
    assert "sh" not in cli.out("run", "--rm", "--init", "busybox", "sh", "-c", script, code=5).split("\n")[0]


def test_shared_memory_size(cli: Client) -> None:
    assert (
        cli.out("run", "--rm", "--shm-size", "8m", "busybox", "sh", "-c", "df -k /dev/shm | tail -1 | awk '{print $2}'")
        == "8192"
    )


def test_ulimit(cli: Client) -> None:
    assert (
        cli.out("run", "--rm", "--ulimit", "nofile=512:1024", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn")
        == "512\n1024"
    )


def test_entrypoint(cli: Client) -> None:
    assert cli.out("run", "--rm", "--entrypoint", "/bin/echo", "busybox", "a", "b") == "a b"


def test_cidfile(cli: Client, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    identifier = cli.out("run", "-d", "--cidfile", str(file), "busybox", "true")
    assert file.read_text() == identifier
    assert re.fullmatch("[0-9a-f]{64}", identifier)


def test_cidfile_that_cannot_be(cli: Client, tmp_path: Path) -> None:
    """The words say of the file what they say of a program that is missing, so the exit code of ``run`` is 127."""
    text = f"failed to create the container ID file: open {tmp_path}/no/cid: no such file or directory"
    assert text in cli.err("run", "--cidfile", f"{tmp_path}/no/cid", "busybox", "true", code=127)
    assert cli.err("create", "--cidfile", f"{tmp_path}/no/cid", "busybox", "true") == f"{text}\n"
    (tmp_path / "there").touch()
    text = f"container ID file found, make sure the other container isn't running or delete {tmp_path}/there"
    assert text in cli.err("run", "--cidfile", f"{tmp_path}/there", "busybox", "true", code=125)
    assert cli.err("create", "--cidfile", f"{tmp_path}/there", "busybox", "true") == f"{text}\n"
    assert cli.out("ps", "-aq") == ""


def test_stop_signals_that_are_none(cli: Client) -> None:
    """Any number but 0 is taken; one that Linux has not is never sent, and the container is killed in the end."""
    for name in ("FOO", "0", "SIGSIGTERM", " 9", "1e3"):
        assert f"nvalid signal: {name}" in cli.err("create", "--stop-signal", name, "busybox", "true")
    for name in ("-5", "+9", "99", "sigterm", "RTMIN+3", "sigrtmax-2"):
        cli("create", "--stop-signal", name, "busybox", "true")
    cli("run", "-d", "--name", "box", "--stop-signal", "99", "busybox", "sleep", "60")
    assert "he linux daemon does not support signal 99" in cli.err("kill", "-s", "99", "box")
    assert "nvalid signal: FOO" in cli.err("kill", "-s", "FOO", "box")
    assert cli.out("inspect", "-f", "{{.State.Running}} {{.Config.StopSignal}}", "box") == "true 99"
    cli("stop", "-t", "1", "box")
    assert cli.out("inspect", "-f", "{{.State.ExitCode}}", "box") == "137"


def test_use_api_socket(cli: Client) -> None:
    config = Path(cli.environment["DOCKER_CONFIG"])
    (config / "config.json").write_text('{"auths": {"reg.test": {"auth": "dTpw"}, "b.test": {"auth": "YTpi"}}}')
    try:
        look = (
            "cat /run/secrets/docker/config.json; stat -c '%a %n' /run/secrets/docker /run/secrets/docker/config.json"
        )
        output = cli.out("run", "--use-api-socket", "-e", "X=1", "busybox", "sh", "-c", f"{look}; env")
        document, _, rest = output.partition("}755 ")
        assert json.loads(document + "}") == {"auths": {"b.test": {"auth": "YTpi"}, "reg.test": {"auth": "dTpw"}}}
        assert rest.startswith("/run/secrets/docker\n600 /run/secrets/docker/config.json\n")
        assert "DOCKER_CONFIG=/run/secrets/docker" in rest.splitlines()
        cli("run", "--use-api-socket", "busybox", "test", "-S", "/var/run/docker.sock")
        cli("run", "--use-api-socket", "-e", "DOCKER_CONFIG=/own", "busybox", "test", "!", "-e", "/run/secrets")
    finally:
        (config / "config.json").unlink()
    environment = {**cli.environment, "DOCKER_HOST": "tcp://127.0.0.1:1"}
    refused = Client(cli.program, environment, cli.kind).err("create", "--use-api-socket", "busybox", "true")
    assert "flag --use-api-socket can only be used with unix sockets: docker endpoint tcp://127.0.0.1:1" in refused


def test_tty(cli: Client) -> None:
    result = subprocess.run(
        [
            "script",
            "-qec",
            " ".join([*cli.program, "run", "--rm", "-it", "busybox", "sh", "-c", "'tty; stty size; echo done'"]),
            "/dev/null",
        ],
        env=cli.environment,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "/dev/pts/0" in result.stdout
    assert "done" in result.stdout


def test_signals_are_passed_on(cli: Client) -> None:
    script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [*cli.program, "run", "--rm", "busybox", "sh", "-c", script],
        env=cli.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert (process.wait(30), rest) == (3, "caught\n")
    process.stdout.close()


def test_networks(cli: Client) -> None:
    assert cli.out("run", "--rm", "--network", "none", "busybox", "sh", "-c", "ls /sys/class/net") == "lo"
    assert cli.out("run", "--rm", "busybox", "sh", "-c", "ls /sys/class/net | sort | tr '\\n' ' '") == "eth0 lo "
    cli("run", "-d", "--name", "holder", "busybox", *LONG)
    address = cli.out("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "holder")
    inside = "ip -4 -o addr show eth0 | awk '{print $4}'"
    assert cli.out("run", "--rm", "--network", "container:holder", "busybox", "sh", "-c", inside) == f"{address}/16"
    assert cli.out("run", "--rm", "busybox", "ping", "-c", "1", "-W", "5", address).count("1 packets received") == 1


def test_published_port_is_served_and_shown(cli: Client) -> None:
    server = "while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p 80; done"
    cli("run", "-d", "--name", "web", "-p", "18090:80", "-p", "127.0.0.1:18091:81/udp", "busybox", "sh", "-c", server)
    ports = cli.out("port", "web").splitlines()
    assert "80/tcp -> 0.0.0.0:18090" in ports
    assert "81/udp -> 127.0.0.1:18091" in ports
    import urllib.request

    for _ in range(50):
        try:
            with urllib.request.urlopen("http://127.0.0.1:18090/", timeout=5) as answer:
                assert answer.read() == b"hello"
                break
        except OSError:
            time.sleep(0.1)
    else:
        raise AssertionError("the published port was never served")
    error = cli.err("run", "--rm", "-p", "18090:80", "busybox", "true", code=125)
    assert "port is already allocated" in error


def test_inspect_tells_what_was_asked(cli: Client) -> None:
    cli(
        "create",
        "--name",
        "asked",
        "-m",
        "64m",
        "-e",
        "A=b",
        "-l",
        "k=v",
        "-v",
        "/data",
        "-p",
        "80",
        "busybox",
        "echo",
        "x",
    )
    (document,) = json.loads(cli.out("inspect", "asked"))
    assert document["Name"] == "/asked"
    assert document["State"]["Status"] == "created"
    assert document["Config"]["Cmd"] == ["echo", "x"]
    assert document["Config"]["Labels"] == {"k": "v"}
    assert "A=b" in document["Config"]["Env"]
    assert document["HostConfig"]["Memory"] == 64 << 20
    assert document["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": ""}]}
    assert [mount["Destination"] for mount in document["Mounts"]] == ["/data"]
