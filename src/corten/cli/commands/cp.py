"""``cp``: files between a container and this host, or a tar stream with ``-``.

What comes out of a container is unpacked through descriptors below the destination, and never through a link the
archive made (:mod:`corten.tar.unpack`): a hostile container gets nothing of this host.
"""

from __future__ import annotations

import binascii
import os
import stat
import sys
import time

from corten.cli import copying, units
from corten.cli.options import Flag
from corten.client import jsontext
from corten.client.errors import ClientError, ResponseError
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session
    from corten.tar.header import Entry
    from corten.tar.reader import TarReader

PIECE: Final = 1 << 20
SHOW_EVERY: Final = 0.075

CP_FLAGS: Final = (
    Flag("archive", "a", "bool", "Archive mode (copy all uid/gid information)"),
    Flag("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH"),
    Flag(
        "quiet", "q", "bool",
        "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
    ),
)  # fmt: skip


def cp(session: Session, given: Options, arguments: list[str]) -> int:
    """Copy in the direction the arguments say."""
    for argument, what in zip(arguments, ("source", "destination"), strict=True):
        if not argument:
            raise ClientError(f"{what} can not be empty")
    (source_container, source), (target_container, target) = map(copying.split_argument, arguments)
    if source_container and target_container:
        raise ClientError("copying between containers is not supported")
    if not source_container and not target_container:
        raise ClientError("must specify at least one container source")
    quiet = given.flag("quiet") if "quiet" in given.changed else not sys.stdout.isatty()
    if source_container:
        copy = Copy(session, source_container, given, quiet=quiet)
        copy.out_of(source, target)
    else:
        copy = Copy(session, target_container, given, quiet=quiet)
        copy.into(source, target)
    return 0


class Copy:
    """One copy."""

    def __init__(self, session: Session, container: str, given: Options, *, quiet: bool) -> None:
        self._session = session
        self._container = container
        self._path = f"/containers/{quote(container)}/archive"
        self._follow = given.flag("follow-link")
        self._archive = given.flag("archive")
        self._quiet = quiet
        self._copied = 0
        self._shown = time.monotonic()
        self._is_drawn = False

    def out_of(self, path: str, target: str) -> None:
        """From the container to a local path or to standard output."""
        if target != "-":
            target = copying.local_path(target)
        copying.check_output(target)
        name = copying.last_word(path)
        if self._follow:
            path = self._followed(path)
        headers = {} if target == "-" else {"X-Corten-Sparse": "1"}
        response = self._session.client.stream("GET", self._path, {"path": path}, None, headers)
        if target == "-":
            for piece in response.pieces():
                _write_all(piece)
            return
        found = _stat_of(response.headers)
        source = copying.Source(path, is_directory=bool(found["mode"] & copying.GO_DIRECTORY), name=name)
        directory, top = copying.placed(source, copying.local_destination(target))
        self._unpack(self._counted(response.pieces(), "from"), directory, copying.last_word(path), top)
        response.close()
        self._done(target)

    def into(self, path: str, target: str) -> None:
        """From a local path or standard input into the container."""
        destination = self._destination(target)
        if path == "-":
            if not destination.is_directory:
                raise ClientError(f'destination "{self._container}:{target}" must be a directory')
            directory, content = destination.path, _pieces(0)
        else:
            source = copying.local_source(copying.local_path(path), follow=self._follow)
            directory, top = copying.placed(source, destination)
            content = self._counted(_packed(source, top), "to")
        query = {"path": directory, "noOverwriteDirNonDir": "true", "copyUIDGID": "true" if self._archive else ""}
        self._session.client.raw("PUT", self._path, query, content, {"Content-Type": "application/x-tar"})
        self._done(f"{self._container}:{destination.path}")

    def _followed(self, path: str) -> str:
        """Where a path of the container leads, when it is a link."""
        try:
            found = self._look(path)
        except ResponseError:
            return path  # the engine says it again, of the archive
        if not found["mode"] & copying.GO_LINK:
            return path
        return copying.kept_ending(os.path.join(copying.parent(path), found["linkTarget"]), path)

    def _destination(self, path: str) -> copying.Destination:
        place = path
        try:
            found = self._look(path)
            if found["mode"] & copying.GO_LINK:
                place = os.path.join(copying.parent(path), found["linkTarget"])
                found = self._look(place)
        except ResponseError:
            return copying.Destination(place)  # the engine says what is wrong when it unpacks
        if found["mode"] & copying.GO_DEVICE:
            raise ClientError(
                f'destination "{self._container}:{path}" must be a directory or a regular file: got a device'
            )
        return copying.Destination(place, exists=True, is_directory=bool(found["mode"] & copying.GO_DIRECTORY))

    def _look(self, path: str) -> dict[str, Any]:
        response = self._session.client.stream("HEAD", self._path, {"path": path})
        response.close()
        return _stat_of(response.headers)

    def _unpack(self, pieces: Iterator[bytes], directory: str, old: str, new: str) -> None:
        from corten.tar.reader import TarReader
        from corten.tar.unpack import Owners, Unpacker

        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        unpacker = Unpacker(top, scope=None, owners=Owners(keep=False), strict=True, place=os.path.normpath(directory))
        try:
            reader = TarReader(lambda: next(pieces, b""))
            unpacker.extract(_Renamed(reader, old, new))  # type: ignore[arg-type]  # the two methods it uses
            reader.drain()
        finally:
            unpacker.close()
            os.close(top)

    def _counted(self, pieces: Iterator[bytes], way: str) -> Iterator[bytes]:
        """The pieces, counted and now and then shown."""
        is_shown = not self._quiet and sys.stderr.isatty()
        for piece in pieces:
            yield piece
            self._copied += len(piece)
            if is_shown and time.monotonic() - self._shown > SHOW_EVERY:
                self._shown = time.monotonic()
                self._is_drawn = True
                sys.stderr.write(f"\r\x1b[2KCopying {way} container - {units.size(self._copied, 3)}")
                sys.stderr.flush()

    def _done(self, place: str) -> None:
        if self._quiet:
            return
        if self._is_drawn:
            sys.stderr.write("\r\x1b[2K")
        self._session.complain(f"Successfully copied {units.size(self._copied, 3)} to {place}")


