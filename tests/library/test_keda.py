"""Tests of KEDA: waking, sleeping, and what the autoscaler gets to see."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.simulation.hpa_controller import Observation
from eks_inference.simulation.hpa_spec import Behavior, ExternalMetric
from eks_inference.simulation.keda import Keda
from eks_inference.simulation.keda_spec import (
    Fallback,
    ScaledObject,
    ScalingModifiers,
    Trigger,
)

RUNNING = Trigger(name="running", threshold=24)
WAITING = Trigger(name="waiting", threshold=5)
SUM = ScalingModifiers(formula="running + waiting * 10", target=25)


def queue(**fields: Any) -> Keda:
    """Return KEDA with one trigger."""
    trigger = fields.pop("trigger", Trigger(name="queue", threshold=5))
    return Keda(ScaledObject(triggers=(trigger,), **fields))


def composite(**fields: Any) -> Keda:
    """Return KEDA with a formula over two triggers."""
    fields = {"scaling_modifiers": SUM} | fields
    return Keda(ScaledObject(triggers=(RUNNING, WAITING), **fields))


def seen(keda: Keda, **values: float | None) -> int | None:
    """Return the one value that the autoscaler gets to see, with 4 pods, 2 ready."""
    (value,) = keda.metric(values, replicas=4, ready_pods=2).values()
    return value


def test_wakes_above_the_activation_threshold() -> None:
    """A value above the threshold, not at it, starts the first replica."""
    keda = queue(trigger=Trigger(name="queue", threshold=5, activation_threshold=2))
    assert keda.poll(0, {"queue": 2}, replicas=0) == 0
    assert keda.poll(30, {"queue": 2.001}, replicas=0) == 1


def test_wakes_to_the_minimum() -> None:
    """With an idle count the step goes to the minimum, and back to idle."""
    keda = queue(min_replica_count=3, idle_replica_count=0)
    assert keda.poll(0, {"queue": 1}, replicas=0) == 3
    assert keda.poll(30, {"queue": 1}, replicas=2) == 3
    assert keda.poll(330, {"queue": 0}, replicas=3) == 3
    assert keda.poll(331, {"queue": 0}, replicas=3) == 0


def test_leaves_the_rest_to_the_autoscaler() -> None:
    """Between one replica and the most, polling changes nothing."""
    keda = queue()
    assert keda.poll(0, {"queue": 10_000}, replicas=1) == 1
    assert keda.poll(30, {"queue": 1}, replicas=7) == 7


def test_sleeps_after_the_cooldown() -> None:
    """Zero comes once the cooldown has passed, whatever the replica count is."""
    keda = queue(cooldown_period_seconds=60)
    keda.poll(100, {"queue": 1}, replicas=4)
    assert keda.poll(160, {"queue": 0}, replicas=4) == 4
    assert keda.poll(160.5, {"queue": 0}, replicas=4) == 0


def test_first_cooldown_is_another() -> None:
    """Until something was active, the initial cooldown counts from the creation."""
    scaled = ScaledObject(
        triggers=(Trigger(name="queue", threshold=5),),
        initial_cooldown_period_seconds=50,
    )
    keda = Keda(scaled, created_at=10)
    assert keda.poll(60, {"queue": 0}, replicas=1) == 1
    assert keda.poll(61, {"queue": 0}, replicas=1) == 0


def test_minimum_of_one_ignores_the_cooldown() -> None:
    """With a minimum above zero the workload never sleeps, and is kept at it."""
    keda = queue(min_replica_count=2)
    assert keda.poll(9_999, {"queue": 0}, replicas=4) == 4
    assert keda.poll(9_999, {"queue": 0}, replicas=1) == 2


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        (None, 3),
        (Fallback(failure_threshold=3, replicas=2), 3),
        (Fallback(failure_threshold=3, replicas=0), 0),
    ],
)
def test_an_error_is_no_quiet_time(fallback: Fallback | None, expected: int) -> None:
    """A trigger that fails does not let the workload sleep, unless it falls to zero."""
    keda = queue(fallback=fallback)
    assert keda.poll(9_999, {"queue": None}, replicas=3) == expected


def test_a_failing_trigger_lets_the_cooldown_run() -> None:
    """While another trigger is active the workload stays, but the cooldown runs."""
    keda = composite(scaling_modifiers=None)
    keda.poll(0, {"running": 1, "waiting": 0}, replicas=1)
    assert keda.poll(900, {"running": 1, "waiting": None}, replicas=1) == 1
    assert keda.poll(901, {"running": 0, "waiting": 0}, replicas=1) == 0


def test_activation_of_a_formula() -> None:
    """With a formula only its own activation target counts."""
    eager = ScalingModifiers(
        formula="running + waiting", target=25, activation_target=5
    )
    keda = composite(scaling_modifiers=eager)
    assert keda.poll(0, {"running": 5, "waiting": 0}, replicas=0) == 0
    assert keda.poll(0, {"running": 5, "waiting": 0.001}, replicas=0) == 1
    assert keda.poll(0, {"running": 50, "waiting": None}, replicas=0) == 0


def test_a_formula_that_fails_counts_as_quiet() -> None:
    """KEDA logs an error of the formula, and takes no metric for inactivity."""
    odd = ScalingModifiers(formula="running > 2 ? max([true]) : 1", target=1)
    keda = composite(scaling_modifiers=odd)
    assert keda.poll(400, {"running": 3, "waiting": 0}, replicas=2) == 0
    assert seen(keda, running=3, waiting=0) is None


def test_metrics_without_a_formula() -> None:
    """Each trigger is a metric of its own, in milli-values that are cut off."""
    keda = composite(scaling_modifiers=None)
    result = keda.metric({"running": 1.0009, "waiting": None}, replicas=1, ready_pods=1)
    assert result == {"running": 1_000, "waiting": None}


@pytest.mark.parametrize(
    ("running", "waiting", "expected"),
    [
        (25, 3, 55_000),
        (0, 0, 0),
        (1.001, 0, 1_000),
        (0.0004, 0, 0),
        (10, None, None),
        (-3, 0, -3_000),
    ],
)
def test_metric_of_a_formula(
    running: float, waiting: float | None, expected: int | None
) -> None:
    """One metric comes of all triggers; one trigger that fails fails it."""
    assert seen(composite(), running=running, waiting=waiting) == expected


def test_metrics_of_the_autoscaler() -> None:
    """The HPA has one metric per trigger, or that of the formula with its target."""
    trigger = Trigger(name="p95", threshold=1.5, metric_type="Value")
    scaled = ScaledObject(triggers=(trigger, WAITING))
    assert scaled.hpa_metrics == (
        ExternalMetric(name="p95", target_milli=1_500, type="Value"),
        ExternalMetric(name="waiting", target_milli=5_000),
    )
    formula = ScaledObject(triggers=(RUNNING, WAITING), scaling_modifiers=SUM)
    assert formula.hpa_metrics == (
        ExternalMetric(name="composite-metric", target_milli=25_000),
    )


@pytest.mark.parametrize(
    ("behavior", "replicas"),
    [
        ("static", 6),
        ("currentReplicas", 4),
        ("currentReplicasIfHigher", 6),
        ("currentReplicasIfLower", 4),
    ],
)
def test_fallback(behavior: str, replicas: int) -> None:
    """After more failures than the threshold the value asks for the fallback."""
    fallback = Fallback(failure_threshold=2, replicas=6, behavior=behavior)
    keda = queue(fallback=fallback)
    values = [seen(keda, queue=None) for _ in range(4)]
    assert values == [None, None, replicas * 5_000, replicas * 5_000]
    assert seen(keda, queue=7) == 7_000
    assert seen(keda, queue=None) is None


@pytest.mark.parametrize(("ready", "expected"), [(2, 15_000), (1, 30_000), (0, None)])
def test_fallback_of_a_value_target(ready: int, expected: int | None) -> None:
    """A ``Value`` target multiplies by the ready pods, so the fallback divides."""
    trigger = Trigger(name="queue", threshold=5, metric_type="Value")
    keda = queue(trigger=trigger, fallback=Fallback(failure_threshold=0, replicas=6))
    result = keda.metric({"queue": None}, replicas=3, ready_pods=ready)
    assert result == {"queue": expected}


def test_fallback_of_a_formula() -> None:
    """One trigger in fallback is enough, and counts once, whatever the formula is."""
    keda = composite(fallback=Fallback(failure_threshold=0, replicas=3))
    assert seen(keda, running=400, waiting=None) == 75_000
    assert seen(keda, running=None, waiting=None) == 75_000


def test_fallback_by_the_formula() -> None:
    """Failed triggers are nil, and a formula that is nil asks for the fallback."""
    keda = composite(
        scaling_modifiers=ScalingModifiers(formula="running ?? waiting", target=2),
        fallback=Fallback(failure_threshold=1, replicas=7, behavior="scalingModifiers"),
    )
    assert seen(keda, running=None, waiting=8) is None
    assert seen(keda, running=None, waiting=8) == 8_000
    assert seen(keda, running=None, waiting=None) is None
    assert seen(keda, running=None, waiting=None) == 14_000


def test_cached_metrics() -> None:
    """The autoscaler gets the value of the last poll, an error as well."""
    cached = Trigger(name="queue", threshold=5, use_cached_metrics=True)
    keda = queue(trigger=cached)
    assert seen(keda, queue=1) == 1_000
    keda.poll(0, {"queue": 2}, replicas=1)
    assert seen(keda, queue=9) == 2_000
    keda.poll(30, {"queue": None}, replicas=1)
    assert seen(keda, queue=9) is None


def test_from_zero_to_many() -> None:
    """KEDA starts the first replica, and the autoscaler the others at its next sync."""
    scaled = ScaledObject(
        triggers=(RUNNING, WAITING),
        max_replica_count=10,
        scaling_modifiers=SUM,
        behavior=Behavior(),
    )
    keda, autoscaler = Keda(scaled), scaled.autoscaler()
    values = {"running": 0, "waiting": 8}
    replicas = autoscaler.sync(0, Observation(replicas=0))
    assert replicas == 0
    replicas = keda.poll(10, values, replicas=replicas)
    assert replicas == 1
    metric = keda.metric(values, replicas=replicas, ready_pods=0)
    assert autoscaler.sync(15, Observation(replicas=replicas, external=metric)) == 4


@given(
    values=st.lists(
        st.tuples(st.none() | st.floats(-50, 500), st.integers(0, 12)), max_size=20
    ),
    low=st.integers(0, 3),
)
def test_polls_only_wake_and_sleep(
    values: list[tuple[float | None, int]], low: int
) -> None:
    """A poll keeps the replicas, wakes, sleeps, or corrects to the minimum."""
    first, second = queue(min_replica_count=low), queue(min_replica_count=low)
    for index, (value, replicas) in enumerate(values):
        result = first.poll(index * 200, {"queue": value}, replicas=replicas)
        assert result in {replicas, 0 if low == 0 else low, max(1, low)}
        assert result == second.poll(index * 200, {"queue": value}, replicas=replicas)
        if value is None or (value > 0 and replicas > 0):
            assert result == replicas


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Trigger(name="", threshold=0, metric_type="Utilization"),
            (
                "trigger '': 'name' must be a text that is not empty, got ''\n"
                "trigger '': 'threshold' must be 0.001 to 9223372036854776.0, got 0\n"
                "trigger '': 'metric_type' must be one of 'AverageValue', 'Value', "
                "got 'Utilization'"
            ),
        ),
        (
            lambda: ScaledObject(triggers=(), max_replica_count=1, min_replica_count=2),
            (
                "scaled object: 'triggers' must not be empty; pass at least one\n"
                "scaled object: 'max_replica_count' must be at least "
                "'min_replica_count' (2), got 1; raise it or lower "
                "'min_replica_count'"
            ),
        ),
        (
            lambda: ScaledObject(triggers=(RUNNING, RUNNING), idle_replica_count=1),
            (
                "scaled object: 'triggers' must not name anything twice, got "
                "'running'; give each its own name\n"
                "scaled object: 'idle_replica_count' must be 0, got 1; or left out"
            ),
        ),
        (
            lambda: ScaledObject(triggers=(RUNNING,), scaling_modifiers=SUM),
            (
                "formula 'running + waiting * 10': must only use the triggers "
                "(running), got 'waiting'"
            ),
        ),
        (
            lambda: ScaledObject(
                triggers=(RUNNING,),
                scaling_modifiers=ScalingModifiers(formula="running", target=2.5),
                fallback=Fallback(failure_threshold=1, replicas=1),
            ),
            (
                "scaled object: 'scaling_modifiers.target' must be a whole number with "
                "a fallback, which KEDA ignores otherwise, got 2.5"
            ),
        ),
        (
            lambda: queue(
                fallback=Fallback(
                    failure_threshold=1, replicas=1, behavior="scalingModifiers"
                )
            ),
            (
                "scaled object: 'fallback.behavior' must not be 'scalingModifiers' "
                "without a formula, got no 'scaling_modifiers'; pass them, or choose "
                "another behavior"
            ),
        ),
        (
            lambda: queue().poll(0, {"que": 1}, replicas=1),
            (
                "poll: 'values' must have the triggers (queue), got ['que']; "
                "pass None for one that could not be read"
            ),
        ),
        (
            lambda: queue().metric({"queue": float("nan")}, replicas=1, ready_pods=-1),
            (
                "metric: 'ready_pods' must be 0 to 2147483647, got -1\n"
                "metric: 'values['queue']' must be -9223372036854776.0 to "
                "9223372036854776.0, got nan"
            ),
        ),
    ],
)
def test_fails_with_bad_input(call: Callable[[], object], message: str) -> None:
    """Bad input is named with the rule, the value and the repair."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert str(caught.value) == message
