"""The engine's records: one SQLite database in WAL mode, one table ``records(collection, key, value)``.

Owns durability, the schema's version and what becomes of rows nobody can read. Knows nothing of what a value means:
values are bytes, encoded and decoded by the caller, indexes are the caller's and in memory.

Durability is chosen per transaction (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous): a durable commit
syncs the WAL and with it every earlier commit; a plain one is ordered and atomic, but a power cut may lose the last
of them. A killed process loses neither.

A full disk does not keep anybody from deleting: space for the WAL and for some growth of the file is allocated in
advance, beyond the ends of both files (fallocate(2), FALLOC_FL_KEEP_SIZE), so that no one else can take it; a commit
that still finds none folds the WAL into the file and tries again. What fails then is an OSError, ENOSPC.

A file SQLite cannot read does not stop the engine: it is set aside as ``<name>.corrupt-<n>``, what can still be read
is copied into a new database, and :attr:`Database.problems` says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from corten.errors import Unavailable
from corten.storage.durable import sync_directory

_LIBC = ctypes.CDLL(None, use_errno=True)
SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
  collection TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (collection, key));
CREATE TABLE IF NOT EXISTS quarantine (
  collection TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, reason TEXT NOT NULL,
  at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS pulse (id INTEGER PRIMARY KEY, beats INTEGER NOT NULL);
"""
_WAL_RESERVE: Final = 4 << 20  # SQLite folds the WAL back at 1,000 pages of 4 KiB (wal_autocheckpoint)
_GROWTH: Final = 1 << 20
_KEEP_SIZE: Final = 1  # linux/falloc.h
#: Codes that say nothing against what is in the file (sqlite.org/rescode.html): no space, no access, an I/O error.
_OUTSIDE: Final = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM,
})  # fmt: skip
_PUT: Final = (
    "INSERT INTO records(collection, key, value) VALUES (?, ?, ?) "
    "ON CONFLICT(collection, key) DO UPDATE SET value = excluded.value"
)
#: A damaged page can make a value of another type out of a text or a blob.
_SOUND: Final = "typeof(collection) = 'text' AND typeof(key) = 'text' AND typeof(value) = 'blob'"
_SEARCHED: Final = 20_000  # numbers looked for behind pages nobody can read
_BEAT: Final = "INSERT INTO pulse VALUES (1, 1) ON CONFLICT(id) DO UPDATE SET beats = beats + 1"
_DELETE: Final = "DELETE FROM records WHERE collection = ? AND key = ?"


