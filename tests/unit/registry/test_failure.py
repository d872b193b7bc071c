import json

import pytest

from corten import errors
from corten.registry import failure, retry


def answer(status: int, code: str, message: str) -> errors.CortenError:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return failure.from_response(status, {}, body)


def test_an_unknown_manifest_reads_as_dockers() -> None:
    error = failure.for_pull(answer(404, "MANIFEST_UNKNOWN", "manifest unknown"), "foo", "foo:x")
    assert isinstance(error, errors.NotFound)
    assert str(error) == "manifest for foo:x not found: manifest unknown: manifest unknown"


def test_denied_reads_as_dockers() -> None:
    error = failure.for_pull(answer(403, "DENIED", "requested access to the resource is denied"), "foo", "foo:x")
    assert str(error) == (
        "pull access denied for foo, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )
    assert errors.http_status(error) == 404


def test_unauthorized_and_nameless_statuses() -> None:
    error = failure.for_pull(answer(401, "UNAUTHORIZED", "authentication required"), "foo", "foo:x")
    assert isinstance(error, errors.Unauthorized)
    assert str(error) == "unauthorized: authentication required"
    broken = failure.from_response(502, {}, b"<html>")
    assert str(broken) == "received unexpected HTTP status: 502 Bad Gateway"
    assert isinstance(failure.general(broken, missing=""), errors.Unavailable)


def test_a_rate_limit_tells_when_it_ends() -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}'
    error = failure.from_response(429, {"Retry-After": "90"}, body)
    assert isinstance(error, errors.TooManyRequests)
    assert errors.http_status(error) == 429
    assert str(error).startswith("toomanyrequests: You have reached your pull rate limit (limit resets at ")
    assert str(error).endswith("in 90 seconds)")


def test_urls_lose_their_secrets() -> None:
    assert failure.without_secrets("https://me:pw@h:1/p?sig=1#f") == "https://h:1/p"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"RateLimit-Reset": "7"}, 7.0),
        ({"X-RateLimit-Reset": "2000000010"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_when_a_limit_ends(headers: dict[str, str], seconds: float | None) -> None:
    found = retry.reset_after(headers, now=10.0 if "X-RateLimit-Reset" not in headers else 2000000000.0)
    assert found == (10.0 if "X-RateLimit-Reset" in headers else seconds)


def test_delays_double_and_are_capped() -> None:
    assert [retry.delay(attempt, spread=1.0) for attempt in (1, 2, 3, 40)] == [0.5, 1.0, 2.0, 15.0]
    assert retry.delay(1, spread=0.0) == 0.25
