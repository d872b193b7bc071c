import asyncio
from typing import Any

import pytest

from corten.engine.progress import Reporter, bar, human_size, message, step, transfer


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234567, "1.235MB"), (2.5e12, "2.5TB")]
)
def test_sizes_are_dockers(size: float, text: str) -> None:
    assert human_size(size) == text


def test_bars_are_dockers() -> None:
    assert bar(500, 1000) == "[=========================>                         ]     500B/1kB"
    assert bar(1000, 1000) == "[==================================================>]      1kB/1kB"
    assert bar(2000, 1000) == "[==================================================>]      2kB"
    assert bar(0, 0) == ""
    assert bar(5, 0) == "      5B"


def test_messages() -> None:
    assert message("x") == {"status": "x"}
    assert step("Pulling fs layer", "abc") == {"status": "Pulling fs layer", "progressDetail": {}, "id": "abc"}
    assert transfer("Downloading", "a", 1, 0)["progressDetail"] == {"current": 1}


def test_progress_nobody_read_yet_is_joined_and_steps_never_are() -> None:
    async def scenario() -> None:
        taken: list[dict[str, Any]] = []

        async def sink(content: dict[str, Any]) -> None:
            taken.append(content)

        async with Reporter(sink) as reporter:
            reporter.send(step("Pulling fs layer", "a"))
            for current in range(100):
                reporter.send(transfer("Downloading", "a", current, 99))
                reporter.send(transfer("Downloading", "b", current, 99))
            reporter.send(step("Pull complete", "a"))
        assert [(found["status"], found["id"]) for found in taken] == [
            ("Pulling fs layer", "a"),
            ("Downloading", "a"),
            ("Downloading", "b"),
            ("Pull complete", "a"),
        ]
        assert taken[1]["progressDetail"]["current"] == 99

    asyncio.run(scenario())


def test_a_client_that_goes_away_ends_the_work_it_asked_for() -> None:
    async def scenario() -> None:
        async def sink(content: dict[str, Any]) -> None:
            raise ConnectionResetError

        async def work() -> None:
            async with Reporter(sink) as reporter:
                reporter.send(message("x"))
                await asyncio.sleep(30)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.create_task(work()), 5)

    asyncio.run(scenario())
