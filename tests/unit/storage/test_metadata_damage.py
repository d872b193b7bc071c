"""Random damage to the database: the engine always starts, tells what it set aside, and keeps what can be read."""

import os
import random
import shutil

import pytest

from corten.engine.images.store import ImageStore
from corten.engine.roster import Roster
from corten.storage.metadata import Database
from corten.storage.volume import VolumeStore

SEED = 20261127
ROUNDS = 30
RECORDS = 400
VERSION = range(60, 64)  # user_version: a higher one is a newer engine's database, which is left alone


def value(number: int) -> bytes:
    return random.Random(number).randbytes(200 + number % 300)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A database as a killed engine leaves it: the last third of its records is in the WAL alone."""
    work, kept = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("kept")
    database = Database(work / "corten.db")
    for number in range(RECORDS):
        if number == RECORDS * 2 // 3:
            database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with database.transaction() as change:
            change.put(("containers", "image", "volumes")[number % 3], f"key-{number}", value(number))
    for suffix in ("", "-wal"):
        shutil.copy(work / f"corten.db{suffix}", kept / f"corten.db{suffix}")
    database.close()
    return kept


def records(database: Database) -> dict[str, bytes]:
    return {key: raw for name in ("containers", "image", "volumes") for key, raw in database.load(name)}


def damaged(sound, target, chance: random.Random) -> str:
    """A copy with bytes flipped, a page zeroed or filled with noise, or an end cut off; what was done."""
    for suffix in ("", "-wal"):
        shutil.copy(sound / f"corten.db{suffix}", target / f"corten.db{suffix}")
    victim = target / chance.choice(["corten.db", "corten.db", "corten.db-wal"])
    data = bytearray(victim.read_bytes())
    kind = chance.choice(["flip", "flip", "header", "zero", "noise", "cut"])
    place = chance.randrange(len(data))
    if kind == "flip":
        for place in (chance.randrange(len(data)) for _ in range(chance.choice([1, 3, 30]))):
            data[place] ^= 1 << chance.randrange(8)
    elif kind == "header":
        place = chance.randrange(100)
        data[place] = chance.randrange(256)
    elif kind == "cut":
        del data[place:]
    else:
        start = place - place % 4096
        data[start : start + 4096] = bytes(4096) if kind == "zero" else chance.randbytes(4096)
    if victim.name == "corten.db":
        original = (sound / "corten.db").read_bytes()[60:64]
        data[60:64] = original if len(data) > 64 else data[60:64]
    victim.write_bytes(data)
    return f"{kind} at {place} of {victim.name}"


@pytest.mark.parametrize("part", range(3))
def test_an_engine_starts_on_any_damage(sound, tmp_path, part):
    for number in range(part, ROUNDS, 3):
        target = tmp_path / str(number)
        target.mkdir()
        what = damaged(sound, target, random.Random(SEED + number))
        try:
            database = Database(target / "corten.db")
            found = records(database)
            assert all(type(key) is str and type(raw) is bytes for key, raw in found.items())
            if number < 3:  # each sets aside every record it cannot read, with an fsync(2) for each
                Roster(database).load()
                ImageStore(database).load()
                VolumeStore(target / "volumes", database)
            with database.transaction(durable=True) as change:
                change.put("volumes", "written", b"after")
            assert records(database)["written"] == b"after"
            database.close()
            again = Database(target / "corten.db")
            assert records(again)["written"] == b"after"
            assert again.problems == []
            again.close()
        except Exception as error:
            raise AssertionError(f"seed {SEED + number}: {what}: {error!r}") from error


def test_one_damaged_page_costs_the_records_on_it_alone(tmp_path):
    path = tmp_path / "corten.db"
    database = Database(path)
    with database.transaction(durable=True) as change:
        for number in range(2000):
            change.put("a", f"{number:05}", value(number))
    database.close()
    size = path.stat().st_size
    for page in (size // 4096 // 4, size // 4096 // 2):
        with path.open("r+b") as stream:
            stream.seek(page * 4096)
            stream.write(os.urandom(4096))
    again = Database(path)
    found = dict(again.load("a"))
    assert again.problems
    assert len(found) > 1900
    assert all(found[key] == value(int(key)) for key in found)
    again.close()


def test_a_damaged_record_is_set_aside_alone(tmp_path):
    """Bytes of single records changed: those that cannot be decoded go to the quarantine, the others stay."""
    database = Database(tmp_path / "corten.db")
    volumes = VolumeStore(tmp_path / "volumes", database)
    for number in range(60):
        volumes.create(f"volume-{number}", labels={"a": "b"})
    chance = random.Random(SEED)
    with database.transaction() as change:
        for key, raw in list(database.load("volumes"))[::2]:
            broken = bytearray(raw)
            for _ in range(3):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            change.put("volumes", key, bytes(broken))
    database.close()
    again = Database(tmp_path / "corten.db")
    kept = {volume.name for volume in VolumeStore(tmp_path / "volumes", again).list()}
    assert {f"volume-{number}" for number in range(1, 60, 2)} <= kept
    set_aside = {key for _, key, _ in again.quarantined()}
    assert len(set_aside) > 10
    assert not set_aside & {f"volume-{number}" for number in range(1, 60, 2)}
    again.close()
