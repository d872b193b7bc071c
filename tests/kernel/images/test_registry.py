"""The round trip through Debian's registry and skopeo: digests stay what they are."""

import asyncio
import ctypes
import json
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from corten import errors
from corten.api.filters import Filters
from corten.registry.auth import Credentials
from tests.harness.registry import RegistryProcess
from tests.kernel.images.stage import Engine, stream

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryProcess]:
    with RegistryProcess.running() as process:
        yield process


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 90))  # type: ignore[arg-type]


def skopeo(*arguments: str) -> str:
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True).stdout


def compress(program: str, path: Path) -> None:
    subprocess.run([program, "-q", str(path)], check=True)


async def imported(engine: Engine, tar: Path, repo: str, tag: str = "v1") -> str:
    return await engine.images.import_(
        stream(tar), repo=repo, tag=tag, changes=["CMD sh", "LABEL a=b"], progress=engine.sink
    )


def test_pushed_and_pulled_digests_are_identical(tmp_path: Path, busybox_tar: Path, registry: RegistryProcess) -> None:
    async def scenario() -> None:
        name = f"{registry.host}/team/busybox"
        async with Engine(tmp_path / "a") as engine, Engine(tmp_path / "b") as other:
            identifier = await imported(engine, busybox_tar, name)
            await engine.push(name)
            digest, document = registry.manifest("team/busybox", "v1")
            size = registry.get("/v2/team/busybox/manifests/v1", "application/vnd.docker.distribution.manifest.v2+json")
            assert engine.messages[-1]["aux"] == {"Tag": "v1", "Digest": digest, "Size": len(size[2])}
            await other.pull(name)
            short = document["layers"][0]["digest"].removeprefix("sha256:")[:12]  # type: ignore[index]
            assert other.statuses(short) == [
                "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Extracting",
                "Pull complete",
            ]  # fmt: skip
            assert other.statuses()[0] == "Pulling from team/busybox"
            assert other.messages[0]["id"] == "v1"
            assert other.statuses()[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}:v1"]
            found = await other.images.inspect(f"{name}:v1")
            assert (found.Id, found.RepoDigests) == (identifier, [f"{name}@{digest}"])
            assert (await engine.images.inspect(f"{name}:v1")).RepoDigests == [f"{name}@{digest}"]
            seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}:v1"))
            assert (seen["Digest"], seen["Layers"]) == (digest, [document["layers"][0]["digest"]])  # type: ignore[index]

            await other.pull(name)
            assert other.statuses() == [
                "Pulling from team/busybox", "Already exists", f"Digest: {digest}",
                f"Status: Image is up to date for {name}:v1",
            ]  # fmt: skip
            await other.images.tag(f"{name}:v1", f"{registry.host}/other/copy", "v2")
            await other.push(f"{registry.host}/other/copy", "v2")
            assert "Mounted from team/busybox" in other.statuses()
            assert registry.manifest("other/copy", "v2")[0] == digest
            await other.push(name)
            assert "Layer already exists" in other.statuses()

    run(scenario)


def test_by_digest_and_every_tag(tmp_path: Path, busybox_tar: Path, registry: RegistryProcess) -> None:
    async def scenario() -> None:
        name = f"{registry.host}/tags/all"
        async with Engine(tmp_path / "a") as engine, Engine(tmp_path / "b") as other:
            await imported(engine, busybox_tar, name, "one")
            await engine.images.tag(f"{name}:one", name, "two")
            await engine.push(name, "")
            digest, _ = registry.manifest("tags/all", "two")
            await other.pull(name, digest)
            (row,) = await other.images.list()
            assert (row.RepoTags, row.RepoDigests) == ([], [f"{name}@{digest}"])
            await other.pull(name, "")
            (row,) = await other.images.list()
            assert row.RepoTags == [f"{name}:one", f"{name}:two"]

    run(scenario)


