"""Tests of windows and rate limits."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.keda_formula.go import INT32_MAX
from eks_inference.simulation.hpa_behavior import (
    Recommendation,
    ScaleEvent,
    limit_no_behavior,
    limit_with_behavior,
    replica_change_in_period,
    scale_down_limit,
    scale_up_limit,
    stabilization_no_behavior,
    stabilization_with_behavior,
)
from eks_inference.simulation.hpa_spec import Behavior, Policy, ScalingRules


def pods(value: int, period_s: int = 60) -> Policy:
    """Return a policy of pods."""
    return Policy(type="Pods", value=value, period_s=period_s)


def percent(value: int, period_s: int = 60) -> Policy:
    """Return a policy of per cent."""
    return Policy(type="Percent", value=value, period_s=period_s)


def event(change: int, age_s: float) -> ScaleEvent:
    """Return a change of the replicas."""
    return ScaleEvent(change=change, age_s=age_s)


def asked(replicas: int, age_s: float) -> Recommendation:
    """Return an earlier recommendation."""
    return Recommendation(replicas=replicas, age_s=age_s)


@pytest.mark.parametrize(("age", "counted"), [(0, 7), (59.9, 7), (60, 0), (61, 0)])
def test_an_event_as_old_as_the_period_is_out(age: float, counted: int) -> None:
    """Only events younger than the period count."""
    assert counted == replica_change_in_period(period_s=60, events=[event(7, age)])


@pytest.mark.parametrize(
    ("current", "policies", "select", "expected"),
    [
        (1, (pods(2), percent(50)), "Min", 2),
        (1, (pods(2), percent(50)), "Max", 3),
        (1, (pods(2), percent(50)), "Disabled", 1),
        (3, (percent(1),), "Max", 4),
        # 100 * 1.1 is 110.00000000000001 to Go as well
        (100, (percent(10),), "Max", 111),
        (0, (percent(900),), "Max", 0),
        (5, None, "Max", 10),
        (1, None, "Max", 5),
        (1_000_000_000, (percent(900),), "Max", INT32_MAX),
        (INT32_MAX, (pods(1),), "Max", INT32_MAX),
    ],
)
def test_limit_of_the_way_up(
    current: int, policies: tuple[Policy, ...] | None, select: str, expected: int
) -> None:
    """Percentages round up, so that a small one is not a standstill."""
    limit = scale_up_limit(current_replicas=current, policies=policies, select=select)
    assert limit == expected


@pytest.mark.parametrize(
    ("current", "policies", "select", "expected"),
    [
        (5, (pods(2), percent(50)), "Min", 3),
        (5, (pods(2), percent(50)), "Max", 2),
        (5, (pods(2), percent(50)), "Disabled", 5),
        (5, (percent(50),), "Max", 2),
        (5, None, "Max", 0),
        (5, (percent(1_000),), "Max", -45),
        (5, (pods(INT32_MAX),), "Max", 5 - INT32_MAX),
    ],
)
def test_limit_of_the_way_down(
    current: int, policies: tuple[Policy, ...] | None, select: str, expected: int
) -> None:
    """Percentages are cut off, so that what is left is the smaller number."""
    limit = scale_down_limit(current_replicas=current, policies=policies, select=select)
    assert limit == expected


def test_events_of_both_directions_count() -> None:
    """A period starts with the replicas before it, whichever way they have gone."""
    happened: dict[str, Any] = {
        "scale_up_events": [event(2, 60)],
        "scale_down_events": [event(4, 60), event(9, 180)],
    }
    assert (
        scale_up_limit(current_replicas=10, policies=[pods(4, 180)], **happened) == 16
    )
    assert (
        scale_down_limit(current_replicas=10, policies=[percent(50, 180)], **happened)
        == 6
    )


@pytest.mark.parametrize(
    ("desired", "expected"),
    [
        (2, (3, "TooFewReplicas")),
        (3, (3, "DesiredWithinRange")),
        (12, (12, "DesiredWithinRange")),
        (13, (12, "ScaleUpLimit")),
    ],
)
def test_limit_without_a_behavior(desired: int, expected: tuple[int, str]) -> None:
    """Growth ends at twice the replicas, shrinking only at the minimum."""
    assert expected == limit_no_behavior(
        current_replicas=6, desired=desired, min=3, max=100
    )


@pytest.mark.parametrize(
    ("current", "desired", "high", "expected"),
    [
        (1, 100, 100, (4, "ScaleUpLimit")),
        (0, 100, 100, (4, "ScaleUpLimit")),
        (3, 100, 4, (4, "TooManyReplicas")),
        (3, 100, 6, (6, "TooManyReplicas")),
        (3, 100, 7, (6, "ScaleUpLimit")),
        (2_000_000_000, INT32_MAX, INT32_MAX, (INT32_MAX, "DesiredWithinRange")),
    ],
)
def test_growth_without_a_behavior(
    current: int, desired: int, high: int, expected: tuple[int, str]
) -> None:
    """Four replicas are always allowed, within the maximum."""
    assert expected == limit_no_behavior(
        current_replicas=current, desired=desired, min=0, max=high
    )


@pytest.mark.parametrize(
    ("desired", "expected"),
    [
        (50, (40, "ScaleUpLimit")),
        (40, (40, "DesiredWithinRange")),
        (10, (10, "DesiredWithinRange")),
        (8, (8, "DesiredWithinRange")),
        (5, (7, "ScaleDownLimit")),
        (0, (7, "ScaleDownLimit")),
    ],
)
def test_limit_with_a_behavior(desired: int, expected: tuple[int, str]) -> None:
    """Both directions have their own policies."""
    assert expected == limit_with_behavior(
        current_replicas=10,
        desired=desired,
        min=1,
        max=100,
        scale_up=ScalingRules(policies=(pods(30),)),
        scale_down={"policies": [{"type": "Pods", "value": 3, "period_s": 60}]},
    )


def test_used_up_events_stop_but_do_not_turn() -> None:
    """A limit below the current replicas holds them, it takes none away."""
    limited = limit_with_behavior(
        current_replicas=30,
        desired=50,
        min=1,
        max=100,
        scale_up=ScalingRules(policies=(pods(5),)),
        scale_down=ScalingRules(),
        scale_up_events=[event(20, 10)],
    )
    assert limited == (30, "ScaleUpLimit")


@pytest.mark.parametrize(
    ("desired", "bounds", "expected"),
    [(50, (1, 20), (20, "TooManyReplicas")), (0, (5, 20), (5, "TooFewReplicas"))],
)
def test_bounds_with_a_behavior(
    desired: int, bounds: tuple[int, int], expected: tuple[int, str]
) -> None:
    """Bounds hold where they are tighter than the policies."""
    assert expected == limit_with_behavior(
        current_replicas=15,
        desired=desired,
        min=bounds[0],
        max=bounds[1],
        scale_up=ScalingRules(),
        scale_down=ScalingRules(),
    )


@pytest.mark.parametrize(
    ("history", "current", "desired", "windows", "expected"),
    [
        ([asked(4, 60)], 1, 8, (300, 0), 4),
        ([asked(4, 300)], 1, 8, (300, 0), 8),
        ([asked(4, 60)], 10, 2, (0, 300), 4),
        ([asked(4, 300)], 10, 2, (0, 300), 2),
        ([asked(2, 60), asked(9, 60)], 5, 5, (300, 300), 5),
        ([asked(2, 60)], 5, 9, (300, 300), 5),
        ([], 5, 9, (300, 300), 9),
        ([asked(1, 0)], 5, 9, (0, 0), 9),
    ],
)
def test_windows_of_a_behavior(
    history: list[Recommendation],
    current: int,
    desired: int,
    windows: tuple[int, int],
    expected: int,
) -> None:
    """The lowest of one window and the highest of the other bound the change."""
    assert expected == stabilization_with_behavior(
        recommendations=history,
        current_replicas=current,
        desired=desired,
        scale_up_window_s=windows[0],
        scale_down_window_s=windows[1],
    )


@pytest.mark.parametrize(("age", "expected"), [(0, 9), (300, 9), (300.5, 3)])
def test_window_without_a_behavior(age: float, expected: int) -> None:
    """A recommendation of just the window's age is still in it."""
    stable = stabilization_no_behavior(recommendations=[asked(9, age)], desired=3)
    assert stable == expected


