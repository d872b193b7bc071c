"""Layers on their way in: download, digest, decompress and unpack as one stream, shared between requests.

Owns the sharing (two pulls of one layer do the work once), the bound on parallel downloads and what is left after a
failure: a partial download that can be resumed, never a partial layer. Refuses to know manifests and names.

A layer comes in so:

(1) wait for another request that brings in the same blob; if it is here now, unpack that,
(2) open the ingest; what an earlier attempt left is fed to the unpacker first,
(3) every chunk goes to the ingest (which hashes and keeps it) and to the unpacker (which decompresses and hashes),
(4) commit the blob: size and digest are verified, the file is synced,
(5) compare the unpacker's digest with the config's diff id,
(6) wait for the layer below, then commit the unpacked layer under its chain id.

Layers are downloaded and unpacked in any order; only (6) goes from the lowest to the highest.

What is here and damaged, as far as that is known, counts as not here: it is brought in again and takes the damaged
piece's place. A damaged layer that a container runs on stays until that has ended.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from typing import Any, Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from corten.engine.images.channel import ByteChannel, ChannelError
from corten.errors import Conflict, CorruptData, InvalidArgument
from corten.oci.digest import Digest, chain_id, chain_ids
from corten.oci.image import LAYER_TYPES, ImageConfig, Manifest
from corten.storage import damage, verify
from corten.storage.content import ContentStore
from corten.storage.ingest import CHUNK, Ingest
from corten.storage.layer.store import LayerStore
from corten.storage.layer.writer import LayerWriter

T = TypeVar("T")

WAITING: Final = "Waiting"
DOWNLOADING: Final = "Downloading"
VERIFYING: Final = "Verifying Checksum"
COMPLETE: Final = "Download complete"
EXTRACTING: Final = "Extracting"
INGEST_WAIT: Final = 30.0
SHORT: Final = 12
"""Digits of an id that progress shows."""


class Layer(NamedTuple):
    """One layer to bring in: the blob as transferred, what it must unpack to, and the chain id it stands on."""

    digest: Digest
    size: int
    diff_id: Digest
    chain_id: Digest
    parent: Digest | None


def stacked(blobs: Iterable[tuple[Digest, int]], diff_ids: Iterable[Digest]) -> list[Layer]:
    """The layers of an image, lowest first, from (digest, size) of its blobs and its config's diff ids."""
    found: list[Layer] = []
    listed = list(diff_ids)
    for (digest, size), diff_id, chain in zip(blobs, listed, chain_ids(listed), strict=True):
        found.append(Layer(digest, size, diff_id, chain, found[-1].chain_id if found else None))
    return found


#: Gives a blob's bytes from an offset on.
Source = Callable[[int], AsyncIterator[bytes]]
#: Told of every step: (status, bytes so far).
Watch = Callable[[str, int], None]
#: Says which container runs on a layer; empty for none.
Holder = Callable[[Digest], str]


class _Job:
    """One layer being brought in, and everybody who waits for it."""

    def __init__(self) -> None:
        self.watchers: list[Watch] = []
        self.task: asyncio.Task[None] | None = None

    def tell(self, status: str, current: int = 0) -> None:
        for watch in self.watchers:
            watch(status, current)


