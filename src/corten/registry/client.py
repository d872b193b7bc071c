"""One registry by its name: manifests and blobs read, and the choice of an endpoint that answers.

Owns endpoint fall-back and digest verification of manifests; blobs are verified by whoever stores them, while they
stream. Refuses to know where bytes are kept. Uploads are in :mod:`corten.registry.upload`.
Source: OCI distribution-spec v1.1, "Pull".
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

import aiohttp
import msgspec

from corten.errors import CortenError, Unauthorized
from corten.oci.digest import Digest
from corten.oci.image import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MANIFEST_LIMIT,
    OCI_INDEX,
    OCI_MANIFEST,
)
from corten.oci.reference import Reference, check_tag
from corten.registry import failure, retry
from corten.registry.auth import Credentials
from corten.registry.endpoint import RegistrySettings, endpoints
from corten.registry.transport import Request, Transport, chunks, read_limited

MANIFEST_ACCEPT: Final = f"{OCI_INDEX}, {DOCKER_LIST}, {OCI_MANIFEST}, {DOCKER_MANIFEST}"
#: A transfer that moved this many bytes since its last failure starts counting failures anew.
PROGRESS_BYTES: Final = 1 << 20
MAX_PAGES: Final = 1000

T = TypeVar("T")

#: Called with the seconds until the next attempt.
RetryNotice = Callable[[float], Awaitable[None]]


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class Fetched(NamedTuple):
    """A manifest or index as the registry sent it; ``digest`` was computed from ``raw``."""

    media_type: str
    digest: Digest
    raw: bytes


class Registry:
    """An asynchronous context manager; ``push`` leaves mirrors out."""

    def __init__(
        self,
        domain: str,
        credentials: Credentials | None = None,
        *,
        settings: RegistrySettings | None = None,
        push: bool = False,
        attempts: int = 5,
    ) -> None:
        kept = settings or RegistrySettings()
        self.domain = domain
        self._attempts = attempts
        # A mirror is another host: it never sees the credentials that are for the registry itself.
        self._candidates = [
            Transport(endpoint, None if endpoint.mirror else credentials, kept)
            for endpoint in endpoints(domain, kept, push=push)
        ]
        self._alive: Transport | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for transport in self._candidates:
            await transport.close()

    async def transport(self) -> Transport:
        """The first endpoint that answers; found once. Raises the last endpoint's failure."""
        while self._alive is None:
            candidate = self._candidates[0]
            try:
                await candidate.ping()
                self._alive = candidate
            except CortenError:
                if len(self._candidates) == 1:
                    raise
                await self._drop(candidate)
        return self._alive

    async def manifest(self, reference: Reference) -> Fetched:
        """The manifest or index of a tag, or of a digest when the reference has one; Docker's pull texts on failure."""
        try:
            return await self._with_fallback(lambda transport: self._manifest(transport, reference))
        except CortenError as exc:
            raise failure.for_pull(exc, reference.familiar_name(), reference.familiar()) from exc

    async def exists(self, reference: Reference) -> Fetched | None:
        """What a HEAD says of a manifest (``raw`` is empty); None when the registry does not have it."""
        transport = await self.transport()
        try:
            response = await transport.send(_manifest_request("HEAD", reference))
        except failure.ResponseError as exc:
            if exc.status == 404:
                return None
            raise
        async with response:
            digest = response.headers.get("Docker-Content-Digest", "")
            return Fetched(response.content_type, Digest(digest), b"") if digest else await self.manifest(reference)

    async def tags(self, reference: Reference) -> list[str]:
        """Every tag of a repository, page by page (distribution-spec, "Listing Tags")."""
        path = f"/v2/{reference.path}/tags/list"
        found: list[str] = []
        for _ in range(MAX_PAGES):
            request = Request("GET", path, (f"repository:{reference.path}:pull",))
            try:
                response = await self._with_fallback(partial(_send, request))
            except CortenError as exc:
                raise failure.for_pull(exc, reference.familiar_name(), reference.familiar()) from exc
            async with response:
                page = msgspec.json.decode(await read_limited(response, MANIFEST_LIMIT), type=_Tags)
                found += [check_tag(tag) for tag in page.tags or ()]
                link = response.links.get("next")
            if not link:
                break
            path = str(link["url"])
        return found

    async def blob(
        self,
        repository: str,
        digest: Digest,
        *,
        size: int,
        offset: int = 0,
        on_retry: RetryNotice | None = None,
    ) -> AsyncIterator[bytes]:
        """The bytes of a blob from ``offset`` to ``size``; a broken transfer goes on where it broke.

        Raises TransferError when the blob is longer than ``size``, or keeps breaking.
        """
        position, failures, mark = offset, 0, offset
        while position < size:
            try:
                async for chunk in self._range(repository, digest, position):
                    position += len(chunk)
                    if position > size:
                        raise CortenError(f"{digest} is longer than the {size} bytes its descriptor promises")
                    yield chunk
                if position < size:
                    raise failure.TransferError(f"unexpected EOF after {position} of {size} bytes of {digest}")
            except (failure.TransferError, failure.DialError, failure.ResponseError) as exc:
                if isinstance(exc, failure.ResponseError) and not exc.transient:
                    raise
                failures = 1 if position - mark >= PROGRESS_BYTES else failures + 1
                mark = position
                if failures >= self._attempts:
                    raise
                seconds = retry.delay(failures)
                if on_retry is not None:
                    await on_retry(seconds)
                await asyncio.sleep(seconds)

    async def _range(self, repository: str, digest: Digest, position: int) -> AsyncIterator[bytes]:
        headers = {"Range": f"bytes={position}-"} if position else {}
        request = Request(
            "GET", f"/v2/{repository}/blobs/{digest}", (f"repository:{repository}:pull",), headers,
            expect=frozenset({200, 206}), attempts=1,
        )  # fmt: skip
        response = await self._with_fallback(partial(_send, request))
        async with response:
            skip = position
            if response.status == 206:
                skip = 0
                if not response.headers.get("Content-Range", "").startswith(f"bytes {position}-"):
                    raise failure.TransferError(f"the registry answered another range of {digest}")
            async for chunk in chunks(response):
                if skip >= len(chunk):
                    skip -= len(chunk)
                    continue
                yield chunk[skip:] if skip else chunk
                skip = 0

    async def _manifest(self, transport: Transport, reference: Reference) -> Fetched:
        response = await transport.send(_manifest_request("GET", reference))
        async with response:
            raw = await read_limited(response, MANIFEST_LIMIT)
            media_type = response.content_type
            claimed = response.headers.get("Docker-Content-Digest", "")
        digest = Digest.of(raw)
        expected = reference.digest or claimed
        if expected.startswith("sha256:") and expected != digest:
            raise CortenError(f"manifest verification failed for digest {Digest(expected)}")
        if reference.digest and not expected.startswith("sha256:"):
            raise CortenError(f"cannot verify {reference.familiar()}: only sha256 digests are supported")
        return Fetched(media_type, digest, raw)

    async def _with_fallback(self, action: Callable[[Transport], Awaitable[T]]) -> T:
        """Run on the endpoint in use; while that is a mirror, a failure moves on to the next endpoint for good."""
        while True:
            transport = await self.transport()
            try:
                return await action(transport)
            except CortenError:
                if not transport.endpoint.mirror:
                    raise
                await self._drop(transport)

    async def _drop(self, transport: Transport) -> None:
        if transport in self._candidates:
            self._candidates.remove(transport)
            await transport.close()
        if self._alive is transport:
            self._alive = None


async def login(domain: str, credentials: Credentials, settings: RegistrySettings) -> None:
    """Check credentials against ``domain``; Unauthorized with dockerd's text when they are refused."""
    async with Registry(domain, credentials, settings=settings, push=True) as registry:
        transport = await registry.transport()
        try:
            (await transport.send(Request("GET", "/v2/"))).release()
        except failure.ResponseError as exc:
            if exc.status not in (401, 403):
                raise
            raise Unauthorized(
                f"login attempt to {transport.endpoint.base}/v2/ failed with status: {failure.status_line(exc.status)}"
            ) from exc


def _send(request: Request, transport: Transport) -> Awaitable[aiohttp.ClientResponse]:
    return transport.send(request)


def _manifest_request(method: str, reference: Reference) -> Request:
    return Request(
        method,
        f"/v2/{reference.path}/manifests/{reference.digest or reference.tag or 'latest'}",
        (f"repository:{reference.path}:pull",),
        {"Accept": MANIFEST_ACCEPT},
    )
