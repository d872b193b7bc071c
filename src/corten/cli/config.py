"""``~/.docker/config.json``: the user's own settings and credentials, and which engine is meant.

Owns the file, the environment's precedence (a ``CORTEN_`` variable wins over its ``DOCKER_`` twin) and contexts.
Refuses to speak to an engine.
"""

from __future__ import annotations

import os

from corten.api.document import decode
from corten.client.endpoint import Endpoint, Tls
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

DEFAULT_CONTEXT: Final = "default"


def variable(name: str) -> str:
    """``CORTEN_<name>``, else ``DOCKER_<name>``, else empty."""
    return os.environ.get(f"CORTEN_{name}") or os.environ.get(f"DOCKER_{name}") or ""


def default_socket() -> str:
    """The path of the engine's socket when nobody says otherwise."""
    if os.geteuid() == 0:
        return "/run/corten/corten.sock"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return f"{runtime}/corten/corten.sock"


class Config:
    """The user's configuration directory; a missing file is an empty one, a broken file is said and refused."""

    def __init__(self, directory: str = "") -> None:
        home = os.path.expanduser("~")
        self.directory = directory or variable("CONFIG") or f"{home}/.docker"
        self._document: dict[str, Any] | None = None

    @property
    def path(self) -> str:
        return f"{self.directory}/config.json"

    @property
    def document(self) -> dict[str, Any]:
        """The file's content."""
        if self._document is None:
            try:
                with open(self.path, "rb") as file:
                    self._document = decode(file.read()) or {}
            except FileNotFoundError:
                self._document = {}
            except (OSError, ValueError) as error:
                raise ClientError(f"Error loading config file: {self.path}: {error}") from error
        return self._document

    def text(self, key: str) -> str:
        """A string setting, empty when it is not set."""
        value = self.document.get(key)
        return value if isinstance(value, str) else ""

    def save(self, document: dict[str, Any]) -> None:
        """Replace the file: temporary file, fsync, rename; mode 0600."""
        import json

        os.makedirs(self.directory, 0o700, exist_ok=True)
        temporary = f"{self.path}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent="\t"))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self.path)
        self._document = document

    def context_name(self, chosen: str) -> str:
        """Which context is in force: the flag, a host that overrides contexts, the variable, the file."""
        if chosen:
            return chosen
        if variable("HOST"):
            return DEFAULT_CONTEXT
        return variable("CONTEXT") or self.text("currentContext") or DEFAULT_CONTEXT

    def context(self, name: str) -> tuple[str, Tls | None]:
        """Host and certificates of a stored context (``contexts/meta/<sha256 of the name>/meta.json``)."""
        import hashlib

        digest = hashlib.sha256(name.encode()).hexdigest()
        try:
            with open(f"{self.directory}/contexts/meta/{digest}/meta.json", "rb") as file:
                endpoint = decode(file.read())["Endpoints"]["docker"]
        except FileNotFoundError:
            raise ClientError(
                f'Failed to initialize: unable to resolve docker endpoint: context "{name}": context not found: '
                f"open {self.directory}/contexts/meta/{digest}/meta.json: no such file or directory"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ClientError(f'context "{name}" cannot be read: {error}') from error
        folder = f"{self.directory}/contexts/tls/{digest}/docker"
        tls = Tls(folder, verify=not endpoint.get("SkipTLSVerify")) if os.path.isdir(folder) else None
        return str(endpoint.get("Host") or f"unix://{default_socket()}"), tls


class Choice:
    """Which engine a command line speaks to; ``is_default`` says that nobody named one, so one may be started."""

    __slots__ = ("endpoint", "is_default")

    def __init__(self, endpoint: Endpoint, *, is_default: bool) -> None:
        self.endpoint = endpoint
        self.is_default = is_default


def choose(config: Config, *, host: str = "", context: str = "", tls: Tls | None = None) -> Choice:
    """The engine meant by flags, environment and configuration, in this order."""
    if host and context:
        raise ClientError("conflicting options: cannot specify both --host and --context")
    if host:
        return Choice(Endpoint(host, tls or _tls_of_environment()), is_default=False)
    name = config.context_name(context)
    if name != DEFAULT_CONTEXT:
        return Choice(Endpoint(*config.context(name)), is_default=False)
    named = variable("HOST")
    if named:
        return Choice(Endpoint(named, tls or _tls_of_environment()), is_default=False)
    return Choice(Endpoint(f"unix://{default_socket()}"), is_default=True)


def _tls_of_environment() -> Tls | None:
    verify = variable("TLS_VERIFY")
    if not verify and not variable("TLS"):
        return None
    return Tls(variable("CERT_PATH") or f"{os.path.expanduser('~')}/.docker", verify=bool(verify))
