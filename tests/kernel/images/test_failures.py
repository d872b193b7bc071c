"""Pulls from a registry that misbehaves: what a user sees, and that nothing half is left."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corten import errors
from corten.registry.auth import Credentials
from tests.kernel.images.fake_registry import FakeRegistry, index_of
from tests.kernel.images.stage import INDEX, Engine, MadeImage, digest_of, layer, until

pytestmark = pytest.mark.root


def made(count: int = 2, size: int = 300_000) -> MadeImage:
    return MadeImage([layer({f"file{number}": os.urandom(size)}) for number in range(count)])


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))  # type: ignore[arg-type]


def test_a_broken_transfer_goes_on_where_it_broke(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1)
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            registry.break_after = {image.layers[0]: [100_000, 50_000]}
            await engine.pull(f"{registry.host}/x")
            ranges = [headers.get("Range") for _, path, headers in registry.requests if image.layers[0] in path]
            assert ranges == [None, "bytes=100000-", "bytes=150000-"]
            assert "Retrying in 1 second" in engine.statuses()
            assert (await engine.images.inspect(f"{registry.host}/x:v1")).Id == image.id

    run(scenario)


def test_a_registry_without_ranges_sends_again_and_nothing_is_stored_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1)
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            registry.ranges = False
            registry.break_after = {image.layers[0]: [100_000]}
            await engine.pull(f"{registry.host}/x")
            assert (await engine.images.inspect(f"{registry.host}/x:v1")).Id == image.id

    run(scenario)


def test_an_interrupted_pull_is_resumed_by_the_next_engine(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1)
        async with FakeRegistry(image) as registry:
            async with Engine(tmp_path, max_download_attempts=1) as engine:
                registry.break_after = {image.layers[0]: [200_000]}
                with pytest.raises(errors.CortenError, match="unexpected EOF"):
                    await engine.pull(f"{registry.host}/x")
                assert [status.offset for status in engine.content.ingests()] == [200_000]
                assert engine.leftovers() == []
            async with Engine(tmp_path) as engine:
                await engine.pull(f"{registry.host}/x")
            assert registry.requests[-1][2]["Range"] == "bytes=200000-"

    run(scenario)


@pytest.mark.parametrize("kind", ["other bytes", "truncated", "longer", "no gzip", "wrong diff id"])
def test_a_corrupt_layer_leaves_nothing_behind(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        image = made(1)
        good = image.blobs[image.layers[0]]
        bad = {
            "other bytes": good[:-1] + bytes([good[-1] ^ 1]),
            "truncated": good[:-10],
            "longer": good + b"x",
            "no gzip": os.urandom(len(good)),
        }
        if kind == "wrong diff id":
            image.__init__([layer({"a": b"b"})])  # type: ignore[misc]
            raw = image.blobs.pop(image.id).replace(image.diff_ids[0].encode(), b"sha256:" + b"0" * 64)
            image.manifest = image.manifest.replace(image.id.encode(), (new := digest_of(raw)).encode())
            image.blobs[new] = raw
        async with FakeRegistry(image) as registry, Engine(tmp_path, max_download_attempts=2) as engine:
            if kind in bad:
                registry.blobs[image.layers[0]] = bad[kind]
            with pytest.raises(errors.CortenError):
                await engine.pull(f"{registry.host}/x")
            assert engine.leftovers() == []
            assert await engine.images.list() == []
            if kind in bad:
                registry.blobs[image.layers[0]] = good
                await engine.pull(f"{registry.host}/x")
                assert (await engine.images.list())[0].Id == image.id

    run(scenario)


def test_a_damaged_partial_download_is_fetched_from_the_beginning(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1)
        async with FakeRegistry(image) as registry:
            async with Engine(tmp_path, max_download_attempts=1) as engine:
                registry.break_after = {image.layers[0]: [200_000]}
                with pytest.raises(errors.CortenError):
                    await engine.pull(f"{registry.host}/x")
            (part,) = (tmp_path / "content/ingest").glob("*/data")
            part.write_bytes(os.urandom(200_000))
            async with Engine(tmp_path) as engine:
                await engine.pull(f"{registry.host}/x")
                assert (await engine.images.list())[0].Id == image.id

    run(scenario)


def test_a_wrong_manifest_under_a_digest_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        image, other = made(1), made(1)
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            registry.manifests[image.digest] = registry.manifests["v1"][0], other.manifest
            with pytest.raises(errors.CortenError, match="manifest verification failed"):
                await engine.pull(f"{registry.host}/x", image.digest)
            assert engine.leftovers() == []

    run(scenario)


def test_cve_2024_3727_a_digest_is_checked_before_it_is_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1)
        evil = image.manifest.replace(image.layers[0].encode(), b"sha256:../../../../tmp/evil")
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            registry.manifests["v1"] = registry.manifests["v1"][0], evil
            with pytest.raises(errors.InvalidArgument, match="invalid checksum digest"):
                await engine.pull(f"{registry.host}/x")
            assert not [path for _, path, _ in registry.requests if "/blobs/" in path]

    run(scenario)


def test_a_server_error_is_tried_again_and_a_rate_limit_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1, 1000)
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            registry.status_queue = {"/manifests/": [(503, {})], image.layers[0]: [(502, {})]}
            await engine.pull(f"{registry.host}/x")
            registry.status_queue = {"/manifests/": [(429, {"Retry-After": "120"})]}
            with pytest.raises(errors.TooManyRequests, match="in 120 seconds"):
                await engine.pull(f"{registry.host}/x")

    run(scenario)


def test_bearer_tokens_for_a_user_and_for_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1, 1000)
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            registry.tokens = {"me": "pw"}
            await engine.pull(f"{registry.host}/x")
            await engine.pull(f"{registry.host}/x", auth=Credentials("me", "pw"))
            used = {headers.get("Authorization") for _, path, headers in registry.requests if "/manifests/" in path}
            assert "Bearer token-me-repository:x:pull" in used
            with pytest.raises(
                errors.NotFound, match=r"pull access denied for .*/x, repository does not exist"
            ) as caught:
                await engine.pull(f"{registry.host}/x", auth=Credentials("me", "hidden-password"))
            assert "hidden-password" not in str(caught.value)
            with pytest.raises(errors.CortenError):
                await engine.images.login(registry.host, Credentials("me", "wrong"))
            assert await engine.images.login(registry.host, Credentials("me", "pw")) == "Login Succeeded"

    run(scenario)


def test_credentials_do_not_follow_a_redirect(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1, 1000)
        async with FakeRegistry(image) as storage, FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            registry.tokens = {"me": "pw"}
            registry.redirect_to = storage
            await engine.pull(f"{registry.host}/x", auth=Credentials("me", "pw"))
            assert storage.served[image.layers[0]]
            assert all("Authorization" not in headers for _, _, headers in storage.requests)

    run(scenario)


def test_a_signed_url_does_not_show_in_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1, 1000)
        async with FakeRegistry(image) as registry, Engine(tmp_path, max_download_attempts=1) as engine:
            gone = FakeRegistry()
            gone.host = "127.0.0.1:1"
            registry.redirect_to = gone
            with pytest.raises(errors.CortenError, match="connection refused") as caught:
                await engine.pull(f"{registry.host}/x")
            assert "secret" not in str(caught.value)

    run(scenario)


def test_a_mirror_is_tried_first_without_credentials_and_left_when_it_fails(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(1, 1000)
        async with FakeRegistry() as mirror, FakeRegistry(image) as registry:
            mirrors = (f"{registry.host}=http://{mirror.host}",)
            async with Engine(tmp_path, registry_mirrors=mirrors) as engine:
                await engine.pull(f"{registry.host}/x", auth=Credentials("me", "pw"))
            assert [path for _, path, _ in mirror.requests] == ["/v2/", "/v2/x/manifests/v1"]
            assert all("Authorization" not in headers for _, _, headers in mirror.requests)
            assert registry.served[image.layers[0]]

    run(scenario)


def test_an_index_gives_the_hosts_platform_and_another_on_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        ours, theirs = made(1, 1000), MadeImage([layer({"a": b"arm"})], architecture="s390x")
        async with FakeRegistry(ours, theirs) as registry, Engine(tmp_path) as engine:
            architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
            registry.manifests["v1"] = (INDEX, index_of((theirs, "s390x"), (ours, architecture)))
            await engine.pull(f"{registry.host}/x")
            found = await engine.images.inspect(f"{registry.host}/x:v1")
            assert found.Id == ours.id
            assert found.RepoDigests == [f"{registry.host}/x@{digest_of(registry.manifests['v1'][1])}"]
            await engine.pull(f"{registry.host}/x", platform="linux/s390x")
            assert (await engine.images.inspect(f"{registry.host}/x:v1")).Id == theirs.id
            with pytest.raises(errors.NotFound, match="no matching manifest for linux/riscv64 in the manifest list"):
                await engine.pull(f"{registry.host}/x", platform="linux/riscv64")

    run(scenario)


def test_two_pulls_of_one_layer_share_the_work(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(3)
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            await asyncio.gather(
                *(engine.images.pull(f"{registry.host}/x{n}", "v1", progress=engine.sink) for n in "abc")
            )
            assert all(registry.served[digest] == len(image.blobs[digest]) for digest in image.layers)
            requests = [path for _, path, _ in registry.requests if "/blobs/" in path and image.id not in path]
            assert len(requests) == 3
            assert len((await engine.images.list())[0].RepoTags) == 3

    run(scenario)


def test_the_owner_of_a_shared_download_leaves_and_the_other_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corten.storage.direct._PIECE", 4096)  # so that the first half of a small blob shows on disk

    async def scenario() -> None:
        image = made(1)
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            registry.gate = asyncio.Event()
            first = asyncio.create_task(engine.images.pull(f"{registry.host}/a", "v1", progress=engine.sink))
            await until(lambda: any(ingest.offset for ingest in engine.content.ingests()))
            second = asyncio.create_task(engine.images.pull(f"{registry.host}/b", "v1", progress=engine.sink))
            await asyncio.sleep(0.1)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            registry.gate.set()
            await second
            assert [row.RepoTags for row in await engine.images.list()] == [[f"{registry.host}/b:v1"]]
            resumed = [headers.get("Range") for _, path, headers in registry.requests if image.layers[0] in path]
            assert resumed[0] is None
            assert str(resumed[1]).startswith("bytes=")

    run(scenario)


def test_a_client_that_leaves_keeps_finished_layers(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(2)
        async with FakeRegistry(image) as registry, Engine(tmp_path) as engine:
            small, large = image.layers
            registry.break_after = {large: [1000] * 50}
            pull = asyncio.create_task(engine.images.pull(f"{registry.host}/a", "v1", progress=engine.sink))
            await until(lambda: "Pull complete" in engine.statuses(small.removeprefix("sha256:")[:12]))
            pull.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pull
            registry.break_after = {}
            await engine.pull(f"{registry.host}/a")
            assert "Already exists" in engine.statuses(small.removeprefix("sha256:")[:12])

    run(scenario)


def test_finished_layers_of_an_interrupted_pull_go_when_they_are_old(tmp_path: Path) -> None:
    async def scenario() -> None:
        image = made(3)
        async with FakeRegistry(image) as registry:
            async with Engine(tmp_path) as engine:
                registry.break_after = {image.layers[2]: [1000] * 50}
                pull = asyncio.create_task(engine.pull(f"{registry.host}/x"))
                lower = [digest.removeprefix("sha256:")[:12] for digest in image.layers[:2]]
                await until(lambda: all("Pull complete" in engine.statuses(short) for short in lower))
                pull.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await pull
                await engine.images.sweep()
                assert len(engine.leftovers()) == 4
            for path in [*(tmp_path / "layers").iterdir(), *(tmp_path / "content/blobs/sha256").iterdir()]:
                os.utime(path, (0, 0))
            async with Engine(tmp_path) as engine:
                assert await engine.images.sweep() > 600_000
                assert engine.leftovers() == []
                registry.break_after = {}
                await engine.pull(f"{registry.host}/x")

    run(scenario)


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("127.0.0.1:1", 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'),
        ("nowhere.invalid", 'Get "https://nowhere.invalid/v2/": dial tcp: lookup nowhere.invalid: no such host'),
    ],
)
def test_a_registry_that_does_not_answer(tmp_path: Path, host: str, text: str) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            with pytest.raises(errors.CortenError) as caught:
                await engine.pull(f"{host}/x")
            assert str(caught.value) == text
            assert engine.messages == []

    run(scenario)
