"""Damage on disk: what can be seen at a glance, or was found by fsck, is brought in again by the next pull or load."""

import asyncio
import base64
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corten import errors
from corten.engine import fsck, repair
from corten.oci.digest import Digest, chain_ids
from tests.kernel.images.fake_registry import FakeRegistry
from tests.kernel.images.stage import Engine, MadeImage, layer
from tests.kernel.images.test_failures import run

pytestmark = pytest.mark.root


def made() -> MadeImage:
    return MadeImage([layer({f"file{number}": os.urandom(200_000), f"other{number}": b"x"}) for number in range(3)])


class Damage:
    """One way to damage the middle layer of an image below a data root; ``deep`` ones only fsck sees."""

    def __init__(self, root: Path, image: MadeImage) -> None:
        self.layer = root / "layers" / chain_ids(Digest(item) for item in image.diff_ids)[1].hex
        self.blob = root / "content/blobs/sha256" / image.layers[1].removeprefix("sha256:")
        self.config = root / "content/blobs/sha256" / image.id.removeprefix("sha256:")
        self.manifest = root / "content/blobs/sha256" / image.digest.removeprefix("sha256:")
        self.root = root

    def blob_missing(self) -> None:
        self.blob.unlink()

    def blob_truncated(self) -> None:
        os.truncate(self.blob, self.blob.stat().st_size - 1)

    def tree_missing(self) -> None:
        shutil.rmtree(self.layer)

    def files_missing(self) -> None:
        shutil.rmtree(self.layer / "fs")

    def facts_missing(self) -> None:
        (self.layer / "layer.json").unlink()

    def facts_garbled(self) -> None:
        (self.layer / "layer.json").write_bytes(b"\0\0\0")

    def links_missing(self) -> None:
        for link in (self.root / "layers/l").iterdir():
            link.unlink()

    def config_flipped(self) -> None:
        _flip(self.config)

    def deep_blob_flipped(self) -> None:
        _flip(self.blob)

    def deep_file_flipped(self) -> None:
        _flip(self.layer / "fs/file1")

    def deep_file_missing(self) -> None:
        (self.layer / "fs/file1").unlink()

    def deep_both(self) -> None:
        _flip(self.blob)
        _flip(self.layer / "fs/file1")

    def blob_flipped_and_tree_missing(self) -> None:
        _flip(self.blob)
        shutil.rmtree(self.layer)


def _flip(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))


KINDS = sorted(name for name in vars(Damage) if not name.startswith("_"))


def harm(root: Path, image: MadeImage, kind: str) -> None:
    """Damage it; fsck sees all of it but links, which it makes again itself."""
    getattr(Damage(root, image), kind)()
    if kind.startswith("deep"):
        report = fsck.check(str(root))
        assert damaged(report)
        assert repair.mark(report, str(root)) == []


def damaged(report: fsck.Report) -> list[str]:
    return [finding.text for finding in report.findings if finding.kind != fsck.ORPHAN]


