"""Records: atomic, ordered, and readable as far as the disk allows."""

import sqlite3
import threading
from contextlib import suppress

import pytest

from corten.errors import Unavailable
from corten.storage.metadata import Database


@pytest.fixture
def path(tmp_path):
    return tmp_path / "corten.db"


def test_a_transaction_is_all_or_nothing(path):
    database = Database(path)
    with database.transaction(durable=True) as change:
        change.put("a", "1", b"one")
        change.put("a", "2", b"two")
        change.put("b", "1", b"other")
    with suppress(KeyError), database.transaction() as change:
        change.delete("a", "1")
        raise KeyError
    with database.transaction() as change:
        change.put("a", "1", b"ONE")
        change.delete("a", "2")
        change.delete("a", "absent")
        change.put("a", "2", b"again")
    database.close()
    again = Database(path)
    assert list(again.load("a")) == [("1", b"ONE"), ("2", b"again")]
    assert list(again.load("b")) == [("1", b"other")]
    assert again.problems == []
    again.close()


def test_durability_is_switched_per_transaction(path):
    database = Database(path)
    for durable, level in ((True, 2), (False, 1), (True, 2)):
        with database.transaction(durable=durable) as change:
            change.put("a", "1", b"")
        assert database._connection.execute("PRAGMA synchronous").fetchone()[0] == level
    database.close()


def test_a_durable_commit_reaches_the_disk_even_when_nothing_changes(path):
    database = Database(path)
    with database.transaction() as change:
        change.put("a", "1", b"same")
    before = (path.parent / "corten.db-wal").stat().st_size
    with database.transaction(durable=True) as change:
        change.put("a", "1", b"same")
    assert (path.parent / "corten.db-wal").stat().st_size > before
    database.close()


def test_threads_write_at_the_same_time(path):
    database = Database(path)

    def write(number):
        for step in range(50):
            with database.transaction() as change:
                change.put("t", f"{number}-{step}", b"x")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(database.load("t"))) == 400
    database.close()


def test_an_undecodable_row_is_set_aside(path):
    database = Database(path)
    with database.transaction() as change:
        change.put("a", "bad", b"\xff")
        change.put("a", "good", b"x")
    database.quarantine("a", "bad", "not JSON")
    assert list(database.load("a")) == [("good", b"x")]
    assert database.quarantined() == [("a", "bad", "not JSON")]
    database.close()


def test_a_file_that_is_no_database_does_not_stop_the_engine(path):
    path.write_bytes(b"garbage" * 1000)
    database = Database(path)
    assert "corrupt-1" in database.problems[0]
    assert list(database.load("a")) == []
    assert (path.parent / "corten.db.corrupt-1").exists()
    database.close()


def test_readable_rows_of_a_damaged_database_are_saved(path):
    database = Database(path)
    with database.transaction(durable=True) as change:
        for number in range(2000):
            change.put("a", f"{number:05}", bytes(200))
    database.close()
    size = path.stat().st_size
    with open(path, "r+b") as stream:
        stream.seek(size - 20 * 4096)
        stream.write(b"\xee" * 20 * 4096)
    again = Database(path)
    saved = list(again.load("a"))
    assert again.problems
    assert 0 < len(saved) < 2000
    assert saved[0] == ("00000", bytes(200))
    assert again.check() == []
    again.close()


def test_a_newer_schema_is_refused_and_left_alone(path):
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(Unavailable, match="newer"):
        Database(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["corten.db"]
