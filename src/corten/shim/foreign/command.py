"""The command line of a runtime that is not our own, and what it says when it fails.

A runtime is a document, kept with its container: ``name`` (what the user called it), ``path``, ``arguments`` (before
the command's), ``root`` (its ``--root``) and ``sealed``, true when the container's files cannot be seen from its
process (a sandbox). Errors are read where containerd reads them: in the JSON lines of ``--log``.
"""

from __future__ import annotations

import os

from corten import errors
from corten.oci.document import decode
from corten.shim import program
from corten.shim.loop import note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Final

    from corten.shim.loop import Loop

#: How long ``create``, ``start`` and ``exec`` may take; Docker waits for ever, and so does all that waits for it.
PATIENCE: Final = 120.0
#: How long an end may be held up by ``delete``, a signal by ``kill``.
SHORT_PATIENCE: Final = 10.0
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_VICE_VERSA: Final = (
    "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is "
    "the expected type"
)
_MOST_LOG: Final = 256 * 1024
_NOT_FOUND: Final = ("executable file not found", "no such file or directory")
_NOT_INVOCABLE: Final = ("permission denied", "is a directory")


def line(runtime: Mapping[str, Any], log: str, *words: str) -> list[str]:
    """The argument vector of one command."""
    return [
        runtime["path"], *runtime["arguments"], "--root", runtime["root"], "--log", log, "--log-format", "json", *words,
    ]  # fmt: skip


def run(
    loop: Loop, runtime: Mapping[str, Any], log: str, words: Sequence[str], then: program.Then, *, timeout: float
) -> None:
    """One command beside everything else; ``then`` is called in any case, as :mod:`corten.shim.program` does."""
    try:
        program.run(loop, line(runtime, log, *words), then, environment=ENVIRONMENT, timeout=timeout)
    except OSError as error:
        text = f"fork/exec {runtime['path']}: {os.strerror(error.errno or 0).lower()}"
        loop.soon(lambda: then(program.NOT_STARTED, text))


def delete(loop: Loop, runtime: Mapping[str, Any], container_id: str, then: Callable[[], None]) -> None:
    """``delete --force``; what goes wrong is a line in the shim's log, for the container has ended in any case."""

    def ended(status: int, output: str) -> None:
        if status:
            note(f"{runtime['name']} delete {container_id}: {output or words(status)}")
        then()

    run(loop, runtime, os.devnull, ("delete", "--force", container_id), ended, timeout=SHORT_PATIENCE)


def failure(kind: str, status: int, log: str, written: str, program_name: str) -> errors.CortenError:
    """Why ``create``, ``start`` or ``exec`` failed, in the words and with the exit code Docker has for it.

    ``written`` is what the runtime said elsewhere; ``program_name`` the first word of the container's command.
    """
    said = reason(log) or written.strip() or f"runtime did not terminate successfully: {words(status)}"
    if kind == "exec":
        return classify(said.removeprefix("exec failed: "), program_name)
    text = f"OCI runtime {kind} failed: {said}: unknown"
    prefix = "failed to create task for container: failed to create shim task: " if kind == "create" else ""
    return classify(prefix + text, program_name)


def classify(text: str, program_name: str) -> errors.CortenError:
    """The error class, and with it the exit code, that dockerd finds in a text (moby, daemon/start.go)."""
    lower = text.lower()
    if any(part in lower for part in _NOT_INVOCABLE):
        return errors.CommandNotInvocable(text)
    if program_name in text and any(part in lower for part in _NOT_FOUND):
        return errors.CommandNotFound(text)
    if "not a directory" in lower:
        return errors.CommandNotFound(f"{text}: {_VICE_VERSA}")
    return errors.RuntimeFailure(text)


def words(status: int) -> str:
    """An exit status for a person."""
    return "it did not end in time and was killed" if status == program.TIMED_OUT else f"exit status {status}"


def reason(log: str) -> str:
    """The message of the last error in a runtime's log; "" when there is none."""
    try:
        with open(log, "rb") as file:
            lines = file.read(_MOST_LOG).splitlines()
    except OSError:
        return ""
    found = ""
    for text in lines:
        try:
            entry = decode(text)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic") and entry.get("msg"):
            found = str(entry["msg"])
    return found.strip()


def first_pid(path: str) -> int:
    """The number in a pid file. Raises RuntimeFailure."""
    try:
        with open(path, "rb") as file:
            return int(file.read(32))
    except (OSError, ValueError):
        raise errors.RuntimeFailure("the runtime wrote no pid file") from None
