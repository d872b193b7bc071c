"""``stop``, ``kill`` and ``restart``: signals, and how long to wait for their effect.

The container is held while a signal is sent, never while its effect is awaited: the exit itself needs the container.
One that its restart policy is about to start has no process: it stays ended, and nobody hears of a signal.
"""

import asyncio
import logging
from typing import Final

import msgspec

from corten.engine.containers.notices import Notices
from corten.engine.containers.pause import Pauser
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.signals import is_sendable, parse_signal, sendable
from corten.engine.tasks import Container, Exit
from corten.errors import Conflict, CortenError, InvalidArgument, NotFound, NotModified
from corten.linux import procfs

SIGTERM: Final = 15
DEFAULT_SECONDS: Final = 10
SIGKILL: Final = 9
#: How long a killed process may take to be reported before the engine says so.
KILL_SECONDS: Final = 10.0
UNSENT_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class Stopper:
    """Ends first processes."""

    def __init__(self, roster: Roster, shim: Shim, notices: Notices, pauser: Pauser, *, fast: bool) -> None:
        self._roster = roster
        self._shim = shim
        self._notices = notices
        self._pauser = pauser
        self._fast = fast

    async def kill(self, reference: str, text: str) -> None:
        """Send a signal (``SIGKILL`` when ``text`` is empty) and, for SIGKILL, wait for the end.

        Raises:
            Conflict: ``cannot kill container: X: container ID is not running``.
            InvalidArgument, NotFound: no such signal, no such container, in the same frame.
        """
        try:
            number = sendable(text) if text else SIGKILL
            self._roster.find(reference)
        except (InvalidArgument, NotFound) as exc:
            kind = NotFound if isinstance(exc, NotFound) else InvalidArgument
            raise kind(f"cannot kill container: {reference}: {exc}") from None
        async with self._roster.exclusive(reference) as container:
            if not container.record.state.active:
                raise Conflict(f"cannot kill container: {reference}: container {container.id} is not running")
            ends = _ends_policy(container.record, number)
            await self._remember_signal(container, over=ends)
            if container.record.state.status is Status.RESTARTING:
                if ends:
                    await self._give_up(container)
                return
            over = container.next_exit()
            await self._send(container, number)
        if number == SIGKILL:
            await self._await_end(container, over)

    async def stop(self, reference: str, text: str, seconds: int | None) -> None:
        """Stop signal, then SIGKILL after ``seconds`` (None = the container's own or 10, negative = never).

        With the engine's option ``fast-stop`` nobody waits for a first process that cannot hear the signal, as a
        program without a handler; Docker does, and so do we without that option: it may be about to end by itself.
        A stop signal that Linux has not cannot be sent: as in Docker two seconds are left for an end by itself.

        Raises:
            NotModified: it does not run.
        """
        wanted = parse_signal(text) if text else 0
        patience = _patience(self._roster.find(reference).record, seconds)
        async with self._roster.exclusive(reference) as container:
            if not container.record.state.active:
                raise NotModified("container is already stopped")
            over = container.next_exit()
            if container.record.state.status is Status.RESTARTING:
                await self._give_up(container)
            else:
                await self._remember_signal(container, over=True)
                number = wanted or _stop_signal(container.record)
                if not is_sendable(number):
                    logger.warning("container %s: its stop signal %d cannot be sent", container.id, number)
                    patience = None if patience is None else UNSENT_SECONDS
                else:
                    await self._send(container, number)
                if self._fast and patience is not None and not procfs.hears(container.record.state.pid, number):
                    patience = 0.0
        await self._wait_or_kill(container, over, patience)
        self._notices.container(container.record, "stop")

    async def end(self, container: Container) -> None:
        """SIGKILL and wait, for a forced removal; nothing when it does not run."""
        async with container.lock:
            if not container.record.state.active:
                return
            if container.record.state.status is Status.RESTARTING:
                await self._give_up(container)
                return
            over = container.next_exit()
            await self._remember_signal(container, over=True)
            await self._send(container, SIGKILL)
        await self._await_end(container, over)

    async def end_unhealthy(self, container: Container) -> None:
        """As ``stop``, for what its health check gave up; no client asked for it, so that its policy decides."""
        async with container.lock:
            state = container.record.state
            if state.status is not Status.RUNNING or not state.unhealthy or state.policy_over:
                return
            over = container.next_exit()
            if is_sendable(_stop_signal(container.record)):
                await self._send(container, _stop_signal(container.record))
        try:
            await asyncio.wait_for(asyncio.shield(over), _patience(container.record, None))
        except TimeoutError:
            async with container.lock:
                if not over.done():
                    await self._send(container, SIGKILL)

    async def _wait_or_kill(self, container: Container, over: "asyncio.Future[Exit]", seconds: float | None) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(over), seconds)
        except TimeoutError:
            await self.end(container)

    async def _await_end(self, container: Container, over: "asyncio.Future[Exit]") -> None:
        try:
            await asyncio.wait_for(asyncio.shield(over), KILL_SECONDS)
        except TimeoutError:
            raise CortenError(
                f"container {container.id} was killed and did not end within {KILL_SECONDS:g} s"
            ) from None

    async def _send(self, container: Container, number: int) -> None:
        try:
            await self._shim.request("kill", {"id": container.id, "signal": number})
        except NotFound:
            return  # it ended this moment; the report is on its way
        self._notices.container(container.record, "kill", signal=str(number))
        if _ends_policy(container.record, number):
            await self._pauser.wake(container)

    async def _give_up(self, container: Container) -> None:
        """No restart: it is exited now, with the code of its last run."""
        container.end_backoff()
        state = msgspec.structs.replace(container.record.state.given_up(), stop_requested=True, policy_over=True)
        await self._roster.update(container, container.record.with_state(state))
        container.announce_exit()

    async def _remember_signal(self, container: Container, *, over: bool) -> None:
        """A client sent one; with ``over`` its restart policy ends with this run."""
        record = container.record
        known = record.state.stop_requested and (record.state.policy_over or not over)
        if not known and record.state.status is not Status.REMOVING:
            over = over or record.state.policy_over
            state = msgspec.structs.replace(record.state, stop_requested=True, policy_over=over)
            await self._roster.update(container, record.with_state(state))


def _ends_policy(record: ContainerRecord, number: int) -> bool:
    """Whether a signal ends the restart policy, and a pause too: of a container with a stop signal of its own only that
    one and SIGKILL do (moby, daemon/kill.go).
    """
    return not record.config.StopSignal or number in (SIGKILL, _stop_signal(record))


def _stop_signal(record: ContainerRecord) -> int:
    """That of an image may be none: then, as in Docker, it is the default."""
    try:
        return parse_signal(record.config.StopSignal) if record.config.StopSignal else SIGTERM
    except InvalidArgument:
        return SIGTERM


def _patience(record: ContainerRecord, seconds: int | None) -> float | None:
    """Seconds before SIGKILL; None = for ever."""
    chosen = seconds if seconds is not None else record.config.StopTimeout
    if chosen is None:
        chosen = DEFAULT_SECONDS
    return None if chosen < 0 else float(chosen)
