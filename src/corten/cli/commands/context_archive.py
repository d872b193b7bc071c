"""``context export`` and ``import``: a context with its keys as one tar, in the docker CLI's own form.

meta.json
tls/<endpoint>/<file>
"""

from __future__ import annotations

import io
import os
import sys

from corten.cli import config, contexts
from corten.client import jsontext
from corten.client.errors import ClientError
from corten.errors import CorruptData
from corten.tar import header, writer
from corten.tar.reader import TarReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Final

    from corten.cli.options import Options
    from corten.cli.session import Session
    from corten.client.jsontext import Document

_META: Final = "meta.json"
_TLS: Final = "tls/"
_SUFFIX: Final = ".dockercontext"
#: What the docker CLI takes at most (docker/cli, cli/context/store).
_MOST: Final = 10 << 20
_PIECE: Final = 1 << 16
_ZIP: Final = b"PK\x03\x04"


def export(session: Session, given: Options, arguments: list[str]) -> int:
    """Write a context to a file, or with ``-`` to standard output."""
    name, *rest = arguments
    if name != config.DEFAULT_CONTEXT:
        contexts.check_name(name)
    content = _pack(session, name)
    target = rest[0] if rest else f"{name}{_SUFFIX}"
    if target == "-":
        if sys.stdout.isatty():
            raise ClientError("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.buffer.write(content)
        return 0
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ClientError(f"open {target}: {(error.strerror or '').lower()}") from error
    with open(descriptor, "wb") as file:
        file.write(content)
    session.complain(f'Written file "{target}"')
    return 0


def _pack(session: Session, name: str) -> bytes:
    entries: list[tuple[str, int, bytes | None]] = [(_META, 0o644, _meta(session, name)), ("tls", 0o700, None)]
    keys = config.context_folder(session.config.folder, "tls", name)
    for endpoint in sorted(os.listdir(keys)) if os.path.isdir(keys) else ():
        entries.append((f"{_TLS}{endpoint}", 0o700, None))
        for file_name in sorted(os.listdir(os.path.join(keys, endpoint))):
            with open(os.path.join(keys, endpoint, file_name), "rb") as file:
                entries.append((f"{_TLS}{endpoint}/{file_name}", 0o600, file.read()))
    return b"".join(_member(*entry) for entry in entries) + writer.END


def _meta(session: Session, name: str) -> bytes:
    folder = session.config.folder
    if name == config.DEFAULT_CONTEXT:
        found = config.Context(name, host=session.default_host())
        return jsontext.go_encode({"Name": name, **contexts.metadata(found)}).encode()
    config.context(folder, name)
    with open(os.path.join(config.context_folder(folder, "meta", name), _META), "rb") as file:
        return file.read()


def _member(name: str, mode: int, content: bytes | None) -> bytes:
    if content is None:
        return writer.encode(header.Entry(name.encode(), header.DIRECTORY, mode=mode))
    entry = header.Entry(name.encode(), header.REGULAR, mode=mode, size=len(content))
    return writer.encode(entry) + content + writer.padding(len(content))


def import_(session: Session, given: Options, arguments: list[str]) -> int:
    """Make a context of a tar or zip file, or with ``-`` of standard input."""
    name, source = arguments
    contexts.check_new(session.config.folder, name)
    document, keys = _unpack(_content(source))
    contexts.write(session.config.folder, name, document, keys)
    session.print(name)
    session.complain(f'Successfully imported context "{name}"')
    return 0


def _content(source: str) -> bytes:
    if source == "-":
        return _at_most(sys.stdin.buffer)
    try:
        with open(source, "rb") as file:
            return _at_most(file)
    except OSError as error:
        raise ClientError(f"open {source}: {(error.strerror or '').lower()}") from error


def _at_most(file: IO[bytes]) -> bytes:
    content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise ClientError("read exceeds the defined limit")
    return content


def _unpack(content: bytes) -> tuple[Document, dict[str, dict[str, bytes]]]:
    document: Document | None = None
    keys: dict[str, dict[str, bytes]] = {}
    for path, data in _files(content):
        if path == _META:
            try:
                document = jsontext.decode(data.decode())
            except ValueError as error:
                raise ClientError(f"{_META}: {error}") from None
        elif path.startswith(_TLS):
            endpoint, _, file_name = path.removeprefix(_TLS).partition("/")
            if not file_name or "/" in file_name or {endpoint, file_name} & {"", ".", ".."}:
                raise ClientError("archive format is invalid")
            keys.setdefault(endpoint, {})[file_name] = data
        else:
            raise ClientError(f"{path}: unexpected context file")
    if not isinstance(document, dict):
        raise ClientError("invalid context: no metadata found")
    return document, keys


def _files(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and content of every plain file; ``content`` is a zip or a tar."""
    if content.startswith(_ZIP):
        yield from _zipped(content)
        return
    stream = io.BytesIO(content + writer.padding(len(content)))  # the docker CLI leaves out the last one, and the end
    taken = 0

    def count(piece: bytes | memoryview) -> None:
        nonlocal taken
        taken += len(piece)

    reader = TarReader(lambda: stream.read(_PIECE), count)
    try:
        for entry in reader:
            if entry.kind in (header.REGULAR, header.OLD):
                data = b"".join(bytes(piece) for piece in reader.data())
                count(data)
                if taken > len(content):
                    raise ClientError("unexpected EOF")
                yield os.fsdecode(entry.name), data
    except CorruptData as error:
        raise ClientError(str(error)) from None


def _zipped(content: bytes) -> Iterator[tuple[str, bytes]]:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST:
                raise ClientError("read exceeds the defined limit")
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield entry.filename, archive.read(entry)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ClientError(f"zip: {error}") from None
