"""Starting the default engine when nothing answers on its socket.

(1) take the lock, so that of several CLIs one starts an engine and the others wait for it;
(2) ask again: the one before us may have started it;
(3) start ``cortend`` in a session of its own, its output in a log file beside the socket;
(4) wait until it answers, or ends: then its last lines are the reason.

The lock is a flock(2) on a file of the socket's directory and ends with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from corten.client.errors import ClientError, Unreachable
from corten.client.transport import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

WAIT_SECONDS = 30.0
POLL_SECONDS = 0.02
TAIL_LINES = 10
TAIL_BYTES = 8192
DIRECTORY_MODE = 0o711


def start_engine(client: Client, messages: TextIO) -> None:
    """Make the engine at ``client.endpoint`` answer.

    Raises:
        ClientError: it ended, or does not answer in time; the text holds the end of its log.
    """
    folder = os.path.dirname(client.endpoint.path)
    try:
        os.makedirs(folder, mode=DIRECTORY_MODE, exist_ok=True)
        lock = os.open(
            os.path.join(folder, "autostart.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        raise ClientError(
            f"{Unreachable(client.endpoint.text)} (it cannot be started: {folder}: {(error.strerror or '').lower()})"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # (1)
        if _answers(client):  # (2)
            return
        log = os.path.join(folder, "cortend.log")
        process = _spawn(log)  # (3)
        _wait(client, process, log)  # (4)
        messages.write(f"corten: started an engine in the background (process {process}, log {log})\n")
    finally:
        os.close(lock)


def _answers(client: Client) -> bool:
    try:
        client.ping()
    except Unreachable:
        return False
    return True


def _spawn(log: str) -> int:
    """The pid of a detached ``cortend``: own session, no terminal, working directory ``/``."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.chdir("/")
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "corten.daemon.main"],
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
    finally:
        os.fchdir(here)
        os.close(here)
        os.close(output)


def _wait(client: Client, process: int, log: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not _answers(client):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            raise ClientError(f"the engine did not start (exit code {code}); the end of {log}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise ClientError(
                f"the engine (process {process}) does not answer after {WAIT_SECONDS:.0f} s; "
                f"the end of {log}:\n{_tail(log)}"
            )
        time.sleep(POLL_SECONDS)


def _tail(path: str) -> str:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    return "\n".join(f"  {line}" for line in lines)
