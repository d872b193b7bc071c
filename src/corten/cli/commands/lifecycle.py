"""Verbs on containers that exist: each name is one call, one line, and one error of its own."""

from __future__ import annotations

from corten.cli.options import Flag
from corten.client.errors import ResponseError
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

_SIGNAL: Final = Flag("signal", "s", "string", "Signal to send to the container")
_TIMEOUT: Final = Flag("timeout", "t", "int", "Seconds to wait before killing the container")
_TIME: Final = Flag("time", "", "int", "Seconds to wait before killing the container", hidden=True)

STOP_FLAGS: Final = (_SIGNAL, _TIMEOUT, _TIME)
RESTART_FLAGS: Final = (_SIGNAL, _TIMEOUT, _TIME)
KILL_FLAGS: Final = (_SIGNAL,)
RM_FLAGS: Final = (
    Flag("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)"),
    Flag("link", "l", "bool", "Remove the specified link"),
    Flag("volumes", "v", "bool", "Remove anonymous volumes associated with the container"),
)


def stop(session: Session, given: Options, arguments: list[str]) -> int:
    """Stop running containers."""
    query = _stop_query(given)
    return _each(session, arguments, lambda name: _post(session, name, "stop", query))


def restart(session: Session, given: Options, arguments: list[str]) -> int:
    """Stop and start containers."""
    query = _stop_query(given)
    return _each(session, arguments, lambda name: _post(session, name, "restart", query))


def kill(session: Session, given: Options, arguments: list[str]) -> int:
    """Send running containers a signal."""
    query = {"signal": given.text("signal")}
    return _each(session, arguments, lambda name: _post(session, name, "kill", query))


def pause(session: Session, given: Options, arguments: list[str]) -> int:
    """Freeze all processes of containers."""
    return _each(session, arguments, lambda name: _post(session, name, "pause", {}))


def unpause(session: Session, given: Options, arguments: list[str]) -> int:
    """Let frozen containers go on."""
    return _each(session, arguments, lambda name: _post(session, name, "unpause", {}))


def rm(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove containers; with ``--force`` one that does not exist is only said, as Docker does."""
    query = {name: "1" for name, flag in (("force", "force"), ("link", "link"), ("v", "volumes")) if given.flag(flag)}

    def remove(name: str) -> bool:
        wanted = name.strip("/")
        if not wanted:
            raise ResponseError(400, "Container name cannot be empty")
        try:
            session.client.call("DELETE", f"/containers/{quote(wanted)}", query)
        except ResponseError as error:
            if not (given.flag("force") and error.status == 404):
                raise
            session.complain(str(error))
            return False
        return True

    return _each(session, arguments, remove)


def wait(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the exit code of each container once it has ended."""
    failed = 0
    for name in arguments:
        try:
            answer = session.client.call("POST", f"/containers/{quote(name)}/wait")
            session.print(str(answer["StatusCode"]))
        except ResponseError as error:
            session.complain(str(error))
            failed = 1
    return failed


def rename(session: Session, given: Options, arguments: list[str]) -> int:
    """Give a container another name."""
    old, new = (argument.strip() for argument in arguments)
    session.client.call("POST", f"/containers/{quote(old)}/rename", {"name": new})
    return 0


def _stop_query(given: Options) -> dict[str, str]:
    query = {"signal": given.text("signal")}
    for name in ("time", "timeout"):
        if name in given.changed:
            query["t"] = str(given.number(name))
    return query


def _post(session: Session, name: str, verb: str, query: dict[str, str]) -> bool:
    session.client.call("POST", f"/containers/{quote(name)}/{verb}", query)
    return True


def _each(session: Session, names: list[str], action: Callable[[str], bool]) -> int:
    """Do it to each, print the names it was done to, say what failed and go on; 1 when anything did."""
    failed = 0
    for name in names:
        try:
            if action(name):
                session.print(name)
        except ResponseError as error:
            session.complain(str(error))
            failed = 1
    return failed
