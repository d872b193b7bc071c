"""The search of version 1 of the registry protocol, which is all that ``docker search`` has: ``GET /v1/search``.

Docker Hub answers it at another host than it serves images from; any other registry is asked whether it is there
first. Owns the protocol; what was asked for beyond words is filtered by who asks.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from corten.errors import CortenError, InvalidArgument
from corten.registry.auth import Credentials
from corten.registry.endpoint import DOCKER_HUB, Endpoint, RegistrySettings, endpoints, host_of
from corten.registry.endpoint import HUB_INDEX as _HUB_INDEX
from corten.registry.transport import Request, Transport, read_limited

_LIMIT: Final = 4 << 20
_ANY: Final = frozenset(range(200, 600))
_HUB_NAMES: Final = (DOCKER_HUB, "index.docker.io")


class Row(msgspec.Struct):
    """One repository as the registry tells of it; any member may be missing or null."""

    name: str | None = ""
    description: str | None = ""
    star_count: int | None = 0
    is_official: bool | None = False


class _Answer(msgspec.Struct):
    results: list[Row] | None = None


def split(term: str) -> tuple[str, str]:
    """The registry a term names, and the words to look for in it.

    Raises:
        InvalidArgument: it is an address.
    """
    if "://" in term:
        raise InvalidArgument('invalid repository name (ex: "registry.domain.tld/myrepos")')
    first, slash, rest = term.partition("/")
    if not slash or ("." not in first and ":" not in first and first != "localhost"):
        return DOCKER_HUB, term.removeprefix("library/")
    return (DOCKER_HUB, rest.removeprefix("library/")) if first in _HUB_NAMES else (first, rest)


async def search(term: str, limit: int, credentials: Credentials | None, settings: RegistrySettings) -> Sequence[Row]:
    """What a registry finds for ``term``, in its order.

    Raises:
        CortenError: nobody answers, or not in this protocol.
    """
    domain, words = split(term)
    if domain == DOCKER_HUB:
        host = host_of(_HUB_INDEX)
        return await _ask(Endpoint(f"https://{host}", host), words, limit, credentials, settings, ping=False)
    candidates = endpoints(domain, settings, push=True)
    failures = []
    for endpoint in candidates:
        try:
            return await _ask(endpoint, words, limit, credentials, settings, ping=True)
        except _NotThereError as error:
            failures.append(str(error))
    if len(failures) > 1:
        tried = f"HTTPS attempt: {failures[0]}. HTTP attempt: {failures[1]}"
        raise CortenError(f'invalid registry endpoint "{candidates[-1].base}/v1/". {tried}')
    raise CortenError(
        f"invalid registry endpoint {candidates[0].base}/v1/: {failures[0]}. If it speaks HTTP only, or HTTPS with a"
        f" certificate of an unknown authority, start cortend with `--insecure-registry {domain}` or give it the"
        f" authority's certificate in {settings.certs_directory}/{domain}/ca.crt"
    )


class _NotThereError(CortenError):
    """The endpoint does not answer at all."""


async def _ask(
    endpoint: Endpoint, words: str, limit: int, credentials: Credentials | None, settings: RegistrySettings, *,
    ping: bool,
) -> Sequence[Row]:  # fmt: skip
    transport = Transport(endpoint, credentials, settings)
    try:
        if ping:
            try:
                (await transport.send(Request("GET", "/v1/_ping", expect=_ANY, attempts=1))).release()
            except CortenError as error:
                raise _NotThereError(str(error)) from error
        path = f"/v1/search?{urlencode({'q': words, 'n': limit})}"
        # Docker asks for a token with this header; a registry without tokens does not mind.
        request = Request("GET", path, headers={"X-Docker-Token": "true"}, expect=_ANY, attempts=1)
        response = await transport.send(request)
        async with response:
            if response.status != 200:
                raise CortenError(f"Unexpected status code {response.status}")
            raw = await read_limited(response, _LIMIT)
    finally:
        await transport.close()
    try:
        return msgspec.json.decode(raw, type=_Answer).results or ()
    except msgspec.MsgspecError as error:
        raise CortenError(f"error decoding registry search results: {error}") from error
