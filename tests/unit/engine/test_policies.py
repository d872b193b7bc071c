"""Restart policies: who is started again after an exit and with the engine, and how long that takes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.types.container import ContainerConfig, HostConfig, RestartPolicy
from corten.api.types.network import EndpointSettings, NetworkingConfig
from corten.engine import policies
from corten.engine.containers.restart import dependencies
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord, Link, State
from corten.errors import Conflict, InvalidArgument

SECOND = 10**9


def record(policy: str = "no", count: int = 0, *, restarts: int = 0, host: Any = None, **state: Any) -> ContainerRecord:
    values = {"status": Status.EXITED, "started_ns": 1, "finished_ns": 2, **state}
    return ContainerRecord(
        id="ab" * 32, name="web", created_ns=1, path="true", args=(), image_id="sha256:1",
        config=ContainerConfig(), host=HostConfig(RestartPolicy=RestartPolicy(policy, count), **(host or {})),
        state=State(**values), restart_count=restarts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "count", "restarts", "code", "stopped", "after_exit", "with_engine"),
    [
        ("no", 0, 0, 0, False, False, False),
        ("no", 0, 0, 1, False, False, False),
        ("always", 0, 0, 0, False, True, True),
        ("always", 0, 99, 1, False, True, True),
        ("always", 0, 0, 0, True, False, True),
        ("unless-stopped", 0, 0, 0, False, True, True),
        ("unless-stopped", 0, 0, 137, True, False, False),
        ("on-failure", 0, 0, 0, False, False, False),
        ("on-failure", 0, 99, 1, False, True, True),
        ("on-failure", 2, 1, 1, False, True, True),
        ("on-failure", 2, 2, 1, False, False, False),
        ("on-failure", 0, 0, 143, True, False, True),
        ("on-unhealthy", 0, 0, 0, False, False, False),
        ("on-unhealthy", 0, 0, 1, False, True, True),
        ("on-unhealthy", 1, 1, 1, False, False, False),
        ("on-unhealthy", 0, 0, 143, True, False, True),
    ],
)
def test_decisions(
    policy: str, count: int, restarts: int, code: int, stopped: bool, after_exit: bool, with_engine: bool
) -> None:
    ended = record(policy, count, restarts=restarts, exit_code=code, stop_requested=stopped, policy_over=stopped)
    assert policies.restarts_after_exit(ended) is after_exit
    assert policies.starts_with_engine(ended) is with_engine


@pytest.mark.parametrize(
    ("policy", "after_exit", "with_engine"),
    [
        ("always", True, True),
        ("unless-stopped", False, False),
        ("on-failure", True, True),
        ("on-unhealthy", True, True),
    ],
)
def test_a_signal_that_is_not_the_stop_signal_is_remembered_by_one_policy(
    policy: str, after_exit: bool, with_engine: bool
) -> None:
    ended = record(policy, exit_code=3, stop_requested=True)
    assert policies.restarts_after_exit(ended) is after_exit
    assert policies.starts_with_engine(ended) is with_engine
    if after_exit:
        again = policies.after_exit(ended, 0)
        assert again.state.started(5, 6, 7).stop_requested, "its policy has started it: it is remembered on"
    assert not ended.fresh().state.stop_requested
    stopped = record(policy, exit_code=3, stop_requested=True, policy_over=True)
    assert not stopped.fresh().state.policy_over


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure", "on-unhealthy"])
def test_what_never_ran_is_not_started_with_the_engine(policy: str) -> None:
    assert not policies.starts_with_engine(record(policy, status=Status.CREATED, started_ns=0, exit_code=127))


def test_the_pause_doubles_up_to_a_minute_and_begins_again_after_ten_seconds() -> None:
    seen, delay = [], 0
    for _ in range(12):
        delay = policies.next_delay_ms(delay, SECOND)
        seen.append(delay)
    assert seen == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]
    assert policies.next_delay_ms(60000, 10 * SECOND - 1) == 60000
    assert policies.next_delay_ms(60000, 10 * SECOND) == 100


def test_a_record_waits_for_its_restart_and_counts_it() -> None:
    first = policies.after_exit(record("on-failure", 2, exit_code=3), 0)
    assert (first.state.status, first.restart_count, first.state.backoff_ms) == (Status.RESTARTING, 1, 100)
    again = first.with_state(first.state.started(9, 10, 1).exited(3, 11))
    second = policies.after_exit(again, SECOND)
    assert (second.state.status, second.restart_count, second.state.backoff_ms) == (Status.RESTARTING, 2, 200)
    last = policies.after_exit(second.with_state(second.state.started(9, 12, 1).exited(3, 13)), 0)
    assert (last.state.status, last.restart_count) == (Status.EXITED, 2)
    assert last.fresh().restart_count == last.fresh().state.backoff_ms == 0


def test_a_restart_that_fails_leaves_the_code_of_the_last_run() -> None:
    waiting = policies.after_exit(record("always", exit_code=9), 0).state
    failed = waiting.failed("no such file", 127)
    assert (failed.status, failed.exit_code, failed.error) == (Status.EXITED, 9, "no such file")


@pytest.mark.parametrize("finished", [0, 10**18], ids=["set back", "set forward"])
def test_a_clock_that_was_set_does_not_make_a_run_long_or_short(finished: int) -> None:
    ended = record("always", exit_code=3, started_ns=10**17, finished_ns=finished, backoff_ms=400)
    assert policies.after_exit(ended, SECOND).state.backoff_ms == 800
    assert policies.after_exit(ended, 10 * SECOND).state.backoff_ms == 100


@given(st.integers(0, 60_000), st.integers(-(2**62), 2**62))
def test_what_is_left_of_a_pause_is_bounded_whatever_the_clock_says(backoff: int, now: int) -> None:
    state = State(status=Status.RESTARTING, finished_ns=0, backoff_ms=backoff)
    assert 0 <= policies.remaining_seconds(state, now) <= backoff / 1000


def test_what_is_left_of_a_pause() -> None:
    state = State(status=Status.RESTARTING, finished_ns=5 * SECOND, backoff_ms=3000)
    assert policies.remaining_seconds(state, 6 * SECOND) == 2


@pytest.mark.parametrize(
    ("name", "count", "text"),
    [
        ("", 5, None),
        ("no", 0, None),
        ("on-failure", 5, None),
        ("on-unhealthy", 5, None),
        ("unless-stopped", 0, None),
        ("always", 3, "invalid restart policy: maximum retry count can only be used with 'on-failure'"),
        ("no", -1, "maximum retry count can only be used with 'on-failure' and cannot be negative"),
        ("on-failure", -1, "invalid restart policy: maximum retry count cannot be negative"),
        ("sometimes", 0, "unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', 'unless-stopped'"),
    ],
)
def test_policies_are_checked_in_dockers_words(name: str, count: int, text: str | None) -> None:
    if text is None:
        policies.check(RestartPolicy(name, count), auto_remove=False)
    else:
        with pytest.raises(InvalidArgument) as caught:
            policies.check(RestartPolicy(name, count), auto_remove=False)
        assert text in str(caught.value)


def test_a_container_that_removes_itself_takes_no_policy() -> None:
    policies.check(RestartPolicy("no"), auto_remove=True)
    with pytest.raises(InvalidArgument, match="can't create 'AutoRemove' container with restart policy"):
        policies.check(RestartPolicy("always"), auto_remove=True)


def test_a_policy_is_changed() -> None:
    before = record("no")
    assert policies.changed(before, RestartPolicy()) is before
    assert policies.changed(before, RestartPolicy("on-failure", 2)).host.RestartPolicy == RestartPolicy("on-failure", 2)
    with pytest.raises(InvalidArgument):
        policies.changed(before, RestartPolicy("sometimes"))
    with pytest.raises(Conflict, match="Restart policy cannot be updated because AutoRemove is enabled"):
        policies.changed(record("no", host={"AutoRemove": True}), RestartPolicy("always"))


def test_dependencies() -> None:
    joined = record(host={"NetworkMode": "container:net", "PidMode": "container:pid", "IpcMode": "host"})
    joined = msgspec.structs.replace(joined, links=(Link("alias", "db", "database"),))
    endpoints = {"front": EndpointSettings(Links=["cache:c"])}
    assert dependencies(joined) == ["net", "pid", "db"]
    linked = ContainerRecord(
        id="cd" * 32, name="x", created_ns=1, path="true", args=(), image_id="", config=ContainerConfig(),
        host=HostConfig(), networking=NetworkingConfig(endpoints),
    )  # fmt: skip
    assert dependencies(linked) == ["cache"]
