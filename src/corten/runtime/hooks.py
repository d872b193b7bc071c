"""OCI hooks: programs run around a container's start and end (runtime-spec, config.md "POSIX-platform Hooks").

Only startContainer hooks belong to the container's root and run inside it, after the import fence; the others are the
host's. A hook that fails before the start ends the start; later ones are reported by the caller.
"""

from __future__ import annotations

import os
import select
import time

from corten.errors import RuntimeFailure
from corten.oci.runtime import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_SIGKILL: Final = 9


def has(spec: dict[str, Any], kind: str) -> bool:
    """Whether the spec has hooks of that kind."""
    return bool((spec.get("hooks") or {}).get(kind))


def run(spec: dict[str, Any], kind: str, state: dict[str, Any]) -> None:
    """Run all hooks of ``kind`` with the OCI ``state`` document on their standard input.

    Raises RuntimeFailure for the first that fails or exceeds its timeout (seconds).
    """
    for index, hook in enumerate((spec.get("hooks") or {}).get(kind) or ()):
        status = _run_one(hook, encode(state).encode())
        if status:
            raise RuntimeFailure(f"error running {kind} hook #{index}: {hook['path']}: {_words(status)}")


def _words(status: int) -> str:
    return "timed out" if status == -1 else f"exit status {status}"


def _run_one(hook: dict[str, Any], state: bytes) -> int:
    """Exit status, 128+n for a signal, -1 when it took too long."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    arguments = hook.get("args") or [hook["path"]]
    environment = dict(entry.partition("=")[::2] for entry in hook.get("env") or ())
    try:
        pid = os.posix_spawn(
            hook["path"],
            arguments,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)],
            setsigdef=range(1, 32),
        )
    except OSError as error:
        os.close(writing)
        raise RuntimeFailure(f"hook {hook['path']}: {str(error.strerror).lower()}") from None
    finally:
        os.close(reading)
    try:
        os.write(writing, state)
    except BrokenPipeError:
        pass
    finally:
        os.close(writing)
    return _await(pid, hook.get("timeout"))


def _await(pid: int, timeout: int | None) -> int:
    if timeout:
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + timeout
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        os.close(pidfd)
        if not ready:
            os.kill(pid, _SIGKILL)
            os.waitpid(pid, 0)
            return -1
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status
