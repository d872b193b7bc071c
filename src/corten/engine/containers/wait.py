"""``wait``: a future for each of Docker's three conditions, registered at once."""

import asyncio

from corten.engine.tasks import Container, Exit
from corten.errors import InvalidArgument


def wait(container: Container, condition: str) -> "asyncio.Future[Exit]":
    """Resolves to (exit code, error).

    ``not-running`` (the default) is at once true of a container that does not run; ``next-exit`` never is;
    ``removed`` also carries why the removal failed. An exit counts although a restart follows it, and while one is
    awaited the container runs: both as in Docker.

    Raises:
        InvalidArgument: another condition.
    """
    if condition in ("", "not-running"):
        if container.record.state.active:
            return container.next_exit()
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        future.set_result((container.record.state.exit_code, None))
        return future
    if condition == "next-exit":
        return container.next_exit()
    if condition == "removed":
        return container.removal()
    raise InvalidArgument(f'invalid condition: "{condition}"')
