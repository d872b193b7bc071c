"""``cortend`` as a process: what it refuses, how it ends, and who reaches it over TLS."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root


def cortend(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corten.daemon.main", *flags], capture_output=True, text=True, timeout=30, check=False
    )


def roots(*, data: object, execution: object, host: object) -> list[str]:
    return ["--data-root", str(data), "--exec-root", str(execution), "-H", f"unix://{host}"]


def test_a_second_engine_is_refused_and_the_first_not_disturbed(bare_engine, tmp_path):
    other = tmp_path / "other"
    for flags, text in (
        (roots(data=bare_engine.data_root, execution=other, host=other / "s"), "another engine uses"),
        (roots(data=other, execution=tmp_path / "e", host=bare_engine.socket), "an engine answers on it"),
    ):
        answer = cortend(*flags)
        assert answer.returncode == 1
        assert text in answer.stderr
    assert bare_engine.answers()


def test_its_files_are_not_for_others(bare_engine):
    assert bare_engine.data_root.stat().st_mode & 0o777 == 0o700
    assert bare_engine.exec_root.stat().st_mode & 0o066 == 0
    assert bare_engine.socket.stat().st_mode & 0o777 == 0o660


def test_cve_2021_41091_and_41089_and_2024_25621_a_user_of_the_host_reaches_no_layer(engine):
    """The image has a setuid program: who could walk to it on the host would be root."""
    engine.docker(
        "run",
        "--name",
        "setuid",
        "-v",
        "kept:/v",
        "busybox",
        "sh",
        "-c",
        "cp /bin/busybox /su; chmod 4755 /su; cp /su /v/su",
    )
    planted = [path for path in engine.data_root.rglob("su") if path.stat().st_mode & 0o4000]
    assert len(planted) == 2
    engine.root.chmod(0o755)
    top = os.open(engine.root, os.O_PATH)
    try:
        for path in (
            *planted,
            engine.data_root / "layers",
            engine.data_root / "containers",
        ):
            inside = f"/proc/self/fd/{top}/{path.relative_to(engine.root)}"
            for program in (["stat", inside], [inside, "id"], ["ls", inside]):
                try:
                    answer = subprocess.run(
                        program,
                        user=65534,
                        group=65534,
                        extra_groups=[],
                        pass_fds=[top],
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                except PermissionError:
                    continue
                assert answer.returncode != 0
                assert "Permission denied" in answer.stderr
    finally:
        os.close(top)
        engine.root.chmod(0o700)
        engine.docker("rm", "-v", "setuid")
        engine.docker("volume", "rm", "kept")


def test_it_ends_clean_and_leaves_no_socket(bare_engine):
    bare_engine.stop()
    assert bare_engine.process is not None
    assert bare_engine.process.returncode == 0
    assert not bare_engine.socket.exists()
    assert not (bare_engine.root / "cortend.pid").exists()
    bare_engine.start()


def test_it_starts_again_and_stays_small(bare_engine):
    bare_engine.stop()
    bare_engine.start()
    assert bare_engine.process is not None
    status = Path(f"/proc/{bare_engine.process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 60 * 1024


def test_events_and_waits_do_not_hold_the_end_up(bare_engine):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(bare_engine.socket))
        client.sendall(b"GET /events HTTP/1.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        begin = time.monotonic()
        bare_engine.stop()
        assert time.monotonic() - begin < 5
    bare_engine.start()


def test_a_reload_keeps_it_running_and_says_what_needs_a_restart(bare_engine):
    assert bare_engine.process is not None
    bare_engine.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 5
    while "reloaded configuration" not in bare_engine.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "reloaded configuration" in bare_engine.log.read_text()
    assert bare_engine.answers()


def test_the_docker_cli_and_docker_py_agree_with_it(bare_engine):
    shown = bare_engine.docker(
        "version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Client.APIVersion}}"
    )
    assert shown.stdout.split() == ["1.51", "1.24", "1.50"]
    assert bare_engine.docker("info", "--format", "{{.OSType}} {{.Driver}} {{.LoggingDriver}}").stdout.startswith(
        "linux "
    )
    import docker

    client = docker.DockerClient(base_url=bare_engine.host)
    try:
        assert client.ping()
        assert client.version()["ApiVersion"] == "1.51"
        assert [network.name for network in client.networks.list()]
        assert client.containers.list(all=True) == []
    finally:
        client.close()


# TLS.

CLIENT = "client"
STRANGER = "stranger"


def _openssl(directory: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(scratch: Path) -> Path:
    """A CA, an engine's certificate, a client's, and one of a stranger's own CA."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")
    directory = scratch / "certificates"
    directory.mkdir()
    fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for authority in ("ca", "stranger-ca"):
        files = ["-keyout", f"{authority}-key.pem", "-out", f"{authority}.pem"]
        _openssl(directory, "req", "-x509", *fresh, "-days", "2", "-subj", f"/CN={authority}", *files)
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, authority in (("engine", "ca"), (CLIENT, "ca"), (STRANGER, "stranger-ca")):
        _openssl(directory, "req", *fresh, "-subj", f"/CN={name}", "-keyout", f"{name}-key.pem", "-out", f"{name}.csr")
        signer = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}-key.pem", "-CAcreateserial"]
        _openssl(directory, "x509", "-req", "-in", f"{name}.csr", *signer, "-days", "2", "-extfile", "names",
                 "-out", f"{name}.pem")  # fmt: skip
    return directory


