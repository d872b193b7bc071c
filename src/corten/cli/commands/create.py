"""``create``: a container from an image; with the pull, the ID file and the warnings that ``run`` shares."""

from __future__ import annotations

import os

from corten.cli import apisocket, streams
from corten.cli.creation import body as bodies
from corten.cli.creation import flags
from corten.cli.session import CommandFailed
from corten.client.errors import ClientError, ResponseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.cli.options import Options
    from corten.cli.session import Session

CREATE_FLAGS = flags.CREATE
PULL_OPTIONS = ("always", "missing", "never")
#: Keys of config.json's ``proxies`` and the variables they become (in capitals and in small letters).
PROXIES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}
USAGE = 125
NOT_FOUND = 404
#: What a pull may mend: there is no such image, or none of the platform.
MISSING = ("o such image", "does not match the specified platform")


def create(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the new container's ID."""
    image, *command = arguments
    document = checked(given, "create", lambda: bodies.build(given, image, command))
    session.print(made(session, given, document))
    return 0


def checked(given: Options, verb: str, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The body that ``build`` makes of the options.

    Raises:
        CommandFailed: the options cannot be meant so; 125 with Docker's frame around the text.
    """
    windows = [flag for flag in flags.WINDOWS if flag in given.changed]
    if windows:
        raise CommandFailed(
            "\n".join(
                f'"--{flag}" is only supported on a Docker daemon running on windows, '
                "but the Docker daemon is running on linux"
                for flag in windows
            )
        )
    pull = given.text("pull")
    try:
        if pull not in PULL_OPTIONS:
            raise ClientError(f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"')
        return build()
    except ClientError as error:
        raise framed(str(error), verb) from error


def framed(text: str, verb: str, code: int = USAGE) -> CommandFailed:
    """``text`` as ``run`` and ``create`` show what keeps a container from being made."""
    return CommandFailed(f"corten: {text}\n\nRun 'corten {verb} --help' for more information", code)


def made(session: Session, given: Options, document: dict[str, Any]) -> str:
    """Create the container, pulling its image when the policy says so; its ID.

    Raises:
        ResponseError: the engine refused.
        ClientError: the ID file cannot be made, the image cannot be pulled, or the engine's socket cannot be shared.
    """
    if given.flag("tty") and streams.is_terminal(streams.STDOUT):
        document["HostConfig"]["ConsoleSize"] = list(streams.size(streams.STDOUT))
    if "kernel-memory" in given.changed:
        session.complain("WARNING: --kernel-memory has no effect: the kernel has no such limit any more")
    _add_proxies(session, document)
    path = given.text("cidfile")
    descriptor = _open_id_file(path) if path else -1
    try:
        shared = apisocket.share(session, document) if given.flag("use-api-socket") else None
        answer = _created(session, given, document)
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
            os.unlink(path)
        raise
    for warning in answer.get("Warnings") or ():
        session.complain(f"WARNING: {warning}")
    if descriptor >= 0:
        os.write(descriptor, answer["Id"].encode())
        os.close(descriptor)
    if shared:
        apisocket.copy_credentials(session, answer["Id"], shared)
    return str(answer["Id"])


def _open_id_file(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        text = f"container ID file found, make sure the other container isn't running or delete {path}"
        raise ClientError(text) from None
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise ClientError(f"failed to create the container ID file: open {path}: {reason}") from error


def _created(session: Session, given: Options, document: dict[str, Any]) -> Any:
    query = {"name": given.text("name"), "platform": platform(given)}
    policy = given.text("pull")
    if policy == "always":
        _pull(session, given, document["Image"])
    try:
        return session.client.call("POST", "/containers/create", query, document)
    except ResponseError as error:
        missing = error.status == NOT_FOUND and any(text in error.message for text in MISSING)
        if not missing or policy != "missing":
            raise
    if not given.flag("quiet"):
        session.complain(f"Unable to find image '{_with_tag(document['Image'])}' locally")
    _pull(session, given, document["Image"])
    return session.client.call("POST", "/containers/create", query, document)


def platform(given: Options) -> str:
    """``--platform``, else what the environment sets for every command."""
    return given.text("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")


def _pull(session: Session, given: Options, image: str) -> None:
    from corten.cli.commands import transfer

    repository, tag = transfer.split(image)
    transfer.fetch(
        session, repository, tag or "latest", platform=platform(given), quiet=given.flag("quiet"), to_stderr=True
    )


def _with_tag(image: str) -> str:
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def _add_proxies(session: Session, document: dict[str, Any]) -> None:
    """Proxy variables of config.json (``proxies``: ``default``, or by engine address) that the options do not set."""
    proxies = session.config.mapping("proxies")
    if not proxies:
        return
    chosen = proxies.get(session.client.endpoint.text) or proxies.get("default") or {}
    given = {entry.partition("=")[0] for entry in document.get("Env", ())}
    for key, name in PROXIES.items():
        if chosen.get(key):
            added = [f"{one}={chosen[key]}" for one in (name, name.lower()) if one not in given]
            document.setdefault("Env", []).extend(added)
