"""The terminal's side of an attached container or exec: bytes both ways, window size, signals.

Owns the pump and the terminal's mode. Knows no command: it is given a connection that has become a raw stream.
``signal`` and ``tty`` are not imported (they cost as much as the rest of a command): ``_signal`` and ``termios`` do.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import select
import sys

from corten.client.errors import ClientError, ResponseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Final

    from corten.cli.session import Session
    from corten.client.transport import Hijacked

CHUNK: Final = 65536
DETACH_KEYS: Final = "ctrl-p,ctrl-q"
STDIN, STDOUT, STDERR = 0, 1, 2
_HEAD: Final = 8
_ERROR: Final = 3
_SHUT_WR: Final = 1
MULTIPLEXED: Final = "application/vnd.docker.multiplexed-stream"
#: Not passed on: what the kernel or the terminal sends for its own reasons, and what cannot be caught.
_OWN_SIGNALS: Final = frozenset(("SIGCHLD", "SIGPIPE", "SIGURG", "SIGWINCH", "SIGKILL", "SIGSTOP", "SIGTSTP", "SIGTTIN",
                                 "SIGTTOU", "SIGCONT"))  # fmt: skip


def is_terminal(descriptor: int) -> bool:
    """Whether a descriptor is a terminal; a closed one is not."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def size(descriptor: int) -> tuple[int, int]:
    """Height and width of a terminal; zeros when it tells none."""
    try:
        columns, lines = os.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return lines, columns


class RawTerminal:
    """The terminal in raw mode for the length of a block: cfmakeraw(3)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[Any] | None = None

    def __enter__(self) -> None:
        import termios as t

        self._saved = t.tcgetattr(self._descriptor)
        mode = t.tcgetattr(self._descriptor)
        mode[0] &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
        mode[1] &= ~t.OPOST
        mode[2] = mode[2] & ~(t.CSIZE | t.PARENB) | t.CS8
        mode[3] &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
        mode[6][t.VMIN], mode[6][t.VTIME] = 1, 0
        t.tcsetattr(self._descriptor, t.TCSADRAIN, mode)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import termios as t

        if self._saved is not None:
            t.tcsetattr(self._descriptor, t.TCSADRAIN, self._saved)


class Sink:
    """The engine's bytes onto our standard output and error; ``framed`` where both share one stream."""

    def __init__(self, *, framed: bool, stdout: bool = True, stderr: bool = True) -> None:
        self._framed = framed
        self._wanted = {STDOUT: stdout, STDERR: stderr}
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """Write what is complete; ClientError when the engine reports one in the stream."""
        if not self._framed:
            _write(STDOUT, data)
            return
        data = self._pending + data if self._pending else data
        position = 0
        while len(data) - position >= _HEAD:
            end = position + _HEAD + int.from_bytes(data[position + 4 : position + _HEAD], "big")
            if end > len(data):
                break
            kind, payload = data[position], data[position + _HEAD : end]
            if kind == _ERROR:
                raise ClientError(f"error from daemon in stream: {payload.decode(errors='replace')}")
            target = STDERR if kind == STDERR else STDOUT
            if self._wanted[target]:
                _write(target, payload)
            position = end
        self._pending = data[position:]


class DetachKeys:
    """The key sequence that leaves a terminal's program running; held back as long as it may be one."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on of ``data``, and whether the sequence is complete (nothing after it counts)."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte != self._keys[self._matched]:
                passed += self._keys[: self._matched]
                self._matched = 0
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(passed), True
            else:
                passed.append(byte)
        return bytes(passed), False


def parse_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` as the bytes a terminal sends; ClientError for what is no key."""
    keys = bytearray()
    for name in (text or DETACH_KEYS).split(","):
        control = name.removeprefix("ctrl-")
        if len(name) == 1 and name.isascii():
            keys += name.encode()
        elif control != name and len(control) == 1 and control in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(control.upper()) & 0x1F)
        else:
            raise ClientError(f"Invalid detach keys ({text}) provided")
    return bytes(keys)


class Pump:
    """Copies until the engine's side ends, or the user types the detach keys.

    ``tty`` says that the stream is raw rather than framed; ``keys`` are the detach keys as bytes, empty for none.
    """

    def __init__(
        self,
        stream: Hijacked,
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        keys: bytes = b"",
    ) -> None:
        framed = stream.content_type == MULTIPLEXED or not tty
        self._socket = stream.socket
        self._sink = Sink(framed=framed, stdout=stdout, stderr=stderr)
        self._early = stream.early
        self._stdin = stdin
        self._keys = DetachKeys(keys)
        self.detached = False

    def run(self) -> None:
        """Return when the engine closed its side; end of file on standard input only closes ours.

        After the detach keys ``detached`` is true and the connection closed.
        """
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        if self._stdin:
            poll.register(STDIN, select.POLLIN)
        if self._early:
            self._sink.feed(self._early)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == STDIN:
                    if not self._forward():
                        poll.unregister(STDIN)
                    if self.detached:
                        self._socket.close()
                        return
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(CHUNK)
        except ConnectionResetError:
            return False
        if data:
            self._sink.feed(data)
        return bool(data)

    def _forward(self) -> bool:
        data = os.read(STDIN, CHUNK)
        try:
            if data:
                passed, self.detached = self._keys.feed(data)
                self._socket.sendall(passed)
                return True
            self._socket.shutdown(_SHUT_WR)  # the program sees end of file, its output still comes
        except OSError:
            pass  # the program ended before it had read everything
        return False


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def follow_size(session: Session, path: str) -> None:
    """Tell the engine the terminal's size, now and at every change; ``path`` is that of the container or exec."""
    client = session.another_client()

    def tell(*_: object) -> None:
        height, width = size(STDOUT)
        if not height or not width:
            return
        try:
            client.call("POST", f"{path}/resize", {"h": str(height), "w": str(width)})
        except (ResponseError, OSError):
            pass  # the program is not there yet, or no longer: its terminal's size matters to nobody

    _signal.signal(_signal.SIGWINCH, tell)
    tell()


def pass_signals(session: Session, container: str) -> Callable[[], None]:
    """Send every signal this process gets to the container instead; gives what ends that."""
    client = session.another_client()
    names = {
        getattr(_signal, name): name
        for name in dir(_signal)
        if name.startswith("SIG") and not name.startswith(("SIG_", "SIGRT")) and name not in _OWN_SIGNALS
    }

    def send(number: int, _: object) -> None:
        try:
            client.call("POST", f"/containers/{container}/kill", {"signal": names[number].removeprefix("SIG")})
        except ResponseError:
            pass  # it has ended in this moment

    saved = {}
    for number in names:
        try:
            saved[number] = _signal.signal(number, send)
        except (OSError, ValueError):  # a signal that the C library keeps for itself
            continue

    def restore() -> None:
        for number, handler in saved.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)

    return restore


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Docker's refusal of a terminal for a container when ours is none; ClientError."""
    if stdin and tty and not is_terminal(STDIN):
        raise ClientError("the input device is not a TTY")


def flush() -> None:
    """What was printed so far goes before what the container prints."""
    sys.stdout.flush()
    sys.stderr.flush()
