"""What a command is given besides its own words: the engine's client, the configuration, the streams' nature."""

from __future__ import annotations

import sys

from corten.cli.config import Choice, Config
from corten.client.errors import ConnectionFailed
from corten.client.transport import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Context:
    """Made once per command line; nothing is read or connected before a command asks for it.

    ``given`` holds the names of the flags that were on the command line, ``path`` the words that named the command.
    """

    def __init__(self, config: Config, choose: Callable[[], Choice], path: str) -> None:
        self.config = config
        self.path = path
        self.given: frozenset[str] = frozenset()
        self._choose = choose
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The engine. When nobody answers at the default place, an engine is started there first."""
        if self._client is None:
            choice = self._choose()
            client = Client(choice.endpoint, version=_version(), headers=_headers(self.config))
            try:
                client.open()
            except ConnectionFailed:
                if not choice.is_default:
                    raise
                from corten.cli import autostart

                autostart.start(choice.endpoint)
                client.open()
            self._client = client
        return self._client

    def fail(self, text: str) -> int:
        """Say what went wrong, on standard error; the exit code of a failed command."""
        print(text, file=sys.stderr)
        return 1


def _version() -> str:
    from corten.cli.config import variable

    return variable("API_VERSION")


def _headers(config: Config) -> list[tuple[str, str]]:
    headers: Mapping[str, str] = config.document.get("HttpHeaders") or {}
    return [(name, str(value)) for name, value in headers.items() if name.lower() != "user-agent"]
