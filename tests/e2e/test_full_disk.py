"""A full disk: every verb says so or works, the engine stays up, and what gives space back always works.

The data root lies on a small ext4 of its own, without blocks reserved for root, filled to the last block by a file that
is not the engine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.harness.engine import EngineProcess
from tests.harness.registry import RegistryProcess

pytestmark = pytest.mark.root

SIZE = 64 << 20
FULL = "no space left on device"


class SmallDisk:
    """An engine whose data root can be filled."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine
        self.ballast = engine.data_root / "ballast"

    @classmethod
    @contextmanager
    def running(cls, busybox_tar: Path, *flags: str) -> Iterator[SmallDisk]:
        root = Path(tempfile.mkdtemp(prefix="corten-test-"))
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, root)
            engine = EngineProcess(root, flags)
            disk = root / "disk"
            with disk.open("wb") as file:
                file.truncate(SIZE)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(disk)], check=True, capture_output=True)
            engine.data_root.mkdir()
            subprocess.run(["mount", "-o", "loop", str(disk), str(engine.data_root)], check=True)
            stack.callback(unmount, engine.data_root)
            stack.callback(engine.end)
            small = cls(engine)
            stack.callback(small.empty)
            engine.start()
            engine.import_image(busybox_tar, "busybox:latest")
            yield small

    def fill(self) -> None:
        """Not a block left."""
        descriptor = os.open(self.ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for piece in (1 << 20, 4096):
                with pytest.raises(OSError, match="No space left on device"):
                    _write_for_ever(descriptor, bytes(piece))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        """All the space again."""
        self.ballast.unlink(missing_ok=True)

    @property
    def free(self) -> int:
        found = os.statvfs(self.engine.data_root)
        return found.f_bavail * found.f_frsize

    def whole(self) -> None:
        """The engine answers, and a stopped one leaves nothing damaged, missing or half made."""
        assert self.engine.answers()
        self.engine.stop()
        found = self.engine.verify()
        self.engine.start()
        assert found == []


def _write_for_ever(descriptor: int, piece: bytes) -> None:
    while os.write(descriptor, piece):
        pass


def unmount(target: Path) -> None:
    """Once nothing uses it any more; the kernel may still be ending a mount namespace."""
    deadline = time.monotonic() + 10
    while subprocess.run(["umount", str(target)], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, f"{target} stays busy"
        time.sleep(0.05)


@pytest.fixture
def small(busybox_tar: Path) -> Iterator[SmallDisk]:
    with SmallDisk.running(busybox_tar) as small:
        yield small


def refused(small: SmallDisk, *command: str) -> None:
    """The command fails and says why."""
    result = small.engine.docker(*command, check=False)
    assert result.returncode != 0, f"{command} worked on a full disk: {result.stdout}"
    assert FULL in result.stderr.lower() + result.stdout.lower(), f"{command}: {result.stderr}"
    assert small.engine.answers()


def test_what_makes_things_says_that_the_disk_is_full(small: SmallDisk, busybox_tar: Path) -> None:
    engine = small.engine
    archive = engine.root / "saved.tar"
    engine.docker("tag", "busybox", "other")
    engine.docker("save", "-o", str(archive), "busybox")
    engine.docker("create", "--name", "made", "busybox", "true")
    engine.docker("run", "-d", "--name", "runs", "busybox", "sleep", "600")
    small.fill()
    refused(small, "import", str(busybox_tar), "second")
    refused(small, "commit", "runs", "committed")
    refused(small, "run", "--name", "new", "busybox", "true")
    refused(small, "create", "--name", "newer", "-v", "/data", "busybox", "true")
    # What needs no new space, or very little, works.
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split() == ["runs", "made"]
    assert engine.docker("exec", "runs", "echo", "here").stdout == "here\n"
    assert engine.docker("images", "-q").returncode == 0
    engine.docker("logs", "runs")
    engine.docker("inspect", "runs")
    engine.docker("system", "df")
    inside = engine.docker("exec", "runs", "sh", "-c", "dd if=/dev/zero of=/file bs=1k count=100", check=False)
    assert "No space left on device" in inside.stderr
    # What gives space back works too.
    engine.docker("rm", "-f", "runs")
    engine.docker("rm", "made")
    engine.docker("system", "prune", "-a", "-f", "--volumes")
    assert engine.docker("ps", "-aq").stdout == engine.docker("images", "-q").stdout == ""
    small.empty()
    engine.docker("load", "-i", str(archive))
    assert engine.docker("run", "--rm", "busybox", "echo", "again").stdout == "again\n"
    small.whole()


def test_pull_and_load_on_a_full_disk_leave_nothing_and_work_later(small: SmallDisk) -> None:
    """Whether the disk is full from the first byte or in the middle of the layer, of the blob or of its files."""
    engine, reference = small.engine, "127.0.0.1:5000/full/disk:latest"
    archive = engine.root / "saved.tar"
    with RegistryProcess.running():
        engine.docker("run", "--name", "big", "busybox", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=8")
        engine.docker("commit", "big", reference)
        engine.docker("rm", "big")
        engine.docker("push", "-q", reference)
        engine.docker("save", "-o", str(archive), reference)
        engine.docker("rmi", reference)
        before = on_disk(engine)
        for room in (0, 1, 5, 9, 13):
            small.fill()
            os.truncate(small.ballast, small.ballast.stat().st_size - (room << 20))
            for command in (("pull", reference), ("pull", "-q", reference), ("load", "-i", str(archive))):
                refused(small, *command)
                assert on_disk(engine) == before
            assert small.free >= room << 20
            small.empty()
        for command in (("pull", reference), ("rmi", reference), ("load", "-i", str(archive))):
            engine.docker(*command)
        assert engine.docker("run", "--rm", reference, "stat", "-c", "%s", "/big").stdout == f"{8 << 20}\n"
        engine.docker("rmi", reference)
    small.whole()


def on_disk(engine: EngineProcess) -> list[str]:
    """Blobs, ingests and layers, whole or half."""
    return sorted(
        str(path) for pattern in ("content/*/*", "content/blobs/*/*", "layers/*") for path in engine.data_root.glob(pattern)
    )  # fmt: skip


def test_an_engine_starts_on_a_disk_that_filled_up_while_it_was_down(small: SmallDisk) -> None:
    """Only it can delete; it neither takes the database for damaged nor falls back to copying images."""
    engine = small.engine
    engine.docker("create", "--name", "made", "busybox", "true")
    engine.stop()
    small.fill()
    engine.start()
    assert not list(engine.data_root.glob("corten.db.corrupt-*"))
    assert "overlayfs is not usable" not in engine.log.read_text()
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout == "made\n"
    engine.docker("rm", "made")
    engine.docker("system", "prune", "-a", "-f")
    assert small.free > 0
    small.empty()
    small.whole()


def test_above_the_high_water_mark_unused_images_go_the_longest_unused_first(busybox_tar: Path) -> None:
    """Never a volume, nor an image that a container was made from, running or not."""
    with SmallDisk.running(busybox_tar, "--gc-high-water", "80%", "--gc-low-water=75", "--gc-min-age=0") as small:
        engine = small.engine
        for number, name in enumerate(("oldest", "older", "newer", "stopped")):
            size = ("sh", "-c", f"dd if=/dev/urandom of=/{number} bs=1M count=3")
            engine.docker("run", "--name", name, "busybox", *size)
            engine.docker("commit", name, f"{name}:latest")
            engine.docker("rm", name)
        engine.docker("run", "--rm", "older", "true")  # used after "newer" was made
        engine.docker("create", "--name", "made", "stopped", "true")
        engine.docker("volume", "create", "kept")
        engine.docker("run", "-v", "/anonymous", "--name", "anonymous", "busybox", "true")
        assert percent(small) < 80
        quarantined = engine.data_root / "quarantine"
        quarantined.mkdir()
        (quarantined / "layer-x").write_bytes(bytes(1 << 20))
        before = set(engine.docker("images", "--format", "{{.Repository}}").stdout.split())
        with small.ballast.open("wb") as file:
            while percent(small) < 82:
                file.write(os.urandom(1 << 20))
                file.flush()
                os.fsync(file.fileno())
        since = str(int(time.time()))
        engine.stop()
        engine.start()
        eventually(lambda: percent(small) <= 75)
        gone = before - set(engine.docker("images", "--format", "{{.Repository}}").stdout.split())
        assert gone == {"oldest", "newer"}
        assert (quarantined / "layer-x").exists(), "set aside a moment ago"
        assert engine.docker("volume", "ls", "-q").stdout.count("\n") == 2
        assert sorted(engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()) == ["anonymous", "made"]
        engine.docker("start", "made")
        events = engine.docker("events", "--since", since, "--until", str(int(time.time()) + 1)).stdout
        assert events.count("image delete") == len(gone)
        assert events.count("image prune") == 1
        assert "Garbage Collection: above 80% down to 75%; last " in engine.docker("info").stdout
        small.empty()
        small.whole()


def test_a_load_above_the_high_water_mark_makes_room_by_itself(busybox_tar: Path, tmp_path: Path) -> None:
    """No restart, and not only at the next look a minute later. What was loaded just now is not what goes."""
    age = 2
    marks = ("--gc-high-water", "80%", "--gc-low-water=74", f"--gc-min-age={age}")
    with SmallDisk.running(busybox_tar, *marks) as small:
        engine = small.engine
        for number, name in enumerate(("first", "second")):
            engine.docker(
                "run", "--name", name, "busybox", "dd", "if=/dev/urandom", f"of=/{number}", "bs=1M", "count=4"
            )
            engine.docker("commit", name, f"{name}:latest")
            engine.docker("rm", name)
        time.sleep(age)
        saved = tmp_path / "second.tar"
        engine.docker("save", "-o", str(saved), "second")
        engine.docker("rmi", "second")
        with small.ballast.open("wb") as file:
            while percent(small) < 77:
                file.write(os.urandom(1 << 20))
                file.flush()
                os.fsync(file.fileno())
        engine.docker("load", "-i", str(saved))
        eventually(lambda: "first:latest" not in images(engine))
        assert "second:latest" in images(engine)
        small.empty()
        small.whole()


def images(engine: EngineProcess) -> list[str]:
    return engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()


def percent(small: SmallDisk) -> float:
    found = os.statvfs(small.engine.data_root)
    used = found.f_blocks - found.f_bfree
    return 100 * used / (used + found.f_bavail)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
