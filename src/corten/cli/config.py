"""The client's configuration as Docker keeps it: ``config.json`` and the metadata of contexts, in one directory.

Reads; the only writer is :func:`write` (login and logout). A file that cannot be read as JSON is refused with its path
rather than overwritten.
"""

from __future__ import annotations

import os

from corten.client import jsontext
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from corten.client.jsontext import Document

DEFAULT_CONTEXT = "default"


def environment(name: str) -> str:
    """``CORTEN_NAME``, else ``DOCKER_NAME``, else an empty string."""
    return os.environ.get(f"CORTEN_{name}") or os.environ.get(f"DOCKER_{name}") or ""


def directory(given: str = "") -> str:
    """Where the configuration is: the option, else the environment, else ``~/.docker``."""
    return given or environment("CONFIG") or os.path.join(home(), ".docker")


def home() -> str:
    """The user's home directory."""
    return os.environ.get("HOME") or os.path.expanduser("~")


class Config:
    """One ``config.json``; an absent file is an empty one."""

    __slots__ = ("document", "folder", "path")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, "config.json")
        self.document: dict[str, Document] = {}
        text = _read(self.path)
        if text.strip():
            try:
                document = jsontext.decode(text)
            except ValueError as error:
                raise ClientError(f"loading config file: {self.path}: {error}") from error
            if isinstance(document, dict):
                self.document = document

    def text(self, key: str) -> str:
        """A string key; empty when it is absent or of another type."""
        value = self.document.get(key)
        return value if isinstance(value, str) else ""

    def mapping(self, key: str) -> Mapping[str, Document]:
        """An object key."""
        value = self.document.get(key)
        return value if isinstance(value, dict) else {}

    def write(self) -> None:
        """Replace the file: a temporary file beside it, mode 0600, renamed."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        target = os.path.realpath(self.path)  # noqa: TID251 - the user's own file may be a link into a dotfiles folder
        temporary = f"{target}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(jsontext.indent(jsontext.encode(self.document), "\t"))
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise ClientError(f"loading config file: {path}: {(error.strerror or 'cannot be read').lower()}") from error


class Context:
    """A named engine address: ``host`` empty means the default one; ``tls`` is the folder of its PEM files or empty."""

    __slots__ = ("description", "host", "name", "skip_verify", "tls")

    def __init__(
        self, name: str, *, host: str = "", description: str = "", tls: str = "", skip_verify: bool = False
    ) -> None:
        self.name = name
        self.host = host
        self.description = description
        self.tls = tls
        self.skip_verify = skip_verify


def contexts(folder: str) -> list[Context]:
    """All contexts in the store of ``folder``, by name, the default one not among them."""
    root = os.path.join(folder, "contexts", "meta")
    try:
        names = os.listdir(root)
    except OSError:
        return []
    found = []
    for name in names:
        text = _read(os.path.join(root, name, "meta.json"))
        if text.strip():
            found.append(_context(folder, name, jsontext.decode(text)))
    return sorted(found, key=lambda context: context.name)


def context(folder: str, name: str) -> Context:
    """The context ``name``.

    Raises:
        ClientError: there is none.
    """
    for found in contexts(folder):
        if found.name == name:
            return found
    path = os.path.join(context_folder(folder, "meta", name), "meta.json")
    raise ClientError(f'context "{name}": context not found: open {path}: no such file or directory')


def context_folder(folder: str, part: str, name: str) -> str:
    """Where the store of ``folder`` keeps ``part`` (``meta`` or ``tls``) of a context: by its name's digest."""
    from hashlib import sha256

    return os.path.join(folder, "contexts", part, sha256(name.encode()).hexdigest())


def _context(folder: str, key: str, document: Document) -> Context:
    endpoint = document.get("Endpoints", {}).get("docker", {})
    tls = os.path.join(folder, "contexts", "tls", key, "docker")
    return Context(
        str(document.get("Name", "")),
        host=str(endpoint.get("Host", "")),
        description=str(document.get("Metadata", {}).get("Description", "")),
        tls=tls if os.path.isdir(tls) else "",
        skip_verify=bool(endpoint.get("SkipTLSVerify")),
    )
