"""``run``: create a container, start it, and be its terminal until it ends.

In the foreground:

(1) create
(2) pass signals on from now on
(3) attach, so that no byte of output is missed
(4) register for the exit, so that it is not missed either
(5) start
(6) copy both ways until the engine ends the stream
(7) exit with the container's exit code, unless the user detached
"""

from __future__ import annotations

import select

from corten.cli import streams
from corten.cli.commands import create as creating
from corten.cli.creation import body as bodies
from corten.cli.creation import flags
from corten.cli.session import CommandFailed
from corten.client.errors import ClientError, ResponseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.options import Options
    from corten.cli.session import Session

RUN_FLAGS = flags.RUN
ATTACHED = ("AttachStdin", "AttachStdout", "AttachStderr")
#: How long the exit may follow the end of the stream before it counts as a detached terminal.
GRACE_MILLISECONDS = 250
NOT_FOUND_CODE = 127
NOT_INVOCABLE_CODE = 126


def run(session: Session, given: Options, arguments: list[str]) -> int:
    """Run it; the exit code is the container's, or 125, 126, 127 when it did not get to run."""
    image, *command = arguments
    document = creating.checked(given, "run", lambda: bodies.build(given, image, command))
    keys = given.text("detach-keys") or session.config.text("detachKeys")
    try:
        streams.parse_keys(keys)
    except ClientError as error:
        raise creating.framed(str(error), "run") from error
    detached = given.flag("detach")
    if not detached:
        streams.check_terminal(stdin=document["AttachStdin"], tty=given.flag("tty"))
    elif given.texts("attach"):
        raise CommandFailed("conflicting options: cannot specify both --attach and --detach")
    else:
        document.update(dict.fromkeys(ATTACHED, False))
        document.pop("StdinOnce", None)
    try:
        identifier = creating.made(session, given, document)
    except CommandFailed:
        raise
    except ClientError as error:
        raise _status(error) from error
    if not any(document[name] for name in ATTACHED):
        session.print(identifier)
        return _start(session, identifier)
    return _foreground(session, given, document, identifier, keys)


def _status(error: ClientError) -> CommandFailed:
    """The exit code a shell would give for why a program does not run."""
    text = str(error)
    if "executable file not found" in text or "no such file or directory" in text:
        return creating.framed(text, "run", NOT_FOUND_CODE)
    if "permission denied" in text or "is a directory" in text:
        return creating.framed(text, "run", NOT_INVOCABLE_CODE)
    return creating.framed(text, "run")


def _start(session: Session, identifier: str) -> int:
    try:
        session.client.call("POST", f"/containers/{identifier}/start")
    except ResponseError as error:
        raise _status(error) from error
    return 0


def _foreground(session: Session, given: Options, document: dict[str, Any], identifier: str, keys: str) -> int:
    from corten.cli.commands.attach import Foreground, exit_code

    restore = streams.pass_signals(session, identifier) if given.flag("sig-proxy") else None  # (2)
    try:
        foreground = Foreground(
            session,
            identifier,
            tty=given.flag("tty"),
            stdin=document["AttachStdin"],
            stdout=document["AttachStdout"],
            stderr=document["AttachStderr"],
            detach_keys=keys,
        )
        foreground.open()  # (3)
        condition = "removed" if given.flag("rm") else "next-exit"
        waiting = session.another_client().stream(
            "POST", f"/containers/{identifier}/wait", {"condition": condition}
        )  # (4)
        try:
            _start(session, identifier)  # (5)
        except CommandFailed:
            if given.flag("rm"):
                waiting.read()
            raise
        foreground.run(sig_proxy=False)  # (6)
        if foreground.detached() and not _ended(waiting):
            return 0
        return exit_code(waiting)  # (7)
    finally:
        if restore is not None:
            restore()


def _ended(waiting: Any) -> bool:
    """Whether the exit is known, or becomes known at once: an engine may end the stream a moment before it says so."""
    poll = select.poll()
    poll.register(waiting.fileno(), select.POLLIN)
    return bool(poll.poll(GRACE_MILLISECONDS))
