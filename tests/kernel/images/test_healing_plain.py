"""Damage to layers that are kept once, as a tree and its split: told by fsck, healed by the next load, never hidden."""

import asyncio
import gzip
import io
import json
import os
import shutil
import tarfile  # noqa: TID251  # a second, independent writer of tar
from pathlib import Path

import pytest

from corten import errors
from corten.engine import fsck, repair
from corten.oci.digest import Digest, chain_ids
from corten.storage.layer.split import SPLIT
from corten.storage.layer.writer import LayerWriter
from tests.kernel.images.fake_registry import FakeRegistry
from tests.kernel.images.stage import Engine, MadeImage, layer
from tests.kernel.images.test_failures import run
from tests.kernel.images.test_healing import damaged, whole, whole_but_quarantine

pytestmark = pytest.mark.root

NAME = "corten.test/plain:v1"


def made() -> MadeImage:
    return MadeImage([layer({f"file{number}": os.urandom(200_000), f"other{number}": b"x"}) for number in range(3)])


def archive(image: MadeImage, path: Path, naming: str) -> Path:
    """What ``docker save`` writes: plain layers, with names that say the digest (``blobs``) or nothing (``old``)."""
    names = [
        f"blobs/sha256/{diff.removeprefix('sha256:')}" if naming == "blobs" else f"{number}/layer.tar"
        for number, diff in enumerate(image.diff_ids)
    ]
    config = f"{image.id.removeprefix('sha256:')}.json"
    members = {
        config: image.blobs[image.id],
        **{name: gzip.decompress(image.blobs[blob]) for name, blob in zip(names, image.layers, strict=True)},
        "manifest.json": json.dumps([{"Config": config, "RepoTags": [NAME], "Layers": names}]).encode(),
    }
    with tarfile.open(path, "w") as target:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            target.addfile(entry, io.BytesIO(data))
    return path


