"""``stats``: a table of what containers use, redrawn twice a second, or printed once."""

from __future__ import annotations

import sys
import time

from corten.cli import listing, units
from corten.cli.listing import Layout
from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.errors import ClientError
from corten.client.transport import quote
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session
    from corten.client.transport import Client

    Document = dict[str, Any]

STATS_FLAGS: Final = (
    Flag("all", "a", "bool", "Show all containers (default shows just running)"),
    Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
    Flag("no-stream", "", "bool", "Print the first numbers and end"),
    Flag("no-trunc", "", "bool", "Don't truncate output"),
)

_COLUMNS: Final = (
    ("ID", "CONTAINER ID"), ("Name", "NAME"), ("CPUPerc", "CPU %"), ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"), ("NetIO", "NET I/O"), ("BlockIO", "BLOCK I/O"), ("PIDs", "PIDS"),
)  # fmt: skip
_KIND: Final = "*container.statsContext"
_LAYOUT: Final = Layout(_KIND, _COLUMNS, "ID", {"Container": "CONTAINER"})
_REFRESH: Final = 0.5
#: Numbers older than this are no longer shown.
_STALE: Final = 2.0
#: Cursor to the top left; clear to the end of the line; clear to the end of the screen.
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\033[H", "\033[K", "\033[J"


class Entry:
    """One container: how the user named it, its newest numbers, and whether there will be more."""

    __slots__ = ("changed", "container", "document", "ended", "failure")

    def __init__(self, container: str) -> None:
        self.container = container
        self.document: Document | None = None
        self.changed = 0.0
        self.failure: ClientError | None = None
        self.ended = False

    @property
    def is_known(self) -> bool:
        """Whether the first numbers came, or never will."""
        return self.document is not None or self.ended

    def follow(self, client: Client, *, stream: bool) -> None:
        """Read numbers until the engine has no more; runs in a thread of its own."""
        query = {"stream": "1" if stream else "0"}
        try:
            for document in client.documents("GET", f"/containers/{quote(self.container)}/stats", query):
                self.document, self.changed = document, time.monotonic()
        except ClientError as error:
            self.failure = error
        finally:
            self.ended = True


class Board:
    """The entries, in the order in which they were first seen."""

    def __init__(self, session: Session, *, stream: bool) -> None:
        self._session = session
        self._stream = stream
        self.entries: dict[str, Entry] = {}

    def add(self, container: str) -> None:
        """Begin to follow a container, once."""
        if container not in self.entries:
            entry = self.entries[container] = Entry(container)
            client = self._session.another_client()
            _in_background(lambda: entry.follow(client, stream=self._stream))

    def remove(self, container: str) -> None:
        """Show it no longer."""
        self.entries.pop(container, None)

    def wait(self) -> None:
        """Return when every container has numbers, or will have none."""
        deadline = time.monotonic() + _STALE
        while not all(entry.is_known for entry in list(self.entries.values())):
            if self._stream and time.monotonic() > deadline:
                return
            time.sleep(0.01)

    def follow_events(self, *, every: bool) -> None:
        """Containers that come and go are shown as they do."""
        wanted = listing.filters(["type=container"])
        events = self._session.another_client().documents("GET", "/events", {"filters": wanted})
        try:
            for event in events:
                self._heard(str(event.get("Action", "")), str((event.get("Actor") or {}).get("ID", "")), every=every)
        except ClientError:
            return  # the engine is going away, and every entry will say so

    def _heard(self, action: str, container: str, *, every: bool) -> None:
        if action == "start" or (every and action == "create"):
            self.add(container)
        elif action == "destroy" or (action == "die" and not every):
            self.remove(container)


def stats(session: Session, given: Options, arguments: list[str]) -> int:
    """Show the given containers, or all that run (``--all``: all there are)."""
    stream, every = not given.flag("no-stream"), given.flag("all")
    chosen = given.text("format") or session.config.text("statsFormat")
    board = Board(session, stream=stream)
    session.client.open()
    if not arguments:
        if stream:
            _in_background(lambda: board.follow_events(every=every))
        for container in session.client.get("/containers/json", {"all": "1" if every else ""}):
            board.add(container["Id"])
    for name in arguments:
        board.add(name)
    board.wait()
    failures = [entry.failure for entry in board.entries.values() if entry.failure is not None]
    if failures and arguments:
        raise CommandFailed("\n".join(str(failure) for failure in failures))
    if not stream:
        sys.stdout.write(_render(board, chosen, whole=given.flag("no-trunc")))
        return 0
    while board.entries or not arguments:
        text = _render(board, chosen, whole=given.flag("no-trunc"))
        lines = "".join(f"{line}{_END_OF_LINE}\n" for line in text.splitlines())
        sys.stdout.write(f"{_HOME}{lines}{_END_OF_SCREEN}")
        sys.stdout.flush()
        time.sleep(_REFRESH)
        for name, entry in list(board.entries.items()):
            if entry.ended:
                board.remove(name)
    return 0


def _in_background(action: Callable[[], None]) -> None:
    """In a thread that does not keep the process from ending."""
    from threading import Thread  # costs more than most commands' other imports together

    Thread(target=action, daemon=True).start()


def _render(board: Board, chosen: str, *, whole: bool) -> str:
    oldest = time.monotonic() - _STALE
    rows = []
    for entry in list(board.entries.values()):
        stale = entry.document is None or (not entry.ended and entry.changed < oldest)
        rows.append(row(entry.container, None if stale else entry.document, whole=whole))
    return listing.render(_LAYOUT, rows, chosen, quiet=False)


def row(container: str, found: Document | None, *, whole: bool) -> Row:
    """One container's numbers as a template sees them; ``found`` is None while there are none."""
    document = found or {}
    identifier = str(document.get("id") or container)
    memory = document.get("memory_stats") or {}
    used, limit = memory_without_cache(memory), memory.get("limit", 0)
    received, sent = network(document)
    read, written = block(document)

    def known(text: str, absent: str = "--") -> str:
        return absent if found is None else text

    return Row(
        _KIND,
        {
            "BlockIO": lambda: known(f"{units.size(read, 3)} / {units.size(written, 3)}"),
            "CPUPerc": lambda: known(f"{processor_share(document):.2f}%"),
            "Container": lambda: container,
            "ID": lambda: identifier if whole else identifier[:12],
            "MemPerc": lambda: known(f"{100 * used / limit if limit else 0.0:.2f}%"),
            "MemUsage": lambda: known(f"{units.binary_size(used)} / {units.binary_size(limit)}", "-- / --"),
            "Name": lambda: str(document.get("name", ""))[1:] or "--",
            "NetIO": lambda: known(f"{units.size(received, 3)} / {units.size(sent, 3)}"),
            "PIDs": lambda: known(str((document.get("pids_stats") or {}).get("current", 0))),
        },
    )


def processor_share(document: Document) -> float:
    """Percent of one processor: 200 when two were busy all the time between the two readings; pure."""
    now, before = document.get("cpu_stats") or {}, document.get("precpu_stats") or {}
    mine = _total(now) - _total(before)
    everybody = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    count = now.get("online_cpus", 0) or len((now.get("cpu_usage") or {}).get("percpu_usage") or ())
    return mine / everybody * count * 100 if mine > 0 and everybody > 0 else 0.0


def _total(times: Document) -> int:
    return int((times.get("cpu_usage") or {}).get("total_usage", 0))


def memory_without_cache(memory: Document) -> int:
    """Bytes in use that are no cache the kernel can drop (v1's and v2's word for it); pure."""
    usage = int(memory.get("usage", 0))
    detail = memory.get("stats") or {}
    for name in ("total_inactive_file", "inactive_file"):
        if name in detail and detail[name] < usage:
            return usage - int(detail[name])
    return usage


def network(document: Document) -> tuple[int, int]:
    """Bytes received and sent by all interfaces; pure."""
    interfaces = (document.get("networks") or {}).values()
    return sum(each["rx_bytes"] for each in interfaces), sum(each["tx_bytes"] for each in interfaces)


def block(document: Document) -> tuple[int, int]:
    """Bytes read and written on all devices; pure."""
    read = written = 0
    for entry in (document.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ():
        operation = entry["op"][:1].lower()
        read += entry["value"] if operation == "r" else 0
        written += entry["value"] if operation == "w" else 0
    return read, written
