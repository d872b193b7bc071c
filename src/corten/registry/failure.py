"""What went wrong at a registry, in Docker's words.

Owns the distribution spec's error document ("Error Codes") and its mapping on :mod:`corten.errors`. The texts follow
moby ``distribution/errors.go`` and Go's ``net/url.Error``; no text carries a credential or a query string.
"""

import asyncio
import http
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from corten.errors import CortenError, NotFound, TooManyRequests, Unauthorized, Unavailable
from corten.registry import retry

MAX_ERROR_BODY: Final = 64 * 1024
DENIED: Final = "DENIED"


class _Item(msgspec.Struct):
    code: str = "UNKNOWN"
    message: str = ""


class _Document(msgspec.Struct):
    errors: list[_Item] = []


class ResponseError(CortenError):
    """A registry answered ``status``; ``code`` is the spec's error code or empty when it gave none."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code.replace('_', ' ').lower()}: {message}" if code else message)
        self.status = status
        self.code = code

    @property
    def transient(self) -> bool:
        """Whether another attempt may succeed."""
        return self.status in retry.TRANSIENT_STATUS


class DialError(CortenError):
    """No answer: the text is Go's ``Get "URL": reason``."""


class TransferError(CortenError):
    """A body ended early, grew too long or stalled."""


def from_response(status: int, headers: Mapping[str, str], body: bytes) -> CortenError:
    """The error a registry's answer means; 429 becomes TooManyRequests with the time it ends, where that is known."""
    code, message = _first_error(body)
    if status == 429:
        text = f"toomanyrequests: {message or 'too many requests'}"
        seconds = retry.reset_after(headers)
        if seconds is not None:
            end = datetime.now(UTC) + timedelta(seconds=seconds)
            text += f" (limit resets at {end:%Y-%m-%dT%H:%M:%SZ}, in {int(seconds)} seconds)"
        return TooManyRequests(text)
    if not code and status == 401:
        return ResponseError(status, "UNAUTHORIZED", "authentication required")
    if not code:
        return ResponseError(status, "", f"received unexpected HTTP status: {status_line(status)}")
    return ResponseError(status, code, message)


def status_line(status: int) -> str:
    """``404 Not Found``."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _first_error(body: bytes) -> tuple[str, str]:
    try:
        errors = msgspec.json.decode(body, type=_Document).errors
    except msgspec.DecodeError:
        return "", ""
    return (errors[0].code, errors[0].message or errors[0].code.lower()) if errors else ("", "")


def from_exception(method: str, url: str, exc: BaseException) -> CortenError:
    """The error a failed connection means, in the form ``Get "https://host/v2/": dial tcp host:port: reason``."""
    return DialError(f'{method.capitalize()} "{without_secrets(url)}": {_reason(url, exc)}')


def without_secrets(url: str) -> str:
    """The URL without user, query and fragment: signed redirects carry their secret there."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _reason(url: str, exc: BaseException) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    match exc:
        case aiohttp.ClientConnectorDNSError():
            return f"dial tcp: lookup {parts.hostname}: no such host"
        case aiohttp.ClientConnectorCertificateError():
            return f"tls: failed to verify certificate: x509: {_verify_text(exc.certificate_error)}"
        case aiohttp.ClientSSLError():
            return f"tls: {_verify_text(exc.os_error)}"
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return f"proxyconnect tcp: {type(exc).__name__}"
        case aiohttp.ClientConnectorError():
            detail = exc.os_error.strerror or str(exc.os_error)
            return f"dial tcp {parts.hostname}:{port}: connect: {_plain(detail)}"
        case TimeoutError() | asyncio.TimeoutError():
            return "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
        case aiohttp.ServerDisconnectedError():
            return "EOF"
    return _plain(str(exc)) or type(exc).__name__


def _verify_text(exc: object) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or "handshake failure").replace("_", " ").lower()
    return str(exc)


def _plain(detail: str) -> str:
    """An errno text as Go words it: asyncio wraps it in ``Connect call failed``."""
    for text in ("Connection refused", "No route to host", "Network is unreachable", "Connection reset by peer"):
        if text.lower() in detail.lower() or (text == "Connection refused" and "Connect call failed" in detail):
            return text.lower()
    return detail


def for_pull(error: CortenError, name: str, familiar: str) -> CortenError:
    """What a failed pull says; ``name`` is the familiar repository, ``familiar`` the familiar whole reference."""
    if not isinstance(error, ResponseError):
        return error
    match error.code:
        case "DENIED":
            return NotFound(
                f"pull access denied for {name}, repository does not exist or may require 'docker login': {error}"
            )
        case "MANIFEST_UNKNOWN":
            return NotFound(f"manifest for {familiar} not found: {error}")
        case "NAME_UNKNOWN":
            return NotFound(f"repository {name} not found: {error}")
    return general(error, missing=f"manifest for {familiar} not found: manifest unknown: manifest unknown")


def for_push(error: CortenError, name: str) -> CortenError:
    """What a failed push says."""
    if isinstance(error, ResponseError) and error.code == DENIED:
        return CortenError(str(error))
    return general(error, missing=f"repository {name} not found")


def general(error: CortenError, *, missing: str) -> CortenError:
    """By status alone, for answers without a known code."""
    if not isinstance(error, ResponseError):
        return error
    if error.status == 401:
        return Unauthorized(str(error))
    if error.status == 404:
        return NotFound(missing if not error.code else str(error))
    if error.transient:
        return Unavailable(str(error))
    return CortenError(str(error))
