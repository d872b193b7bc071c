"""What every test shares: a private network namespace, an engine, and a check that nothing is left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import leaks
from tests.harness.engine import EngineProcess


def in_private_network() -> bool:
    """Whether only loopback exists here: no packet of a test can leave the machine."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return [line.split(":")[0].strip() for line in lines] == ["lo"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Root tests are refused outside a private network namespace, and skipped by name without root."""
    rooted = [item for item in items if item.get_closest_marker("root")]
    if not rooted:
        return
    if os.geteuid() != 0:
        skip = pytest.mark.skip(reason="needs root")
        for item in rooted:
            item.add_marker(skip)
        return
    if not in_private_network():
        raise pytest.UsageError(
            "tests marked root run in a private network namespace: scripts/private .venv/bin/python -m pytest ..."
        )


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """The run's own check on itself: no process, mount, cgroup, interface, nft table or directory remains."""
    if os.geteuid() != 0 or not in_private_network():
        yield
        return
    directory = Path(tempfile.mkdtemp(prefix="corten-run-"))
    directory.chmod(0o755)  # some tests look at it as another user
    tempfile.tempdir = str(directory)
    watch = EngineProcess.watch = leaks.Watch(directory)
    watch.begin()
    yield
    tempfile.tempdir = None
    remains = watch.remains()
    shutil.rmtree(directory, ignore_errors=True)
    assert not remains, "left behind by this test run:\n" + "\n".join(remains)


@pytest.fixture(scope="session")
def scratch(nothing_left_behind: None) -> Iterator[Path]:
    """A directory for the session's large inputs (images), outside pytest's own numbered ones."""
    path = Path(tempfile.mkdtemp(prefix="scratch-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def busybox_tar(scratch: Path) -> Path:
    """A root file system of one static program."""
    from tests.harness.images import busybox_tar

    return busybox_tar(scratch / "busybox.tar")


@pytest.fixture(scope="session")
def debian_tar() -> Path:
    """A real Debian root file system with python3, made by ``make test`` before the network is closed."""
    path = Path(os.environ.get("CORTEN_TEST_ROOTFS", ".cache/debian-python3.tar"))
    if not path.exists():
        pytest.fail(f"{path} is missing: run `make test`, or scripts/debian-rootfs {path} python3")
    return path


@pytest.fixture
def bare_engine() -> Iterator[EngineProcess]:
    """An engine with nothing in it, of this test alone."""
    with EngineProcess.running() as engine:
        yield engine


@pytest.fixture(scope="module")
def engine(busybox_tar: Path) -> Iterator[EngineProcess]:
    """An engine shared by a module's tests, holding the image ``busybox``; each test removes what it makes."""
    with EngineProcess.running() as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        yield engine


@pytest.fixture
def fresh_engine(busybox_tar: Path) -> Iterator[EngineProcess]:
    """As ``engine``, of this test alone: it may be killed."""
    with EngineProcess.running() as engine:
        engine.import_image(busybox_tar, "busybox:latest")
        yield engine
