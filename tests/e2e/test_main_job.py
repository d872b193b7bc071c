"""The main job on real input: a Debian image goes to a real registry, comes back byte for byte and serves requests."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import drivers
from tests.harness.engine import EngineProcess
from tests.harness.registry import RegistryProcess

pytestmark = pytest.mark.root

PORT = 18080
MEMORY = 128 * 1024 * 1024
SERVER = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("asked to stop", flush=True), sys.exit(0)))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"served " + self.path.encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, format, *args):
        print("request", self.path, flush=True)
print("ready", flush=True)
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


@pytest.fixture(params=["corten", "docker", "docker-py"])
def driver(request: pytest.FixtureRequest, bare_engine: EngineProcess) -> Iterator[drivers.Driver]:
    made = drivers.make(request.param, bare_engine)
    yield made
    if isinstance(made, drivers.DockerPy):
        made.close()


def fetch(host: str, path: str) -> bytes:
    """The body of one GET, retried while the server starts."""
    for _ in range(100):
        try:
            with socket.create_connection((host, PORT), timeout=5) as client:
                client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                answer = b"".join(iter(lambda: client.recv(65536), b""))
                if answer:
                    return answer.split(b"\r\n\r\n", 1)[1]
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"nothing served on {host}:{PORT}")


def test_image_travels_and_serves(driver: drivers.Driver, debian_tar: Path) -> None:
    with RegistryProcess.running() as registry:
        reference = f"{registry.host}/team/debian:python"
        driver.import_image(str(debian_tar), reference)
        before = driver.image(reference)
        driver.push(reference)
        pushed, manifest = registry.manifest("team/debian", "python")
        driver.remove_image(reference)
        assert driver.image_ids() == []

        driver.pull(reference)
        after = driver.image(reference)
        assert after["Id"] == before["Id"] == manifest["config"]["digest"]  # type: ignore[index]
        assert after["RootFS"] == before["RootFS"]
        assert after["RepoDigests"] == [f"{registry.host}/team/debian@{pushed}"]

        driver.tag(reference, f"{registry.host}/team/debian:again")
        driver.push(f"{registry.host}/team/debian:again")
        assert registry.manifest("team/debian", "again")[0] == pushed

    serve(driver, reference)
    driver.remove_image(f"{registry.host}/team/debian:again")
    driver.remove_image(reference)
    assert driver.image_ids() == []


def serve(driver: drivers.Driver, image: str) -> None:
    identifier = driver.run(
        image, ["python3", "-c", SERVER], name="web", ports={"8000/tcp": PORT}, memory=MEMORY, pids=64
    )
    details = driver.container("web")
    assert details["Id"] == identifier
    assert details["State"]["Status"] == "running"
    logs = driver.follow_logs("web")
    assert fetch("127.0.0.1", "/loopback") == b"served /loopback"
    assert fetch(details["NetworkSettings"]["Networks"]["bridge"]["Gateway"], "/gateway") == b"served /gateway"

    code, output = driver.exec("web", ["sh", "-c", "cat /etc/debian_version; id -u; exit 3"])
    assert code == 3
    assert output.split()[-1] == "0"
    code, output = driver.exec(
        "web",
        [
            "python3",
            "-c",
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/inside').read().decode())",
        ],
    )
    assert (code, output.strip()) == (0, "served /inside")

    driver.stop("web")
    state = driver.container("web")["State"]
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False), "SIGKILL would say 137"
    text = logs.join()
    assert text.splitlines()[0] == "ready"
    assert text.splitlines()[-1] == "asked to stop"
    assert "request /loopback" in text
    driver.remove("web")
