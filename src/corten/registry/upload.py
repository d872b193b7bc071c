"""Blobs and manifests sent to a registry: OCI distribution-spec v1.1, "Push".

Owns the order of an upload and its resumption. Refuses to know where bytes come from: it is given a source that can
start at any offset.

A blob is pushed so:

(1) ask whether the registry has it,
(2) ask to mount it from a repository of the same registry that is known to have it,
(3) open an upload session,
(4) send the bytes; when the connection breaks ask how far they came and go on there; in parts when one is too large,
(5) close the session, naming the digest.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp

from corten.errors import CortenError
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry import failure, retry
from corten.registry.transport import Request, Transport

#: Size of the parts after a registry (or a proxy before it) answered 413.
PART_BYTES: Final = 16 << 20
EXISTS: Final = "exists"
MOUNTED: Final = "mounted"
PUSHED: Final = "pushed"
_RANGE: Final = re.compile(r"(?:bytes=)?0-(\d+)\Z")

#: Gives the bytes of a blob from an offset up to an end (exclusive).
Source = Callable[[int, int], AsyncIterator[bytes]]


async def blob_exists(transport: Transport, repository: str, digest: Digest) -> bool:
    """Whether the repository has the blob."""
    request = Request("HEAD", f"/v2/{repository}/blobs/{digest}", _scopes(repository), expect=frozenset({200, 404}))
    response = await transport.send(request)
    response.release()
    return response.status == 200


async def push_blob(
    transport: Transport,
    repository: str,
    digest: Digest,
    *,
    size: int,
    source: Source,
    mount_from: Sequence[str] = (),
    attempts: int = 5,
) -> str:
    """Make the repository have the blob; EXISTS, MOUNTED or PUSHED. ``mount_from`` are repository paths."""
    if await blob_exists(transport, repository, digest):  # (1)
        return EXISTS
    for origin in mount_from:  # (2)
        location = await _open(transport, repository, digest, origin)
        if location is None:
            return MOUNTED
        await _cancel(transport, repository, location)
    location = await _open(transport, repository, digest, "")  # (3)
    if location is None:
        return EXISTS
    try:
        location = await _send(transport, repository, location, size, source, attempts)  # (4)
        await _close(transport, repository, location, digest)  # (5)
    except BaseException:
        await _cancel(transport, repository, location)
        raise
    return PUSHED


async def push_manifest(transport: Transport, reference: Reference, media_type: str, raw: bytes) -> Digest:
    """Put a manifest under the reference's digest or tag; its digest as the registry confirmed it."""
    target = reference.digest or reference.tag
    request = Request(
        "PUT", f"/v2/{reference.path}/manifests/{target}", _scopes(reference.path), {"Content-Type": media_type}, raw,
        frozenset({200, 201, 202}),
    )  # fmt: skip
    response = await transport.send(request)
    async with response:
        confirmed = response.headers.get("Docker-Content-Digest", "")
    digest = Digest.of(raw)
    if confirmed and confirmed != digest:
        raise CortenError(f"the registry stored manifest {digest} as {Digest(confirmed)}")
    return digest


def _scopes(repository: str, origin: str = "") -> tuple[str, ...]:
    own = (f"repository:{repository}:pull,push",)
    return (*own, f"repository:{origin}:pull") if origin else own


async def _open(transport: Transport, repository: str, digest: Digest, origin: str) -> str | None:
    """The URL of a new upload session, or None when the registry mounted the blob instead."""
    query = "?" + urlencode({"mount": digest, "from": origin}) if origin else ""
    request = Request(
        "POST", f"/v2/{repository}/blobs/uploads/{query}", _scopes(repository, origin), {"Content-Length": "0"},
        expect=frozenset({201, 202}),
    )  # fmt: skip
    response = await transport.send(request)
    async with response:
        return None if response.status == 201 else _location(response)


async def _send(transport: Transport, repository: str, location: str, size: int, source: Source, attempts: int) -> str:
    position, part, failures = 0, size, 0
    while position < size:
        end = min(size, position + part)
        try:
            location = await _patch(transport, repository, location, position, end, source)
            position, failures = end, 0
        except (failure.ResponseError, failure.DialError) as exc:
            failures += 1
            if isinstance(exc, failure.ResponseError) and exc.status == 413 and part > PART_BYTES:
                part = PART_BYTES
            elif failures >= attempts or (isinstance(exc, failure.ResponseError) and not exc.transient):
                raise
            await asyncio.sleep(retry.delay(failures))
            location, position = await _progress(transport, repository, location)
    return location


async def _patch(transport: Transport, repository: str, location: str, start: int, end: int, source: Source) -> str:
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(end - start),
        "Content-Range": f"{start}-{end - 1}",
    }
    request = Request(
        "PATCH", location, _scopes(repository), headers, lambda: source(start, end), frozenset({201, 202, 204}),
        attempts=1,
    )  # fmt: skip
    response = await transport.send(request)
    async with response:
        return _location(response, location)


async def _progress(transport: Transport, repository: str, location: str) -> tuple[str, int]:
    """Where the session is now: its URL and the number of bytes the registry has."""
    response = await transport.send(Request("GET", location, _scopes(repository), expect=frozenset({200, 202, 204})))
    async with response:
        match = _RANGE.match(response.headers.get("Range", ""))
        # A session without any byte also answers "0-0": one byte sent twice would be wrong, none sent is not.
        received = int(match.group(1)) + 1 if match is not None and match.group(1) != "0" else 0
        return _location(response, location), received


async def _close(transport: Transport, repository: str, location: str, digest: Digest) -> None:
    joint = "&" if urlsplit(location).query else "?"
    request = Request(
        "PUT", f"{location}{joint}{urlencode({'digest': digest})}", _scopes(repository), {"Content-Length": "0"},
        expect=frozenset({201, 202, 204}),
    )  # fmt: skip
    (await transport.send(request)).release()


async def _cancel(transport: Transport, repository: str, location: str) -> None:
    """Best effort: a session that is not deleted expires at the registry."""
    request = Request("DELETE", location, _scopes(repository), expect=frozenset(range(200, 500)), attempts=1)
    try:
        (await asyncio.wait_for(transport.send(request), 5)).release()
    except (CortenError, TimeoutError):
        pass


def _location(response: aiohttp.ClientResponse, default: str = "") -> str:
    value = response.headers.get("Location", "")
    if not value and not default:
        raise CortenError("the registry opened an upload without saying where (no Location header)")
    return urljoin(str(response.url), value) if value else default
