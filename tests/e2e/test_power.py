"""A power cut: what the disk holds at one moment is all there is afterwards.

The data root lies on a file system of its own on a loop device. Its file holds what the kernel has written to the
"disk" and nothing of what is only in memory, so a copy of the file is the disk as a power cut would leave it: mounting
the copy replays the journal as the next boot would. The engine is stopped (SIGSTOP) while the copy is made, so that it is
one moment's; the file system commits by itself every 300 s only, so that nothing is there by luck.

The exec root is lost as /run is.

Cuts come at random moments under load, and at the crash points of the scenarios that an engine is killed in the middle
of (``tests/e2e/test_crash_points.py``): before each operation that lasts, with everything unsynced lost.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.crash_scenarios import SCENARIOS, Commit, Create, Load, RemoveImage, Scenario
from tests.e2e.test_crash_points import Crashing, stock
from tests.harness.engine import EngineProcess
from tests.harness.registry import RegistryProcess

pytestmark = pytest.mark.root

SIZE = 192 << 20
SHORT_CUTS = 3
LONG_CUTS = 30
SEED = 20261125


def mount(disk: Path, target: Path) -> None:
    subprocess.run(["mount", "-o", "loop,commit=300", str(disk), str(target)], check=True, capture_output=True)


class Machine:
    """An engine whose data root can lose power."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine
        self.disk = engine.root / "disk"

    @classmethod
    @contextmanager
    def running(cls, busybox_tar: Path) -> Iterator[Machine]:
        root = Path(tempfile.mkdtemp(prefix="corten-test-"))
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, root)
            machine = cls(EngineProcess(root))
            with machine.disk.open("wb") as file:
                file.truncate(SIZE)
            subprocess.run(["mkfs.ext4", "-q", str(machine.disk)], check=True, capture_output=True)
            machine.engine.data_root.mkdir()
            mount(machine.disk, machine.engine.data_root)
            stack.callback(machine.unmount)
            stack.callback(machine.engine.end)
            machine.engine.start()
            machine.engine.import_image(busybox_tar, "busybox:latest")
            yield machine

    def unmount(self) -> None:
        """Once nothing uses the data root any more; the kernel may still be ending a mount namespace."""
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", str(self.engine.data_root)], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "the data root stays busy"
            time.sleep(0.05)

    def picture(self, name: str) -> Path:
        """What the disk holds now."""
        assert self.engine.process is not None
        target = self.engine.root / name
        self.engine.process.send_signal(signal.SIGSTOP)
        try:
            subprocess.run(["cp", "--sparse=always", str(self.disk), str(target)], check=True)
        finally:
            self.engine.process.send_signal(signal.SIGCONT)
        return target

    def boot(self, picture: Path) -> None:
        """Go on from a picture: every process is dead, the exec root empty, memory forgotten."""
        self.engine.kill()
        shim = self.engine.shim_pid()
        os.kill(shim, signal.SIGKILL)
        end_containers(self.engine)
        self.unmount()
        shutil.rmtree(self.engine.exec_root)
        self.disk.unlink()
        picture.rename(self.disk)
        mount(self.disk, self.engine.data_root)
        self.engine.start()


def end_containers(engine: EngineProcess) -> None:
    """Kill every process in the engine's cgroups and remove them, as a machine that goes dark."""
    groups = [
        path for pattern in ("*/corten-{}/*/", "corten-{}/*/")
        for path in Path("/sys/fs/cgroup").glob(pattern.format(engine.instance))
    ]  # fmt: skip
    deadline = time.monotonic() + 10
    for path in groups:
        while path.exists():
            for line in (path / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(line), signal.SIGKILL)
            with suppress(OSError):
                path.rmdir()
            assert time.monotonic() < deadline, f"{path} stays"


@pytest.fixture
def machine(busybox_tar: Path) -> Iterator[Machine]:
    with Machine.running(busybox_tar) as machine:
        yield machine


def damage(engine: EngineProcess) -> list[str]:
    """What is wrong with the store: parts nobody names may be left, they cost space only."""
    return [line for line in engine.verify() if not line.startswith("orphan")]


def test_what_a_client_was_told_is_there_after_a_power_cut(machine: Machine) -> None:
    engine = machine.engine
    engine.docker("tag", "busybox", "second:tag")
    engine.docker("volume", "create", "--label", "a=b", "named")
    engine.docker("run", "--rm", "-v", "named:/data", "busybox", "sh", "-c", "echo precious > /data/file; sync")
    engine.docker("create", "--name", "made", "-v", "/anonymous", "-e", "A=B", "busybox", "sh", "-c", "echo $A")
    engine.docker("run", "-d", "--name", "ran", "busybox", "sleep", "600")
    engine.docker("run", "-d", "--rm", "--name", "passing", "busybox", "sleep", "600")
    machine.boot(machine.picture("told"))

    assert damage(engine) == []
    assert set(engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()) == {
        "busybox:latest", "second:tag",
    }  # fmt: skip
    volumes = engine.docker("volume", "ls", "-q").stdout.split()
    assert len(volumes) == 2
    assert json.loads(engine.docker("volume", "inspect", "named").stdout)[0]["Labels"] == {"a": "b"}
    assert engine.docker("run", "--rm", "-v", "named:/data", "busybox", "cat", "/data/file").stdout == "precious\n"
    assert engine.docker("start", "-a", "made").stdout == "B\n"
    assert engine.docker("inspect", "-f", "{{.State.Status}}", "ran").stdout.strip() in ("exited", "created")
    engine.docker("start", "ran")
    names = engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()
    assert sorted(set(names) - {"passing"}) == ["made", "ran"]
    engine.docker("rm", "-f", "-v", "made")
    assert engine.docker("volume", "ls", "-q").stdout.split() == ["named"]


