"""Restart policies as decisions: who is started again, when, and which requests are refused; pure.

Docker's rules, read off moby's restart manager and dockerd's behaviour:

    policy           after an exit                        when the engine comes up
    no               never                                never
    on-failure[:n]   code is not 0, n not used up         the same
    always           yes                                  yes
    unless-stopped   unless a client signalled it         unless a client signalled it
    on-unhealthy[:n] as on-failure, and when its health   as on-failure
                     check gave it up

An exit a client asked for is never followed by a restart: the policy is over with a stop, and with any signal of
``kill``, deadly or not; where a container has a stop signal of its own, with that one and SIGKILL only
(moby, daemon/kill.go). What a policy starts again has still been signalled; a start by a client forgets it.

``on-unhealthy`` is this engine's own: the engine itself
stops a container that becomes unhealthy, and that end counts as a failure whatever its exit code is.
"""

from typing import Final

import msgspec

from corten.api.types.container import RestartPolicy
from corten.engine.record import ContainerRecord, State
from corten.errors import Conflict, InvalidArgument

NO: Final = "no"
ALWAYS: Final = "always"
ON_FAILURE: Final = "on-failure"
UNLESS_STOPPED: Final = "unless-stopped"
ON_UNHEALTHY: Final = "on-unhealthy"

_MS: Final = 10**6
_FIRST_DELAY_MS: Final = 100
_LONGEST_DELAY_MS: Final = 60_000
#: A run as long as this is a success: the next failure begins again with the first delay.
_STEADY_NS: Final = 10 * 10**9


def check(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Raises InvalidArgument with Docker's text."""
    name, count = policy.Name, policy.MaximumRetryCount
    if name in (ON_FAILURE, ON_UNHEALTHY):
        if count < 0:
            raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    elif name in (NO, ALWAYS, UNLESS_STOPPED):
        if count:
            negative = " and cannot be negative" if count < 0 else ""
            raise InvalidArgument(
                f"invalid restart policy: maximum retry count can only be used with 'on-failure'{negative}"
            )
    elif name:
        known = f"'{NO}', '{ALWAYS}', '{ON_FAILURE}', '{UNLESS_STOPPED}', or '{ON_UNHEALTHY}'"
        raise InvalidArgument(f"invalid restart policy: unknown policy '{name}'; use one of {known}")
    if auto_remove and name not in ("", NO):
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")


def changed(record: ContainerRecord, policy: RestartPolicy) -> ContainerRecord:
    """The record under another policy, which counts from the next exit on; the same one when ``policy`` has no name.

    Raises:
        InvalidArgument: no such policy.
        Conflict: the container is removed when it ends.
    """
    if not policy.Name:
        return record
    check(policy, auto_remove=False)
    if record.host.AutoRemove and policy.Name != NO:
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    return msgspec.structs.replace(record, host=msgspec.structs.replace(record.host, RestartPolicy=policy))


def restarts_after_exit(record: ContainerRecord) -> bool:
    """Whether a container whose record is that of its exit is started again."""
    policy, state = record.host.RestartPolicy, record.state
    if state.policy_over:
        return False
    if policy.Name == ALWAYS:
        return True
    if policy.Name == UNLESS_STOPPED:
        return not state.stop_requested
    return _failed(policy, state) and has_tries(record)


def starts_with_engine(record: ContainerRecord) -> bool:
    """Whether a container that does not run is started when the engine comes up; only one that ever ran is."""
    policy, state = record.host.RestartPolicy, record.state
    if not state.started_ns:
        return False
    if policy.Name == ALWAYS:
        return True
    if policy.Name == UNLESS_STOPPED:
        return not state.stop_requested
    return _failed(policy, state) and has_tries(record)


def ends_when_unhealthy(record: ContainerRecord) -> bool:
    """Whether the engine ends a running container now, because of its health, to start it again."""
    wanted = record.host.RestartPolicy.Name == ON_UNHEALTHY
    return wanted and record.state.unhealthy and not record.state.policy_over and has_tries(record)


def has_tries(record: ContainerRecord) -> bool:
    """Whether the policy's count, if it has one, allows another restart."""
    limit = record.host.RestartPolicy.MaximumRetryCount
    return not limit or record.restart_count < limit


def _failed(policy: RestartPolicy, state: State) -> bool:
    if policy.Name == ON_UNHEALTHY:
        return state.exit_code != 0 or state.unhealthy
    return policy.Name == ON_FAILURE and state.exit_code != 0


def next_delay_ms(previous_ms: int, ran_ns: int) -> int:
    """How long to wait before the next start: 100 ms, doubled each time up to a minute."""
    if not previous_ms or ran_ns >= _STEADY_NS:
        return _FIRST_DELAY_MS
    return min(2 * previous_ms, _LONGEST_DELAY_MS)


def remaining_seconds(state: State, now_ns: int) -> float:
    """What is left of the delay of a container that waits for its restart; a clock that was set cannot lengthen it."""
    left_ms = state.backoff_ms - (now_ns - state.finished_ns) // _MS
    return min(max(left_ms, 0), state.backoff_ms) / 1000


def after_exit(record: ContainerRecord, ran_ns: int) -> ContainerRecord:
    """The record of an exit with the policy applied: ``restarting`` with one restart more, or left ``exited``."""
    if not restarts_after_exit(record):
        return record
    return record.retrying(next_delay_ms(record.state.backoff_ms, ran_ns))
