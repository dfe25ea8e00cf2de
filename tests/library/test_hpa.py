"""Tests of what a metric asks for, and of the autoscaler as a whole."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.keda_formula.go import INT32_MAX, INT64_MAX
from eks_inference.simulation import hpa, hpa_behavior, hpa_controller
from eks_inference.simulation.hpa import (
    Pod,
    Proposal,
    cpu_flags,
    external_average_value,
    external_value,
    pods_metric_average_value,
    resource_cpu_utilization,
)
from eks_inference.simulation.hpa_controller import (
    HorizontalPodAutoscaler,
    Observation,
    combine,
    controller,
)
from eks_inference.simulation.hpa_spec import (
    Behavior,
    CpuUtilization,
    ExternalMetric,
    PodsMetric,
    Policy,
    ScalingRules,
)
from tests.library.conftest import recorded_data

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "controller": hpa_controller.controller,
    "external_average_value": hpa.external_average_value,
    "external_value": hpa.external_value,
    "limit_no_behavior": hpa_behavior.limit_no_behavior,
    "limit_with_behavior": hpa_behavior.limit_with_behavior,
    "pods_metric_average_value": hpa.pods_metric_average_value,
    "replica_change_in_period": hpa_behavior.replica_change_in_period,
    "resource_cpu_utilization": hpa.resource_cpu_utilization,
    "scale_down_limit_min_policy": hpa_behavior.scale_down_limit,
    "scale_up_limit_min_policy": hpa_behavior.scale_up_limit,
    "stabilization_no_behavior": hpa_behavior.stabilization_no_behavior,
    "stabilization_with_behavior": hpa_behavior.stabilization_with_behavior,
}
ABOUT_THE_CASE = ("kind", "name", "id", "note")

QUEUE = ExternalMetric(name="queue", target_milli=25_000)
FAST = Behavior(
    scale_up=ScalingRules(
        policies=(
            Policy(type="Percent", value=900, period_s=15),
            Policy(type="Pods", value=9, period_s=15),
        ),
        window_s=0,
    )
)


def cpu_pods(
    *samples: int | None, request: int = 1_000, **fields: Any
) -> tuple[Pod, ...]:
    """Return ready pods with CPU samples."""
    return tuple(
        Pod(metric_milli=sample, request_milli=request, **fields) for sample in samples
    )


def timeline(
    autoscaler: HorizontalPodAutoscaler, loads: Sequence[int | None], *, start: int = 1
) -> list[int]:
    """Return the replicas after each sync, for a composite metric in whole units."""
    replicas, result = start, []
    for index, load in enumerate(loads):
        milli = None if load is None else load * 1_000
        seen = Observation(replicas=replicas, external={"queue": milli})
        replicas = autoscaler.sync(index * 15, seen)
        result.append(replicas)
    return result


def test_cases_of_kubernetes() -> None:
    """Every published case of the Kubernetes tests gives the expected result."""
    cases = json.loads(recorded_data("hpa_cases.json").read_text())["cases"]
    wrong = []
    for case in cases:
        given_to = {
            key: value
            for key, value in case.items()
            if key not in ABOUT_THE_CASE and not key.startswith("expected_")
        }
        expected = [value for key, value in case.items() if key.startswith("expected_")]
        result = FUNCTIONS[case["kind"]](**given_to)
        got = list(result) if isinstance(result, tuple) else [result]
        if got != expected:
            wrong.append((case["kind"], case["name"], got, expected))
    assert cases
    assert wrong == []


@pytest.mark.parametrize(
    ("replicas", "total", "target", "expected"),
    [
        (1, 55_000, 25_000, Proposal(3, 55_000)),
        (1, 27_000, 25_000, Proposal(1, 27_000)),
        (1, 27_500, 25_000, Proposal(1, 27_500)),
        (1, 27_501, 25_000, Proposal(2, 27_501)),
        (2, 45_000, 25_000, Proposal(2, 22_500)),
        (2, 44_999, 25_000, Proposal(2, 22_500)),
        (3, 55_000, 25_000, Proposal(3, 18_334)),
        (3, 50_000, 25_000, Proposal(2, 16_667)),
        (4, 0, 25_000, Proposal(0, 0)),
        (0, 50_000, 25_000, Proposal(2, INT64_MAX)),
        (0, 0, 25_000, Proposal(0, 0)),
        (1, 1_000, 0, Proposal(INT32_MAX, 1_000)),
        (1, 0, 0, Proposal(0, 0)),
        (1, 3_000_000_000_000, 1, Proposal(INT32_MAX, 3_000_000_000_000)),
        (2, INT64_MAX, 1_000, Proposal(INT32_MAX, INT64_MAX)),
        (2, -1, 1_000, Proposal(INT32_MAX, INT64_MAX)),
    ],
)
def test_external_average_value(
    replicas: int, total: int, target: int, expected: Proposal
) -> None:
    """The sum over the target, rounded up, unless the average is within tolerance."""
    assert expected == external_average_value(
        current_replicas=replicas, metric_sum_milli=total, target_milli=target
    )


@pytest.mark.parametrize(
    ("replicas", "ready", "total", "target", "expected"),
    [
        (3, 1, 50_000, 10_000, Proposal(5, 50_000)),
        (3, 3, 11_000, 10_000, Proposal(3, 11_000)),
        (3, 0, 50_000, 10_000, Proposal(0, 50_000)),
        (3, None, 50_000, 10_000, None),
        (3, None, 10_000, 10_000, Proposal(3, 10_000)),
        (0, None, 10_500, 10_000, Proposal(2, 10_500)),
        (0, 0, 0, 10_000, Proposal(0, 0)),
        (1, 1, 10_000, 0, Proposal(INT32_MAX, 10_000)),
        (1, 1, 0, 0, Proposal(0, 0)),
        (2, 2, -5_000, 10_000, Proposal(-1, -5_000)),
    ],
)
def test_external_value(
    replicas: int, ready: int | None, total: int, target: int, expected: Proposal | None
) -> None:
    """The ratio times the ready pods, unless it is within tolerance."""
    assert expected == external_value(
        current_replicas=replicas,
        ready_pods=ready,
        metric_sum_milli=total,
        target_milli=target,
    )


@pytest.mark.parametrize(
    ("total", "expected"), [(120, 1), (121, 2), (95, 1), (94, 0), (0, 0)]
)
def test_each_direction_has_its_tolerance(total: int, expected: int) -> None:
    """A ratio is kept between the tolerance below and the one above."""
    result = external_value(
        current_replicas=1,
        ready_pods=1 if total > 100 else 0,
        metric_sum_milli=total,
        target_milli=100,
        tolerance=0.2,
        scale_down_tolerance=0.05,
    )
    assert result is not None
    assert result.replicas == expected


@pytest.mark.parametrize(
    ("pods", "replicas", "expected"),
    [
        (cpu_pods(300, 500, 700), 3, Proposal(5, 50)),
        # the per cent are cut before the ratio: 33.9 is 33
        (cpu_pods(330, 348), 2, Proposal(2, 33)),
        ((*cpu_pods(600), *cpu_pods(None, phase="Pending")), 2, Proposal(2, 60)),
        ((*cpu_pods(600), *cpu_pods(900, ready=False)), 2, Proposal(2, 60)),
        ((*cpu_pods(100), *cpu_pods(900, ready=False)), 2, Proposal(1, 10)),
        (
            (*cpu_pods(600), *cpu_pods(900, ready=False, was_ready=True)),
            2,
            Proposal(5, 75),
        ),
        # an idle pod that requests much weighs much: 300 of 800, and not of 200
        (
            (*cpu_pods(300, request=200), *cpu_pods(0, ready=False, request=600)),
            1,
            Proposal(3, 150),
        ),
        (cpu_pods(100, None), 2, Proposal(2, 10)),
        (cpu_pods(600, None), 2, Proposal(2, 60)),
        (cpu_pods(600, 500, None), 3, Proposal(4, 55)),
        (
            (*cpu_pods(600), *cpu_pods(0, deleting=True), *cpu_pods(0, phase="Failed")),
            1,
            Proposal(2, 60),
        ),
        ((), 1, None),
        (cpu_pods(None), 1, None),
        (cpu_pods(100, ready=False), 1, None),
        (cpu_pods(100, request=0), 1, None),
        ((Pod(metric_milli=100),), 1, None),
    ],
)
def test_cpu_utilization(
    pods: tuple[Pod, ...], replicas: int, expected: Proposal | None
) -> None:
    """Pods without a usable sample damp the change, and some fail the metric."""
    assert expected == resource_cpu_utilization(
        current_replicas=replicas, target_utilization_pct=30, pods=pods
    )


def test_cpu_utilization_without_a_target() -> None:
    """A target of nothing is an infinity or NaN in Go, not an error."""
    busy = resource_cpu_utilization(
        current_replicas=1, target_utilization_pct=0, pods=cpu_pods(100)
    )
    idle = resource_cpu_utilization(
        current_replicas=1, target_utilization_pct=0, pods=cpu_pods(0)
    )
    assert busy == Proposal(INT32_MAX, 10)
    assert idle == Proposal(0, 0)


def test_pods_without_a_sample_count_as_the_target() -> None:
    """On the way down a missing pod counts as its request, or the target if more."""
    pods = (*cpu_pods(200), *cpu_pods(None))
    for target, expected in ((50, 2), (400, 2)):
        result = resource_cpu_utilization(
            current_replicas=2, target_utilization_pct=target, pods=pods
        )
        assert result is not None
        assert result.replicas == expected


@pytest.mark.parametrize(
    ("pods", "cpu", "expected"),
    [
        (cpu_pods(20_000, 10_000, 30_000), False, Proposal(4, 20_000)),
        (cpu_pods(20_000, 10_001, 30_000, ready=False), False, Proposal(4, 20_000)),
        (cpu_pods(20_000, ready=False), True, None),
        (
            (*cpu_pods(40_000), *cpu_pods(None, phase="Pending")),
            False,
            Proposal(3, 40_000),
        ),
        ((*cpu_pods(10_000), *cpu_pods(None)), False, Proposal(2, 10_000)),
        (cpu_pods(-7_001, -7_000), False, Proposal(0, -7_000)),
        ((), False, None),
    ],
)
def test_pods_metric(
    pods: tuple[Pod, ...], cpu: bool, expected: Proposal | None
) -> None:
    """The average is cut to a whole milli-value; readiness only counts for CPU."""
    assert expected == pods_metric_average_value(
        current_replicas=3, target_milli=15_000, pods=pods, cpu=cpu
    )


@pytest.mark.parametrize(
    ("now", "ready", "changed", "sampled", "counts"),
    [
        (299, True, 100, 130, True),
        (299, True, 100, 129, False),
        (299, False, 100, 299, False),
        (300, True, 290, 290, True),
        (300, False, 29, 300, False),
        (300, False, 30, 300, True),
    ],
)
def test_cpu_sample_of_a_young_pod(
    now: float, ready: bool, changed: float, sampled: float, counts: bool
) -> None:
    """A sample counts once a whole window lies after the pod became ready."""
    flags = cpu_flags(
        now=now,
        started_at=0,
        ready=ready,
        changed_at=changed,
        sampled_at=sampled,
        window_seconds=30,
    )
    young = {"metric_milli": 1, "request_milli": 1, **flags}
    result = resource_cpu_utilization(
        current_replicas=1, target_utilization_pct=1, pods=[young]
    )
    assert (result is not None) is counts


@pytest.mark.parametrize(
    ("current", "proposals", "expected"),
    [
        (3, [4, 7, 5], 7),
        (3, [None, 7], 7),
        (3, [None, 3], 3),
        (3, [None, 2], None),
        (3, [2, 1], 2),
        (3, [0, 0], 0),
        (3, [None, None], None),
        (3, [], None),
    ],
)
def test_metrics_are_combined(
    current: int, proposals: list[int | None], expected: int | None
) -> None:
    """The most counts, and a metric that failed forbids fewer replicas."""
    assert combine(current_replicas=current, proposals=proposals) == expected


@pytest.mark.parametrize(
    ("current", "low", "expected"),
    [
        (0, 1, (0, "ScalingDisabled")),
        (0, 0, None),
        (11, 1, (10, "TooManyReplicas")),
        (1, 2, (2, "TooFewReplicas")),
        (5, 1, None),
    ],
)
def test_controller_decides_without_metrics(
    current: int, low: int, expected: tuple[int, str] | None
) -> None:
    """Zero replicas disable the autoscaler; replicas out of bounds come back."""
    assert controller(current_replicas=current, min=low, max=10) == expected


@pytest.mark.parametrize(
    ("behavior", "load", "expected"),
    [
        (None, 400, [1, 4, 8, 10, 10]),
        (Behavior(), 400, [1, 5, 10, 10, 10]),
        (FAST, 400, [1, 10, 10, 10, 10]),
        (FAST, 82, [1, 4, 4, 4, 4]),
    ],
)
def test_a_step_from_one_replica(
    behavior: Behavior | None, load: int, expected: list[int]
) -> None:
    """The known timelines: 1, 4, 8, 10 without and 1, 5, 10 with an empty behavior."""
    autoscaler = HorizontalPodAutoscaler(
        max_replicas=10, metrics=[QUEUE], behavior=behavior
    )
    assert timeline(autoscaler, [0, load, load, load, load]) == expected


@pytest.mark.parametrize(("behavior", "kept"), [(None, 20), (Behavior(), 19)])
def test_the_way_down_waits_for_the_window(
    behavior: Behavior | None, kept: int
) -> None:
    """Replicas stay for 300 s after the last need; then all of them go at once."""
    autoscaler = HorizontalPodAutoscaler(
        max_replicas=10, metrics=[QUEUE], behavior=behavior
    )
    counts = timeline(autoscaler, [250] + [0] * 22, start=10)
    assert counts == [10] * (kept + 1) + [1] * (22 - kept)


def test_slow_way_down() -> None:
    """One pod per 120 s, from the moment on at which the window has passed."""
    slow = ScalingRules(policies=(Policy(type="Pods", value=1, period_s=120),))
    autoscaler = HorizontalPodAutoscaler(
        max_replicas=10, metrics=[QUEUE], behavior=Behavior(scale_down=slow)
    )
    counts = timeline(autoscaler, [250] + [0] * 40, start=10)
    changes = [i * 15 for i in range(1, 41) if counts[i] != counts[i - 1]]
    assert changes == [300, 420, 540]
    assert counts[-1] == 7


def test_failed_metrics_change_nothing() -> None:
    """Without any value the replicas stay, and nothing is remembered of the sync."""
    autoscaler = HorizontalPodAutoscaler(
        max_replicas=10, metrics=[QUEUE], behavior=FAST
    )
    assert timeline(autoscaler, [None, None, 400, None]) == [1, 1, 10, 10]


def test_a_scale_up_window_waits() -> None:
    """With a window on the way up the lowest recommendation of it counts."""
    waiting = Behavior(scale_up=ScalingRules(window_s=30))
    autoscaler = HorizontalPodAutoscaler(
        max_replicas=10, metrics=[QUEUE], behavior=waiting
    )
    assert timeline(autoscaler, [0, 400, 400, 400]) == [1, 1, 5, 10]


@pytest.mark.parametrize(
    ("behavior", "loads", "expected"),
    [
        (Behavior(scale_up=ScalingRules(window_s=30)), [400] * 4, [5, 5, 10, 10]),
        (Behavior(), [0] * 3, [5, 5, 5]),
        (None, [0] * 3, [5, 5, 5]),
    ],
)
def test_the_first_sync_remembers_the_replicas(
    behavior: Behavior | None, loads: list[int], expected: list[int]
) -> None:
    """What there is at the first sync counts as its first recommendation."""
    autoscaler = HorizontalPodAutoscaler(
        max_replicas=10, metrics=[QUEUE], behavior=behavior
    )
    assert timeline(autoscaler, loads, start=5) == expected


def test_all_kinds_of_metrics() -> None:
    """The metric that asks for the most decides, whatever its kind."""
    autoscaler = HorizontalPodAutoscaler(
        max_replicas=100,
        behavior=FAST,
        metrics=[
            CpuUtilization(target_pct=50),
            PodsMetric(name="rate", target_milli=1_000),
            ExternalMetric(name="p95", target_milli=1_000, type="Value"),
            QUEUE,
        ],
    )
    seen = Observation(
        replicas=2,
        ready_pods=1,
        external={"p95": 3_000, "queue": 25_000},
        pods=cpu_pods(500, 500),
        pod_metrics={"rate": cpu_pods(2_000, 3_000)},
    )
    assert autoscaler.sync(0, seen) == 5


def test_own_tolerances_of_a_behavior() -> None:
    """A tolerance of a behavior holds for its direction only."""
    behavior = Behavior(scale_up=ScalingRules(tolerance=0.0))
    autoscaler = HorizontalPodAutoscaler(
        max_replicas=10, metrics=[QUEUE], behavior=behavior
    )
    assert timeline(autoscaler, [26]) == [2]
    assert timeline(
        HorizontalPodAutoscaler(max_replicas=10, metrics=[QUEUE]), [26]
    ) == [1]


@given(
    loads=st.lists(st.none() | st.integers(-10, 2_000), max_size=30),
    low=st.integers(1, 5),
    behavior=st.sampled_from([None, Behavior(), FAST]),
)
def test_replicas_stay_within_bounds_and_rates(
    loads: list[int | None], low: int, behavior: Behavior | None
) -> None:
    """Replicas stay within bounds, below the rate limit, and are the same twice."""
    counts = [
        timeline(
            HorizontalPodAutoscaler(
                min_replicas=low, max_replicas=30, metrics=[QUEUE], behavior=behavior
            ),
            loads,
            start=low,
        )
        for _ in range(2)
    ]
    assert counts[0] == counts[1]
    assert all(low <= count <= 30 for count in counts[0])
    for before, after in zip([low, *counts[0]], counts[0], strict=False):
        if behavior is None:
            assert after <= max(2 * before, 4)
        elif behavior is FAST:
            assert after <= max(10 * before, before + 9)
        else:
            assert after <= max(2 * before, before + 4)


@given(
    replicas=st.integers(0, INT32_MAX),
    total=st.integers(-INT64_MAX - 1, INT64_MAX),
    target=st.integers(0, INT64_MAX),
    tolerance=st.floats(0, 10),
)
def test_any_number_gives_a_replica_count(
    replicas: int, total: int, target: int, tolerance: float
) -> None:
    """Whatever the numbers are, the result fits into an ``int32``."""
    average = external_average_value(
        current_replicas=replicas,
        metric_sum_milli=total,
        target_milli=target,
        tolerance=tolerance,
    )
    value = external_value(
        current_replicas=replicas,
        ready_pods=replicas,
        metric_sum_milli=total,
        target_milli=target,
        tolerance=tolerance,
    )
    assert value is not None
    for proposal in (average, value):
        assert -INT32_MAX - 1 <= proposal.replicas <= INT32_MAX


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: external_average_value(
                current_replicas=-1, metric_sum_milli=1, target_milli=1
            ),
            (
                "external_average_value: 'current_replicas' must be 0 to 2147483647, "
                "got -1"
            ),
        ),
        (
            lambda: resource_cpu_utilization(
                current_replicas=1, target_utilization_pct=1, pods=[{"cpu": 1}]
            ),
            (
                "resource_cpu_utilization: 'pods[0]' must only have metric_milli, "
                "request_milli, ready, phase, deleting, "
                "within_cpu_init_period_no_full_window, was_ready, got ['cpu']"
            ),
        ),
        (
            lambda: Pod(phase="Gone"),
            (
                "pod: 'phase' must be one of 'Pending', 'Running', 'Succeeded', "
                "'Failed', 'Unknown', got 'Gone'"
            ),
        ),
        (
            lambda: HorizontalPodAutoscaler(
                min_replicas=3, max_replicas=2, metrics=[QUEUE]
            ),
            (
                "autoscaler: 'max_replicas' must be at least 'min_replicas' (3), "
                "got 2; raise it or lower 'min_replicas'"
            ),
        ),
        (
            lambda: HorizontalPodAutoscaler(max_replicas=2, metrics=[]),
            "autoscaler: 'metrics' must not be empty; pass at least one",
        ),
        (
            lambda: HorizontalPodAutoscaler(max_replicas=2, metrics=[QUEUE]).sync(
                float("nan"), Observation(replicas=1)
            ),
            "sync: 'now' must be 0.0 to 2147483647, got nan",
        ),
    ],
)
def test_fails_with_bad_input(call: Callable[[], object], message: str) -> None:
    """Bad input is named with the rule, the value and the repair."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert str(caught.value) == message


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.integers(-5, 2**70),
)


@given(
    values=st.lists(JUNK, min_size=6, max_size=6),
    kind=st.sampled_from(sorted(FUNCTIONS)),
)
def test_nothing_but_configuration_errors(values: list[Any], kind: str) -> None:
    """Whatever is passed, a function answers or names the problem."""
    function = FUNCTIONS[kind]
    code: Any = function.__code__
    names = code.co_varnames[: code.co_kwonlyargcount]
    arguments = dict(zip(names, values * 2, strict=False))
    try:
        function(**arguments)
    except ConfigurationError as error:
        assert error.problems  # noqa: PT017 - an answer is as good as an error
