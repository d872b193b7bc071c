"""What a client can be told instead of an answer."""

from __future__ import annotations


class ClientError(Exception):
    """Base of all; ``str(error)`` is what a user reads."""


class ConnectionFailed(ClientError):
    """Nobody answers at ``host``."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"Cannot connect to the Corten engine at {host}. Is cortend running? ({reason})")
        self.host = host


class EngineError(ClientError):
    """The engine refused: ``status`` is HTTP's, ``message`` the engine's own text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.status = status
        self.message = message


class ProtocolFailure(ClientError):
    """What came back is no HTTP, or ended in the middle."""
