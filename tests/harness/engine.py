"""An engine as a user has it: ``cortend`` as a process of its own, with its own roots, driven from outside."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.harness.leaks import Watch

START_SECONDS = 30.0
REPOSITORY = Path(__file__).resolve().parents[2]


class EngineProcess:
    """One ``cortend``; ``corten``, ``docker`` and ``api`` speak to it."""

    watch: ClassVar[Watch | None] = None

    def __init__(self, root: Path, flags: Sequence[str] = (), prefix: Sequence[str] = ()) -> None:
        self.root = root
        self.data_root = root / "data"
        self.exec_root = root / "exec"
        self.socket = root / "corten.sock"
        self.log = root / "cortend.log"
        self.flags = list(flags)
        self.prefix = list(prefix)
        self.program = ["-m", "corten.daemon.main"]
        self.process: subprocess.Popen[bytes] | None = None
        if self.watch is not None:
            self.watch.cgroups.add(f"corten-{self.instance}")

    @classmethod
    @contextmanager
    def running(cls, *flags: str, prefix: Sequence[str] = ()) -> Iterator[EngineProcess]:
        """A started engine; everything of it is gone when the block ends. ``prefix`` is a command that executes it."""
        root = Path(tempfile.mkdtemp(prefix="corten-test-"))
        engine = cls(root, flags, prefix)
        try:
            engine.start()
            yield engine
        finally:
            engine.destroy()

    @property
    def host(self) -> str:
        """The value for DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a client of this engine, with a configuration directory of its own."""
        config = self.root / "client"
        config.mkdir(exist_ok=True)
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DOCKER_", "CORTEN_")) and not key.lower().endswith("_proxy")
        }
        return kept | {"DOCKER_HOST": self.host, "DOCKER_CONFIG": str(config), "DOCKER_CLI_HINTS": "false"}

    def start(self) -> None:
        """Start ``cortend`` and wait until its socket answers."""
        command = [
            *self.prefix, sys.executable, *self.program,
            "--data-root", str(self.data_root), "--exec-root", str(self.exec_root),
            "--pidfile", str(self.root / "cortend.pid"), "-H", self.host, *self.flags,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"cortend did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether ``/_ping`` is answered now."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(self.socket))
                client.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return client.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def stop(self) -> None:
        """End ``cortend`` as a service manager does; containers are not touched."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def kill(self) -> None:
        """End ``cortend`` as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    @property
    def instance(self) -> str:
        """What names this engine's bridge, table and cgroups: the first six digits of its exec root's digest."""
        return hashlib.sha256(str(self.exec_root).encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        """The interface of its default network."""
        return f"ct{self.instance}"

    def shim_pid(self) -> int:
        """The pid of the engine's shim, from its pid file."""
        return int((self.exec_root / "shim.pid").read_text())

    def destroy(self) -> None:
        """As ``end``, then delete the roots."""
        try:
            self.end()
        finally:
            shutil.rmtree(self.root)

    def end(self) -> None:
        """Remove every container, stop the engine and its shim."""
        try:
            if self.process is not None and self.process.poll() is None:
                ids = [container["Id"] for container in self.api("GET", "/containers/json?all=1")]
                for identifier in ids:
                    self.api("DELETE", f"/containers/{identifier}?force=1&v=1")
                self.stop()
        finally:
            # As docker0 does, bridge and table outlive an engine; a test run leaves neither.
            subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)
            subprocess.run(
                ["nft", "delete", "table", "ip", f"corten_{self.instance}"], capture_output=True, check=False
            )
            self._end_processes()

    def verify(self) -> list[str]:
        """What ``doctor --fsck`` says of the data root; all it can say when the engine is stopped."""
        command = [sys.executable, "-m", "corten.daemon.doctor", "--fsck", "--json", "--data-root", str(self.data_root)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.stdout, result.stderr
        report = json.loads(result.stdout)
        damaged = any(finding["kind"] != "orphan" for finding in report["findings"])
        assert result.returncode == int(damaged), result.stdout
        assert report["in_use"] == (self.process is not None and self.process.poll() is None)
        return [f"{finding['kind']}: {finding['text']}" for finding in report["findings"]]

    def _end_processes(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        try:
            pid = self.shim_pid()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if str(self.exec_root).encode() in command:
            os.kill(pid, signal.SIGKILL)
            raise AssertionError("the shim outlived an engine without containers")

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One API call over a connection of its own; the decoded JSON answer, or the text."""
        status, content = self.request(method, path, body)
        assert status < 400, f"{method} {path}: {status} {content!r}"
        try:
            return json.loads(content)
        except ValueError:
            return content.decode()

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """As ``api``, giving the status and the raw body, whatever they are."""
        import http.client

        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.socket))
        payload = (
            body if body is None or isinstance(body, bytes) or hasattr(body, "read") else json.dumps(body).encode()
        )
        headers = {"Content-Type": content_type} if payload is not None else {}
        try:
            connection.request(method, path, payload, headers, encode_chunked=hasattr(payload, "read"))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def import_image(self, tar: Path, reference: str, *changes: str) -> str:
        """Make an image of a root file system's tar; its id."""
        flags = [flag for change in changes for flag in ("--change", change)]
        return self.docker("import", *flags, str(tar), reference).stdout.strip()

    def corten(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Our own CLI, in a process of its own."""
        return self._run([sys.executable, "-m", "corten.cli", *arguments], **options)

    def docker(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The unmodified docker CLI."""
        return self._run(["docker", *arguments], **options)

    def _run(
        self, command: list[str], *, check: bool = True, timeout: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
        if options["stdin"] is None:
            del options["stdin"]
        result = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False, **options
        )
        assert not check or result.returncode == 0, (
            f"{command}: exit {result.returncode}\n{result.stdout}{result.stderr}\n{self.log.read_text()[-2000:]}"
        )
        return result