class _Renamed:
    """A tar reader whose entries' top has another name; what lies beside the top is refused: nobody asked for it."""

    def __init__(self, reader: TarReader, old: str, new: str) -> None:
        self._reader = reader
        self._old = b"" if old in (".", "/") else os.fsencode(old)
        self._new = os.fsencode(new)
        self.data = reader.data

    def next(self) -> Entry | None:
        """The next entry under its new name."""
        entry = self._reader.next()
        if entry is not None:
            entry.name = self._moved(entry.name)
            if entry.kind == b"1":
                entry.link = self._moved(entry.link)
        return entry

    def _moved(self, name: bytes) -> bytes:
        from corten.tar import names

        path = names.clean(name)
        if self._old:
            top, slash, inside = path.partition(b"/")
            if top != self._old:
                raise ClientError(f"the engine sent {os.fsdecode(path)!r}, which was not asked for")
        else:
            inside, slash = path, b"/" if path else b""
        return self._new + (slash if self._new else b"") + inside if inside else self._new


def _packed(source: copying.Source, name: str) -> Iterator[bytes]:
    """The tar stream of a local path under ``name`` (empty: a directory's content alone)."""
    from corten.tar import writer
    from corten.tar.pack import Packer

    packer = Packer(sparse=True)
    top = os.fsencode(name or ".")
    try:
        if source.is_directory:
            directory = os.open(source.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield packer.directory(directory, top + b"/")
                yield from packer.tree(directory, top + b"/")
            finally:
                os.close(directory)
        else:
            folder, base = os.path.split(source.path)
            holder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                status = os.stat(base, dir_fd=holder, follow_symlinks=False)
                if stat.S_ISSOCK(status.st_mode):
                    raise ClientError("archive/tar: sockets not supported")
                yield from packer.member(holder, base, top, status)
            finally:
                os.close(holder)
    except OSError as error:
        raise ClientError(f"{source.path}: {(error.strerror or 'cannot be read').lower()}") from error
    yield writer.END


def _stat_of(headers: dict[str, str]) -> dict[str, Any]:
    try:
        found = jsontext.decode(binascii.a2b_base64(headers.get("x-docker-container-path-stat", "")))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("mode"), int):
        raise ClientError("unable to decode container path stat header")
    return found


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE):
        yield piece


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
