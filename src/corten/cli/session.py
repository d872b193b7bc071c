"""What one run of the CLI has: settings, configuration, the engine's address and a client for it, and where it prints.

Precedence of the address (the docker CLI's): ``--context``, ``-H``, ``HOST`` of the environment, ``CONTEXT`` of the
environment, ``currentContext`` of config.json, the default socket.
Only the default socket makes the CLI start an engine.
"""

from __future__ import annotations

import os
import sys

from corten.cli import config
from corten.cli.options import Options
from corten.client import endpoint as endpoints
from corten.client.endpoint import Endpoint, TlsFiles
from corten.client.errors import ClientError, Unreachable
from corten.client.transport import Client
from corten.errors import CortenError


class CommandFailed(CortenError):
    """The command ends with ``code``; the text (may be empty) goes to stderr."""

    def __init__(self, text: str = "", code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Settings:
    """The global options."""

    __slots__ = ("config", "context", "hosts", "tls", "tls_files", "tls_verify")

    def __init__(self, given: Options) -> None:
        self.config = given.text("config")
        self.context = given.text("context")
        self.hosts = given.texts("host")
        self.tls = given.flag("tls")
        self.tls_verify = given.flag("tlsverify")
        self.tls_files = tuple(given.text(name) for name in ("tlscacert", "tlscert", "tlskey"))


def default_socket() -> str:
    """The path of the default engine's socket for this user."""
    if os.geteuid() == 0:
        return "/run/corten/corten.sock"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return os.path.join(runtime, "corten", "corten.sock")


class Session:
    """Made once per process; everything in it is made when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._config: config.Config | None = None
        self._client: Client | None = None

    @property
    def config(self) -> config.Config:
        """The configuration file."""
        if self._config is None:
            self._config = config.Config(config.directory(self.settings.config))
        return self._config

    @property
    def client(self) -> Client:
        """The client of the engine, which answers (started here when it is the default one and does not run)."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def another_client(self) -> Client:
        """A second client of the same engine and API version, for calls at the same time."""
        first = self.client
        return Client(first.endpoint, version=first.version, headers=first.headers)

    def context_name(self) -> str:
        """The name of the context in use."""
        if self.settings.context:
            return self.settings.context
        if self.settings.hosts or config.environment("HOST"):
            return config.DEFAULT_CONTEXT
        return config.environment("CONTEXT") or self.config.text("currentContext") or config.DEFAULT_CONTEXT

    def default_host(self) -> str:
        """The address of the context ``default``: what the options and the environment say, else the default socket."""
        hosts = self.settings.hosts
        return hosts[0] if hosts else config.environment("HOST") or self._default_endpoint().text

    @staticmethod
    def host_variable() -> str:
        """The environment variable the address would come from."""
        return "CORTEN_HOST" if os.environ.get("CORTEN_HOST") or not os.environ.get("DOCKER_HOST") else "DOCKER_HOST"

    def endpoint(self) -> tuple[Endpoint, bool]:
        """The engine's address, and whether it is the default one that nobody configured.

        Raises:
            ClientError: it is contradictory or cannot be used.
        """
        if self.settings.context and self.settings.hosts:
            raise ClientError("conflicting options: cannot specify both --host and --context")
        if len(self.settings.hosts) > 1:
            raise ClientError("Specify only one -H")
        name = self.context_name()
        if name != config.DEFAULT_CONTEXT:
            try:
                found = config.context(self.config.folder, name)
            except ClientError as error:
                raise ClientError(f"Failed to initialize: unable to resolve docker endpoint: {error}") from None
            tls = _context_tls(found) if found.tls else None
            return (endpoints.parse(found.host, tls), False) if found.host else (self._default_endpoint(), True)
        host = self.settings.hosts[0] if self.settings.hosts else config.environment("HOST")
        if host:
            return endpoints.parse(host, self._tls()), False
        return self._default_endpoint(), True

    @staticmethod
    def _default_endpoint() -> Endpoint:
        return endpoints.parse(f"unix://{default_socket()}")

    def _tls(self) -> TlsFiles | None:
        verify = self.settings.tls_verify or bool(config.environment("TLS_VERIFY"))
        if not (verify or self.settings.tls or config.environment("TLS")):
            return None
        folder = config.environment("CERT_PATH") or config.directory(self.settings.config)
        paths = []
        for given, name in zip(self.settings.tls_files, ("ca.pem", "cert.pem", "key.pem"), strict=True):
            default = os.path.join(folder, name)
            paths.append(given or (default if os.path.exists(default) else ""))
        return TlsFiles(ca=paths[0], certificate=paths[1], key=paths[2], verify=verify)

    def _connect(self) -> Client:
        address, ours = self.endpoint()
        client = Client(address, version=config.environment("API_VERSION").removeprefix("v"), headers=self._headers())
        try:
            client.ping()
        except Unreachable:
            if not ours:
                raise
            from corten.cli.autostart import start_engine

            start_engine(client, sys.stderr)
        return client

    def _headers(self) -> dict[str, str]:
        headers = {str(name): str(value) for name, value in self.config.mapping("HttpHeaders").items()}
        for pair in filter(None, config.environment("CUSTOM_HEADERS").split(",")):
            name, _, value = pair.partition("=")
            headers[name.strip()] = value
        headers.pop("User-Agent", None)
        return headers

    def print(self, text: str = "") -> None:
        """One line on standard output."""
        sys.stdout.write(f"{text}\n")

    def complain(self, text: str) -> None:
        """One line on standard error, after what was printed so far."""
        sys.stdout.flush()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _context_tls(found: config.Context) -> TlsFiles:
    paths = [os.path.join(found.tls, name) for name in ("ca.pem", "cert.pem", "key.pem")]
    present = [path if os.path.exists(path) else "" for path in paths]
    return TlsFiles(ca=present[0], certificate=present[1], key=present[2], verify=not found.skip_verify)
