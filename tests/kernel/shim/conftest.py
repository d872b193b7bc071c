"""One host for a module's tests, an engine for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.shim.stage import Engine, Host, close_all


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    try:
        yield made
    finally:
        close_all()
        made.close()


@pytest.fixture
def engine(host: Host) -> Engine:
    return Engine(host)
