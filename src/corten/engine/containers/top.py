"""``top``: the host's ``ps`` over the host's processes, filtered to those of one container.

The arguments are the client's, as Docker takes them; they reach ``ps`` as separate words, never through a shell, and
the container's own ``ps`` is never run.
"""

import asyncio
import re
from collections.abc import Collection
from typing import Final

from corten.api.types.container import TopResponse
from corten.engine.lifecycle import Status
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.errors import Conflict, CortenError, InvalidArgument

DEFAULT_ARGUMENTS: Final = "-ef"

_SECONDS: Final = 10.0
_TITLE: Final = re.compile(r"\s+(\S*)=\s*(PID\S*)")


class Top:
    """Lists the processes of running containers."""

    def __init__(self, roster: Roster, shim: Shim) -> None:
        self._roster = roster
        self._shim = shim

    async def top(self, reference: str, ps_args: str) -> TopResponse:
        """``ps`` columns and rows.

        Raises:
            Conflict: it does not run.
            InvalidArgument: arguments without a PID column, or refused by ``ps``.
        """
        container = self._roster.find(reference)
        if container.record.state.status is Status.RESTARTING:
            raise Conflict(f"container {container.id} is restarting, wait until the container is running")
        if not container.record.state.alive:
            raise Conflict(f"container {container.id} is not running")
        arguments = ps_args or DEFAULT_ARGUMENTS
        check(arguments)
        answer, _ = await self._shim.request("pids", {"id": container.id})
        pids = {int(pid) for pid in answer["pids"]}
        return select(await _ps_of(arguments.split(), pids), pids)


def check(arguments: str) -> None:
    """Refuse another name for the PID column, or its name for another: rows are found by it; moby#24358.

    Raises:
        InvalidArgument: with Docker's text.
    """
    for field, title in _TITLE.findall(arguments):
        if field != "pid":
            raise InvalidArgument(f'specifying "{field}={title}" is not allowed')


async def _ps_of(words: list[str], pids: Collection[int]) -> str:
    """``-q`` names the processes, or ``-o pid`` alone would show those of our terminal; some options exclude it."""
    try:
        return await _ps([*words, f"-q{','.join(map(str, sorted(pids)))}"])
    except InvalidArgument:
        return await _ps(words)


async def _ps(words: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        "ps",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "COLUMNS": "10000"},
    )
    try:
        output, complaint = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CortenError(f"ps did not end within {_SECONDS:g} s") from None
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise InvalidArgument(f"ps: {lines[0] if lines else f'exit status {process.returncode}'}")
    return output.decode(errors="replace")


def select(output: str, pids: Collection[int]) -> TopResponse:
    """Rows whose PID column is one of ``pids``; pure.

    Raises:
        InvalidArgument: ``Couldn't find PID field in ps output``.
    """
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            rows.append(fields)
    return TopResponse(Titles=titles, Processes=rows)