@pytest.fixture(scope="module")
def tls_engine(certificates: Path, busybox_tar: Path) -> Iterator[tuple[EngineProcess, str]]:
    """An engine on the unix socket and on TLS, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    files = [f"--tls{kind}={certificates}/{name}.pem" for kind, name in
             (("cacert", "ca"), ("cert", "engine"), ("key", "engine-key"))]  # fmt: skip
    with EngineProcess.running("-H", f"tcp://127.0.0.1:{port}", "--tlsverify", *files) as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        yield engine, f"tcp://127.0.0.1:{port}"


def over_tls(
    tls_engine: tuple[EngineProcess, str], certificates: Path, who: str, *arguments: str, send: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    engine, address = tls_engine
    environment = {name: value for name, value in engine.environment.items() if name != "DOCKER_HOST"}
    flags = ["--tlsverify", f"--tlscacert={certificates}/ca.pem", f"--tlscert={certificates}/{who}.pem"]
    return subprocess.run(
        ["docker", "-H", address, *flags, f"--tlskey={certificates}/{who}-key.pem", *arguments],
        env=environment | {"PATH": os.environ["PATH"]}, input=send, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_client_with_a_certificate_is_served(tls_engine, certificates):
    answer = over_tls(tls_engine, certificates, CLIENT, "version", "--format", "{{.Server.APIVersion}}")
    assert answer.stdout == b"1.51\n"


def test_a_client_with_a_strangers_certificate_is_not(tls_engine, certificates):
    answer = over_tls(tls_engine, certificates, STRANGER, "version")
    assert answer.returncode != 0
    engine, address = tls_engine
    plain = subprocess.run(["docker", "-H", address, "ps"], env=engine.environment | {"PATH": os.environ["PATH"]},
                           capture_output=True, timeout=30, check=False)  # fmt: skip
    assert plain.returncode != 0
    assert engine.answers()


def test_output_after_the_end_of_input_is_not_lost(tls_engine, certificates):
    payload = b"x" * 300_000
    answer = over_tls(
        tls_engine, certificates, CLIENT, "run", "-i", "--rm", "--network", "none", "busybox",
        "sh", "-c", "wc -c; sleep 0.3; echo afterwards; echo aside >&2; exit 4", send=payload,
    )  # fmt: skip
    assert answer.stdout.split() == [b"300000", b"afterwards"]
    assert answer.stderr == b"aside\n"
    assert answer.returncode == 4


def test_large_bodies_pass_both_ways(tls_engine, certificates):
    saved = over_tls(tls_engine, certificates, CLIENT, "save", "busybox")
    assert saved.returncode == 0
    assert len(saved.stdout) > 500_000
    loaded = over_tls(tls_engine, certificates, CLIENT, "load", send=saved.stdout)
    assert b"busybox:latest" in loaded.stdout
