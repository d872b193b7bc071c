"""Errors as responses: Docker's ``{"message": text}``, and its form for a stream that has begun; pure."""

import logging
from typing import Final

import msgspec

from corten.errors import CortenError, http_status
from corten.storage.durable import is_full

_log: Final = logging.getLogger(__name__)

PAGE_NOT_FOUND: Final = "page not found"


class TooLargeError(CortenError):
    """A body over its limit; 413, which only the server knows."""


class PageNotFoundError(CortenError):
    """No such endpoint: path or method; 404 as Docker's router answers both."""

    def __init__(self) -> None:
        super().__init__(PAGE_NOT_FOUND)


def status_of(error: BaseException) -> int:
    """The HTTP status of any error."""
    if isinstance(error, TooLargeError):
        return 413
    return 404 if isinstance(error, PageNotFoundError) else http_status(error)


def message_of(error: BaseException) -> str:
    """What a user reads; an error that is not ours is a defect, named by its type as its text means little alone.

    A full disk is none, and said in the kernel's words.
    """
    if isinstance(error, CortenError):
        return str(error)
    if is_full(error):
        return f"{error.filename}: no space left on device" if error.filename else "no space left on device"
    return f"internal error: {type(error).__name__}: {error}"


def document(text: str) -> bytes:
    """The body of an error response."""
    return msgspec.json.encode({"message": text}) + b"\n"


def stream_document(error: BaseException) -> bytes:
    """The last line of a progress stream that failed."""
    text = message_of(error)
    return msgspec.json.encode({"errorDetail": {"message": text}, "error": text}) + b"\r\n"


def report(error: BaseException, what: str) -> None:
    """Log what is a defect or the engine's own trouble; a client's mistake is its own business."""
    if is_full(error):
        _log.warning("%s: %s", what, message_of(error))
    elif not isinstance(error, CortenError):
        _log.error("%s: %s", what, message_of(error), exc_info=error)
    elif status_of(error) == 500:
        _log.warning("%s: %s", what, message_of(error))
    else:
        _log.debug("%s: %s", what, message_of(error))
