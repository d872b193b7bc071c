"""Which events a reader gets: replay, filters, the end, and what becomes of one that does not read."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.filters import Filters
from corten.api.types.events import EventMessage
from corten.engine import events as engine_events
from corten.engine.events import EventService
from corten.errors import InvalidArgument


async def _collect(service: EventService, **window: Any) -> list[str]:
    return [message.Action async for message in service.subscribe(**window)]


def test_events_are_replayed_filtered_and_end() -> None:
    async def scenario() -> tuple[list[str], list[str], list[str]]:
        service = EventService()
        service.publish("container", "create", "c1", {"name": "web", "image": "img:1"})
        service.publish("container", "exec_start: ls", "c1", {"name": "web", "image": "img:1"})
        service.publish("network", "connect", "n1", {"container": "c1"})
        window = {"since_ns": 0, "until_ns": service._last_ns}
        everything = await _collect(service, **window)
        by_event = await _collect(service, **window, filters=Filters({"event": ["exec_start"]}))
        by_image = await _collect(service, **window, filters=Filters({"image": ["img"], "event": ["create"]}))
        return everything, by_event, by_image

    assert asyncio.run(scenario()) == (["create", "exec_start: ls", "connect"], ["exec_start: ls"], ["create"])


def test_times_grow_and_a_clock_that_is_set_back_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    service = EventService()
    clock = iter([10**18, 10**18, 10**18 - 10**8, 10**18 - 10**12, 10**18 - 10**12 + 5])
    monkeypatch.setattr(engine_events.time, "time_ns", lambda: next(clock))
    for _ in range(5):
        service.publish("container", "x", "c1")
    times = [message.timeNano - 10**18 for message in service._ring]
    assert times == [0, 1, 2, -(10**12), 5 - 10**12]


def _message(kind: str, action: str, identifier: str, **attributes: str) -> EventMessage:
    service = EventService()
    service.publish(kind, action, identifier, attributes)
    return service._ring[0]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"container": ["we"]}, True),
        ({"container": ["c1"], "event": ["exec_start"]}, True),
        ({"container": ["eb"]}, False),
        ({"event": ["exec"]}, False),
        ({"event": ["exec_start: ls"]}, True),
        ({"event": ["start", "exec_create"]}, False),
        ({"event": ["exec", "exec_create"]}, True),  # dockerd compares beginnings as soon as one of them is there
        ({"image": ["host:5000/img"]}, True),
        ({"image": ["host:5000/img:1"]}, True),
        ({"image": ["img"]}, False),
        ({"type": ["container", "image"], "scope": ["local"]}, True),
        ({"scope": ["swarm"]}, False),
        ({"label": ["tier=db", "x"]}, True),
        ({"label": ["tier=web"]}, False),
        ({"volume": ["web"]}, True),  # dockerd: ids and names begin so, whatever it is about
        ({"node": ["x"]}, False),
        ({"daemon": ["x"]}, False),
    ],
)
def test_event_filters_are_dockers(filters: dict[str, list[str]], expected: bool) -> None:
    labels = {"tier": "db", "x": ""}
    message = _message("container", "exec_start: ls", "c1d", name="web", image="host:5000/img:1", **labels)
    assert engine_events.matches(message, Filters(filters)) is expected


def test_an_image_event_answers_to_id_and_name() -> None:
    message = _message("image", "tag", "sha256:12", name="img:1")
    for wanted in ("img", "img:1", "sha256:12"):
        assert engine_events.matches(message, Filters({"image": [wanted]}))


@given(st.text(max_size=60) | st.dictionaries(st.text(max_size=8), st.lists(st.text(max_size=8))).map(json.dumps))
def test_fuzz_filters_are_refused_or_answer(text: str) -> None:
    try:
        filters = Filters.parse(text)
    except InvalidArgument:
        return
    message = _message("container", "exec_start: ls", "c1", name="web", image=":/:")
    assert engine_events.matches(message, filters) in (True, False)


def test_only_the_latest_are_kept_and_until_alone_replays_them() -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        service = EventService()
        for number in range(300):
            service.publish("container", str(number), "c1")
        return await _collect(service, until_ns=service._last_ns), await _collect(service, until_ns=1, since_ns=0)

    everything, nothing = asyncio.run(scenario())
    assert everything == [str(number) for number in range(300 - 256, 300)]
    assert nothing == []


def test_a_reader_that_does_not_read_is_cut_off_and_holds_nothing() -> None:
    async def scenario() -> tuple[str, int]:
        service = EventService()
        slow = service.subscribe(since_ns=0)
        service.publish("container", "first", "c1")
        assert (await anext(slow)).Action == "first"
        for number in range(engine_events.BACKLOG + 1):
            service.publish("container", str(number), "c1")
        (reader,) = service._readers
        held = len(reader.waiting)
        with pytest.raises(engine_events.SlowReaderError):
            await anext(slow)
        return str(service.listeners), held

    assert asyncio.run(scenario()) == ("0", 0)


def test_a_live_reader_sees_what_happens_after_it_came() -> None:
    async def scenario() -> str:
        service = EventService()
        service.publish("container", "create", "c1")
        stream = service.subscribe(filters=Filters({"container": ["web"]}))
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        service.publish("container", "start", "c2", {"name": "db"})
        service.publish("container", "die", "c1", {"name": "web"})
        return (await waiting).Action

    assert asyncio.run(scenario()) == "die"


def test_event_windows_and_filters_are_checked() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'x'"):
        engine_events.check_filters(Filters({"x": ["y"]}))
    with pytest.raises(InvalidArgument, match="cannot be after"):
        engine_events.check_window(2 * 10**9, 10**9, ("2", "1"))
