"""Archives as Docker wrote them before version 25, and archives that mean harm."""

import asyncio
import io
import json
import os
import tarfile  # noqa: TID251  # a second, independent writer of tar
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corten import errors
from tests.kernel.images.stage import Engine, MadeImage, digest_of, layer

pytestmark = pytest.mark.root


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))  # type: ignore[arg-type]


def old_archive(path: Path, image: MadeImage, tars: list[bytes], *, without: str = "") -> None:
    """``docker save`` of 1.10 to 24: a directory a layer, a repeated layer as a symlink, both lists of names."""
    directories = [f"{number:064x}" for number in range(len(tars))]
    files: dict[str, bytes] = {}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, (directory, tar) in enumerate(zip(directories, tars, strict=True)):
            files |= {f"{directory}/VERSION": b"1.0", f"{directory}/json": b'{"id":"x"}'}
            first = tars.index(tar)
            if first < number:
                link = tarfile.TarInfo(f"{directory}/layer.tar")
                link.type, link.linkname = tarfile.SYMTYPE, f"../{directories[first]}/layer.tar"
                archive.addfile(link)
            else:
                files[f"{directory}/layer.tar"] = tar
        config = f"{image.id.removeprefix('sha256:')}.json"
        files[config] = image.blobs[image.id]
        layers = [f"{directory}/layer.tar" for directory in directories]
        files["manifest.json"] = json.dumps([{"Config": config, "RepoTags": ["old:1"], "Layers": layers}]).encode()
        files["repositories"] = json.dumps({"old": {"1": directories[-1]}}).encode()
        for name, data in files.items():
            if without and name.endswith(without):
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def test_the_old_format_with_a_repeated_layer(tmp_path: Path) -> None:
    async def scenario() -> None:
        empty, full = layer({}), layer({"a": os.urandom(100_000)})
        tars = [full, empty, layer({"b": b"c"}), empty]
        image = MadeImage(tars)
        old_archive(tmp_path / "old.tar", image, tars)
        async with Engine(tmp_path / "engine") as engine:
            await engine.load(tmp_path / "old.tar")
            found = await engine.images.inspect("old:1")
            assert (found.Id, found.RootFS.Layers) == (image.id, image.diff_ids)
            await engine.save(tmp_path / "saved.tar", "old:1")
            with tarfile.open(tmp_path / "saved.tar") as saved:
                names = saved.getnames()
            assert all(f"blobs/sha256/{digest.removeprefix('sha256:')}" in names for digest in image.diff_ids)
            await engine.images.remove("old:1")
            assert engine.leftovers() == []

    run(scenario)


@pytest.mark.parametrize("kind", ["wrong diff id", "missing layer", "escaping layer"])
def test_an_archive_that_does_not_hold_what_it_says(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        tars = [layer({"a": b"b"})]
        if kind == "escaping layer":
            tars = [layer({"../../../../../../../../tmp/corten-canary": b"x"})]
        image = MadeImage(tars)
        if kind == "wrong diff id":
            raw = image.blobs.pop(image.id).replace(image.diff_ids[0].encode(), b"sha256:" + b"0" * 64)
            image.id = digest_of(raw)
            image.blobs[image.id] = raw
        without = "layer.tar" if kind == "missing layer" else ""
        old_archive(tmp_path / "old.tar", image, tars, without=without)
        async with Engine(tmp_path / "engine") as engine:
            with pytest.raises(errors.CortenError):
                await engine.load(tmp_path / "old.tar")
            assert engine.leftovers() == []
            assert await engine.images.list() == []

    run(scenario)
    assert not Path("/tmp/corten-canary").exists()
