"""One endpoint spoken to: authentication, redirects, retries and proxies around aiohttp.

Owns the connection. Refuses to know repositories and what an answer means beyond its status.

A request takes these steps:

(1) ask the authorizer for a header and send the request,
(2) follow redirects of GET and HEAD, dropping the Authorization header at the first other origin,
(3) on 401 learn the challenge and start again, once,
(4) on a transient failure wait and start again, if the body can be sent again,
(5) turn every other failure into an error of :mod:`corten.registry.failure`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import aiohttp

from corten.errors import CortenError, TooManyRequests, Unauthorized
from corten.registry import challenge, failure, proxy, retry, tls
from corten.registry.auth import Authorizer, Credentials
from corten.registry.endpoint import Endpoint, RegistrySettings

USER_AGENT: Final = "corten"
MAX_REDIRECTS: Final = 10
MAX_TOKEN_BODY: Final = 1 << 20
CONNECT_SECONDS: Final = 30.0
STALL_SECONDS: Final = 60.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FAILURES: Final = (aiohttp.ClientError, TimeoutError, OSError)


class Request(NamedTuple):
    """``path`` is relative to the endpoint or absolute; ``body`` is called again for every attempt."""

    method: str
    path: str
    scopes: Sequence[str] = ()
    headers: Mapping[str, str] = {}
    body: Callable[[], AsyncIterator[bytes]] | bytes | None = None
    expect: frozenset[int] = frozenset({200})
    attempts: int = 5


class Transport:
    """All requests to one endpoint; close it when done."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials | None, settings: RegistrySettings) -> None:
        self.endpoint = endpoint
        self._settings = settings
        self._proxies = proxy.from_environment(os.environ)
        self._authorizer = Authorizer(endpoint, credentials, self._fetch_token)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ping(self) -> None:
        """Find out that the endpoint speaks the protocol, and what authentication it wants; raises DialError."""
        url = self.endpoint.base + "/v2/"
        response = await self._once("GET", url, {}, None)
        async with response:
            self._authorizer.learn(challenge.parse(response.headers.getall("WWW-Authenticate", ())))
            if response.status >= 500:
                raise await read_failure(response)

    async def send(self, request: Request) -> aiohttp.ClientResponse:
        """The response with a status in ``request.expect``; the caller reads and releases it. Raises corten errors."""
        attempt = 1
        while True:
            try:
                return await self._authorized(request)
            except (failure.ResponseError, failure.DialError) as error:
                if attempt >= request.attempts or not _worth_another(error):
                    raise
                await asyncio.sleep(retry.delay(attempt))  # (4)
                attempt += 1

    async def _authorized(self, request: Request) -> aiohttp.ClientResponse:
        renew = False
        while True:
            url = self._absolute(request.path)
            try:
                authorization = await self._authorizer.header(request.scopes, renew=renew)
            except Unauthorized as exc:
                raise Unauthorized(f'{request.method.capitalize()} "{failure.without_secrets(url)}": {exc}') from exc
            response = await self._redirected(request, url, authorization)  # (1) (2)
            if response.status in request.expect:
                return response
            async with response:
                if response.status == 401 and not renew:
                    self._authorizer.learn(challenge.parse(response.headers.getall("WWW-Authenticate", ())))
                    renew = True  # (3)
                    continue
                raise await read_failure(response)  # (5)

    async def _redirected(self, request: Request, url: str, authorization: str) -> aiohttp.ClientResponse:
        """Send and follow: a redirect is never followed from HTTPS to HTTP unless the endpoint is an insecure one."""
        for _ in range(MAX_REDIRECTS):
            headers = dict(request.headers)
            if authorization and _origin(url) == _origin(self.endpoint.base):
                headers["Authorization"] = authorization
            response = await self._once(request.method, url, headers, request.body)
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or request.method not in ("GET", "HEAD") or not location:
                return response
            response.release()
            target = urljoin(url, location)
            if urlsplit(target).scheme not in ("https", "http"):
                raise CortenError(f"the registry redirects to an unsupported scheme: {urlsplit(target).scheme}")
            if url.startswith("https://") and target.startswith("http://") and self.endpoint.verify:
                raise CortenError(f"refusing a redirect from HTTPS to plain HTTP: {failure.without_secrets(target)}")
            url = target
        raise CortenError(f'{request.method.capitalize()} "{failure.without_secrets(url)}": stopped after 10 redirects')

    async def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], AsyncIterator[bytes]] | bytes | None,
    ) -> aiohttp.ClientResponse:
        data = body() if callable(body) else body
        try:
            return await self._client().request(
                method,
                url,
                headers=headers,
                data=data,
                allow_redirects=False,
                proxy=proxy.proxy_for(url, self._proxies),
            )
        except _FAILURES as exc:
            raise failure.from_exception(method, url, exc) from exc

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = tls.context_for(self.endpoint.host, self._settings.certs_directory, verify=self.endpoint.verify)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=32),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STALL_SECONDS),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=1 << 20,
            )
        return self._session

    async def _fetch_token(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        for attempt in range(1, 4):
            response = await self._once(method, url, headers, body)
            async with response:
                if response.status == 200:
                    return await read_limited(response, MAX_TOKEN_BODY)
                error = await read_failure(response)
            if isinstance(error, failure.ResponseError) and error.status in (401, 403):
                # Docker: a token server that refuses makes the pull "denied", not "unauthorized".
                raise failure.ResponseError(401, failure.DENIED, "requested access to the resource is denied")
            if not _worth_another(error) or attempt == 3:
                raise error
            await asyncio.sleep(retry.delay(attempt))
        raise AssertionError("unreachable")

    def _absolute(self, path: str) -> str:
        return path if path.startswith(("http://", "https://")) else self.endpoint.base + path


async def chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body as it comes; TransferError when it ends early or stalls."""
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except _FAILURES as exc:
        raise failure.TransferError("unexpected EOF") from exc


async def read_limited(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body; TransferError when it is longer than ``limit`` bytes or ends early."""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks(response):
        size += len(chunk)
        if size > limit:
            raise failure.TransferError(f"the registry's answer is longer than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts)


async def read_failure(response: aiohttp.ClientResponse) -> CortenError:
    """The error of a response nobody expected."""
    try:
        body = await response.content.read(failure.MAX_ERROR_BODY)
    except _FAILURES:
        body = b""
    return failure.from_response(response.status, response.headers, body)


def _worth_another(error: CortenError) -> bool:
    if isinstance(error, failure.ResponseError):
        return error.transient
    if isinstance(error, TooManyRequests):
        return False
    # A refused connection or an unknown name will not heal within seconds; a connection that broke may.
    text = str(error)
    return isinstance(error, failure.DialError) and not any(
        mark in text for mark in ("connection refused", "no such host", "tls:", "no route to host")
    )


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
