"""The standard streams of one process: its pipes or its terminal, its log, its attached clients.

    process --stdout--> Output --+--> log (complete lines)
            --stderr--> Output --+--> every attached client that wants it
            <--stdin--- Input <------ every attached client that reads input, in order of arrival

Owns the descriptors of our side. Refuses to know processes: that one ended is told by :meth:`Streams.hurry`.
What nobody attached to is logged all the same. Output waits for a client that lags, and for a log that says so
(:mod:`corten.shim.log`), by not being read.
"""

from __future__ import annotations

import os
import time

from corten.linux import terminal
from corten.shim.attach import STDERR, STDOUT, Client
from corten.shim.log import LINGER, linger
from corten.shim.loop import note
from corten.shim.stdin import Input

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, Protocol

    from corten.shim.log import Log
    from corten.shim.loop import Loop

    class Owner(Protocol):
        """Who has these streams."""

        def output_ended(self) -> None: ...
        def detached(self) -> None: ...
        def log_lost(self, lines: int) -> None: ...


_READ: Final = 65536
_LAST_READS: Final = 64  # a pipe holds 64 KiB, 1 MiB at most where its owner asked for it
_REOPENED: Final = 0.25
NAMES: Final = {STDOUT: "stdout", STDERR: "stderr"}


class Output:
    """Our end of stdout, of stderr, or of a terminal."""

    __slots__ = ("_streams", "descriptor", "stream", "watched")

    def __init__(self, streams: Streams, descriptor: int, stream: int) -> None:
        os.set_blocking(descriptor, False)
        self._streams = streams
        self.descriptor = descriptor
        self.stream = stream
        self.watched = False

    def ready(self, events: int) -> None:
        """Called by the loop: one read."""
        self.read()

    def read(self) -> bool:
        """Read and deliver once; False when there is nothing now, or nothing any more."""
        try:
            chunk = os.read(self.descriptor, _READ)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last descriptor of the terminal's other side was closed
            chunk = b""
        if chunk:
            self._streams.deliver(self.stream, chunk)
            return True
        self._streams.ended(self)
        return False


