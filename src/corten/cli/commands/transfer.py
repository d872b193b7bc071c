"""``pull`` and ``push``: images between the engine and a registry, with Docker's progress display."""

from __future__ import annotations

from corten.cli import credentials
from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

PULL_FLAGS: Final = (
    Flag("all-tags", "a", "bool", "Download all tagged images in the repository"),
    Flag("disable-content-trust", "", "bool", "Skip image verification", True),
    Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
    Flag("quiet", "q", "bool", "Suppress verbose output"),
)
PUSH_FLAGS: Final = (
    Flag("all-tags", "a", "bool", "Push all tags of an image to the repository"),
    Flag("disable-content-trust", "", "bool", "Skip image signing", True),
    Flag("platform", "", "string", "Push a platform-specific manifest as a single-platform image to the registry"),
    Flag("quiet", "q", "bool", "Suppress verbose output"),
)


def pull(session: Session, given: Options, arguments: list[str]) -> int:
    """Fetch an image; prints its full name at the end as Docker does."""
    repository, tag = _meant(session, given, arguments[0])
    fetch(session, repository, tag, platform=given.text("platform"), quiet=given.flag("quiet"))
    session.print(_whole(repository, tag))
    return 0


def fetch(session: Session, repository: str, tag: str, *, platform: str, quiet: bool, to_stderr: bool = False) -> None:
    """Pull a tag or digest, with an empty one all tags; progress on standard output (of ``run`` on standard error)."""
    query = {"fromImage": repository, "tag": tag, "platform": platform}
    headers = credentials.header(session.config, credentials.server_of(repository))
    messages = session.client.documents("POST", "/images/create", query, None, headers)
    _show(messages, quiet=quiet, to_stderr=to_stderr)


def push(session: Session, given: Options, arguments: list[str]) -> int:
    """Send an image."""
    repository, tag = _meant(session, given, arguments[0])
    query = {"tag": tag, "platform": given.text("platform")}
    headers = credentials.header(session.config, credentials.server_of(repository))
    messages = session.client.documents("POST", f"/images/{quote(repository, '/')}/push", query, None, headers)
    _show(messages, quiet=given.flag("quiet"), to_stderr=False)
    if given.flag("quiet"):
        session.print(_whole(repository, tag))
    return 0


def _meant(session: Session, given: Options, name: str) -> tuple[str, str]:
    """Repository and tag or digest; without either the tag is ``latest``, which is said, or with --all-tags empty."""
    repository, tag = split(name)
    if given.flag("all-tags"):
        if tag:
            raise CommandFailed("tag can't be used with --all-tags/-a")
        return repository, ""
    if not tag and not given.flag("quiet"):
        session.print("Using default tag: latest")
    return repository, tag or "latest"


def split(name: str) -> tuple[str, str]:
    """Repository, and tag or digest (empty when neither is written)."""
    repository, at, digest = name.partition("@")
    if at:
        return repository.rpartition(":")[0] if ":" in repository.rpartition("/")[2] else repository, digest
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "")


def _whole(repository: str, tag: str) -> str:
    separator = "@" if tag.startswith("sha256:") else ":" if tag else ""
    return f"{canonical(repository)}{separator}{tag}"


def canonical(repository: str) -> str:
    """The name with its domain: what Docker prints at the end of a pull."""
    if credentials.server_of(repository) != credentials.INDEX:
        return repository
    path = repository.removeprefix("docker.io/").removeprefix("index.docker.io/")
    return f"docker.io/{path if '/' in path else f'library/{path}'}"


def _show(messages: Iterable[dict[str, Any]], *, quiet: bool, to_stderr: bool) -> None:
    import sys

    from corten.cli import progress

    stream = sys.stderr if to_stderr else sys.stdout
    progress.show(messages, stream, quiet=quiet)
