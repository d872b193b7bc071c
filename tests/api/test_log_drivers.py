"""Log drivers from the request to the file or the sink, and back through ``logs``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

SCRIPT = "echo out; echo err >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; printf end"


def run(engine: EngineProcess, name: str, script: str, *flags: str) -> None:
    engine.docker("run", "-d", "--network", "none", "--name", name, *flags, "busybox", "sh", "-c", script)
    assert engine.docker("wait", name).stdout == "0\n"


@contextmanager
def removed(engine: EngineProcess, *names: str) -> Iterator[None]:
    try:
        yield
    finally:
        engine.docker("rm", "-f", *names, check=False)


def log_directory(engine: EngineProcess, name: str) -> Path:
    identifier = engine.api("GET", f"/containers/{name}/json")["Id"]
    return engine.data_root / "containers" / identifier / "log"


def test_json_file_attributes_and_details(engine: EngineProcess) -> None:
    flags = [
        "-e", "E=v w", "--label", "l=x,y=z", "--label", "m=1", "--log-opt", "labels=l", "--log-opt", "env-regex=^E",
        "--log-opt", "tag={{.ImageName}}/{{.Name}}/{{.ID}}",
    ]  # fmt: skip
    with removed(engine, "tagged"):
        run(engine, "tagged", "echo a", *flags)
        identifier = engine.api("GET", "/containers/tagged/json")["Id"]
        line = json.loads((log_directory(engine, "tagged") / f"{identifier}-json.log").read_text())
        assert line["attrs"] == {"l": "x,y=z", "E": "v w", "tag": f"busybox/tagged/{identifier[:12]}"}
        details = engine.docker("logs", "--details", "tagged").stdout
        assert details == f"E=v+w,l=x%2Cy%3Dz,tag=busybox%2Ftagged%2F{identifier[:12]} a\n"


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("tag={{.Nope}}", """template: log-tag:1:2: executing "log-tag" at <.Nope>: can't evaluate field Nope in type *logger.Info"""),
        ("tag={{.Name", "template: log-tag:1: unclosed action"),
        ("labels-regex=(", "error parsing regexp: "),
        ("max-size=zz", "invalid size: 'zz'"),
    ],
)  # fmt: skip
def test_what_dockers_start_refuses_is_refused_at_create(engine: EngineProcess, option: str, text: str) -> None:
    result = engine.docker("create", "--log-opt", option, "busybox", "true", check=False)
    assert result.returncode == 1
    assert f"failed to initialize logging driver: {text}" in result.stderr


def test_local_is_compressed_and_read_back(engine: EngineProcess) -> None:
    script = "for i in 1 2 3 4; do seq $((i * 10000 + 1)) $((i * 10000 + 10000)); sleep 0.2; done"
    with removed(engine, "local"):
        run(engine, "local", script, "--log-driver", "local", "--log-opt", "max-size=700k")
        found = engine.api("GET", "/containers/local/json")
        assert found["LogPath"] == ""
        assert found["HostConfig"]["LogConfig"] == {"Type": "local", "Config": {"max-size": "700k"}}
        names = sorted(os.listdir(log_directory(engine, "local")))
        assert "container.log.2.gz" in names
        numbers = [int(line) for line in engine.docker("logs", "local").stdout.split()]
        assert numbers == list(range(10001, 50001))
        assert engine.docker("logs", "--tail", "20001", "local").stdout.startswith("30000\n")
        assert engine.docker("logs", "--details", "--tail", "1", "local").stdout == " 50000\n"


class Server:
    """A socket that keeps what it gets."""

    def __init__(self, family: int, kind: int, address: object) -> None:
        self.socket = socket.socket(family, kind)
        self.socket.bind(address)
        self.socket.settimeout(0.05)
        self._over = False
        self.got = b""
        self._stream = kind == socket.SOCK_STREAM
        if self._stream:
            self.socket.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over:
            try:
                if not self._stream:
                    self.got += self.socket.recv(1 << 20)
                    continue
                with self.socket.accept()[0] as client:
                    while data := client.recv(1 << 20):
                        self.got += data
            except TimeoutError:
                continue

    def until(self, text: bytes) -> bytes:
        for _ in range(400):
            if text in self.got:
                return self.got
            time.sleep(0.02)
        raise AssertionError(f"{text!r} never came: {self.got[-500:]!r}")

    def close(self) -> None:
        self._over = True
        self._thread.join()
        self.socket.close()


