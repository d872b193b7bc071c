"""``--mount type=image``: an image's files in a container, read-only, as a whole or a part of them."""

from __future__ import annotations

import asyncio

import pytest
from tests.harness import tars
from tests.kernel.engine.conftest import Site
from tests.kernel.engine.test_copy_attacks import image, put, taken, with_image_removed

from corten.api.types.container import HostConfig, ImageOptions, Mount
from corten.engine.engine import Engine
from corten.errors import Conflict, CortenError

pytestmark = pytest.mark.root


def mounted(name: str, subpath: str = "") -> HostConfig:
    options = ImageOptions(Subpath=subpath) if subpath else None
    return HostConfig(
        NetworkMode="none", Mounts=[Mount(Type="image", Source=name, Target="/img", ImageOptions=options)]
    )


async def two_layers(engine: Engine, site: Site) -> None:
    """``data:latest``, of two layers; the upper one hides a file of the lower."""
    await image(engine, "base", tars.file("d/f", b"deep"), tars.file("gone", b"x"), tars.symlink("out", "/etc"))
    container = await site.create(engine, "sh", "-c", "true", Image="base")
    await put(engine, container, "/d", tars.archive(tars.file("g", b"new")))
    await engine.files.commit(container, None, repo="data")
    await engine.containers.remove(container)


def test_an_image_as_a_mount(site: Site) -> None:
    async def use() -> None:
        async with site.running() as engine:
            await two_layers(engine, site)
            for name in ("base", "data"):
                code, output = await site.run(engine, "cat", "/img/d/f", host=mounted(name))
                assert (code, output[1]) == (0, b"deep")
                code, output = await site.run(engine, "cat", "/img/f", host=mounted(name, "d"))
                assert (code, output[1]) == (0, b"deep")
                code, output = await site.run(engine, "cat", "/img", host=mounted(name, "d/f"))
                assert (code, output[1]) == (0, b"deep")
                code, _ = await site.run(engine, "touch", "/img/new", host=mounted(name))
                assert code == 1
            code, output = await site.run(engine, "cat", "/img/d/g", host=mounted("data"))
            assert output[1] == b"new"
            container = await site.create(engine, "true", host=mounted("data"))
            assert (await taken(engine, container, "/img/d/g"))["g"] == b"new"
            with pytest.raises(CortenError, match="mounted volume is marked read-only"):
                await put(engine, container, "/img/d", tars.archive(tars.file("x", b"")))
            with pytest.raises(Conflict):
                await engine.images.remove((await engine.images.inspect("data")).Id)
            for row in await engine.containers.list(all=True):
                await engine.containers.remove(row.Id, force=True)
            await engine.images.remove("data")

    asyncio.run(with_image_removed(site, use))


@pytest.mark.parametrize(("subpath", "text"), [("out", "escapes"), ("missing", "cannot access"), ("../x", "relative")])
def test_parts_that_lead_out_are_refused(site: Site, subpath: str, text: str) -> None:
    async def use() -> None:
        async with site.running() as engine:
            await image(engine, "base", tars.symlink("out", "/etc"))

            async def attempt() -> None:
                container = await site.create(engine, "true", host=mounted("base", subpath))
                await engine.containers.start(container)

            with pytest.raises(CortenError, match=text):
                await attempt()

    asyncio.run(with_image_removed(site, use))
