"""``attach`` and ``start``: the terminal joined to a container's first process."""

from __future__ import annotations

from corten.cli import streams
from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.errors import ResponseError
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

ATTACH_FLAGS: Final = (
    Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    Flag("no-stdin", "", "bool", "Do not attach STDIN"),
    Flag("sig-proxy", "", "bool", "Proxy all received signals to the process", True),
)
START_FLAGS: Final = (
    Flag("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals"),
    Flag("checkpoint", "", "string", "Restore from this checkpoint", hidden=True),
    Flag("checkpoint-dir", "", "string", "Where the checkpoint is", hidden=True),
    Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    Flag("interactive", "i", "bool", "Attach container's STDIN"),
)


def attach(session: Session, given: Options, arguments: list[str]) -> int:
    """Join a running container; the exit code is its program's."""
    (name,) = arguments
    details = session.client.get(f"/containers/{quote(name)}/json")
    state = details["State"]
    if not state["Running"]:
        raise CommandFailed("cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise CommandFailed("cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise CommandFailed("cannot attach to a restarting container, wait until it is running")
    tty = bool(details["Config"]["Tty"])
    stdin = bool(details["Config"]["OpenStdin"]) and not given.flag("no-stdin")
    streams.check_terminal(stdin=stdin, tty=tty)
    identifier = details["Id"]
    waiting = session.another_client().stream("POST", f"/containers/{identifier}/wait")
    keys = given.text("detach-keys") or session.config.text("detachKeys")
    foreground = Foreground(session, identifier, tty=tty, stdin=stdin, detach_keys=keys)
    foreground.open()
    if tty and streams.is_terminal(streams.STDOUT):
        height, width = streams.size(streams.STDOUT)
        # A size of its own first: the program draws itself anew only when the size changes.
        session.client.call("POST", f"/containers/{identifier}/resize", {"h": str(height + 1), "w": str(width + 1)})
    foreground.run(sig_proxy=given.flag("sig-proxy") and not tty)
    if foreground.detached():
        raise CommandFailed("read escape sequence")
    return exit_code(waiting)


def start(session: Session, given: Options, arguments: list[str]) -> int:
    """Start containers that do not run; one of them in the foreground with ``--attach``."""
    if given.text("checkpoint") or given.text("checkpoint-dir"):
        raise CommandFailed("--checkpoint is not supported")
    if given.flag("attach") or given.flag("interactive"):
        if len(arguments) > 1:
            raise CommandFailed("you cannot start and attach multiple containers at once")
        return _start_attached(session, given, arguments[0])
    failed = []
    query = {"detachKeys": given.text("detach-keys")}
    for name in arguments:
        try:
            session.client.call("POST", f"/containers/{quote(name)}/start", query)
            session.print(name)
        except ResponseError as error:
            session.complain(str(error))
            failed.append(name)
    if failed:
        raise CommandFailed(f"failed to start containers: {', '.join(failed)}")
    return 0


def _start_attached(session: Session, given: Options, name: str) -> int:
    details = session.client.get(f"/containers/{quote(name)}/json")
    identifier, config = details["Id"], details["Config"]
    tty, stdin = bool(config["Tty"]), given.flag("interactive") and bool(config["OpenStdin"])
    keys = given.text("detach-keys") or session.config.text("detachKeys")
    foreground = Foreground(session, identifier, tty=tty, stdin=stdin, detach_keys=keys)
    foreground.open()
    removed = bool(details["HostConfig"].get("AutoRemove"))
    condition = "removed" if removed else "next-exit"
    waiting = session.another_client().stream("POST", f"/containers/{identifier}/wait", {"condition": condition})
    session.client.call("POST", f"/containers/{identifier}/start")
    foreground.run(sig_proxy=not tty)
    if foreground.detached():
        return 0
    return exit_code(waiting)


def exit_code(waiting: Any) -> int:
    """The status of an answer to ``wait``, once it comes; CommandFailed (125) when waiting itself failed."""
    from corten.client.jsontext import decode

    answer = decode(waiting.read())
    error = answer.get("Error")
    if error and error.get("Message"):
        raise CommandFailed(f"Error waiting for container: {error['Message']}", 125)
    return int(answer["StatusCode"])


class Foreground:
    """A container whose streams are ours until it ends or the user detaches.

    (1) :meth:`open` attaches, before the container starts, so that no byte is missed
    (2) the caller starts the container
    (3) :meth:`run` copies until the engine closes the stream
    """

    def __init__(
        self,
        session: Session,
        container: str,
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        detach_keys: str = "",
    ) -> None:
        self._session = session
        self._container = container
        self._tty = tty
        self._wanted = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        self._keys = detach_keys
        self._key_bytes = streams.parse_keys(detach_keys) if tty and stdin else b""
        self._pump: streams.Pump | None = None

    def open(self) -> None:
        """Attach; ResponseError when the engine refuses."""
        query = {name: "1" for name, wanted in self._wanted.items() if wanted}
        query["stream"] = "1"
        query["detachKeys"] = self._keys
        stream = self._session.client.hijack(f"/containers/{self._container}/attach", query)
        self._pump = streams.Pump(stream, tty=self._tty, keys=self._key_bytes, **self._wanted)

    def run(self, *, sig_proxy: bool) -> None:
        """Copy until the end, with the terminal in raw mode where both sides have one."""
        assert self._pump is not None
        streams.flush()
        restore = streams.pass_signals(self._session, self._container) if sig_proxy else None
        try:
            if self._tty and streams.is_terminal(streams.STDOUT):
                streams.follow_size(self._session, f"/containers/{self._container}")
            if self._tty and self._wanted["stdin"] and streams.is_terminal(streams.STDIN):
                with streams.RawTerminal(streams.STDIN):
                    self._pump.run()
            else:
                self._pump.run()
        finally:
            if restore is not None:
                restore()

    def detached(self) -> bool:
        """Whether the stream ended by the detach keys: only then does the container still run."""
        if not (self._tty and self._wanted["stdin"]):
            return False
        if self._pump is not None and self._pump.detached:
            return True
        try:
            state = self._session.client.get(f"/containers/{self._container}/json")["State"]
        except ResponseError:
            return False
        return bool(state["Running"])