@pytest.fixture
def sinks(tmp_path: Path) -> Iterator[dict[str, Server]]:
    directory = tempfile.mkdtemp(prefix="sinks-")
    made = {
        "udp": Server(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 5514)),
        "tcp": Server(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 5514)),
        "unix": Server(socket.AF_UNIX, socket.SOCK_STREAM, f"{directory}/s"),
        "unixgram": Server(socket.AF_UNIX, socket.SOCK_DGRAM, f"{directory}/g"),
    }
    yield made
    for server in made.values():
        server.close()
    for name in "sg":
        os.unlink(f"{directory}/{name}")
    os.rmdir(directory)


@pytest.mark.parametrize("protocol", ["udp", "tcp", "unix", "unixgram"])
def test_syslog_over_each_transport_with_a_cache(
    engine: EngineProcess, sinks: dict[str, Server], protocol: str
) -> None:
    server = sinks[protocol]
    where = server.socket.getsockname()
    address = f"{protocol}://{where if isinstance(where, str) else '127.0.0.1:5514'}"
    flags = ["--log-driver", "syslog", "--log-opt", f"syslog-address={address}", "--log-opt", "syslog-facility=local3",
             "--log-opt", "tag=t/{{.Name}}"]  # fmt: skip
    with removed(engine, "talks"):
        run(engine, "talks", SCRIPT, *flags)
        got = server.until(b"]: end\n")
        lines = got.splitlines()
        assert any(line.startswith(b"<158>") and b" t/talks[" in line and line.endswith(b"]: out") for line in lines)
        assert any(line.startswith(b"<155>") and line.endswith(b"]: err") for line in lines)
        assert sum(line.count(b"x") for line in lines) == 20000
        read = engine.docker("logs", "talks")
        assert read.stdout == "out\n" + "x" * 20000 + "\nend"
        assert read.stderr == "err\n"


def test_syslog_that_cannot_be_reached_fails_the_start_in_dockers_words(engine: EngineProcess) -> None:
    flags = ["--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:1"]
    with removed(engine, "nowhere"):
        result = engine.docker("run", "--name", "nowhere", *flags, "busybox", "true", check=False)
        assert result.returncode == 125
        assert "failed to initialize logging driver: dial tcp 127.0.0.1:1: connect: connection refused" in result.stderr


def test_no_cache_no_reading(engine: EngineProcess, sinks: dict[str, Server]) -> None:
    flags = ["--log-driver", "syslog", "--log-opt", "syslog-address=udp://127.0.0.1:5514", "--log-opt",
             "cache-disabled=true"]  # fmt: skip
    with removed(engine, "blind", "mute"):
        run(engine, "blind", "echo seen", *flags)
        sinks["udp"].until(b"seen")
        run(engine, "mute", "echo unseen", "--log-driver", "none")
        for name in ("blind", "mute"):
            result = engine.docker("logs", name, check=False)
            assert result.returncode == 1
            assert "configured logging driver does not support reading" in result.stderr
        assert os.listdir(log_directory(engine, "blind")) == []


@pytest.fixture
def journal() -> Iterator[Server]:
    """A journal of our own, in this run's mount namespace."""
    subprocess.run(["mount", "-t", "tmpfs", "journal", "/run/systemd"], check=True)
    try:
        os.mkdir("/run/systemd/journal")
        server = Server(socket.AF_UNIX, socket.SOCK_DGRAM, "/run/systemd/journal/socket")
        yield server
        server.close()
    finally:
        subprocess.run(["umount", "/run/systemd"], check=True)


@pytest.mark.skipif(not os.path.isdir("/run/systemd"), reason="no /run/systemd to put a journal in")
def test_journald_has_dockers_fields(engine: EngineProcess, journal: Server) -> None:
    flags = ["--log-driver", "journald", "--label", "my.lab-el=x", "--log-opt", "labels=my.lab-el", "-e", "E=v",
             "--log-opt", "env=E", "--log-opt", "tag={{.Name}}"]  # fmt: skip
    with removed(engine, "jour"):
        run(engine, "jour", SCRIPT, *flags)
        got = journal.until(b"MESSAGE=end\n")
        identifier = engine.api("GET", "/containers/jour/json")["Id"]
        for field in (
            b"MESSAGE=out\nPRIORITY=6\n", b"MESSAGE=err\nPRIORITY=3\n", b"\nCONTAINER_NAME=jour\n",
            b"\nCONTAINER_ID=%b\n" % identifier[:12].encode(), b"\nCONTAINER_ID_FULL=%b\n" % identifier.encode(),
            b"\nCONTAINER_TAG=jour\n", b"\nSYSLOG_IDENTIFIER=jour\n", b"\nIMAGE_NAME=busybox\n", b"\nMY_LAB_EL=x\n",
            b"\nE=v\n", b"\nCONTAINER_PARTIAL_MESSAGE=true\n", b"\nCONTAINER_PARTIAL_LAST=true\n",
        ):  # fmt: skip
            assert field in got, field
        assert engine.docker("logs", "jour").stdout.endswith("end")


