"""``exec``: another program in a running container."""

from __future__ import annotations

from corten.cli import streams
from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

EXECUTE_FLAGS: Final = (
    Flag("detach", "d", "bool", "Detached mode: run command in the background"),
    Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    Flag("env", "e", "list", "Set environment variables"),
    Flag("env-file", "", "list", "Read in a file of environment variables"),
    Flag("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    Flag("privileged", "", "bool", "Give extended privileges to the command"),
    Flag("tty", "t", "bool", "Allocate a pseudo-TTY"),
    Flag("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
    Flag("workdir", "w", "string", "Working directory inside the container"),
)


def execute(session: Session, given: Options, arguments: list[str]) -> int:
    """Run it and bring its exit code back."""
    from corten.cli.creation import environment

    container, *command = arguments
    detach, tty = given.flag("detach"), given.flag("tty")
    stdin = given.flag("interactive") and not detach
    streams.check_terminal(stdin=stdin, tty=tty)
    keys = streams.parse_keys(given.text("detach-keys") or session.config.text("detachKeys")) if stdin and tty else b""
    body: dict[str, Any] = {
        "User": given.text("user"),
        "Privileged": given.flag("privileged"),
        "Tty": tty,
        "AttachStdin": stdin,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "Detach": detach,
        "DetachKeys": given.text("detach-keys") or session.config.text("detachKeys"),
        "Env": environment.merged(given.texts("env-file"), given.texts("env")),
        "WorkingDir": given.text("workdir"),
        "Cmd": command,
    }
    if tty and not detach and streams.is_terminal(streams.STDOUT):
        body["ConsoleSize"] = list(streams.size(streams.STDOUT))
    identifier = session.client.call("POST", f"/containers/{quote(container)}/exec", {}, body)["Id"]
    start: dict[str, Any] = {"Detach": detach, "Tty": tty}
    if "ConsoleSize" in body:
        start["ConsoleSize"] = body["ConsoleSize"]
    if detach:
        session.client.call("POST", f"/exec/{identifier}/start", {}, start)
        return 0
    streams.flush()
    stream = session.client.hijack(f"/exec/{identifier}/start", {}, start)
    pump = streams.Pump(stream, tty=tty, stdin=stdin, keys=keys)
    if tty and stdin and streams.is_terminal(streams.STDIN):
        with streams.RawTerminal(streams.STDIN):
            streams.follow_size(session, f"/exec/{identifier}")
            pump.run()
    else:
        pump.run()
    if pump.detached:
        raise CommandFailed("read escape sequence")
    return int(session.client.get(f"/exec/{identifier}/json")["ExitCode"] or 0)
