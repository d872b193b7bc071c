import os
from collections.abc import Iterator

import pytest

from tests.kernel.network import topology


@pytest.fixture
def host() -> Iterator[int]:
    """The test's own network namespace, as the engine's; the value is a descriptor of it."""
    with topology.private_namespace():
        descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@pytest.fixture
def neighbour(host: int) -> Iterator[int]:
    """A second host, at 10.77.0.2, on a cable to the first at 10.77.0.1."""
    with topology.neighbour() as descriptor:
        yield descriptor