def whole(root: Path) -> None:
    links = {os.readlink(link) for link in (root / "layers/l").iterdir()}
    trees = {f"../{path.name}/fs" for path in (root / "layers").iterdir() if len(path.name) == 64}
    assert trees <= links
    assert [finding.text for finding in fsck.check(str(root)).findings] == []


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pull_brings_damaged_parts_in_again(tmp_path: Path, kind: str, restarted: bool) -> None:
    async def scenario() -> None:
        image = made()
        async with FakeRegistry(image) as registry:
            async with Engine(tmp_path) as engine:
                await engine.pull(f"{registry.host}/x")
                harm(tmp_path, image, kind)
                if not restarted:
                    await engine.pull(f"{registry.host}/x")
            if restarted:
                async with Engine(tmp_path) as engine:
                    await engine.pull(f"{registry.host}/x")
            intact = [engine.statuses(digest[7:19]) for digest in (image.layers[0], image.layers[2])]
            assert intact == [["Already exists"]] * 2
        whole(tmp_path)

    run(scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_a_load_brings_damaged_parts_in_again(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        image = made()
        root = tmp_path / "root"
        async with FakeRegistry(image) as registry, Engine(root) as engine:
            await engine.pull(f"{registry.host}/x")
            await engine.save(tmp_path / "saved.tar", f"{registry.host}/x:v1")
            harm(root, image, kind)
            if kind == "blob_flipped_and_tree_missing":  # only unpacking it tells: the load after that
                with pytest.raises(errors.CorruptData, match="load it again"):
                    await engine.load(tmp_path / "saved.tar")
            await engine.load(tmp_path / "saved.tar")
        whole(root)

    run(scenario)


def test_a_damaged_layer_under_a_running_container_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made()
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            await engine.pull(f"{registry.host}/x")
            place = Damage(tmp_path, image).layer
            harm(tmp_path, image, "deep_file_flipped")
            before = place.stat().st_ino
            runs = {"c" * 64}
            engine.images.set_running(lambda identifier: identifier in runs)
            engine.images.in_use(image.id, "c" * 64)
            with pytest.raises(errors.Conflict, match=f"container {'c' * 12} runs on it: stop it and try again"):
                await engine.pull(f"{registry.host}/x")
            assert place.stat().st_ino == before
            assert (place / "fs/file1").exists()
            runs.clear()
            await engine.pull(f"{registry.host}/x")
            assert place.stat().st_ino != before
        whole(tmp_path)

    run(scenario)


def test_two_pulls_of_a_damaged_image_heal_it_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made()
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            await engine.pull(f"{registry.host}/x")
            harm(tmp_path, image, "deep_both")
            registry.served.clear()
            await asyncio.gather(engine.pull(f"{registry.host}/x"), engine.pull(f"{registry.host}/y"))
            assert registry.served[image.layers[1]] == len(image.blobs[image.layers[1]])
        whole(tmp_path)

    run(scenario)


async def _pulled(root: Path, image: MadeImage, then: Callable[[], None]) -> None:
    async with FakeRegistry(image) as registry:
        async with Engine(root) as engine:
            await engine.pull(f"{registry.host}/x")
        then()
        name = f"{registry.host}/x:v1"
        report = fsck.check(str(root))
        if damaged(report):
            assert repair.advice(report, str(root)) == [f"corten pull {name}"]
        done = repair.repair(str(root))
        again = repair.repair(str(root))
        assert damaged(done.report) == damaged(again.report)
        assert again.done == []
        async with Engine(root) as engine:
            await engine.pull(f"{registry.host}/x")
            await engine.images.sweep()
    assert damaged(fsck.check(str(root))) == []


@pytest.mark.parametrize("kind", ["tree_missing", "files_missing", "facts_garbled", "deep_file_flipped"])
def test_repair_unpacks_a_layer_again_from_its_blob(tmp_path: Path, kind: str) -> None:
    image = made()
    asyncio.run(_pulled(tmp_path, image, lambda: harm(tmp_path, image, kind)))
    assert not (tmp_path / repair.QUARANTINE).exists()


def test_repair_drops_an_image_that_cannot_be_whole(tmp_path: Path) -> None:
    image = made()
    asyncio.run(_pulled(tmp_path, image, lambda: harm(tmp_path, image, "blob_flipped_and_tree_missing")))
    assert os.listdir(tmp_path / repair.QUARANTINE) == [f"blob-{image.layers[1].replace(':', '-')}"]


def test_repair_keeps_an_image_whose_blob_only_a_push_needs(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made()
        async with FakeRegistry(image) as registry:
            async with Engine(tmp_path) as engine:
                await engine.pull(f"{registry.host}/x")
            harm(tmp_path, image, "deep_both")  # the files have nothing to be compared with until the pull
            repaired = repair.repair(str(tmp_path))
            assert damaged(repaired.report) == [f"content {image.layers[1]} is missing"]
            async with Engine(tmp_path) as engine:
                assert (await engine.images.inspect(f"{registry.host}/x:v1")).Id == image.id
                await engine.pull(f"{registry.host}/x")
        whole_but_quarantine(tmp_path)

    run(scenario)


def whole_but_quarantine(root: Path) -> None:
    shutil.rmtree(root / repair.QUARANTINE)
    whole(root)


def test_repair_wants_the_data_root_for_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path):
            pass

    run(scenario)
    with (tmp_path / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(errors.Conflict, match="stop it first"):
            repair.repair(str(tmp_path))
    assert repair.repair(str(tmp_path)).done == []


def test_repair_moves_records_nobody_can_read_out_of_the_database(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            with engine.database.transaction(durable=True) as change:
                change.put("containers", "c" * 64, b"no JSON")
            engine.database.quarantine("containers", "c" * 64, "why")

    run(scenario)
    assert len(damaged(fsck.check(str(tmp_path)))) == 1
    assert damaged(repair.repair(str(tmp_path)).report) == []
    (kept,) = (tmp_path / repair.QUARANTINE).glob("record-*.json")
    assert base64.b64decode(json.loads(kept.read_text())[3]) == b"no JSON"
