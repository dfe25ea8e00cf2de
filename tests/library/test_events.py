"""Tests of the event engine."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference.simulation.events import Event, EventQueue
from tests.library.conftest import refusal


@given(st.lists(st.floats(0, 100), max_size=30))
def test_events_happen_in_order_of_time_and_planning(times: list[float]) -> None:
    """Earlier events come first, and of those at one time the one planned first."""
    events, seen = EventQueue(), []
    for index, time in enumerate(times):

        def action(index: int = index) -> None:
            seen.append((events.now, index))

        events.at(time, action)
    events.run(until=100)
    assert seen == sorted((time, index) for index, time in enumerate(times))


def test_run_stops_at_its_time() -> None:
    """What is planned for the end happens, what is planned for later stays planned."""
    events, seen = EventQueue(), []
    events.at(2.0, lambda: seen.append(2))
    events.at(2.5, lambda: seen.append(3))
    events.run(until=2.0)
    assert (seen, events.now) == ([2], 2.0)
    events.run(until=2.2)
    assert (seen, events.now) == ([2], 2.2)
    events.run(until=10)
    assert (seen, events.now) == ([2, 3], 10)


def test_time_never_goes_back() -> None:
    """What is planned for the past happens now, and so does a run into the past."""
    events, seen = EventQueue(), []
    events.run(until=5)
    events.at(1.0, lambda: seen.append(events.now))
    events.run(until=4)
    assert (seen, events.now) == ([], 5)
    events.run(until=5)
    assert seen == [5]


def test_events_may_plan_events() -> None:
    """An action plans others, also for the same time, after what is planned then."""
    events, seen = EventQueue(), []

    def first() -> None:
        events.after(0.0, lambda: seen.append(("third", events.now)))
        events.after(1.0, lambda: seen.append(("last", events.now)))

    events.at(1.0, first)
    events.at(1.0, lambda: seen.append(("second", events.now)))
    events.run(until=10)
    assert seen == [("second", 1.0), ("third", 1.0), ("last", 2.0)]


def test_cancelled_event_does_not_happen() -> None:
    """Cancelling works until the event, and is harmless afterwards."""
    events, seen = EventQueue(), []
    dropped = events.after(1.0, lambda: seen.append("dropped"))
    kept = events.after(1.0, lambda: seen.append("kept"))
    dropped.cancel()
    events.run(until=2)
    kept.cancel()
    assert seen == ["kept"]


def test_series_keeps_its_phase() -> None:
    """Times of a series are multiples of its period, without errors that add up."""
    events, seen = EventQueue(), []
    events.run(until=3)
    events.every(0.1, lambda: seen.append(events.now), first=0.5)
    events.run(until=1_000)
    assert seen[:2] == [3.5, 3.6]
    assert seen[9_000] == 3.5 + 9_000 * 0.1
    assert len(seen) == 9_966


def test_series_starts_at_once_and_ends_when_cancelled() -> None:
    """A series has its first time now, and may be cancelled by its own action."""
    events, seen = EventQueue(), []

    def action() -> None:
        seen.append(events.now)
        if events.now >= 30:
            series.cancel()

    series: Event = events.every(15, action)
    events.run(until=100)
    assert seen == [0, 15, 30]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda events: events.at(float("nan"), print),
            "'time' must be -1000000000000.0 to 1000000000000.0, got nan",
        ),
        (
            lambda events: events.after(-1, print),
            "'delay' must be 0.0 to 1000000000000.0, got -1",
        ),
        (
            lambda events: events.after("1", None),
            (
                "'delay' must be a number, got '1'\n"
                "'action' must be a function, got None"
            ),
        ),
        (
            lambda events: events.every(0, print),
            "'period' must be 1e-06 to 1000000000000.0, got 0",
        ),
        (
            lambda events: events.every(1, print, first=None),
            "'first' must be a number, got None",
        ),
        (
            lambda events: events.run(until=float("inf")),
            "'until' must be 0.0 to 1000000000000.0, got inf",
        ),
        (lambda events: events.run(until=True), "'until' must be a number, got True"),
    ],
)
def test_events_refuse(call: Callable[[EventQueue], Any], message: str) -> None:
    """What is no time or no function is named, before anything is planned."""
    events = EventQueue()
    assert refusal(lambda: call(events)) == message
    events.run(until=1e9)
    assert events.now == 1e9
