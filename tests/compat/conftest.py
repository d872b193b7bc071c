"""The same behaviour asked of three pairs of client and engine.

``corten`` is our CLI on our engine, ``docker`` the unmodified docker CLI on our engine. With ``CORTEN_REFERENCE=1`` and
Debian's dockerd installed, ``reference`` is the docker CLI on dockerd: what proves that the expectations are Docker's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.peers import Dockerd
from tests.harness.engine import EngineProcess

Result = subprocess.CompletedProcess[str]


class Client:
    """One command line on one engine. ``__call__`` checks the exit code, ``any`` does not."""

    def __init__(self, program: list[str], environment: dict[str, str], kind: str) -> None:
        self.program = program
        self.environment = environment
        self.kind = kind

    def __call__(self, *arguments: str, code: int = 0, text: str | None = None) -> Result:
        result = self.any(*arguments, text=text)
        assert result.returncode == code, (
            f"{arguments}: exit {result.returncode}, not {code}\n{result.stdout}{result.stderr}"
        )
        return result

    def any(self, *arguments: str, text: str | None = None, timeout: float = 60) -> Result:
        return subprocess.run(
            [*self.program, *arguments],
            env=self.environment,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def out(self, *arguments: str, code: int = 0, text: str | None = None) -> str:
        """Standard output without the last newline."""
        return self(*arguments, code=code, text=text).stdout.rstrip("\n")

    def err(self, *arguments: str, code: int = 1) -> str:
        """Standard error of a command that is expected to fail."""
        return self(*arguments, code=code).stderr

    def remove_all(self) -> None:
        """Every container and volume gone."""
        containers = self.out("ps", "-aq").split()
        if containers:
            self("rm", "-f", "-v", *containers)
        volumes = self.out("volume", "ls", "-q").split()
        if volumes:
            self("volume", "rm", *volumes)


KINDS = ["corten", "docker", *(["reference"] if os.environ.get("CORTEN_REFERENCE") else [])]


@pytest.fixture(scope="module")
def shared_engine(busybox_tar: Path) -> Iterator[EngineProcess]:
    with EngineProcess.running() as engine:
        engine.docker("import", str(busybox_tar), "busybox:latest")
        yield engine


@pytest.fixture(scope="module")
def reference(busybox_tar: Path) -> Iterator[Dockerd]:
    with Dockerd.running() as dockerd:
        subprocess.run(["docker", "-H", dockerd.host, "import", str(busybox_tar), "busybox:latest"], check=True)
        yield dockerd


@pytest.fixture(params=KINDS)
def cli(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client whose containers and volumes are gone after the test."""
    if request.param == "reference":
        host = request.getfixturevalue("reference").host
        config = tmp_path_factory.mktemp("config")
        environment = {**os.environ, "DOCKER_HOST": host, "DOCKER_CONFIG": str(config), "DOCKER_CLI_HINTS": "false"}
        program = ["docker"]
    else:
        environment = request.getfixturevalue("shared_engine").environment
        program = ["docker"] if request.param == "docker" else [sys.executable, "-m", "corten.cli"]
    client = Client(program, environment, request.param)
    yield client
    client.remove_all()