class LayerFetcher:
    """Brings layers in; one for the whole engine."""

    def __init__(
        self, content: ContentStore, layers: LayerStore, pool: Executor, holder: Holder, *, downloads: int
    ) -> None:
        self._content = content
        self._layers = layers
        self._pool = pool
        self._holder = holder
        self._healing: set[Digest] = set()
        self._slots = asyncio.Semaphore(downloads)
        self._jobs: dict[Digest, _Job] = {}
        self._blobs: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()
        self._published = asyncio.Condition()

    def present(self, layer: Layer) -> bool:
        """Whether both the blob and the unpacked layer are here, and nothing is known to be wrong with them."""
        return not self._content.problem(layer.digest, layer.size) and not self._layers.problem(layer.chain_id)

    async def ensure(self, layer: Layer, source: Source, watch: Watch) -> None:
        """Return when blob and unpacked layer are here and durable; CorruptData leaves nothing behind.

        The caller ensures the layers below at the same time. Who starts a job owns it: when the owner leaves, the job
        ends with it and the next one waiting goes on from the bytes that have arrived, with its own source.
        """
        while not self.present(layer):
            job = self._jobs.get(layer.chain_id)
            owner = job is None
            if job is None:
                job = self._jobs[layer.chain_id] = _Job()
                job.task = asyncio.create_task(self._bring(job, layer, source))
            await self._follow(job, layer.chain_id, watch, owner=owner)

    async def publish(self, writer: LayerWriter, parent: Digest | None) -> None:
        """Commit an unpacked layer once the one below is there (6)."""
        async with self._published:
            await self._published.wait_for(
                lambda: parent is None or (parent not in self._healing and self._layers.has(parent))
            )
        self._refuse_held(chain := chain_id(parent, await self.in_thread(writer.finish)))
        await self.in_thread(writer.commit, parent, self._content.keep)
        self._healing.discard(chain)
        async with self._published:
            self._published.notify_all()

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run blocking work of a layer in the pool, to its end even when the caller is cancelled."""
        work = asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait((work,))
            with suppress(Exception):
                work.result()
            raise

    async def _follow(self, job: _Job, key: Digest, watch: Watch, *, owner: bool) -> None:
        assert job.task is not None
        job.watchers.append(watch)
        try:
            await asyncio.wait((job.task,))
        finally:
            job.watchers.remove(watch)
            if owner:
                if not job.task.done():
                    job.task.cancel()
                    await asyncio.wait((job.task,))
                del self._jobs[key]
        if owner:
            job.task.result()
        # A follower looks again: the layer is there, or it starts a job of its own.

    async def _bring(self, job: _Job, layer: Layer, source: Source) -> None:
        lock = self._blobs.get(layer.digest)
        if lock is None:
            lock = self._blobs[layer.digest] = asyncio.Lock()
        if lock.locked():
            job.tell(WAITING)
        if self._layers.problem(layer.chain_id):
            self._refuse_held(layer.chain_id)
            self._healing.add(layer.chain_id)
        try:
            async with lock:  # (1)
                writer = await self._unpacked(job, layer, source)
            if writer is not None:
                await self._publish_or_drop(writer, layer)
        finally:
            self._healing.discard(layer.chain_id)

    async def _publish_or_drop(self, writer: LayerWriter, layer: Layer) -> None:
        try:
            await self.publish(writer, layer.parent)  # (6)
        except BaseException:
            await asyncio.shield(self.in_thread(writer.abort))
            raise

    async def _unpacked(self, job: _Job, layer: Layer, source: Source) -> LayerWriter | None:
        """The layer unpacked and not yet published, its blob durable; None when it is published already."""
        if not self._content.problem(layer.digest, layer.size):
            job.tell(EXTRACTING, 0)
            try:
                writer = await self.in_thread(self._unpack_local, layer)
            except CorruptData:
                if not await self.in_thread(self._content.damage, layer.digest):
                    raise
                await self.in_thread(self._content.delete, layer.digest)  # it changed on disk: once more
            else:
                job.tell(EXTRACTING, layer.size)
                return writer
        if self._slots.locked():
            job.tell(WAITING)
        async with self._slots:
            try:
                return await self._download(job, layer, source)
            except _ResumedBadly:
                # What an earlier attempt left may be the damaged part: once more from the first byte.
                return await self._download(job, layer, source)

    async def _download(self, job: _Job, layer: Layer, source: Source) -> LayerWriter | None:
        """(2)-(5)"""
        ingest = await self.in_thread(self._open, layer)  # (2)
        offset = ingest.offset
        channel = ByteChannel()
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._receive, layer, ingest, channel)
        try:
            with suppress(ChannelError):  # the thread stopped reading: its own failure says why
                await self._feed(job, layer, source, channel, offset)
            writer = await asyncio.shield(work)
        except BaseException as exc:
            channel.fail(exc)
            await asyncio.wait((work,))
            with suppress(Exception):
                late = work.result()
                if late is not None:
                    await self.in_thread(late.abort)
            if offset and isinstance(exc, CorruptData):
                raise _ResumedBadly from exc
            raise
        job.tell(EXTRACTING, layer.size)
        return writer

    async def _feed(self, job: _Job, layer: Layer, source: Source, channel: ByteChannel, offset: int) -> None:
        position = offset
        job.tell(DOWNLOADING, position)
        if position < layer.size:
            async for chunk in source(position):
                await channel.write(chunk)
                position += len(chunk)
                job.tell(DOWNLOADING, position)
        job.tell(VERIFYING)
        channel.close()
        job.tell(COMPLETE)

    def _open(self, layer: Layer) -> Ingest:
        return self._content.writer(str(layer.digest), expected=layer.digest, size=layer.size, wait=INGEST_WAIT)

    def _receive(self, layer: Layer, ingest: Ingest, channel: ByteChannel) -> LayerWriter | None:
        with ExitStack() as stack:
            stack.callback(channel.abandon)
            stack.enter_context(ingest)
            if not self._layers.problem(layer.chain_id):
                for chunk in channel:
                    ingest.write(chunk)  # (3)
                ingest.commit()  # (4)
                # Whatever took or damaged the blob may have changed the files too.
                return self._unpack_local(layer) if self.differs(layer) else None
            return self._unpack(layer, _both(ingest, channel), ingest)

    def _refuse_held(self, chain: Digest) -> None:
        """Raise Conflict when a damaged layer cannot be replaced: a container runs on its files."""
        if (self._layers.root / chain.hex).exists() and (why := self._layers.problem(chain)):
            container = self._holder(chain)
            if container:
                raise Conflict(f"{why}; container {container[:12]} runs on it: stop it and try again")

    def differs(self, layer: Layer) -> bool:
        """Whether the files of a layer are not what its blob says; they are marked then. Reads both; blocks."""
        files = self._layers.root / layer.chain_id.hex / "fs"
        with self._content.open(layer.digest) as stream:
            problems = verify.layer(iter(lambda: stream.read(CHUNK), b""), files)
        if problems:
            damage.mark(files.parent, problems[0])
        return bool(problems)

    def _unpack_local(self, layer: Layer) -> LayerWriter | None:
        if not self._layers.problem(layer.chain_id):
            return None
        with self._content.open(layer.digest) as stream:
            derived = self._content.derived(layer.digest)
            return self._unpack(layer, iter(lambda: stream.read(CHUNK), b""), None, split=derived)

    def _unpack(
        self, layer: Layer, chunks: Iterable[bytes], ingest: Ingest | None, *, split: bool = False
    ) -> LayerWriter:
        with ExitStack() as stack:
            writer = stack.enter_context(LayerWriter(self._layers, split=split))
            try:
                for chunk in chunks:
                    writer.feed(chunk)
                if ingest is not None:
                    ingest.commit()  # (4)
                diff_id = writer.finish()
                if diff_id != layer.diff_id:  # (5)
                    raise CorruptData(
                        f"layer {layer.digest} unpacks to {diff_id}, the image's config says {layer.diff_id}"
                    )
            except CorruptData:
                if ingest is not None:
                    ingest.abort()
                    self._content.delete(layer.digest)
                raise
            stack.pop_all()
            return writer


class _ResumedBadly(Exception):  # control flow between two methods, never seen outside
    """A resumed download turned out corrupt."""


def _both(ingest: Ingest, channel: ByteChannel) -> Iterable[bytes]:
    yield from ingest.read_back()  # (2)
    for chunk in channel:
        ingest.write(chunk)  # (3)
        yield chunk


def check_layers(manifest: Manifest, config: ImageConfig) -> None:
    """InvalidArgument when config and manifest do not belong together or hold what cannot be run here."""
    if config.os and config.os != "linux":
        raise InvalidArgument(f'image operating system "{config.os}" cannot be used on this platform')
    for layer in manifest.layers:
        if layer.media_type not in LAYER_TYPES:
            raise InvalidArgument(f"invalid manifest: layer media type {layer.media_type} is not supported")
    if len(manifest.layers) != len(config.rootfs.diff_ids):
        raise InvalidArgument(
            f"invalid image: the manifest has {len(manifest.layers)} layers, "
            f"its config has {len(config.rootfs.diff_ids)} diff_ids"
        )


async def all_or_first_failure(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first failure cancels the others, waits for their end and is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