def test_errors_read_as_dockers(tmp_path: Path, registry: RegistryProcess) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            with pytest.raises(errors.NotFound) as caught:
                await engine.pull(f"{registry.host}/no/such", "x")
            assert str(caught.value) == (
                f"manifest for {registry.host}/no/such:x not found: manifest unknown: manifest unknown"
            )
            assert engine.messages == []
            with pytest.raises(errors.NotFound) as caught:
                await engine.push(f"{registry.host}/no/such", "x")
            assert str(caught.value) == (f"An image does not exist locally with the tag: {registry.host}/no/such")

    run(scenario)


def test_basic_authentication(tmp_path: Path, busybox_tar: Path) -> None:
    password = _bcrypt("pw")

    async def scenario(registry: RegistryProcess) -> None:
        name = f"{registry.host}/private/x"
        mine = Credentials("me", "pw")
        async with Engine(tmp_path) as engine:
            await imported(engine, busybox_tar, name)
            with pytest.raises(errors.CortenError, match="no basic auth credentials"):
                await engine.push(name)
            with pytest.raises(errors.CortenError, match="unauthorized: authentication required") as caught:
                await engine.push(name, auth=Credentials("me", "wrong-password"))
            assert "wrong-password" not in str(caught.value)
            await engine.push(name, auth=mine)
            await engine.pull(name, auth=mine)
            assert await engine.images.login(registry.host, mine) == "Login Succeeded"
            with pytest.raises(errors.Unauthorized, match="failed with status: 401 Unauthorized"):
                await engine.images.login(registry.host, Credentials("me", "wrong-password"))

    with RegistryProcess.running(port=5017, htpasswd=f"me:{password}\n") as registry:
        run(lambda: scenario(registry))


