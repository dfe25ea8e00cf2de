"""Tests of times that are drawn from two quantiles."""

from random import Random
from statistics import median, quantiles
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.planning.cold_start_values import ColdStart, Phase
from eks_inference.simulation.distributions import LogNormal, phase_times

START = ColdStart(
    (
        Phase(name="node", p50=65, p90=95, bound_by="EC2", source="test"),
        Phase(name="image", p50=0, p90=3, bound_by="disk", source="test"),
        Phase(name="probe", p50=5, p90=5, bound_by="probe", source="test"),
    )
)


@pytest.mark.parametrize(("p50", "p90"), [(65, 95), (1, 10), (100, 101)])
def test_draws_have_the_quantiles(p50: float, p90: float) -> None:
    """Half of the draws lie below the median, nine of ten below the other quantile."""
    random = Random(1)
    drawn = [LogNormal.from_quantiles(p50, p90).sample(random) for _ in range(20_000)]
    assert median(drawn) == pytest.approx(p50, rel=0.03)
    assert quantiles(drawn, n=10)[-1] == pytest.approx(p90, rel=0.03)


def test_median_of_zero() -> None:
    """Half of the draws are zero, and nine of ten lie below the other quantile."""
    random = Random(1)
    drawn = [LogNormal(0, 3).sample(random) for _ in range(20_000)]
    assert median(drawn) == pytest.approx(0, abs=0.1)
    assert quantiles(drawn, n=10)[-1] == pytest.approx(3, rel=0.03)
    assert max(drawn) <= 3.75


@pytest.mark.parametrize("seconds", [0, 7, 2**31 - 1])
def test_equal_quantiles_are_a_constant(seconds: float) -> None:
    """A time without spread is always the same, and draws nothing."""
    random = Random(1)
    assert LogNormal(seconds, seconds).sample(random) == seconds
    assert random.random() == Random(1).random()


@given(
    low=st.floats(0, 2**31 - 1),
    high=st.floats(0, 2**31 - 1),
    seed=st.integers(0, 1_000_000),
)
def test_draws_are_times(low: float, high: float, seed: int) -> None:
    """Whatever the quantiles, a draw is finite, not negative, and the seed's."""
    time = LogNormal(min(low, high), max(low, high))
    drawn = time.sample(Random(seed))
    assert 0 <= drawn < float("inf")
    assert drawn == time.sample(Random(seed))


def test_draws_end_somewhere() -> None:
    """However far the quantiles are apart, no draw exceeds what a clock can hold."""
    random = Random(1)
    drawn = [LogNormal(1e-300, 1e9).sample(random) for _ in range(1000)]
    assert max(drawn) == pytest.approx(2**31 - 1)


def test_phase_times() -> None:
    """Each phase of a ledger is drawn on its own, in the ledger's order."""
    times = phase_times(START, Random(3))
    assert list(times) == ["node", "image", "probe"]
    assert times["probe"] == 5
    assert times == phase_times(START, Random(3))
    assert times["node"] != phase_times(START, Random(4))["node"]


@pytest.mark.parametrize(
    ("p50", "p90", "message"),
    [
        (5, 3, "distribution: 'p90' must be at least 'p50' (5), got 3; swap them"),
        (-1, 3, "distribution: 'p50' must be 0 to 2147483647, got -1"),
        (1, float("nan"), "distribution: 'p90' must be 0 to 2147483647, got nan"),
        (None, 3, "distribution: 'p50' must be a number, got None"),
        (
            "a",
            10**12,
            (
                "distribution: 'p50' must be a number, got 'a'\n"
                "distribution: 'p90' must be 0 to 2147483647, got 1000000000000"
            ),
        ),
    ],
)
def test_bad_quantiles(p50: Any, p90: Any, message: str) -> None:
    """Quantiles that are none are refused, all of them at once."""
    with pytest.raises(ConfigurationError) as caught:
        LogNormal.from_quantiles(p50, p90)
    assert str(caught.value) == message


def test_bad_phase_times() -> None:
    """A ledger and a generator are asked for by name."""
    bad: Any = None
    with pytest.raises(ConfigurationError) as caught:
        phase_times(bad, bad)
    assert str(caught.value) == (
        "'start' must be of class ColdStart, got None\n"
        "'random' must be of class Random, got None"
    )
