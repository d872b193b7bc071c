"""The engines that are compared: Debian's dockerd and cortend, each with its own roots: data on the same disk, what is
gone after a boot on a tmpfs, as both have it by default."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.harness.engine import EngineProcess

DOCKERD = "/usr/sbin/dockerd"


class Dockerd:
    """Debian's dockerd with its own containerd, in the namespaces this process is in."""

    def __init__(self, root: Path, flags: Sequence[str] = ()) -> None:
        self.root = root
        self.flags = list(flags)
        self.socket = root / "docker.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self._tables = _tables()

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @classmethod
    @contextmanager
    def running(cls, *flags: str) -> Iterator[Dockerd]:
        root = Path(tempfile.mkdtemp(prefix="bench-dockerd-"))
        daemon = cls(root, flags)
        try:
            volatile(root / "exec")
            daemon.start()
            yield daemon
        finally:
            daemon.destroy()

    def start(self) -> None:
        command = [
            DOCKERD, "--data-root", str(self.root / "data"), "--exec-root", str(self.root / "exec"),
            "--pidfile", str(self.root / "pid"), "-H", self.host, "--storage-driver", "overlay2",
            "--insecure-registry", "127.0.0.1:5000", *self.flags,
        ]  # fmt: skip
        with (self.root / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(300):
            if subprocess.run(["docker", "-H", self.host, "version"], capture_output=True, check=False).returncode == 0:
                return
            assert self.process.poll() is None, (self.root / "log").read_text()[-3000:]
            time.sleep(0.1)
        raise AssertionError("dockerd does not answer")

    def stop(self) -> None:
        """End it as a service manager does; containers run on with --live-restore."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)

    def destroy(self) -> None:
        if self.process is not None:
            ids = subprocess.run(["docker", "-H", self.host, "ps", "-aq"], capture_output=True, text=True, check=False)
            if ids.stdout.split():
                subprocess.run(
                    ["docker", "-H", self.host, "rm", "-f", *ids.stdout.split()], capture_output=True, check=False
                )
            self.stop()
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if str(self.root) in line.split()[4]:
                subprocess.run(["umount", line.split()[4]], check=False)
        subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)
        for table in _tables() - self._tables:  # it leaves its rules, as the link
            subprocess.run(["nft", "delete", *table.split()], capture_output=True, check=False)
        shutil.rmtree(self.root, ignore_errors=True)


def _tables() -> set[str]:
    """nft tables of this network namespace, as ``table ip filter``."""
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    return set(listed.stdout.splitlines())


class Pair:
    """Both engines, and the three command lines: ours, docker's against ours, docker's against dockerd."""

    def __init__(self, dockerd: Dockerd, engine: EngineProcess, corten: str) -> None:
        self.dockerd = dockerd
        self.engine = engine
        self.corten_program = corten
        self.environment = engine.environment

    def corten(self, *arguments: str) -> str:
        """Our CLI against our engine."""
        return self._call([self.corten_program, *arguments], self.engine.host)

    def docker_to_corten(self, *arguments: str) -> str:
        """The unmodified docker CLI against our engine."""
        return self._call(["docker", *arguments], self.engine.host)

    def docker(self, *arguments: str) -> str:
        """The docker CLI against dockerd."""
        return self._call(["docker", *arguments], self.dockerd.host)

    def _call(self, command: list[str], host: str) -> str:
        result = subprocess.run(
            command, env=self.environment | {"DOCKER_HOST": host}, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"{command}: exit {result.returncode}: {result.stderr}")
        return result.stdout


def volatile(directory: Path) -> None:
    """Make it on a tmpfs, as /run is, where both engines keep such a directory."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(directory)], check=True)


@contextmanager
def pair(corten: str) -> Iterator[Pair]:
    """Both engines up and empty."""
    with ExitStack() as stack:
        dockerd = stack.enter_context(Dockerd.running())
        root = Path(tempfile.mkdtemp(prefix="corten-test-"))
        stack.callback(shutil.rmtree, root)
        engine = EngineProcess(root)
        volatile(engine.exec_root)
        stack.callback(subprocess.run, ["umount", str(engine.exec_root)], check=True)
        stack.callback(engine.end)
        engine.start()
        yield Pair(dockerd, engine, corten)


def processes(root: Path) -> set[int]:
    """Every process whose command line names ``root``, and their helpers.

    docker-proxy does not name the root: it is found as a child of a process that does. Containers' own processes are
    children of shims on both sides and are left out by name.
    """
    found: set[int] = set()
    parents: dict[int, int] = {}
    commands: dict[int, bytes] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                commands[int(entry.name)] = (entry / "cmdline").read_bytes()
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    for pid, command in commands.items():
        if str(root).encode() in command and pid != os.getpid():
            found.add(pid)
    return found | {pid for pid, parent in parents.items() if parent in found and b"docker-proxy" in commands[pid]}


def pss(root: Path) -> int:
    """Proportional set size in bytes of an engine's processes."""
    total = 0
    for pid in processes(root):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def cpu_seconds(root: Path) -> float:
    """Processor time of an engine's processes and of the children they have waited for."""
    ticks = 0
    for pid in processes(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")
