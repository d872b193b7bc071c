"""Who we are to a registry: basic and bearer authentication of the distribution spec.

Owns credentials and tokens and the rule where they may go:

* credentials go to the registry they are for and to the token realm that registry names, and nowhere else;
* a realm reached over plain HTTP gets credentials only when the registry itself is reached over plain HTTP.

Refuses to send requests by itself: a :class:`TokenFetch` does. Source: distribution ``spec/auth/token.md`` and
``spec/auth/oauth.md``.
"""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from corten.errors import CortenError, InvalidArgument, Unauthorized
from corten.registry.challenge import Challenge
from corten.registry.endpoint import Endpoint

CLIENT_ID: Final = "corten"
#: A token without ``expires_in`` lives 60 s (token.md); it is renewed this many seconds early.
DEFAULT_LIFE: Final = 60
EARLY: Final = 10


class Credentials(msgspec.Struct, frozen=True):
    """What a client sends in X-Registry-Auth; never printed."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"

    __str__ = __repr__

    @property
    def basic(self) -> str:
        """The value of a basic Authorization header, or an empty text."""
        if not self.username:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class _Header(msgspec.Struct):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""
    expires_in: int = DEFAULT_LIFE


#: Sends a token request: (method, url, headers, form body) -> response body. Raises corten errors.
TokenFetch = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[bytes]]


def from_header(value: str) -> Credentials | None:
    """Read X-Registry-Auth: base64 (URL alphabet, with or without padding) of Docker's AuthConfig JSON; None if empty.

    Raises InvalidArgument; the text does not repeat the value.
    """
    if not value:
        return None
    try:
        raw = base64.urlsafe_b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4))
        if not raw.strip():
            return None
        header = msgspec.json.decode(raw, type=_Header)
        username, password = header.username, header.password
        if header.auth and not username:
            username, _, password = base64.b64decode(header.auth).decode().partition(":")
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise InvalidArgument("invalid X-Registry-Auth header: not base64url of a JSON object") from None
    found = Credentials(username, password, header.identitytoken, header.registrytoken)
    return found if found != Credentials() else None


class Authorizer:
    """Answers the challenges of one endpoint; keeps its tokens by scope."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials | None, fetch: TokenFetch) -> None:
        self._endpoint = endpoint
        self._credentials = credentials or Credentials()
        self._fetch = fetch
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def learn(self, challenges: Sequence[Challenge]) -> None:
        """Remember which scheme this endpoint wants; bearer before basic, as Docker."""
        for scheme in ("bearer", "basic"):
            for challenge in challenges:
                if challenge.scheme == scheme:
                    self._challenge = challenge
                    return

    async def header(self, scopes: Sequence[str], *, renew: bool = False) -> str:
        """The Authorization header for a request that needs ``scopes``; empty when none is wanted."""
        if self._credentials.registry_token:
            return f"Bearer {self._credentials.registry_token}"
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "basic":
            if not self._credentials.basic:
                raise Unauthorized("no basic auth credentials")
            return self._credentials.basic
        return "Bearer " + await self._token(tuple(scopes), renew=renew)

    async def _token(self, scopes: tuple[str, ...], *, renew: bool) -> str:
        kept = self._tokens.get(scopes)
        if kept is not None and not renew and kept[1] > time.monotonic():
            return kept[0]
        body = await self._request(scopes)
        try:
            answer = msgspec.json.decode(body, type=_Token)
        except msgspec.DecodeError as exc:
            raise CortenError(f"unable to decode token response: {exc}") from exc
        token = answer.token or answer.access_token
        if not token:
            raise CortenError("authorization server did not include a token in the response")
        self._tokens[scopes] = (token, time.monotonic() + max(answer.expires_in, DEFAULT_LIFE) - EARLY)
        return token

    async def _request(self, scopes: tuple[str, ...]) -> bytes:
        assert self._challenge is not None
        parameters = self._challenge.parameters
        realm, service = self._realm(parameters.get("realm", "")), parameters.get("service", "")
        wanted = scopes or tuple(parameters.get("scope", "").split())
        if self._credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": CLIENT_ID,
                "scope": " ".join(wanted),
                "refresh_token": self._credentials.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return await self._fetch("POST", realm, headers, urlencode(form).encode())
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in wanted]
        headers = {}
        if self._credentials.basic:
            query.append(("account", self._credentials.username))
            headers["Authorization"] = self._credentials.basic
        joint = "&" if urlsplit(realm).query else "?"
        return await self._fetch("GET", f"{realm}{joint}{urlencode(query)}" if query else realm, headers, None)

    def _realm(self, realm: str) -> str:
        parts = urlsplit(realm)
        secret = self._credentials.basic or self._credentials.identity_token
        if parts.scheme not in ("https", "http") or not parts.netloc:
            raise CortenError("the registry's token realm is not an http or https URL")
        if secret and parts.scheme == "http" and not self._endpoint.plain:
            raise CortenError(f"refusing to send credentials to the plain HTTP token realm {parts.netloc}")
        return realm
