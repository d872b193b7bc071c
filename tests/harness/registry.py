"""Debian's ``docker-registry`` on loopback, as a process of its own."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = """version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
{auth}
"""


class RegistryProcess:
    """One registry; ``host`` is what goes in front of a repository's name."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self.host = f"127.0.0.1:{port}"

    @classmethod
    @contextmanager
    def running(cls, *, port: int = 5000, htpasswd: str = "") -> Iterator[RegistryProcess]:
        """A started registry, gone with its storage when the block ends; ``htpasswd`` is a file's content."""
        root = Path(tempfile.mkdtemp(prefix="corten-registry-"))
        registry = cls(root, port)
        auth = ""
        if htpasswd:
            (root / "htpasswd").write_text(htpasswd)
            auth = f"auth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}"
        (root / "config.yml").write_text(CONFIG.format(root=root / "storage", port=port, tls="", auth=auth))
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", str(root / "config.yml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            registry.wait(process)
            yield registry
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(root)

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Return when it answers."""
        for _ in range(200):
            try:
                self.get("/v2/")
                return
            except OSError:
                assert process.poll() is None, (self.root / "log").read_text()
                time.sleep(0.05)
        raise AssertionError("docker-registry does not answer")

    def get(self, path: str, accept: str = "*/*") -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of one GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            response = connection.getresponse()
            return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def manifest(self, repository: str, reference: str) -> tuple[str, dict[str, object]]:
        """The digest and the document of a manifest."""
        accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
        status, headers, body = self.get(f"/v2/{repository}/manifests/{reference}", accept)
        assert status == 200, body
        return headers["docker-content-digest"], json.loads(body)
