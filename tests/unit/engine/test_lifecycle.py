"""The life of a container: the table, and what a state says after each event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.engine.containers.render import state as render_state
from corten.engine.lifecycle import TRANSITIONS, Event, Status, advance
from corten.engine.record import UNKNOWN_EXIT, State
from corten.errors import InvalidTransition


@given(st.sampled_from(Status), st.sampled_from(Event))
def test_advance_knows_exactly_the_table(status: Status, event: Event) -> None:
    if (status, event) in TRANSITIONS:
        assert advance(status, event) is TRANSITIONS[status, event]
    else:
        with pytest.raises(InvalidTransition, match=f"cannot {event} a container that is {status}"):
            advance(status, event)


def test_every_status_can_be_reached_and_left() -> None:
    reached = set(TRANSITIONS.values()) | {Status.CREATED}
    assert reached == set(Status)
    assert {status for status, _ in TRANSITIONS} == set(Status)


def test_a_run_keeps_when_it_began_and_forgets_the_run_before() -> None:
    first = State().started(10, 1_000, 5).exited(3, 2_000, oom_kills=1)
    assert (first.status, first.exit_code, first.pid, first.started_ns, first.finished_ns) == (
        Status.EXITED,
        3,
        0,
        1_000,
        2_000,
    )
    again = first.started(11, 3_000, 6)
    assert (again.exit_code, again.oom_killed, again.error, again.finished_ns) == (0, False, "", 2_000)


def test_a_failed_start_changes_no_status() -> None:
    failed = State().failed("no such file", 127)
    assert (failed.status, failed.exit_code, failed.error) == (Status.CREATED, 127, "no such file")


def test_an_unknown_exit_is_never_zero() -> None:
    assert State().started(1, 1, 1).exited(UNKNOWN_EXIT, 2, unknown=True).exit_code == 255


@pytest.mark.parametrize(
    ("status", "running", "paused", "restarting", "dead"),
    [
        (Status.CREATED, False, False, False, False),
        (Status.RUNNING, True, False, False, False),
        (Status.PAUSED, True, True, False, False),
        (Status.RESTARTING, True, False, True, False),
        (Status.EXITED, False, False, False, False),
        (Status.DEAD, False, False, False, True),
    ],
)
def test_booleans_are_derived(status: Status, running: bool, paused: bool, restarting: bool, dead: bool) -> None:
    shown = render_state(State(status=status))
    assert (shown.Running, shown.Paused, shown.Restarting, shown.Dead) == (running, paused, restarting, dead)
