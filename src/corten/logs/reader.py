"""Reading a log: a snapshot, or what is there and everything that is added to it.

Which files there are is :mod:`corten.logs.files`' concern, where reading begins :mod:`corten.logs.seek`'s. A line that
is no record (torn by a crash, edited by a stranger) is passed over: it never ends the reading.
"""

from __future__ import annotations

import os

from corten.linux import inotify
from corten.logs.encode import Decoder
from corten.logs.files import LogFile, Splitter, close, is_at, lines_between, open_newest_first
from corten.logs.seek import find_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from corten.logs.encode import Entry

_BATCH = 256 * 1024
_CHANGES = inotify.IN_MODIFY | inotify.IN_MOVED_TO | inotify.IN_CREATE | inotify.IN_ONLYDIR
_FOREVER = (1 << 63) - 1


class Reader:
    """A snapshot of the log at the moment of the call."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, since_ns: int = 0, until_ns: int = 0, tail: int = -1) -> Iterator[Entry]:
        """Entries in order, as Docker selects them: first the last ``tail`` lines (-1: all), then by time.

        ``since_ns`` is inclusive, 0 for the beginning; the first entry later than ``until_ns`` ends the reading,
        0 for no end. A container that never wrote has no file, and no entries.
        """
        if tail == 0:
            return
        files = open_newest_first(self.path)
        decoder = Decoder()
        try:
            if not files:
                return
            start, offset = find_start(files, since_ns, tail)
            close(files[start + 1 :])
            del files[start + 1 :]
            while files:
                for line in lines_between(files[-1].descriptor, offset, files[-1].end):
                    entry = decoder.decode(line)
                    if entry is None or entry[1] < since_ns:
                        continue
                    if until_ns and entry[1] > until_ns:
                        return
                    yield entry
                offset = 0
                files.pop().close()
        finally:
            close(files)


class Follower:
    """The log from a chosen point on, and what is added to it: no line twice, none missing, over any rotation.

    :meth:`poll` gives what there is; when it gives nothing, wait until :meth:`fileno` is readable. Whether anything
    more can come (does the container live?) is for the caller to know. When the writer removes files faster than
    they are read, the lines in between are gone and reading goes on at the oldest that is left.
    """

    __slots__ = ("_decoder", "_files", "_notify", "_offset", "_since", "_splitter", "_until", "ended", "path")

    def __init__(self, path: str, *, since_ns: int = 0, until_ns: int = 0, tail: int = -1) -> None:
        self.path = path
        self.ended = False
        self._since = since_ns
        self._until = until_ns or _FOREVER
        self._decoder = Decoder()
        self._splitter = Splitter()
        self._offset = 0
        self._notify = inotify.inotify_init1(inotify.IN_NONBLOCK | inotify.IN_CLOEXEC)
        self._files: list[LogFile] = []
        try:
            inotify.inotify_add_watch(self._notify, os.path.dirname(path) or ".", _CHANGES)
            self._seek(tail)
        except BaseException:
            self.close()
            raise

    def _seek(self, tail: int) -> None:
        """Keep the files from the one where reading begins, newest first; the last of the list is read next."""
        self._files = files = open_newest_first(self.path)
        if files:
            start, self._offset = find_start(files, self._since, tail)
            close(files[start + 1 :])
            del files[start + 1 :]

    def fileno(self) -> int:
        """Readable when :meth:`poll` may have something."""
        return self._notify

    def poll(self) -> list[Entry]:
        """The next entries, at most about 256 KiB of log; an empty list when there is nothing now.

        ``ended`` is set when an entry later than ``until_ns`` was met.
        """
        inotify.drain(self._notify)
        while not self.ended:
            if not self._files:
                self._files = open_newest_first(self.path)
                if not self._files:
                    return []
            descriptor = self._files[-1].descriptor
            # Asked before the read: what was current then may be renamed after it, and still be written once more.
            older = len(self._files) > 1 or not is_at(self.path, self._files[-1].identity)
            block = os.pread(descriptor, _BATCH, self._offset)
            if block:
                self._offset += len(block)
                entries = self._select(block)
                if entries:
                    return entries
            elif not older or not self._next_file():
                return []
        return []

    def _select(self, block: bytes) -> list[Entry]:
        entries = []
        for line in self._splitter.feed(block):
            entry = self._decoder.decode(line)
            if entry is None or entry[1] < self._since:
                continue
            if entry[1] > self._until:
                self.ended = True
                break
            entries.append(entry)
        return entries

    def _next_file(self) -> bool:
        """Leave the finished file for the next newer one; False when that one does not exist yet."""
        done = self._files[-1]
        if len(self._files) == 1:
            files = open_newest_first(self.path)
            count = next((number for number, file in enumerate(files) if file.continues(done)), len(files))
            close(files[count:])
            del files[count:]
            if not files:
                return False
            self._files = [*files, done]
        self._files.pop().close()
        self._offset = 0
        self._splitter = Splitter()
        return True

    def close(self) -> None:
        """Give every descriptor back."""
        close(self._files)
        self._files = []
        if self._notify >= 0:
            os.close(self._notify)
            self._notify = -1
