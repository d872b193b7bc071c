"""Health checks as data: what is run, how often, what a result makes of a container's health, and how it is shown."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.types.container import ContainerConfig, HealthConfig, HostConfig, RestartPolicy
from corten.engine import policies
from corten.engine.containers import render
from corten.engine.health import checks
from corten.engine.health.checks import HEALTHY, STARTING, UNHEALTHY, Check, Health, Result
from corten.engine.lifecycle import Status
from corten.engine.record import ContainerRecord, State, decode, encode
from corten.engine.spec.merge import merge
from corten.errors import InvalidArgument
from corten.oci import image as oci

SECOND = 10**9


def check(**values: Any) -> Check:
    found = checks.check_of(ContainerConfig(Healthcheck=HealthConfig(Test=["CMD", "true"], **values)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("test", "shell", "command"),
    [
        (["CMD", "curl", "-f", "x y"], None, ("curl", "-f", "x y")),
        (["CMD-SHELL", "curl x | grep y"], None, ("/bin/sh", "-c", "curl x | grep y")),
        (["CMD-SHELL", "x"], ["/bin/bash", "-ec"], ("/bin/bash", "-ec", "x")),
        (["NONE"], None, None),
        (["CMD"], None, None),
        (["FOO", "x"], None, None),
        ([], None, None),
        (None, None, None),
    ],
)
def test_what_is_run(test: list[str] | None, shell: list[str] | None, command: tuple[str, ...] | None) -> None:
    found = checks.check_of(ContainerConfig(Healthcheck=HealthConfig(Test=test), Shell=shell))
    assert (found.command if found else None) == command


def test_defaults_are_dockers() -> None:
    found = check()
    assert (found.interval, found.timeout, found.start_period, found.start_interval, found.retries) == (
        30 * SECOND, 30 * SECOND, 0, 5 * SECOND, 3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"Interval": 999_999}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Timeout": -1}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"StartPeriod": 5}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"StartInterval": 5}, "StartInterval in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_what_is_refused(values: dict[str, int], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checks.validate(HealthConfig(**values))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("client", "image", "expected"),
    [
        (None, None, None),
        (HealthConfig(Test=["NONE"]), oci.Healthcheck(test=("CMD", "a")), ["NONE"]),
        (HealthConfig(Interval=7), oci.Healthcheck(test=("CMD", "a"), interval=5, retries=2), ["CMD", "a"]),
        (None, oci.Healthcheck(test=("CMD", "a")), ["CMD", "a"]),
    ],
)
def test_an_images_check_is_completed(
    client: HealthConfig | None, image: oci.Healthcheck | None, expected: list[str] | None
) -> None:
    merged = merge(ContainerConfig(Healthcheck=client), oci.ContainerConfig(healthcheck=image)).Healthcheck
    assert (merged.Test if merged else None) == expected
    if client is not None and client.Interval and merged is not None:
        assert (merged.Interval, merged.Retries) == (7, 2)


def outcome(results: str, found: Check, *, step: int = SECOND) -> Health:
    """The health after results, one a second since the start: ``+`` success, ``-`` failure."""
    health = Health()
    for number, sign in enumerate(results):
        at = number * step
        health = checks.judge(found, health, Result(at, at, 0 if sign == "+" else 1, ""), at)
    return health


@pytest.mark.parametrize(
    ("results", "values", "status", "streak"),
    [
        ("", {}, STARTING, 0),
        ("-", {}, STARTING, 1),
        ("--", {}, STARTING, 2),
        ("---", {}, UNHEALTHY, 3),
        ("-----", {}, UNHEALTHY, 5),
        ("+", {}, HEALTHY, 0),
        ("+--", {}, HEALTHY, 2),
        ("+---", {}, UNHEALTHY, 3),
        ("---+", {}, HEALTHY, 0),
        ("-", {"Retries": 1}, UNHEALTHY, 1),
        ("---", {"StartPeriod": 3 * SECOND}, STARTING, 0),
        ("------", {"StartPeriod": 3 * SECOND}, UNHEALTHY, 3),
        ("+--", {"StartPeriod": 60 * SECOND}, HEALTHY, 2),
    ],
)
def test_judgement(results: str, values: dict[str, int], status: str, streak: int) -> None:
    health = outcome(results, check(**values))
    assert (health.status, health.streak) == (status, streak)


@given(st.text(alphabet="+-", max_size=30), st.integers(1, 5))
def test_the_log_holds_the_newest_five_and_unhealthy_means_a_streak(results: str, retries: int) -> None:
    health = outcome(results, check(Retries=retries))
    assert [result.start_ns for result in health.log] == [n * SECOND for n in range(len(results))][-5:]
    assert (health.status == UNHEALTHY) == results.endswith("-" * retries)


def test_the_pause_is_shorter_while_it_starts() -> None:
    found = check(Interval=30 * SECOND, StartPeriod=10 * SECOND, StartInterval=2 * SECOND)
    assert checks.pause_ns(found, Health(), 0) == 2 * SECOND
    assert checks.pause_ns(found, Health(), 10 * SECOND) == 30 * SECOND
    assert checks.pause_ns(found, Health(status=HEALTHY), 0) == 30 * SECOND


@pytest.mark.parametrize(
    ("timeout", "text"),
    [
        (500 * 10**6, "500ms"), (1_500_000, "1.5ms"), (SECOND, "1s"), (1_250_000_000, "1.25s"), (90 * SECOND, "1m30s"),
        (3600 * SECOND, "1h0m0s"),
    ],
)  # fmt: skip
def test_a_check_that_took_too_long_is_told_as_go_prints_it(timeout: int, text: str) -> None:
    assert checks.overdue_text(timeout, "") == f"Health check exceeded timeout ({text})"
    assert checks.overdue_text(timeout, "out") == f"Health check exceeded timeout ({text}): out"


def record(state: State, policy: str = "no", count: int = 0) -> ContainerRecord:
    return ContainerRecord(
        id="ab" * 32, name="web", created_ns=1, path="true", args=(), image_id="", config=ContainerConfig(),
        host=HostConfig(RestartPolicy=RestartPolicy(policy, count)), state=state,
    )  # fmt: skip


def test_how_it_is_shown() -> None:
    log = (Result(SECOND, 2 * SECOND, 1, "bad"),)
    health = Health(status=HEALTHY, streak=1, log=log)
    running = State(status=Status.RUNNING, started_ns=1, health=health)
    assert render.status_text(running, 1) == "Up Less than a second (healthy)"
    assert render.status_text(msgspec.structs.replace(running, health=Health()), 1).endswith("(health: starting)")
    shown = render.state(running).Health
    assert shown is not msgspec.UNSET
    assert (shown.Status, shown.FailingStreak, len(shown.Log), shown.Log[0].Output) == (HEALTHY, 1, 1, "bad")
    ended = running.exited(0, 5)
    assert render.health_status(ended) == UNHEALTHY, "as Docker shows a container that does not run"
    assert not ended.unhealthy, "which is not what its check said"
    assert render.health_status(ended.started(1, 2, 3)) == STARTING
    assert ended.started(1, 2, 3).health == Health(log=log)
    assert render.state(State(health=Health())).Health is msgspec.UNSET, "it never ran"
    assert render.health_status(State()) == "none"


def test_health_is_kept_in_the_record() -> None:
    kept = record(State(status=Status.RUNNING, health=Health(HEALTHY, 2, (Result(1, 2, 3, "é"),))))
    assert decode(encode(kept)) == kept


@pytest.mark.parametrize(
    ("policy", "count", "status", "stopped", "expected"),
    [
        ("on-unhealthy", 0, UNHEALTHY, False, True),
        ("on-unhealthy", 0, HEALTHY, False, False),
        ("on-unhealthy", 0, UNHEALTHY, True, False),
        ("always", 0, UNHEALTHY, False, False),
    ],
)
def test_who_is_ended_for_its_health(policy: str, count: int, status: str, stopped: bool, expected: bool) -> None:
    state = State(status=Status.RUNNING, stop_requested=stopped, policy_over=stopped, health=Health(status=status))
    assert policies.ends_when_unhealthy(record(state, policy, count)) is expected
    ended = record(msgspec.structs.replace(state, status=Status.EXITED, exit_code=0, started_ns=1), policy, count)
    assert policies.restarts_after_exit(ended) is (expected or policy == "always")
    if expected:
        tired = msgspec.structs.replace(record(state, policy, 2), restart_count=2)
        assert not policies.ends_when_unhealthy(tired), "it is left running when its tries are used up"
