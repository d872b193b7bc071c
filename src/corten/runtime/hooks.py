"""OCI hooks: programs run around a container's start and end (runtime-spec, config.md "POSIX-platform Hooks").

Only startContainer hooks belong to the container's root and run inside it, after the import fence and behind its
filter; the others are the host's. Knows what a failing hook is; what follows from it is the caller's.
"""

from __future__ import annotations

import os
import select

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
    """Run all hooks of ``kind`` in order, the OCI ``state`` document on their standard input.

    Raises RuntimeFailure for the first that fails or exceeds its timeout (seconds); those behind it do not run.
    """
    for index, hook in enumerate((spec.get("hooks") or {}).get(kind) or ()):
        _require(kind, index, hook, state)


def run_all(spec: dict[str, Any], kind: str, state: dict[str, Any]) -> list[str]:
    """As :func:`run` for hooks whose failure changes nothing: all of them run. Returns warnings."""
    warnings = []
    for index, hook in enumerate((spec.get("hooks") or {}).get(kind) or ()):
        try:
            _require(kind, index, hook, state)
        except RuntimeFailure as failure:
            warnings.append(str(failure))
    return warnings


def _require(kind: str, index: int, hook: dict[str, Any], state: dict[str, Any]) -> None:
    words = _run_one(hook, encode(state).encode())
    if words:
        raise RuntimeFailure(f"error running {kind} hook #{index}: {hook['path']}: {words}")


def _run_one(hook: dict[str, Any], state: bytes) -> str:
    """What went wrong, "" when nothing did."""
    environment = dict(entry.partition("=")[::2] for entry in hook.get("env") or ())
    document = _readable(state)
    try:
        pid = os.posix_spawn(
            hook["path"],
            hook.get("args") or [hook["path"]],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, document, 0)],
            setsigdef=range(1, 32),
        )
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", "") or error).lower()
    finally:
        os.close(document)
    return _await(pid, hook.get("timeout"))


def _readable(state: bytes) -> int:
    """A file in memory and no pipe: a hook that does not read would block the writer, and no timeout would end that."""
    fd = os.memfd_create("state", os.MFD_CLOEXEC)
    os.write(fd, state)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _await(pid: int, timeout: int | None) -> str:
    if timeout:
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        ready = poll.poll(min(timeout, 1 << 20) * 1000)
        os.close(pidfd)
        if not ready:
            os.kill(pid, _SIGKILL)
            os.waitpid(pid, 0)
            return f"timed out after {timeout} s"
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        return f"killed by signal {-status}"
    return f"exit status {status}" if status else ""
