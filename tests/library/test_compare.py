"""Tests of comparisons: intervals on numbers made by hand, measures, and seeds."""

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, Capacity, ConfigurationError
from eks_inference.planning import checkpoint, make_plan
from eks_inference.simulation.compare import (
    MOST_SEEDS,
    POLICY_NAMES,
    Interval,
    Row,
    compare,
    measures,
    policy_named,
)
from eks_inference.simulation.generators import step
from eks_inference.simulation.policies import Fixed
from eks_inference.simulation.run import simulate
from eks_inference.simulation.scenario import Scenario

TRACE = step(0.2, 3, at=60, duration=120)
SCENARIO = Scenario(
    plan=make_plan(
        checkpoint("mistral-7b-awq"),
        accelerators=[Accelerator.L4],
        capacity=Capacity.on_demand(),
    )
)
NAMES = ", ".join(map(repr, (*POLICY_NAMES, "fixed:N")))


def problems(make: Any, **values: Any) -> tuple[str, ...]:
    """Return what is said of values that are refused."""
    with pytest.raises(ConfigurationError) as caught:
        make(**values)
    return caught.value.problems


def test_an_interval_is_that_of_students_t() -> None:
    """1 to 5: mean 3, deviation sqrt(2.5), t = 2.776 with 4 degrees of freedom."""
    found = Interval.of([1, 2, 3, 4, 5])
    assert found.mean == 3
    assert found.half_width == pytest.approx(2.776 * math.sqrt(2.5 / 5))
    assert Interval.of([1.0, 3.0]).half_width == pytest.approx(12.706)


def test_one_value_has_no_interval() -> None:
    """One run says nothing of how far the next one may be."""
    assert Interval.of([7.5]) == Interval(7.5, None)


@pytest.mark.parametrize("count", range(2, MOST_SEEDS + 1))
def test_quantiles_have_the_share_that_they_stand_for(count: int) -> None:
    """Student's density between -t and t, integrated here, is 95 %, for every count."""
    values = [0.0] * (count - 1) + [1.0]
    half = Interval.of(values).half_width
    assert half is not None
    degrees = count - 1
    t = half / statistics.stdev(values) * math.sqrt(count)
    scale = math.exp(
        math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    ) / math.sqrt(degrees * math.pi)
    steps = 2_000
    width = t / steps
    density = [
        (1 + (index * width) ** 2 / degrees) ** (-(degrees + 1) / 2)
        for index in range(steps + 1)
    ]
    area = scale * width * (sum(density) - (density[0] + density[-1]) / 2)
    assert 2 * area == pytest.approx(0.95, abs=1e-4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=MOST_SEEDS))
def test_an_interval_lies_around_the_mean(values: list[float]) -> None:
    """The half width is never negative, and moving all values moves the mean only."""
    found = Interval.of(values)
    moved = Interval.of([value + 8 for value in values])
    assert found.half_width is not None
    assert found.half_width >= 0
    assert moved.mean == pytest.approx(found.mean + 8, abs=1e-6)
    assert moved.half_width == pytest.approx(found.half_width, abs=1e-6)


@pytest.mark.parametrize("count", [0, MOST_SEEDS + 1])
def test_an_interval_needs_some_values(count: int) -> None:
    """Without values, or beyond the table of quantiles, there is no interval."""
    assert problems(Interval.of, values=[1.0] * count) == (
        f"interval: 'values' must be 1 to 30, got {count}",
    )


def test_a_row_leaves_out_what_a_run_does_not_have() -> None:
    """A price that one run lacks has no mean; ratios are of means."""
    first = Row("a", ({"usd": 2.0, "lost": 0.0}, {"usd": 4.0, "lost": 0.0}))
    second = Row("b", ({"usd": 6.0, "lost": 1.0}, {"usd": 12.0, "lost": 1.0}))
    gap = Row("c", ({"usd": None, "lost": 1.0}, {"usd": 1.0, "lost": 1.0}))
    assert second.ratio(first, "usd") == 3
    assert second.ratio(first, "lost") is None
    assert gap.interval("usd") is None
    assert gap.ratio(first, "usd") is None


