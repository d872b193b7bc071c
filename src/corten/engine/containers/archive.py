"""``cp``: what is at a path of a container, out of it and into it. The path rules are :mod:`corten.storage.files`'.

Works on containers in any state. Texts and statuses are dockerd's; so is what is seen: the container's own tree with
its binds and volumes, and no tmpfs, /proc or /dev of a running one.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Final, TypeVar

from corten.api.types.container import PathStat
from corten.engine.containers.notices import Notices
from corten.engine.containers.views import Sight, Views
from corten.engine.images.channel import ByteChannel, ChannelError
from corten.engine.roster import Roster
from corten.engine.tasks import Container
from corten.engine.threads import complete, settle, stream
from corten.errors import CortenError, NotFound
from corten.linux.path import Root
from corten.runtime import credentials
from corten.storage import files
from corten.tar.unpack import Owners

T = TypeVar("T")

#: POSIX file types as Go's os.FileMode numbers them, which is what the header carries.
_KINDS: Final = {
    stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25, stat.S_IFSOCK: 1 << 24,
}  # fmt: skip
_BITS: Final = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class Copier:
    """Carries out ``cp`` in both directions."""

    def __init__(self, pool: Executor, roster: Roster, views: Views, notices: Notices) -> None:
        self._pool = pool
        self._roster = roster
        self._views = views
        self._notices = notices

    async def look(self, reference: str, path: str) -> PathStat:
        """``HEAD /containers/{id}/archive``."""
        container = self._roster.find(reference)
        async with self._views.open(container) as sight:
            return await self._told(lambda: path_stat(files.look(sight.root, path)), reference, path)

    @asynccontextmanager
    async def archive(
        self, reference: str, path: str, *, sparse: bool = False
    ) -> AsyncIterator[tuple[PathStat, AsyncIterator[bytes]]]:
        """``GET /containers/{id}/archive``: what it is, and its tar stream."""
        container = self._roster.find(reference)
        async with self._views.open(container) as sight:
            archive = await self._told(
                lambda: files.Archive(sight.root, path, sparse=sparse, ownership=sight.ownership), reference, path
            )
            try:
                self._notices.container(container.record, "archive-path")
                async with aclosing(stream(self._pool, archive.pieces())) as chunks:
                    yield path_stat(archive.found), chunks
            finally:
                archive.close()

    async def extract(self, reference: str, path: str, body: AsyncIterator[bytes], *, strict: bool, own: bool) -> None:
        """``PUT /containers/{id}/archive``; ``own`` gives what is new to the container's user, if it has one."""
        container = self._roster.find(reference)
        async with self._views.open(container) as sight:
            await self._extract(container, sight, reference, path, body, strict=strict, own=own)
        self._notices.container(container.record, "extract-to-dir")

    async def _extract(
        self, container: Container, sight: Sight, reference: str, path: str, body: AsyncIterator[bytes], *,
        strict: bool, own: bool,
    ) -> None:  # fmt: skip
        channel = ByteChannel()
        user = container.record.config.User if own else ""

        def work() -> None:
            try:
                chunks = iter(channel)
                files.extract(
                    sight.root, path, lambda: next(chunks, b""), owners=_owners(user, sight), strict=strict,
                    check=_writable(sight.root), ownership=sight.ownership,
                )  # fmt: skip
            finally:
                channel.abandon()

        working = asyncio.ensure_future(self._told(work, reference, path))
        try:
            await channel.pump(body)
        except ChannelError:
            pass  # the thread failed: its own error says why
        except BaseException:
            await settle(working)
            raise
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            await settle(working)
            raise

    async def _told(self, work: Callable[[], T], reference: str, path: str) -> T:
        """``work`` in a thread, with the kernel's errors as Docker words them."""
        try:
            return await complete(self._pool, work)
        except FileNotFoundError as error:
            raise NotFound(f"Could not find the file {path} in container {reference}") from error
        except OSError as error:
            where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
            raise CortenError(f"lstat {where}: {os.strerror(error.errno or 0).lower()}") from error


def path_stat(found: files.Found) -> PathStat:
    """As the header ``X-Docker-Container-Path-Stat`` carries it."""
    status = found.status
    moment = datetime.fromtimestamp(status.st_mtime_ns // 1_000_000_000, UTC)
    fraction = f"{status.st_mtime_ns % 1_000_000_000:09d}".rstrip("0")
    mode = stat.S_IMODE(status.st_mode) & 0o777 | _KINDS.get(stat.S_IFMT(status.st_mode), 0)
    mode |= sum(go for bit, go in _BITS.items() if status.st_mode & bit)
    return PathStat(
        name=printable(found.name),
        size=status.st_size,
        mode=mode,
        mtime=f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z",
        linkTarget=printable(found.link),
    )


def printable(name: str) -> str:
    """A file name as JSON can carry it: what is no UTF-8 is replaced, as Go does."""
    return os.fsencode(name).decode(errors="replace")


def _owners(user: str, sight: Sight) -> Owners:
    if not user:
        return Owners()
    identity = credentials.identify({"corten.user": user}, sight.root)
    if sight.ownership is None:
        return Owners(uid=identity.uid, gid=identity.gid)
    return Owners(uid=sight.ownership.uid(identity.uid), gid=sight.ownership.gid(identity.gid))


def _writable(root: Root) -> Callable[[int], None]:
    """Refuses a directory on a mount that is read-only, as a whole: with the root's text or a volume's."""

    def check(directory: int) -> None:
        if not os.fstatvfs(directory).f_flag & os.ST_RDONLY:
            return
        if files.mount_id(directory) == files.mount_id(root.fd):
            raise CortenError("container rootfs is marked read-only")
        raise CortenError("mounted volume is marked read-only")

    return check