def test_no_journal_fails_the_start(engine: EngineProcess) -> None:
    if os.path.exists("/run/systemd/journal/socket"):
        pytest.skip("this host has a journal")
    with removed(engine, "jour"):
        result = engine.docker("run", "--name", "jour", "--log-driver", "journald", "busybox", "true", check=False)
        assert result.returncode == 125
        assert "failed to initialize logging driver: journald is not enabled on this host" in result.stderr


def test_a_dead_sink_holds_up_nobody_and_the_loss_is_shown(engine: EngineProcess) -> None:
    directory = tempfile.mkdtemp(prefix="sinks-")
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deaf.bind(f"{directory}/deaf")  # bound, never read: its queue fills and stays full
    flags = ["--log-driver", "syslog", "--log-opt", f"syslog-address=unixgram://{directory}/deaf"]
    with removed(engine, "loud", "other"):
        script = "seq 600000; sleep 60"
        engine.docker("run", "-d", "--network", "none", "--name", "loud", *flags, "busybox", "sh", "-c", script)
        run(engine, "other", "seq 20000")
        assert engine.docker("logs", "other").stdout == "".join(f"{n}\n" for n in range(1, 20001))
        for _ in range(400):
            if engine.docker("logs", "--tail", "1", "loud").stdout == "600000\n":
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the container was held up by its sink")
        warnings = engine.api("GET", "/info")["Warnings"]
        assert any("lines of container loud are in no log" in warning for warning in warnings)
        assert f"syslog {directory}/deaf" in (engine.exec_root / "shim.log").read_text()
    deaf.close()
    os.unlink(f"{directory}/deaf")
    os.rmdir(directory)


def test_a_new_shim_goes_on_logging_to_the_sink_and_the_cache(
    fresh_engine: EngineProcess, sinks: dict[str, Server]
) -> None:
    engine, server = fresh_engine, sinks["tcp"]
    flags = ["--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:5514"]
    script = "i=0; while :; do i=$((i + 1)); echo tick $i; sleep 0.05; done"
    with removed(engine, "ticks"):
        engine.docker("run", "-d", "--network", "none", "--name", "ticks", *flags, "busybox", "sh", "-c", script)
        server.until(b"tick 3\n")
        before = engine.shim_pid()
        os.kill(before, signal.SIGKILL)
        last = int(server.got.rsplit(b"tick ", 1)[1].split()[0])
        server.until(b"tick %d\n" % (last + 20))
        assert engine.shim_pid() != before
        assert f"tick {last + 20}\n" in engine.docker("logs", "ticks").stdout


def test_non_blocking_keeps_every_line_while_there_is_room(engine: EngineProcess) -> None:
    with removed(engine, "ring"):
        run(engine, "ring", "seq 3000", "--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=4m")
        assert engine.docker("logs", "ring").stdout == "".join(f"{n}\n" for n in range(1, 3001))


def test_the_engines_default_driver_and_options() -> None:
    from tests.harness.images import busybox_tar

    with EngineProcess.running(
        "--log-driver", "local", "--log-opt", "max-file=3", "--log-opt", "max-size=1m"
    ) as engine:
        engine.import_image(busybox_tar(engine.root / "busybox.tar"), "busybox:latest")
        assert engine.api("GET", "/info")["LoggingDriver"] == "local"
        engine.docker("create", "--name", "aa", "--log-opt", "max-file=4", "busybox", "true")
        engine.docker("create", "--name", "bb", "--log-driver", "json-file", "busybox", "true")
        configs = [engine.api("GET", f"/containers/{name}/json")["HostConfig"]["LogConfig"] for name in ("aa", "bb")]
        assert configs == [
            {"Type": "local", "Config": {"max-file": "4", "max-size": "1m"}},
            {"Type": "json-file", "Config": {}},
        ]