def test_measures_are_those_of_the_result() -> None:
    """Every measure is what the result itself says."""
    result = simulate(SCENARIO, TRACE, Fixed(1), seed=3)
    found = measures(result, slo_first_token=1.5)
    tokens = sum(item.request.answer_tokens for item in result.finished)
    assert result.usd is not None
    assert found == {
        "lost": 0,
        "late_share": result.late(1.5),
        "first_token_p50_seconds": result.first_token(0.5),
        "first_token_p90_seconds": result.first_token(0.9),
        "first_token_p99_seconds": result.first_token(0.99),
        "per_token_p50_seconds": result.per_token(0.5),
        "per_token_p90_seconds": result.per_token(0.9),
        "per_token_p99_seconds": result.per_token(0.99),
        "latency_p50_seconds": result.latency(0.5),
        "latency_p90_seconds": result.latency(0.9),
        "latency_p99_seconds": result.latency(0.99),
        "mean_replicas": 1,
        "most_replicas": 1,
        "cold_starts": 0,
        "cold_start_p50_seconds": None,
        "gpu_hours": pytest.approx(120 / 3600),
        "usd": result.usd,
        "usd_per_million_output_tokens": result.usd / tokens * 1e6,
    }


def test_a_comparison_runs_each_policy_with_each_seed() -> None:
    """Rows are in the order of the policies, runs in that of the seeds."""
    calls: list[None] = []
    policies = [policy_named(name, max_replicas=10) for name in ("queue", "fixed:2")]
    rows = compare(
        SCENARIO,
        TRACE,
        policies,
        seeds=[4, 7],
        slo_first_token=2,
        progress=lambda: calls.append(None),
    )
    assert [row.policy for row in rows] == ["queue", "fixed 2"]
    assert len(calls) == 4
    for row, policy in zip(rows, policies, strict=True):
        for run, seed in zip(row.runs, (4, 7), strict=True):
            alone = simulate(SCENARIO, TRACE, policy, seed=seed)
            assert run == measures(alone, slo_first_token=2)


def test_every_name_makes_a_policy() -> None:
    """The names are different policies, and a fixed one has its number."""
    made = [policy_named(name, max_replicas=4) for name in POLICY_NAMES]
    assert len({item.name for item in made}) == len(POLICY_NAMES)
    assert policy_named("fixed:4", max_replicas=4).at_rest(SCENARIO) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("keda", f"'policy' must be one of {NAMES}, got 'keda'"),
        ("", f"'policy' must be one of {NAMES}, got ''"),
        ("fixed", f"'policy' must be one of {NAMES}, got 'fixed'"),
        ("fixed:-1", f"'policy' must be one of {NAMES}, got 'fixed:-1'"),
        ("fixed:²", f"'policy' must be one of {NAMES}, got 'fixed:²'"),
        ("fixed:0", "'policy' must be fixed:1 to fixed:4, got 'fixed:0'"),
        (
            "fixed:5",
            "'policy' must be fixed:1 to fixed:4, got 'fixed:5'; raise 'max_replicas'",
        ),
        (
            "fixed:" + "9" * 50,
            (
                f"'policy' must be fixed:1 to fixed:4, got 'fixed:{'9' * 50}'; "
                "raise 'max_replicas'"
            ),
        ),
    ],
)
def test_an_unknown_name_makes_none(name: str, message: str) -> None:
    """The message has the names that there are, or the numbers."""
    assert problems(policy_named, name=name, max_replicas=4) == (message,)


def test_a_comparison_names_everything_that_is_wrong() -> None:
    """Two policies of one name, and seeds that are none or twice the same."""
    values = {"scenario": SCENARIO, "trace": TRACE, "slo_first_token": 2}
    twice = [Fixed(1), Fixed(1)]
    assert problems(compare, policies=twice, seeds=[], **values) == (
        (
            "comparison: 'policies' must not name anything twice, got 'fixed 1'; "
            "remove one"
        ),
        "comparison: 'seeds' must be 1 to 30, got 0",
    )
    assert problems(compare, policies=[], seeds=[1, 1], **values) == (
        "comparison: 'policies' must not be empty; name at least one",
        "comparison: 'seeds' must be different, got [1, 1]",
    )