def _bcrypt(password: str) -> str:
    """By libcrypt itself: Python's own module for it is gone since 3.13."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed: bytes = library.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu")
    return hashed.decode()


def test_saved_archives_are_read_by_us_and_by_skopeo(
    tmp_path: Path, busybox_tar: Path, registry: RegistryProcess
) -> None:
    async def scenario() -> None:
        name = f"{registry.host}/save/x"
        async with Engine(tmp_path / "a") as engine, Engine(tmp_path / "b") as other:
            identifier = await imported(engine, busybox_tar, name)
            await engine.push(name)
            pushed = engine.messages[-1]["aux"]["Digest"]
            await engine.images.tag(f"{name}:v1", "short", "")
            saved = tmp_path / "saved.tar"
            await engine.save(saved, f"{name}:v1", "short")
            await engine.save(tmp_path / "again.tar", f"{name}:v1", "short")
            assert saved.read_bytes() == (tmp_path / "again.tar").read_bytes()
            await other.load(saved)
            assert other.statuses()[-2:] == [f"Loaded image: {name}:v1\n", "Loaded image: short:latest\n"]
            assert (await other.images.inspect("short")).Id == identifier
            await other.push(name)
            assert registry.manifest("save/x", "v1")[0] == pushed
            layers = json.loads(skopeo("inspect", f"docker-archive:{saved}:short:latest"))["Layers"]
            assert layers == (await other.images.inspect("short")).RootFS.Layers

    run(scenario)


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_archives_of_skopeo(tmp_path: Path, busybox_tar: Path, registry: RegistryProcess, compression: str) -> None:
    async def scenario() -> None:
        name = f"{registry.host}/skopeo/x{compression}"
        async with Engine(tmp_path / "a") as engine, Engine(tmp_path / "b") as other:
            identifier = await imported(engine, busybox_tar, name)
            await engine.push(name)
            docker, layout = tmp_path / "docker.tar", tmp_path / "layout.tar"
            source = f"docker://{name}:v1"
            skopeo("copy", "--src-tls-verify=false", source, f"docker-archive:{docker}:from/skopeo:1")
            skopeo("copy", "--src-tls-verify=false", source, f"oci-archive:{layout}:from/layout:2")
            for path in (docker, layout):
                if compression:
                    compress(compression, path)
            suffix = {"": "", "gzip": ".gz", "zstd": ".zst"}[compression]
            await other.load(Path(f"{docker}{suffix}"))
            assert other.statuses()[-1] == "Loaded image: from/skopeo:1\n"
            found = await other.images.inspect("from/skopeo:1")
            assert found.RootFS.Layers == (await engine.images.inspect(f"{name}:v1")).RootFS.Layers
            assert found.Id == identifier
            await other.load(Path(f"{layout}{suffix}"))
            assert other.statuses()[-1] == "Loaded image: from/layout:2\n"
            # Plain layers of an archive are compressed once when they are pushed.
            await other.images.tag("from/skopeo:1", f"{registry.host}/again/x{compression}", "v1")
            await other.push(f"{registry.host}/again/x{compression}")
            first, document = registry.manifest(f"again/x{compression}", "v1")
            assert document["layers"][0]["mediaType"].endswith("tar.gzip")  # type: ignore[index]
            await other.push(f"{registry.host}/again/x{compression}")
            assert registry.manifest(f"again/x{compression}", "v1")[0] == first

    run(scenario)


def test_a_truncated_archive_leaves_nothing(tmp_path: Path, busybox_tar: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path / "a") as engine, Engine(tmp_path / "b") as other:
            await imported(engine, busybox_tar, "x")
            saved = tmp_path / "saved.tar"
            await engine.save(saved, "x:v1")
            saved.write_bytes(saved.read_bytes()[:-400_000])
            with pytest.raises(errors.CortenError):
                await other.load(saved)
            assert other.leftovers() == []
            assert other.content.ingests() == []
            saved.write_bytes(b"no tar at all" * 1000)
            with pytest.raises(errors.CortenError):
                await other.load(saved)
            assert other.leftovers() == []

    run(scenario)


def test_remove_frees_the_disk_and_hides_what_a_container_needs(tmp_path: Path, busybox_tar: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            identifier = await imported(engine, busybox_tar, "x")
            images = engine.images
            images.in_use(identifier, "c" * 64)
            with pytest.raises(errors.Conflict, match="must force"):
                await images.remove("x:v1")
            rows = await images.remove("x:v1", force=True)
            assert [(row.Untagged, row.Deleted) for row in rows] == [("x:v1", ""), ("", identifier)]
            assert msgspec.json.encode([rows, engine.published()])
            assert await images.list() == []
            assert len(engine.leftovers()) == 4  # manifest, config, layer blob, unpacked layer
            images.release(identifier, "c" * 64)
            assert await images.sweep() > 0
            assert engine.leftovers() == []
            actions = [(event.Action, event.Actor.ID) for event in engine.published()]
            assert actions[-2:] == [("untag", identifier), ("delete", identifier)]

    run(scenario)


def test_retagged_images_are_pruned_and_shared_layers_stay(tmp_path: Path, busybox_tar: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            first = await imported(engine, busybox_tar, "x")
            second = await imported(engine, busybox_tar, "x")
            assert first != second
            rows = await engine.images.list(filters=Filters({"dangling": ["true"]}), shared_size=True)
            assert [(row.Id, row.RepoTags) for row in rows] == [(first, [])]
            assert rows[0].SharedSize == rows[0].Size > 0
            report = await engine.images.prune(Filters())
            assert [row.Deleted for row in report.ImagesDeleted or []] == [first]
            assert (await engine.images.resolve("x:v1")).id == second
            report = await engine.images.prune(Filters({"dangling": ["false"]}))
            assert report.SpaceReclaimed > 1_000_000
            assert engine.leftovers() == []

    run(scenario)


def test_records_survive_the_engine(tmp_path: Path, busybox_tar: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            identifier = await imported(engine, busybox_tar, "x")
        async with Engine(tmp_path) as engine:
            image = await engine.images.resolve("x:v1")
            assert image.id == identifier
            assert image.config.config.cmd == ("/bin/sh", "-c", "sh")
            rows = [await engine.images.history("x:v1"), await engine.images.list(), engine.published()]
            rows.append([await engine.images.inspect("x:v1")])  # type: ignore[list-item]
            assert b"Digest(" not in msgspec.json.encode(rows)  # plain texts throughout, or encoding would fail
            assert (await engine.images.history("x:v1"))[0].Id == identifier

    run(scenario)
