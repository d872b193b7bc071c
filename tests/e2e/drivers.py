"""The three clients a user drives an engine with, behind one set of verbs: our CLI, the docker CLI and docker-py."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any, Protocol

import docker

from tests.harness.engine import EngineProcess


class Driver(Protocol):
    """What the main job needs of a client; every verb raises when the client reports a failure."""

    def import_image(self, tar: str, reference: str) -> None: ...
    def tag(self, source: str, target: str) -> None: ...
    def push(self, reference: str) -> None: ...
    def pull(self, reference: str) -> None: ...
    def remove_image(self, reference: str) -> None: ...
    def image(self, reference: str) -> dict[str, Any]: ...
    def image_ids(self) -> list[str]: ...
    def run(
        self, image: str, command: list[str], *, name: str, ports: dict[str, int], memory: int, pids: int
    ) -> str: ...
    def container(self, name: str) -> dict[str, Any]: ...
    def exec(self, name: str, command: list[str]) -> tuple[int, str]: ...
    def follow_logs(self, name: str) -> LogReader: ...
    def stop(self, name: str) -> None: ...
    def remove(self, name: str) -> None: ...


class LogReader:
    """``logs -f`` in the background: ``text`` is complete once ``join`` returned."""

    def __init__(self, lines: Any, finish: Any = None) -> None:
        self.text = ""
        self._lines = lines
        self._finish = finish
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._lines:
            self.text += line if isinstance(line, str) else line.decode()

    def join(self) -> str:
        """The whole text, after the stream ended by itself."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "logs -f did not end with the container"
        if self._finish is not None:
            self._finish()
        return self.text


class CommandLine:
    """A docker-compatible command line: ours, or Docker's own."""

    def __init__(self, engine: EngineProcess, command: list[str]) -> None:
        self.engine = engine
        self.command = command

    def _call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.engine._run([*self.command, *arguments], check=check, timeout=120)

    def import_image(self, tar: str, reference: str) -> None:
        assert self._call("import", tar, reference).stdout.startswith("sha256:")

    def tag(self, source: str, target: str) -> None:
        self._call("tag", source, target)

    def push(self, reference: str) -> None:
        assert "digest: sha256:" in self._call("push", reference).stdout

    def pull(self, reference: str) -> None:
        assert f"Status: Downloaded newer image for {reference}" in self._call("pull", reference).stdout

    def remove_image(self, reference: str) -> None:
        self._call("rmi", reference)

    def image(self, reference: str) -> dict[str, Any]:
        return json.loads(self._call("image", "inspect", reference).stdout)[0]

    def image_ids(self) -> list[str]:
        return self._call("images", "-aq", "--no-trunc").stdout.split()

    def run(self, image: str, command: list[str], *, name: str, ports: dict[str, int], memory: int, pids: int) -> str:
        published = [word for target, port in ports.items() for word in ("-p", f"{port}:{target}")]
        limits = ["--memory", str(memory), "--pids-limit", str(pids)]
        return self._call("run", "-d", "--name", name, *limits, *published, image, *command).stdout.strip()

    def container(self, name: str) -> dict[str, Any]:
        return json.loads(self._call("inspect", name).stdout)[0]

    def exec(self, name: str, command: list[str]) -> tuple[int, str]:
        result = self._call("exec", name, *command, check=False)
        return result.returncode, result.stdout

    def follow_logs(self, name: str) -> LogReader:
        process = subprocess.Popen(
            [*self.command, "logs", "-f", name],
            env=self.engine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        return LogReader(process.stdout, lambda: (process.wait(10), process.stdout.close() if process.stdout else None))

    def stop(self, name: str) -> None:
        assert self._call("stop", name).stdout.strip() == name

    def remove(self, name: str) -> None:
        self._call("rm", name)


class DockerPy:
    """docker-py, as its users call it."""

    def __init__(self, engine: EngineProcess) -> None:
        self.client = docker.DockerClient(base_url=engine.host, timeout=120)

    def close(self) -> None:
        self.client.close()

    def import_image(self, tar: str, reference: str) -> None:
        repository, _, tag = reference.rpartition(":")
        assert "error" not in self.client.api.import_image_from_file(tar, repository=repository, tag=tag)

    def tag(self, source: str, target: str) -> None:
        repository, _, tag = target.rpartition(":")
        assert self.client.images.get(source).tag(repository, tag)

    def push(self, reference: str) -> None:
        messages = list(self.client.images.push(reference, stream=True, decode=True))
        assert not [message for message in messages if "error" in message], messages
        assert any("Digest" in message.get("aux", {}) for message in messages)

    def pull(self, reference: str) -> None:
        assert reference in self.client.images.pull(reference).tags

    def remove_image(self, reference: str) -> None:
        self.client.images.remove(reference)

    def image(self, reference: str) -> dict[str, Any]:
        return self.client.images.get(reference).attrs

    def image_ids(self) -> list[str]:
        return [str(image.id) for image in self.client.images.list(all=True)]

    def run(self, image: str, command: list[str], *, name: str, ports: dict[str, int], memory: int, pids: int) -> str:
        container = self.client.containers.run(
            image, command, detach=True, name=name, ports=dict(ports), mem_limit=memory, pids_limit=pids
        )
        return str(container.id)

    def container(self, name: str) -> dict[str, Any]:
        return self.client.containers.get(name).attrs

    def exec(self, name: str, command: list[str]) -> tuple[int, str]:
        result = self.client.containers.get(name).exec_run(command)
        return result.exit_code, result.output.decode()

    def follow_logs(self, name: str) -> LogReader:
        return LogReader(self.client.containers.get(name).logs(stream=True, follow=True))

    def stop(self, name: str) -> None:
        self.client.containers.get(name).stop()

    def remove(self, name: str) -> None:
        self.client.containers.get(name).remove()


def make(kind: str, engine: EngineProcess) -> Driver:
    """The driver called ``corten``, ``docker`` or ``docker-py``."""
    if kind == "docker-py":
        return DockerPy(engine)
    return CommandLine(engine, ["docker"] if kind == "docker" else [sys.executable, "-m", "corten.cli"])
