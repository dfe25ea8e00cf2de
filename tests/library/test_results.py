"""Tests of what a run shows: percentiles, means, hours and prices, by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import ConfigurationError
from eks_inference.planning.instances import instance
from eks_inference.simulation.ec2 import Node
from eks_inference.simulation.pods import Sample
from eks_inference.simulation.requests import Outcome, Request
from eks_inference.simulation.results import Result, percentile


def result(**values: Any) -> Result:
    """Return a result from 100 to 200 s, empty where nothing is given."""
    known: dict[str, Any] = {
        "policy": "test",
        "trace": "test",
        "seed": 0,
        "begin": 100.0,
        "end": 200.0,
        "outcomes": (),
        "replicas": (),
        "queue": (),
        "pods": (),
        "nodes": (),
        "now": 300.0,
    }
    return Result(**{**known, **values})


def outcome(first: float | None, last: float | None, lost: str | None = None) -> Any:
    """Return what became of a request of 11 tokens that arrives at 100 s."""
    return Outcome(Request(100, 5, 11), None, first, last, lost)


def sample(time: float, ready: int) -> Sample:
    """Return a sample with some replicas that serve."""
    return Sample(time, ready, 0, 0, ready, 0, ready)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        (range(1, 11), 0.5, 5),
        (range(1, 11), 0.9, 9),
        (range(1, 11), 0.91, 10),
        (range(1, 11), 1, 10),
        (range(1, 11), 0.001, 1),
        # in binary the product is a little more than 7
        (range(1, 101), 0.07, 7),
        ([3, 1, 2], 0.5, 2),
        ([7], 0.5, 7),
    ],
)
def test_percentile(values: Any, share: float, expected: float) -> None:
    """A percentile is the smallest value with the share at or below it."""
    assert percentile(values, share) == expected


def test_no_value_has_no_percentile() -> None:
    """Without values there is no percentile, and no error."""
    assert percentile([], 0.5) is None


@pytest.mark.parametrize("share", [0, -1, 1.1, 90, None, "0.5", float("nan")])
def test_no_share(share: Any) -> None:
    """A share that is none is refused; 90 is not taken for 90 %."""
    with pytest.raises(ConfigurationError, match="'share' must be"):
        percentile([1], share)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=60),
    st.integers(1, 100),
)
def test_percentile_covers_its_share(values: list[float], percent: int) -> None:
    """At least the share of values is at or below, and fewer are below it."""
    found = percentile(values, percent / 100)

    assert found is not None
    assert 100 * sum(v <= found for v in values) >= percent * len(values)
    assert 100 * sum(v < found for v in values) < percent * len(values)


def test_times_of_requests() -> None:
    """Times are those of the requests with an answer, and count from the arrival."""
    run = result(
        outcomes=(
            outcome(101, 111),
            outcome(103, 123),
            outcome(105, None, "killed"),
            outcome(None, None, "refused"),
        )
    )

    assert len(run.finished) == 2
    assert run.lost == {"killed": 1, "refused": 1}
    assert run.first_token(0.5) == 1
    assert run.first_token(1) == 3
    assert run.latency(1) == 23
    assert run.per_token(0.5) == pytest.approx(1.0)
    assert run.per_token(1) == pytest.approx(2.0)


def test_late_requests() -> None:
    """A request is late with a first token that is late, or with no answer at all."""
    run = result(
        outcomes=(
            outcome(101, 111),
            outcome(103, 123),
            outcome(101, None, "killed"),
            outcome(None, None, "refused"),
        )
    )

    assert run.late(2) == 0.75
    assert run.late(3) == 0.5
    assert result().late(2) == 0


def test_replicas_are_weighted_by_time() -> None:
    """The mean counts from the trace's begin, with what there was, to its end."""
    run = result(
        replicas=(
            sample(0, 9),
            sample(50, 1),
            sample(150, 3),
            sample(175, 2),
            sample(250, 8),
        )
    )

    assert run.mean_replicas == pytest.approx((50 * 1 + 25 * 3 + 25 * 2) / 100)
    assert run.most_replicas == 3


def test_nodes_are_paid_in_the_trace_only() -> None:
    """Hours and prices count from the trace's begin to its end."""
    item = instance("g6.12xlarge")
    run = result(
        nodes=(
            Node("before", item, "on-demand", 4.0, 0, ended_at=90),
            Node("all", item, "on-demand", 4.0, 0),
            Node("part", item, "on-demand", 4.0, 150, ended_at=160),
            Node("after", item, "on-demand", 4.0, 220),
        )
    )

    assert run.gpu_hours == pytest.approx(item.gpus * 110 / 3600)
    assert run.usd == pytest.approx(4.0 * 110 / 3600)


def test_no_price_no_cost() -> None:
    """A node without a price gives no cost, rather than a free node."""
    item = instance("g6.xlarge")

    assert result(nodes=(Node("x", item, "spot", None, 0),)).usd is None


def test_cold_starts_of_the_trace() -> None:
    """A cold start counts where the trace has asked for it and the run saw its end."""
    pods: Any = [
        SimpleNamespace(created_at=created, ready_at=ready)
        for created, ready in (
            (0, 60),
            (99, 160),
            (100, 161),
            (150, None),
            (199, 270),
            (200, 271),
        )
    ]

    assert result(pods=pods).cold_starts == (61, 71)


def test_an_empty_result() -> None:
    """A result without anything has no times, no replicas and no cost."""
    run = result()

    assert run.first_token(0.5) is run.latency(0.9) is run.per_token(0.9) is None
    assert run.most_replicas == run.mean_replicas == run.gpu_hours == run.usd == 0
    assert run.lost == {}