class Damage:
    """One way to damage the middle layer; ``deep`` ones only fsck sees."""

    def __init__(self, root: Path, image: MadeImage) -> None:
        self.layer = root / "layers" / chain_ids(Digest(item) for item in image.diff_ids)[1].hex
        self.root = root

    def split_missing(self) -> None:
        (self.layer / SPLIT).unlink()

    def split_cut(self) -> None:
        os.truncate(self.layer / SPLIT, (self.layer / SPLIT).stat().st_size - 3)

    def tree_missing(self) -> None:
        shutil.rmtree(self.layer)

    def files_missing(self) -> None:
        shutil.rmtree(self.layer / "fs")

    def facts_garbled(self) -> None:
        (self.layer / "layer.json").write_bytes(b"\0\0\0")

    def deep_split_flipped(self) -> None:
        raw = bytearray((self.layer / SPLIT).read_bytes())
        raw[len(raw) // 3] ^= 1
        (self.layer / SPLIT).write_bytes(raw)

    def deep_file_flipped(self) -> None:
        with (self.layer / "fs/file1").open("r+b") as stream:
            stream.write(b"?")

    def deep_file_missing(self) -> None:
        (self.layer / "fs/file1").unlink()

    def deep_mode_changed(self) -> None:
        (self.layer / "fs/file1").chmod(0o4777)


KINDS = sorted(name for name in vars(Damage) if not name.startswith("_"))


def harm(root: Path, image: MadeImage, kind: str) -> None:
    getattr(Damage(root, image), kind)()
    report = fsck.check(str(root))
    assert damaged(report)
    if kind.startswith("deep"):
        assert repair.mark(report, str(root)) == []


def kept_once(root: Path, image: MadeImage) -> None:
    blobs = {path.name for path in (root / "content/blobs/sha256").iterdir()}
    assert not blobs & {diff.removeprefix("sha256:") for diff in image.diff_ids}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("naming", ["blobs", "old"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_load_brings_damaged_parts_in_again(tmp_path: Path, kind: str, naming: str, restarted: bool) -> None:
    async def scenario() -> None:
        image = made()
        root, source = tmp_path / "root", archive(image, tmp_path / "archive.tar", naming)
        async with Engine(root) as engine:
            await engine.load(source)
            kept_once(root, image)
            whole(root)
            harm(root, image, kind)
            if not restarted:
                await engine.load(source)
        if restarted:
            async with Engine(root) as engine:
                await engine.load(source)
        whole(root)
        kept_once(root, image)
        async with Engine(root) as engine:
            for diff in image.diff_ids:
                assert engine.content.damage(Digest(diff)) == ""

    run(scenario)


@pytest.mark.parametrize("kind", ["deep_file_flipped", "deep_file_missing", "deep_split_flipped", "files_missing"])
def test_a_save_of_a_damaged_layer_fails_and_names_it(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        image = made()
        root = tmp_path / "root"
        async with Engine(root) as engine:
            await engine.load(archive(image, tmp_path / "archive.tar", "old"))
            getattr(Damage(root, image), kind)()
            with pytest.raises(errors.CorruptData) as caught:
                await engine.save(tmp_path / "saved.tar", NAME)
        assert image.diff_ids[1] in str(caught.value)
        assert Damage(root, image).layer.name in str(caught.value)

    run(scenario)


def test_repair_makes_a_layer_again_from_its_own_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made()
        root = tmp_path / "root"
        async with Engine(root) as engine:
            await engine.load(archive(image, tmp_path / "archive.tar", "old"))
        harm(root, image, "deep_mode_changed")  # what the stream says is all there
        done = repair.repair(str(root))
        assert [line.partition(" was ")[2] for line in done.done] == ["unpacked again"]
        whole(root)
        kept_once(root, image)

    run(scenario)


@pytest.mark.parametrize("kind", ["deep_file_flipped", "deep_split_flipped", "files_missing", "split_cut"])
def test_repair_sets_a_layer_aside_that_is_nowhere_else(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        image = made()
        root, source = tmp_path / "root", archive(image, tmp_path / "archive.tar", "blobs")
        async with Engine(root) as engine:
            await engine.load(source)
        harm(root, image, kind)
        report = fsck.check(str(root))
        place = Damage(root, image).layer
        assert repair.advice(report, str(root)) == [f"load or build {NAME} again: it came from no registry"]
        done = repair.repair(str(root))
        assert damaged(done.report) == damaged(repair.repair(str(root)).report) == []
        assert os.listdir(root / repair.QUARANTINE) == [f"layer-{place.name}"]
        async with Engine(root) as engine:
            await engine.load(source)
            await engine.images.sweep()
        whole_but_quarantine(root)
        kept_once(root, image)

    run(scenario)


def test_one_of_two_layers_of_a_diff_is_damaged(tmp_path: Path) -> None:
    """The content is made from the other one, and so is the damaged layer."""

    async def scenario() -> None:
        low, high, other = (layer({f"file{number}": os.urandom(50_000)}) for number in range(3))
        first, second = MadeImage([low, high]), MadeImage([other, high])
        root = tmp_path / "root"
        async with Engine(root) as engine:
            for number, image in enumerate((first, second)):
                await engine.load(archive(image, tmp_path / f"{number}.tar", "old"))
            chains = sorted(engine.content.layers_of(Digest(first.diff_ids[1])))
        assert len(chains) == 2
        (root / "layers" / chains[0].hex / "fs/file1").write_bytes(b"?")
        assert damaged(fsck.check(str(root)))
        assert all(chains[1] not in text for text in damaged(fsck.check(str(root))))
        done = repair.repair(str(root))
        assert done.done == [f"layer {chains[0]} was unpacked again"]
        whole(root)
        kept_once(root, first)

    asyncio.run(scenario())


def test_a_split_that_nothing_needs_goes_with_time(tmp_path: Path) -> None:
    """A load that was killed may leave one on a layer that came compressed."""

    async def scenario() -> None:
        image = made()
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            await engine.pull(f"{registry.host}/x")
            with LayerWriter(engine.layers, split=True) as writer:
                writer.feed(gzip.decompress(image.blobs[image.layers[0]]))
                chain = writer.commit(None, engine.content.keep)
            digest = Digest(image.diff_ids[0])
            await engine.images.sweep()
            assert engine.content.has(digest)
            os.utime(engine.layers.directory(chain) / SPLIT, (1, 1))
            await engine.images.sweep()
            assert not engine.content.has(digest)
        whole(tmp_path)

    run(scenario)
