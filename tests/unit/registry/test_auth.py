import asyncio
import base64
import json
from collections.abc import Mapping

import pytest

from corten.errors import CortenError, InvalidArgument, Unauthorized
from corten.registry.auth import Authorizer, Credentials, from_header
from corten.registry.challenge import Challenge
from corten.registry.endpoint import Endpoint

SECURE = Endpoint("https://r.example", "r.example")
BEARER = Challenge("bearer", {"realm": "https://auth.example/token", "service": "r"})


class Tokens:
    """A token server that counts."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes | None]] = []

    async def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        self.requests.append((method, url, dict(headers), body))
        return json.dumps({"token": f"t{len(self.requests)}", "expires_in": 300}).encode()


def header_of(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def test_tokens_are_kept_by_scope_and_renewed_on_demand() -> None:
    async def scenario() -> None:
        tokens = Tokens()
        authorizer = Authorizer(SECURE, None, tokens)
        assert await authorizer.header(("a",)) == ""
        authorizer.learn([Challenge("basic", {}), BEARER])
        assert await authorizer.header(("repository:x:pull",)) == "Bearer t1"
        assert await authorizer.header(("repository:x:pull",)) == "Bearer t1"
        assert await authorizer.header(("repository:y:pull",)) == "Bearer t2"
        assert await authorizer.header(("repository:x:pull",), renew=True) == "Bearer t3"
        assert tokens.requests[0][1] == "https://auth.example/token?service=r&scope=repository%3Ax%3Apull"
        assert "Authorization" not in tokens.requests[0][2]

    asyncio.run(scenario())


def test_a_password_goes_to_the_realm_as_basic_and_an_identity_token_as_a_form() -> None:
    async def scenario() -> None:
        tokens = Tokens()
        authorizer = Authorizer(SECURE, Credentials("me", "pw"), tokens)
        authorizer.learn([BEARER])
        await authorizer.header(("s",))
        assert tokens.requests[0][2]["Authorization"] == "Basic " + base64.b64encode(b"me:pw").decode()
        authorizer = Authorizer(SECURE, Credentials(identity_token="secret"), tokens)
        authorizer.learn([BEARER])
        await authorizer.header(("s",))
        method, url, _, body = tokens.requests[1]
        assert (method, url) == ("POST", "https://auth.example/token")
        assert b"grant_type=refresh_token" in (body or b"")
        assert b"refresh_token=secret" in (body or b"")

    asyncio.run(scenario())


def test_credentials_never_go_to_a_plain_http_realm_of_an_https_registry() -> None:
    async def scenario() -> None:
        tokens = Tokens()
        authorizer = Authorizer(SECURE, Credentials("me", "pw"), tokens)
        authorizer.learn([Challenge("bearer", {"realm": "http://evil.example/token"})])
        with pytest.raises(CortenError, match="refusing to send credentials"):
            await authorizer.header(())
        assert tokens.requests == []

    asyncio.run(scenario())


def test_basic_without_credentials_says_so() -> None:
    async def scenario() -> None:
        authorizer = Authorizer(SECURE, None, Tokens())
        authorizer.learn([Challenge("basic", {})])
        with pytest.raises(Unauthorized, match="no basic auth credentials"):
            await authorizer.header(())

    asyncio.run(scenario())


def test_the_header_of_the_docker_cli() -> None:
    found = from_header(header_of({"username": "me", "password": "pw", "serveraddress": "x"}))
    assert found == Credentials("me", "pw")
    assert from_header(header_of({"identitytoken": "t"}).rstrip("=")) == Credentials(identity_token="t")
    assert from_header(header_of({"auth": base64.b64encode(b"u:p:q").decode()})) == Credentials("u", "p:q")
    assert from_header(header_of({})) is None
    assert from_header("") is None


def test_a_broken_header_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidArgument) as caught:
        from_header("c2VjcmV0")
    assert "secret" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_credentials_do_not_print() -> None:
    assert "pw" not in f"{Credentials('me', 'pw')} {Credentials('me', 'pw')!r}"