class Streams:
    """Made before the process, so that clients lose nothing; given its descriptors by :meth:`open`."""

    __slots__ = (
        "_clients",
        "_hurried",
        "_log",
        "_loop",
        "_lost",
        "_noted",
        "_outputs",
        "_owner",
        "_tended",
        "input",
        "terminal",
    )

    def __init__(
        self, loop: Loop, owner: Owner, log: Log | None, *, is_terminal: bool, takes_input: bool, stdin_once: bool
    ) -> None:
        self._loop = loop
        self._owner: Owner | None = owner
        self._log = log
        self._lost = self._noted = 0
        self._tended = False
        self.terminal = is_terminal
        self.input = Input(loop, wanted=takes_input, once=stdin_once, changed=self._refresh_clients)
        self._clients: list[Client] = []
        self._outputs: tuple[Output, ...] = ()
        self._hurried = False

    def open(self, *, stdin: int = -1, stdout: int = -1, stderr: int = -1, console: int = -1) -> None:
        """Our ends, which now belong to this object; begins to read."""
        if console >= 0:
            self._outputs = (Output(self, console, STDOUT),)
            stdin = os.dup(console) if self.takes_input else -1
        else:
            pairs = ((stdout, STDOUT), (stderr, STDERR))
            self._outputs = tuple(Output(self, fd, stream) for fd, stream in pairs if fd >= 0)
        self._resume()
        self.input.open(stdin)
        self._refresh_clients()

    def attach(self, descriptor: int, options: dict[str, Any], early: bytes) -> None:
        """Add a client; ``early`` is input the engine had read with the request's head."""
        client = Client(self._loop, descriptor, options, self)
        self._clients.append(client)
        if early:
            client.take(early)

    def descriptors(self) -> dict[str, int]:
        """Our ends by role, for the engine's copies.

        Not a stdin that ends with its client: a second holder would keep the process from seeing that end.
        """
        if self.terminal:
            return dict.fromkeys(("console",), self._outputs[0].descriptor) if self._outputs else {}
        found = {NAMES[output.stream]: output.descriptor for output in self._outputs}
        if self.input.descriptor >= 0 and not self.stdin_once:
            found["stdin"] = self.input.descriptor
        return found

    def resize(self, height: int, width: int) -> None:
        """Set the terminal's size; without a terminal there is nothing to set, as in Docker."""
        if self.terminal:
            for output in self._outputs:
                terminal.set_size(output.descriptor, height, width)

    # -- output ------------------------------------------------------------------------------------------------

    def deliver(self, stream: int, chunk: bytes) -> None:
        """To the log, then to the clients."""
        log = self._log
        if log is not None:
            log.write(NAMES[stream], chunk, time.time_ns())
            if not self._tended:
                self._tend()
            if log.lost > 2 * self._lost:
                self._report_loss(log)
        if self._clients:
            for client in self._clients:
                client.put(stream, chunk)
        if not self._hurried and self._is_full():
            self._pause()

    def _is_full(self) -> bool:
        """Whether somebody who takes the output is behind."""
        return (self._log is not None and self._log.throttles()) or any(client.lags() for client in self._clients)

    def _tend(self) -> None:
        """Let the log do what it put off, now and as often as it asks for it."""
        again, self._tended = self._tended, False
        if self._log is None:
            return
        delay = self._log.work()
        if delay >= 0:
            self._tended = True
            self._loop.after(delay, self._tend)
        if again:
            self.caught_up()

    def _report_loss(self, log: Log, *, last: bool = False) -> None:
        """The engine hears of every doubling; shim.log has a line at the first loss and one at the end."""
        if last or not self._lost:
            note(f"{log.path}: {log.lost} lines could not be written")
            self._noted = log.lost
        self._lost = log.lost
        if self._owner is not None:
            self._owner.log_lost(log.lost)

    @property
    def log_lost(self) -> int:
        """Lines that are in no log."""
        return 0 if self._log is None else self._log.lost

    def ended(self, output: Output) -> None:
        """End of file on an output.

        A terminal reports one whenever nobody has its other side open, and may be opened again (as some inits do
        with /dev/console for every line): while the process lives it is looked at again a little later.
        """
        self._unwatch(output)
        if self.terminal and not self._hurried:
            self._loop.after(_REOPENED, self._resume)
            return
        os.close(output.descriptor)
        self._outputs = tuple(other for other in self._outputs if other is not output)
        if self._log is not None:
            self._log.finish(NAMES[output.stream], time.time_ns())
        if not self._outputs and self._owner is not None:
            self._owner.output_ended()

    def hurry(self) -> bool:
        """The process is dead: read what is left, whatever clients lag (it is bounded); whether all has ended."""
        self._hurried = True
        self.input.close()
        for output in self._outputs:
            for _ in range(_LAST_READS):
                if not output.read():
                    break
        self._resume()
        return not self._outputs

    def caught_up(self) -> None:
        """Somebody who lagged has room again."""
        if not self._is_full():
            self._resume()

    def _pause(self) -> None:
        for output in self._outputs:
            self._unwatch(output)

    def _resume(self) -> None:
        for output in self._outputs:
            if not output.watched:
                self._loop.add(output.descriptor, output)
                output.watched = True

    def _unwatch(self, output: Output) -> None:
        if output.watched:
            self._loop.remove(output.descriptor)
            output.watched = False

    # -- input -------------------------------------------------------------------------------------------------

    @property
    def takes_input(self) -> bool:
        """Whether the process has an input that was not ended."""
        return self.input.wanted

    @property
    def stdin_once(self) -> bool:
        """Whether the input ends with its first client's."""
        return self.input.once

    def end_input(self) -> None:
        """A client's input has ended: pass that on when stdin is for one attachment only."""
        if self.stdin_once and not self.terminal and self.takes_input:
            self.input.end()

    def _refresh_clients(self) -> None:
        for client in self._clients:
            client.refresh()

    # -- clients -----------------------------------------------------------------------------------------------

    def on_detach(self) -> None:
        """A client typed its detach keys."""
        if self._owner is not None:
            self._owner.detached()

    def left(self, client: Client) -> None:
        """A client is no longer attached."""
        if client in self._clients:
            self._clients.remove(client)
        self.caught_up()

    def release(self) -> None:
        """Give every client what it is still owed, and its end."""
        for client in list(self._clients):
            client.end()

    def abandon(self) -> None:
        """The process could not be started: the clients are the engine's again, which tells them why."""
        for client in list(self._clients):
            client.abandon()
        self.close()

    def reopen_log(self) -> None:
        """The log file was moved away."""
        if self._log is not None:
            self._log.reopen()

    def close(self) -> None:
        """Close everything that is ours; clients are released."""
        self.input.close()
        for output in self._outputs:
            self._unwatch(output)
            os.close(output.descriptor)
            if self._log is not None:
                self._log.finish(NAMES[output.stream], time.time_ns())
        self._outputs = ()
        self.release()
        log, self._log = self._log, None
        if log is not None:
            if log.lost > self._noted:
                self._report_loss(log, last=True)
            linger(self._loop, log, time.monotonic() + LINGER)
        self._owner = None