policies_of = st.lists(
    st.builds(
        Policy,
        type=st.sampled_from(["Pods", "Percent"]),
        value=st.integers(1, 1_000),
        period_s=st.integers(1, 1_800),
    ),
    min_size=1,
    max_size=3,
)
events_of = st.lists(
    st.builds(ScaleEvent, change=st.integers(0, 50), age_s=st.floats(0, 2_000)),
    max_size=4,
)


@given(
    current=st.integers(0, 200),
    desired=st.integers(0, 400),
    low=st.integers(0, 20),
    room=st.integers(1, 300),
    up=policies_of,
    down=policies_of,
    added=events_of,
    removed=events_of,
)
def test_limits_hold(
    *,
    current: int,
    desired: int,
    low: int,
    room: int,
    up: list[Policy],
    down: list[Policy],
    added: list[ScaleEvent],
    removed: list[ScaleEvent],
) -> None:
    """A result lies between what is and what is asked for, and within the limits."""
    limited = limit_with_behavior(
        current_replicas=current,
        desired=desired,
        min=low,
        max=low + room,
        scale_up=ScalingRules(policies=tuple(up)),
        scale_down=ScalingRules(policies=tuple(down)),
        scale_up_events=added,
        scale_down_events=removed,
    ).replicas
    happened: dict[str, Any] = {
        "scale_up_events": added,
        "scale_down_events": removed,
        "current_replicas": current,
    }
    if desired > current:
        assert limited <= max(current, scale_up_limit(policies=up, **happened))
        assert limited <= low + room
    elif desired < current:
        assert limited >= min(current, scale_down_limit(policies=down, **happened))
        assert limited >= low
    else:
        assert limited == desired