class Transaction:
    """Changes that are committed together, in the order they were made; gathered in memory until then."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, tuple[str, ...] | tuple[str, str, bytes]]] = []

    def put(self, collection: str, key: str, value: bytes) -> None:
        """Insert or replace."""
        self.changes.append((_PUT, (collection, key, value)))

    def delete(self, collection: str, key: str) -> None:
        """Delete; nothing happens when it is not there."""
        self.changes.append((_DELETE, (collection, key)))


class Database:
    """All records of an engine; every method may be called from any thread.

    Raises:
        Unavailable: the database was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.problems: list[str] = []
        """What went wrong when the file was opened, in words for the log."""
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = _open(path)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OUTSIDE:
                raise Unavailable(f"{path} cannot be opened: {error}") from error
            self._connection = self._replace(error)
        self._synchronous = ""
        self._reserved = 0
        # Open as long as the database is: to close it would let go of SQLite's own locks on the file (fcntl(2), POSIX
        # locks; sqlite.org/howtocorrupt.html, 2.2).
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._reserve()

    def load(self, collection: str) -> Iterator[tuple[str, bytes]]:
        """Every (key, value) of a collection, in order of insertion.

        A page SQLite cannot read ends the collection early; that is told in :attr:`problems`.
        """
        rows: list[tuple[str, bytes]] = []
        with self._lock:
            try:
                query = f"SELECT key, value FROM records WHERE collection = ? AND {_SOUND} ORDER BY rowid"
                rows.extend(self._connection.execute(query, (collection,)))
            except sqlite3.DatabaseError as error:
                self.problems.append(f"{self._path}: {collection}: {error} after {len(rows)} records")
        yield from rows

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Transaction]:
        """Commit what the block puts and deletes when it ends; nothing when it raises.

        ``durable``: the commit is on stable storage when the block has ended.
        """
        pending = Transaction()
        yield pending
        self._commit(pending, durable=durable)

    def quarantine(self, collection: str, key: str, reason: str) -> None:
        """Move a row the caller could not decode out of the way; it is kept for people to look at."""
        with self._lock, self._unit(durable=True):
            self._connection.execute(
                "INSERT INTO quarantine(collection, key, value, reason) "
                "SELECT collection, key, value, ? FROM records WHERE collection = ? AND key = ?",
                (reason, collection, key),
            )
            self._connection.execute(_DELETE, (collection, key))

    def quarantined(self) -> list[tuple[str, str, str]]:
        """(collection, key, reason) of every row set aside."""
        with self._lock:
            return list(self._connection.execute("SELECT collection, key, reason FROM quarantine ORDER BY rowid"))

    def take_quarantined(self) -> dict[int, tuple[str, str, str, bytes]]:
        """Every row set aside by its number: collection, key, reason, value."""
        with self._lock:
            rows = self._connection.execute("SELECT rowid, collection, key, reason, value FROM quarantine")
            return {number: (collection, key, reason, value) for number, collection, key, reason, value in rows}

    def forget_quarantined(self, numbers: Iterable[int]) -> None:
        """Delete rows that were set aside, by number."""
        with self._lock, self._unit(durable=True):
            self._connection.executemany("DELETE FROM quarantine WHERE rowid = ?", [(number,) for number in numbers])

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty when it is sound."""
        with self._lock:
            found = [str(row[0]) for row in self._connection.execute("PRAGMA quick_check")]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """Fold the WAL into the database and close it."""
        with self._lock:
            self._connection.close()
            os.close(self._file)

    def _commit(self, pending: Transaction, *, durable: bool) -> None:
        if not pending.changes:
            return
        with self._lock:
            try:
                self._write(pending, durable=durable)
            except OSError:
                self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
                self._write(pending, durable=durable)
            self._reserve()

    def _write(self, pending: Transaction, *, durable: bool) -> None:
        with self._unit(durable=durable):
            for statement, values in pending.changes:
                self._connection.execute(statement, values)

    def _reserve(self) -> None:
        """Allocate what deletions on a full disk need; again whenever half of the file's growth is used up."""
        with suppress(OSError):
            size = self._path.stat().st_size
            if size + _GROWTH // 2 > self._reserved:
                self._reserve_log()
                _allocate(self._file, size + _GROWTH)
                self._reserved = size + _GROWTH

    def _reserve_log(self) -> None:
        """The WAL's space; SQLite locks nothing in that file."""
        descriptor = os.open(f"{self._path}-wal", os.O_RDWR | os.O_CLOEXEC)
        try:
            _allocate(descriptor, _WAL_RESERVE)
        finally:
            os.close(descriptor)

    @contextmanager
    def _unit(self, *, durable: bool) -> Iterator[None]:
        """BEGIN ... COMMIT; `synchronous` cannot change inside a transaction, so it is set before."""
        wanted = "FULL" if durable else "NORMAL"
        if wanted != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            if durable:
                # SQLite writes no page, hence syncs nothing, when every value is what it was; a plain commit before
                # this one must become durable all the same.
                self._connection.execute(_BEAT)
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if _is_full(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(self._path)) from error
            raise

    def _replace(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """Set an unreadable file aside and start anew with the rows that can be read."""
        aside = _set_aside(self._path)
        fresh = _open(self._path)
        saved = _salvage(aside, fresh)
        self.problems.append(f"{self._path}: {error}: moved to {aside.name}, {saved} records saved")
        return fresh


class Dump(NamedTuple):
    """Everything in a database file: records by collection and key, what was set aside, and what is wrong with it."""

    records: dict[str, dict[str, bytes]]
    quarantined: list[tuple[str, str, str]]
    problems: list[str]


def dump(path: Path) -> Dump:
    """Read a database without changing it, also while an engine uses it; unreadable pages are among the problems."""
    found = Dump({}, [], [])
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)
    except sqlite3.DatabaseError as error:
        found.problems.append(f"{path}: {error}")
        return found
    try:
        connection.execute("BEGIN")  # one state of it, whatever is committed meanwhile
        checked = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        found.problems.extend(f"{path}: {line}" for line in checked if line != "ok")
        for collection, key, value in connection.execute("SELECT collection, key, value FROM records ORDER BY rowid"):
            found.records.setdefault(collection, {})[key] = value
        found.quarantined.extend(connection.execute("SELECT collection, key, reason FROM quarantine ORDER BY rowid"))
    except sqlite3.DatabaseError as error:
        found.problems.append(f"{path}: {error}")
    finally:
        connection.close()
    return found


def _is_full(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL


def _allocate(descriptor: int, size: int) -> None:
    """fallocate(2): blocks for ``size`` bytes, the file's length unchanged; nothing where that is not known."""
    _LIBC.fallocate(descriptor, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size))


def _open(path: Path) -> sqlite3.Connection:
    """Connect, check the version and make the tables; raises sqlite3.DatabaseError for what is no database."""
    created = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise Unavailable(
                f"{path} has schema {version}, newer than this version's {SCHEMA_VERSION}: "
                "upgrade corten, or use another data root"
            )
        problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
        if problems != ["ok"]:
            raise sqlite3.DatabaseError(problems[0])
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except BaseException:
        connection.close()
        raise
    if created:
        os.chmod(path, 0o600)
        sync_directory(path.parent)
    return connection


def _set_aside(path: Path) -> Path:
    """Rename the database and its WAL; the names stay paired, so that SQLite still finds the WAL."""
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


def _salvage(source: Path, target: sqlite3.Connection) -> int:
    """Copy every readable record; the count of them. An unreadable page costs what is on it."""
    saved = 0
    with suppress(sqlite3.DatabaseError):
        damaged = sqlite3.connect(source, isolation_level=None)
        try:
            target.execute("BEGIN")
            for row in _readable(damaged):
                target.execute(_PUT, row)
                saved += 1
        finally:
            target.execute("COMMIT")
            damaged.close()
    return saved


def _readable(damaged: sqlite3.Connection) -> Iterator[tuple[str, str, bytes]]:
    """Records in order; where a page cannot be read the next number is tried, until one behind it is found."""
    query = f"SELECT rowid, collection, key, value FROM records NOT INDEXED WHERE rowid > ? AND {_SOUND} ORDER BY rowid"
    last = failures = 0
    while failures < _SEARCHED:
        try:
            for number, collection, key, value in damaged.execute(query, (last,)):
                last = number
                yield collection, key, value
            return
        except sqlite3.DatabaseError:
            last += 1
            failures += 1
