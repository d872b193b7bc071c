"""Limits of containers' trees, on an XFS in a file: with quotas where this kernel has them, and without."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import InvalidArgument
from corten.linux import quota
from corten.storage.limits import UNSUPPORTED, Limits
from corten.storage.snapshot import overlay_snapshotter

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("mkfs.xfs"), reason="needs xfsprogs")]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run(["mkfs.xfs", "-q", str(image)], check=True)
    return image


def mount(disk: Path, options: str) -> tuple[Path, bool]:
    place = disk.with_name("mounted")
    place.mkdir()
    result = subprocess.run(["mount", "-o", options, str(disk), str(place)], capture_output=True, check=False)
    return place, result.returncode == 0


@pytest.fixture
def plain(disk: Path) -> Iterator[Path]:
    place, mounted = mount(disk, "loop")
    assert mounted
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def counted(disk: Path) -> Iterator[Path]:
    place, mounted = mount(disk, "loop,prjquota")
    if not mounted:
        pytest.skip("needs a kernel with CONFIG_XFS_QUOTA")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_without_quotas_a_limit_is_refused_and_nothing_is_made(plain: Path, tmp_path: Path) -> None:
    for root in (plain / "root", tmp_path / "root"):
        snapshotter = overlay_snapshotter(root)
        snapshotter.check_limit(0)
        with pytest.raises(InvalidArgument, match=UNSUPPORTED):
            snapshotter.check_limit(1 << 20)
        with pytest.raises(InvalidArgument, match=UNSUPPORTED):
            snapshotter.prepare("box", None, 1 << 20)
        snapshotter.remove("box")
        assert os.listdir(root / "snapshots") == []


def test_a_project_is_inherited_and_its_numbers_are_not_given_twice(plain: Path) -> None:
    for name, number in (("a", 0), ("b", 41), ("c", 7)):
        (plain / name).mkdir()
        descriptor = os.open(plain / name, os.O_RDONLY)
        if number:
            quota.set_project(descriptor, number)
        assert quota.project(descriptor) == number
        os.close(descriptor)
    (plain / "b/inside/deep").mkdir(parents=True)
    descriptor = os.open(plain / "b/inside/deep", os.O_RDONLY)
    assert quota.project(descriptor) == 41
    os.close(descriptor)
    limits = Limits(plain)
    assert [limits._unused(), limits._unused()] == [42, 43]


def test_a_tree_in_a_folder_that_is_a_project_can_be_removed(plain: Path) -> None:
    """Nothing of another project may be renamed into it: EXDEV."""
    snapshotter = overlay_snapshotter(plain / "root")
    folder = os.open(plain / "root/snapshots", os.O_RDONLY)
    quota.set_project(folder, 5)
    os.close(folder)
    snapshotter.prepare("box", None)
    tree = os.open(plain / "root/snapshots/box", os.O_RDONLY)
    quota.set_project(tree, 6)
    os.close(tree)
    snapshotter.remove("box")
    assert os.listdir(plain / "root/snapshots") == []


def test_a_container_is_kept_below_its_limit(counted: Path) -> None:
    snapshotter = overlay_snapshotter(counted / "root")
    snapshotter.check_limit(1 << 20)
    for name, size in (("small", 4 << 20), ("large", 32 << 20), ("free", 0)):
        snapshotter.prepare(name, None, size)
        upper = counted / "root/snapshots" / name / "upper"
        written = 0
        try:
            with (upper / "file").open("wb", buffering=0) as file:
                while written < 64 << 20:
                    written += file.write(b"x" * (1 << 20))
                    os.fsync(file.fileno())
        except OSError:
            pass
        assert (size or 64 << 20) * 3 // 4 <= written <= (size or 64 << 20)
    snapshotter.prepare("small", None, 4 << 20)  # found again
    assert (counted / "root/snapshots/small/upper/file").exists()
