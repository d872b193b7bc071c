"""Lookup, names and commits of containers, over a real database."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from corten import errors
from corten.api.types.container import ContainerConfig, HostConfig, LogConfig
from corten.engine.record import COLLECTION, ContainerRecord, decode, encode
from corten.engine.roster import Roster
from corten.engine.shims import error_of
from corten.engine.tasks import Container
from corten.errors import InvalidArgument, NameInUse, NoSuchContainer
from corten.storage.metadata import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "corten.db")
    yield database
    database.close()


def record(container_id: str, name: str, *, auto: bool = False) -> ContainerRecord:
    return ContainerRecord(
        id=container_id.ljust(64, "0"),
        name=name,
        created_ns=1,
        path="true",
        args=("a",),
        config=ContainerConfig(Image="x"),
        host=HostConfig(AutoRemove=auto, LogConfig=LogConfig("json-file", {"max-size": "1m"})),
        image_id="sha256:1",
    )


def test_a_record_survives_its_encoding() -> None:
    original = record("a1", "web")
    assert decode(encode(original)) == original


async def added(roster: Roster, new: ContainerRecord) -> Container:
    container, made = await roster.add(new, lambda: "files")
    assert made == "files"
    return container


def test_files_that_cannot_be_made_leave_no_record(database: Database) -> None:
    def full() -> None:
        raise OSError("no space left on device")

    async def scenario() -> None:
        roster = Roster(database)
        with pytest.raises(OSError, match="no space"):
            await roster.add(record("a", "web"), full)
        assert len(roster) == 0
        roster.close()

    asyncio.run(scenario())
    assert list(database.load(COLLECTION)) == []


def test_lookup_by_id_name_and_prefix(database: Database) -> None:
    async def scenario() -> None:
        roster = Roster(database)
        for container_id, name in (("ab1", "one"), ("ab2", "two"), ("cd", "ab1")):
            await added(roster, record(container_id, name))
        assert roster.find("two").record.name == "two"
        assert roster.find("/two").record.name == "two"
        assert roster.find("ab2").record.name == "two"
        assert roster.find("ab1").record.name == "ab1", "a name wins over a prefix"
        assert roster.find("ab1".ljust(64, "0")).record.name == "one"
        with pytest.raises(InvalidArgument, match="Multiple IDs found with provided prefix: ab"):
            roster.find("ab")
        with pytest.raises(NoSuchContainer, match="No such container: zz"):
            roster.find("zz")
        roster.close()

    asyncio.run(scenario())


def test_names_are_exclusive_and_given_back(database: Database) -> None:
    async def scenario() -> None:
        roster = Roster(database)
        roster.reserve_name("web", "a".ljust(64, "0"))
        with pytest.raises(NameInUse, match="is already in use by container"):
            roster.reserve_name("web", "b")
        container = await added(roster, record("a", "web"))
        await roster.discard(container)
        roster.reserve_name("web", "b")
        assert len(roster) == 0
        roster.close()

    asyncio.run(scenario())


def test_what_was_committed_is_there_again(database: Database) -> None:
    async def scenario() -> None:
        roster = Roster(database)
        container = await added(roster, record("a", "web"))
        await roster.update(container, msgspec.structs.replace(container.record, name="web2"))
        await added(roster, record("b", "gone", auto=True))
        await roster.discard(roster.find("gone"))
        roster.close()

    asyncio.run(scenario())
    again = Roster(database)
    assert again.load() == []
    assert [container.record.name for container in again] == ["web2"]


def test_a_corrupt_record_is_set_aside_and_the_others_live(database: Database) -> None:
    with database.transaction() as transaction:
        transaction.put(COLLECTION, "bad", b"{half")
        transaction.put(COLLECTION, "a".ljust(64, "0"), encode(record("a", "web")))
    roster = Roster(database)
    problems = roster.load()
    assert len(problems) == 1
    assert "container bad" in problems[0]
    assert [container.record.name for container in roster] == ["web"]
    assert [row[1] for row in database.quarantined()] == ["bad"]


def test_a_container_removed_while_somebody_waits_for_it(database: Database) -> None:
    async def scenario() -> None:
        roster = Roster(database)
        container = await added(roster, record("a", "web"))

        async def late() -> None:
            async with roster.exclusive("web"):
                raise AssertionError("held a container that is gone")

        async with roster.exclusive("web"):
            waiting = asyncio.ensure_future(late())
            await asyncio.sleep(0)
            await roster.discard(container)
        with pytest.raises(NoSuchContainer):
            await waiting
        roster.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("document", "kind", "code"),
    [
        ({"kind": "CommandNotFound", "text": "x"}, errors.CommandNotFound, 127),
        ({"kind": "CommandNotInvocable", "text": "x"}, errors.CommandNotInvocable, 126),
        ({"kind": "NoSuchContainer", "text": "x"}, errors.NoSuchContainer, 125),
        ({"kind": "SystemExit", "text": "x"}, errors.CortenError, 125),
        ({"kind": "HTTP_STATUS", "text": "x"}, errors.CortenError, 125),
    ],
)
def test_a_shims_error_becomes_the_class_it_names(document: dict[str, str], kind: type[Exception], code: int) -> None:
    error = error_of(document)
    assert type(error) is kind
    assert str(error) == "x"
    assert errors.exit_code(error) == code
