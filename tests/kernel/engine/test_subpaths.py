"""Parts of volumes: they work, and no link a container left in a volume leads out of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import tars
from tests.kernel.engine.conftest import Site
from tests.kernel.engine.test_copy_attacks import flipping, put, taken

from corten.api.types.container import HostConfig, Mount, VolumeOptions
from corten.api.types.volume import VolumeCreate
from corten.engine.engine import Engine
from corten.errors import CortenError

pytestmark = pytest.mark.root


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "canary"
    place.mkdir()
    (place / "secret").write_text("of the host")
    yield place
    assert os.listdir(place) == ["secret"]


def part(subpath: str, *, read_only: bool = False) -> HostConfig:
    options = VolumeOptions(Subpath=subpath)
    mount = Mount(Type="volume", Source="parts", Target="/part", ReadOnly=read_only, VolumeOptions=options)
    return HostConfig(NetworkMode="none", Mounts=[mount])


async def volume(engine: Engine) -> Path:
    return Path((await engine.volumes.create(VolumeCreate(Name="parts"))).Mountpoint)


def test_a_part_of_a_volume(site: Site) -> None:
    async def use() -> None:
        async with site.running() as engine:
            place = await volume(engine)
            (place / "a/b").mkdir(parents=True)
            (place / "a/b/f").write_text("deep")
            (place / "inside").symlink_to("a/b")
            for subpath in ("a/b", "inside", "a/b/f"):
                target = "/part" if subpath.endswith("f") else "/part/f"
                code, output = await site.run(engine, "cat", target, host=part(subpath))
                assert (code, output[1]) == (0, b"deep")
            code, _ = await site.run(engine, "touch", "/part/new", host=part("a/b", read_only=True))
            assert code == 1
            container = await site.create(engine, "true", host=part("a"))
            await put(engine, container, "/part", tars.archive(tars.file("copied", b"in")))
            assert (place / "a/copied").read_text() == "in"
            assert (await taken(engine, container, "/part/b/f"))["f"] == b"deep"
            container = await site.create(engine, "true", host=part("missing"))
            with pytest.raises(CortenError, match=r"cannot access path .*missing: no such file or directory"):
                await engine.containers.start(container)
            for row in await engine.containers.list(all=True):
                await engine.containers.remove(row.Id, force=True)
            await engine.volumes.remove("parts", force=False)

    asyncio.run(use())


@pytest.mark.parametrize("link", ["{canary}", "../../../../../../../../../..{canary}", "/proc/self/root", "../.."])
def test_cve_2017_1002101_a_link_in_a_volume_leads_nowhere(site: Site, canary: Path, link: str) -> None:
    async def attack() -> None:
        async with site.running() as engine:
            place = await volume(engine)
            (place / "out").symlink_to(link.format(canary=canary))
            for subpath in ("out", "out/secret", "./out/."):
                container = await site.create(engine, "true", host=part(subpath))
                with pytest.raises(CortenError, match=r"escapes the base directory|cannot access path"):
                    await engine.containers.start(container)
                with pytest.raises(CortenError):
                    await taken(engine, container, "/part/secret")
                await engine.containers.remove(container)
            await engine.volumes.remove("parts", force=False)

    asyncio.run(attack())


def test_cve_2021_25741_a_part_exchanged_for_a_link_while_it_is_mounted(site: Site, canary: Path) -> None:
    """What was checked is what is mounted: by descriptor, not by its name again."""

    async def attack() -> None:
        async with site.running() as engine:
            place = await volume(engine)
            (place / "a").mkdir()
            (place / "a/secret").write_text("inside")
            (place / "b").symlink_to(canary)
            container = await site.create(engine, "true", host=part("a"))
            seen = set()
            with flipping(place / "a", place / "b"):
                for _ in range(60):
                    try:
                        seen.add((await taken(engine, container, "/part/secret"))["secret"])
                    except CortenError as error:
                        seen.add(type(error).__name__.encode())
            assert b"inside" in seen
            assert b"of the host" not in seen
            await engine.containers.remove(container)
            await engine.volumes.remove("parts", force=False)

    asyncio.run(attack())