@given(
    history=st.lists(
        st.builds(Recommendation, replicas=st.integers(0, 99), age_s=st.floats(0, 999)),
        max_size=5,
    ),
    current=st.integers(0, 99),
    desired=st.integers(0, 99),
    up=st.integers(0, 600),
    down=st.integers(0, 600),
)
def test_windows_only_slow_down(
    history: list[Recommendation], current: int, desired: int, up: int, down: int
) -> None:
    """A window never moves the replicas further than the metrics ask for."""
    stable = stabilization_with_behavior(
        recommendations=history,
        current_replicas=current,
        desired=desired,
        scale_up_window_s=up,
        scale_down_window_s=down,
    )
    assert min(current, desired) <= stable <= max(current, desired)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Policy(type="Nodes", value=0, period_s=math.nan),  # type: ignore[arg-type]
            (
                "policy: 'type' must be one of 'Pods', 'Percent', got 'Nodes'\n"
                "policy: 'value' must be 1 to 2147483647, got 0\n"
                "policy: 'period_s' must be a whole number, got nan"
            ),
        ),
        (
            lambda: ScalingRules(policies=(), window_s=3_601, select="Any"),
            (
                "rules: 'policies' must not be empty; leave them out instead\n"
                "rules: 'select' must be one of 'Max', 'Min', 'Disabled', got 'Any'\n"
                "rules: 'window_s' must be 0 to 3600, got 3601"
            ),
        ),
        (
            lambda: Behavior(scale_up=None),  # type: ignore[arg-type]
            "behavior: 'scale_up' must be of class ScalingRules, got None",
        ),
        (
            lambda: limit_no_behavior(current_replicas=1, desired=1, min=3, max=2),
            (
                "limit_no_behavior: 'max' must be at least 'min' (3), got 2; "
                "raise it or lower 'min'"
            ),
        ),
        (
            lambda: replica_change_in_period(period_s=60, events=[{"change": 1}]),
            (
                "replica_change_in_period: 'events[0]' must have change, age_s, "
                "got ['change']"
            ),
        ),
    ],
)
def test_fails_with_bad_input(call: Callable[[], object], message: str) -> None:
    """Bad input is named with the rule, the value and the repair."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert str(caught.value) == message
