"""What can go wrong between a client and an engine. Texts are what a user of Docker knows."""

from __future__ import annotations

from corten.errors import CortenError


class ClientError(CortenError):
    """Base of all: ``str(error)`` is the text a user reads."""


class InvalidHost(ClientError):
    """The address of the engine cannot be used as it is written."""


class Unreachable(ClientError):
    """Nothing answers at ``endpoint`` (its text, e.g. ``unix:///run/corten/corten.sock``)."""

    def __init__(self, endpoint: str, reason: str = "") -> None:
        super().__init__(f"Cannot connect to the Corten engine at {endpoint}. Is cortend running?{reason}")
        self.endpoint = endpoint


class Disconnected(ClientError):
    """The engine closed the connection in the middle of an answer."""


class ResponseError(ClientError):
    """The engine refused: ``status`` is its HTTP status, ``message`` its own text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.status = status
        self.message = message
