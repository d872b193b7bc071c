"""A health check as data: what is run, how often, and what follows from a result; pure.

Defaults, bounds and rules are Docker's (moby, daemon/health.go): a first success makes a container healthy, ``retries``
failures in a row make it unhealthy, and failures within the start period do not count while it never was healthy.
"""

from typing import Final

import msgspec

from corten.api.types.container import ContainerConfig, HealthConfig
from corten.errors import InvalidArgument

STARTING: Final = "starting"
HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"
NONE: Final = "none"

LOG_ENTRIES: Final = 5
#: What a result says when its check could not be run, or took too long.
NO_CODE: Final = -1

_SECOND: Final = 10**9
_SHORTEST_NS: Final = 10**6
_DEFAULT_SHELL: Final = ("/bin/sh", "-c")


class Result(msgspec.Struct, frozen=True):
    """One check's outcome; times in ns since the epoch."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a container's health: of its last run once it has ended. ``log`` holds the newest results."""

    status: str = STARTING
    streak: int = 0
    log: tuple[Result, ...] = ()

    def begun(self) -> "Health":
        """Of a container that was started again: the results of earlier runs stay."""
        return Health(log=self.log)


class Check(msgspec.Struct, frozen=True):
    """A check with every default filled in; times in ns."""

    command: tuple[str, ...]
    interval: int
    timeout: int
    start_period: int
    start_interval: int
    retries: int

    @property
    def title(self) -> str:
        """The command as events name it."""
        return f"{self.command[0]} {' '.join(self.command[1:])}"


def check_of(config: ContainerConfig) -> Check | None:
    """The check of a container, None when it has none (``NONE``, nothing, or a kind nobody knows)."""
    given = config.Healthcheck
    words = tuple(given.Test or ()) if given is not None else ()
    if given is None or len(words) < 2 or words[0] not in ("CMD", "CMD-SHELL"):
        return None
    shell = tuple(config.Shell or _DEFAULT_SHELL) if words[0] == "CMD-SHELL" else ()
    return Check(
        command=(*shell, *words[1:]),
        interval=given.Interval or 30 * _SECOND,
        timeout=given.Timeout or 30 * _SECOND,
        start_period=given.StartPeriod,
        start_interval=given.StartInterval or 5 * _SECOND,
        retries=given.Retries or 3,
    )


def validate(given: HealthConfig | None) -> None:
    """Raises InvalidArgument with Docker's text."""
    if given is None:
        return
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = getattr(given, name)
        if value != 0 and value < _SHORTEST_NS:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if given.Retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def pause_ns(check: Check, health: Health, age_ns: int) -> int:
    """How long to wait before the next check of a container that has run for ``age_ns``."""
    starting = health.status == STARTING and age_ns < check.start_period
    return check.start_interval if starting else check.interval


def judge(check: Check, health: Health, result: Result, age_ns: int) -> Health:
    """The health after the result of a check that began when the container had run for ``age_ns``."""
    log = (*health.log, result)[-LOG_ENTRIES:]
    if result.exit_code == 0:
        return Health(status=HEALTHY, log=log)
    if health.status == STARTING and age_ns < check.start_period:
        return msgspec.structs.replace(health, log=log)
    streak = health.streak + 1
    status = UNHEALTHY if streak >= check.retries else health.status
    return Health(status=status, streak=streak, log=log)


def overdue_text(timeout_ns: int, output: str) -> str:
    """The output of a check that was ended because it took too long."""
    text = f"Health check exceeded timeout ({_go_duration(timeout_ns)})"
    return f"{text}: {output}" if output else text


def _go_duration(nanoseconds: int) -> str:
    """Go's ``time.Duration`` as text, from a millisecond on: ``500ms``, ``1.5s``, ``1m30s``, ``1h0m0s``."""
    if nanoseconds < _SECOND:
        return f"{nanoseconds / 10**6:.6f}".rstrip("0").rstrip(".") + "ms"
    whole, rest = divmod(nanoseconds, _SECOND)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = str(seconds) + (f".{rest:09d}".rstrip("0") if rest else "") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
