"""Images as files: ``save``, ``load`` and ``import``."""

from __future__ import annotations

import os
import sys

from corten.cli.commands.inspect import platform_document
from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

PIECE: Final = 1 << 20

SAVE_FLAGS: Final = (
    Flag("output", "o", "string", "Write to a file, instead of STDOUT"),
    Flag("platform", "", "string", 'Save only the given platform (e.g. "linux/amd64")'),
)
LOAD_FLAGS: Final = (
    Flag("input", "i", "string", "Read from tar archive file, instead of STDIN"),
    Flag("platform", "", "string", 'Load only the given platform (e.g. "linux/amd64")'),
    Flag("quiet", "q", "bool", "Suppress the load output"),
)
IMPORT_FLAGS: Final = (
    Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    Flag("message", "m", "string", "Set commit message for imported image"),
    Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
)


def save(session: Session, given: Options, arguments: list[str]) -> int:
    """Write images to a file or to standard output, which may be no terminal."""
    target = given.text("output")
    if not target and sys.stdout.isatty():
        raise ClientError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if target:
        check_target(target, "failed to save image")
    query = {"names": arguments, "platform": platform_document(given.text("platform"))}
    response = session.client.stream("GET", "/images/get", query)
    if not target:
        for piece in response.pieces():
            write_all(1, piece)
        return 0
    save_to(target, response.pieces(), "failed to save image")
    return 0


def check_target(target: str, failure: str) -> None:
    """Refuse what cannot become a file; ``failure`` begins the message."""
    folder = os.path.dirname(target) or "."
    if not os.path.isdir(folder):
        raise ClientError(f"{failure}: invalid output path: stat {folder}: no such file or directory")
    if os.path.isdir(target):
        raise ClientError(f'{failure}: invalid output path: "{target}" must be a regular file')
    if os.path.exists(target) and not os.path.isfile(target):
        raise ClientError(f'{failure}: invalid output path: "{target}" is a device, it must be a regular file')


def save_to(target: str, pieces: Iterator[bytes], failure: str) -> None:
    """A file appears under its name only when it is whole: temporary file beside it, mode 0600, renamed."""
    temporary = f"{os.path.dirname(target) or '.'}/.corten-save-{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ClientError(f"{failure}: open {target}: {(error.strerror or '').lower()}") from error
    try:
        try:
            for piece in pieces:
                write_all(descriptor, piece)
        finally:
            os.close(descriptor)
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """All of it, however little the descriptor takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def load(session: Session, given: Options, arguments: list[str]) -> int:
    """Load images from a file or from standard input."""
    source = given.text("input")
    if not source and sys.stdin.isatty():
        raise ClientError("requested load from stdin, but stdin is empty")
    descriptor = _open(source) if source else 0
    quiet = given.flag("quiet") or not sys.stdout.isatty()
    query = {"quiet": "1" if quiet else "0", "platform": platform_document(given.text("platform"))}
    _send(session, "/images/load", query, _pieces(descriptor))
    return 0


def import_(session: Session, given: Options, arguments: list[str]) -> int:
    """Make an image of a file system's tar, from a file or from standard input."""
    source = arguments[0]
    if "://" in source:
        raise ClientError(
            f"importing from a URL is not supported: fetch {source} and give the file or - for standard input"
        )
    descriptor = 0 if source == "-" else _open(source)
    repository, tag = split_name(arguments[1]) if len(arguments) > 1 else ("", "")
    query: dict[str, str | Sequence[str]] = {
        "fromSrc": "-",
        "repo": repository,
        "tag": tag,
        "message": given.text("message"),
        "changes": given.texts("change"),
        "platform": given.text("platform"),
    }
    _send(session, "/images/create", query, _pieces(descriptor))
    return 0


def split_name(name: str) -> tuple[str, str]:
    """The name as the API takes it; the engine adds the tag it lacks."""
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "")


def _send(session: Session, path: str, query: Mapping[str, str | Sequence[str]], pieces: Iterator[bytes]) -> None:
    from corten.cli import progress

    headers = {"Content-Type": "application/x-tar"}
    messages = session.client.documents("POST", path, query, pieces, headers)
    progress.show(messages, sys.stdout)


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandFailed(f"open {path}: {(error.strerror or 'cannot be read').lower()}") from error
    return descriptor


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE):
        yield piece
    if descriptor:
        os.close(descriptor)