def test_what_was_removed_stays_removed(machine: Machine) -> None:
    engine = machine.engine
    engine.docker("tag", "busybox", "second:tag")
    engine.docker("volume", "create", "named")
    for name in ("first", "last"):
        engine.docker("create", "--name", name, "-v", "/anonymous", "busybox", "true")
    subprocess.run(["sync", "-f", str(engine.data_root)], check=True)
    engine.docker("rm", "-v", "first", "last")
    engine.docker("volume", "rm", "named")
    engine.docker("rmi", "second:tag")
    machine.boot(machine.picture("removed"))

    eventually_empty(engine, "ps", "-aq")
    eventually_empty(engine, "volume", "ls", "-q")
    assert engine.docker("images", "-q", "second").stdout == ""
    engine.stop()
    assert damage(engine) == []
    engine.start()


def eventually_empty(engine: EngineProcess, *command: str) -> None:
    """A removal that had begun is finished in the background."""
    deadline = time.monotonic() + 10
    while engine.docker(*command).stdout and time.monotonic() < deadline:
        time.sleep(0.1)
    assert engine.docker(*command).stdout == ""


def cuts(machine: Machine, count: int) -> None:
    """Cut the power at random moments of loads, runs and removals: nothing named is ever damaged or missing."""
    engine = machine.engine
    moment = random.Random(SEED)
    archive = engine.root / "busybox.tar"
    engine.docker("tag", "busybox", "loaded:latest")
    engine.docker("save", "-o", str(archive), "loaded:latest")
    subprocess.run(["sync", "-f", str(engine.data_root)], check=True)
    commands = [
        [("rmi", "-f", "loaded:latest", "busybox:latest"), ("load", "-i", str(archive))],
        [("create", "--name", "x", "-v", "/data", "loaded:latest", "true"), ("start", "x"), ("rm", "-f", "-v", "x")],
        [("volume", "create", "v"), ("volume", "rm", "v")],
        [("run", "--rm", "loaded:latest", "true")],
    ]
    for number in range(count):
        done = threading.Event()

        def work(sequence: list[tuple[str, ...]], done: threading.Event = done) -> None:
            while not done.is_set():
                for command in sequence:
                    engine.docker(*command, check=False)

        threads = [threading.Thread(target=work, args=(sequence,), daemon=True) for sequence in commands]
        for thread in threads:
            thread.start()
        time.sleep(moment.uniform(0.3, 2.5))
        picture = machine.picture(f"cut-{number}")
        done.set()
        for thread in threads:
            thread.join(90)
            assert not thread.is_alive(), "a client hung"
        machine.boot(picture)
        assert damage(engine) == []
        engine.docker("load", "-i", str(archive))
        assert engine.docker("run", "--rm", "loaded:latest", "echo", "whole").stdout == "whole\n"
        for container in engine.docker("ps", "-aq").stdout.split():
            engine.docker("rm", "-f", "-v", container, check=False)
    engine.stop()
    assert damage(engine) == []
    engine.start()


def test_power_cuts_short(machine: Machine) -> None:
    cuts(machine, SHORT_CUTS)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_power_cuts(machine: Machine) -> None:
    cuts(machine, LONG_CUTS)


class Dark:
    """A machine that loses power at a crash point."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.engine.stop()
        self.crashing = Crashing(machine.engine)
        machine.engine.start()
        stock(machine.engine)

    def count(self, scenario: Scenario) -> int:
        """How many points a scenario has."""
        scenario.prepare()
        self.crashing.arm(0)
        assert scenario.act()
        scenario.again()
        scenario.clear()
        return len(self.crashing.places) - 1

    def cut(self, scenario: Scenario, point: int) -> None:
        """Lose power before the ``point``-th operation; what was prepared is on disk, data of containers included."""
        engine = self.machine.engine
        scenario.prepare()
        subprocess.run(["sync", "-f", str(engine.data_root)], check=True)
        self.crashing.arm(point)
        told = scenario.act()
        place = self.crashing.places[-1] if self.crashing.died() else "over"
        self.machine.boot(self.machine.picture("dark"))
        try:
            assert damage(engine) == []
            if told and scenario.outlives_power:
                assert scenario.done(), "a client was told of something that is not there"
            scenario.again()
            scenario.clear()
        except AssertionError as error:
            raise AssertionError(f"{scenario.name} at {point} ({place}), told: {told}: {error}") from error


@pytest.fixture(scope="module")
def dark(busybox_tar: Path) -> Iterator[Dark]:
    with RegistryProcess.running(), Machine.running(busybox_tar) as machine:
        yield Dark(machine)


def darken(dark: Dark, kind: type[Scenario], points: Sequence[int] | None) -> None:
    scenario = kind(dark.machine.engine, dark.machine.engine.root / "archive.tar")
    number = dark.count(scenario)
    found = []
    for point in points or range(1, number + 1):
        try:
            dark.cut(scenario, point)
        except AssertionError as error:
            found.append(str(error))
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize("kind", [Load, Create, Commit, RemoveImage], ids=lambda kind: kind.name)
def test_power_cuts_at_crash_points_short(dark: Dark, kind: type[Scenario]) -> None:
    darken(dark, kind, [random.Random(f"{SEED} {kind.name}").randrange(2, 20)])


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", SCENARIOS, ids=lambda kind: kind.name)
def test_power_cuts_at_crash_points(dark: Dark, kind: type[Scenario]) -> None:
    darken(dark, kind, None)
