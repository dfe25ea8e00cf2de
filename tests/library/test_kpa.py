"""Tests of Knative's autoscaler."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.simulation.kpa import Kpa, KpaSpec

TEN = KpaSpec(container_concurrency=10, target_utilization=1.0)


def run(
    kpa: Kpa, loads: Sequence[float], *, ready: int | None = None, start: int = 0
) -> list[int]:
    """Return the pods after each tick, which are ready at the next unless given."""
    pods, result = ready or 0, []
    for index, load in enumerate(loads):
        now = start + 2 * (index + 1)
        pods = kpa.tick(now, [load, load], ready=pods if ready is None else ready)
        result.append(pods)
    return result


@pytest.mark.parametrize(
    ("concurrency", "utilization", "target"),
    [(0, 0.7, 70.0), (10, 0.7, 7.0), (1, 0.7, 0.7), (1, 0.01, 0.01)],
)
def test_target(concurrency: int, utilization: float, target: float) -> None:
    """A pod should have its share of the concurrency, which is 100 without a limit."""
    spec = KpaSpec(container_concurrency=concurrency, target_utilization=utilization)
    assert spec.target == pytest.approx(target)
    assert spec.panic_window_seconds == 6


def test_steady_load() -> None:
    """The average over the target, rounded up."""
    assert run(Kpa(TEN, ready=3), [25] * 5, ready=3) == [3] * 5


def test_partial_window_is_averaged_over_what_there_is() -> None:
    """A young revision is not judged by the time before it was there."""
    kpa = Kpa(TEN, ready=1)
    assert kpa.tick(2, [8, 8], ready=1) == 1
    assert kpa.tick(4, [13, 13], ready=1) == 2


def test_panics_at_twice_the_ready_pods() -> None:
    """The panic window decides from 200 % on, for as long as the stable window."""
    kpa = Kpa(TEN, ready=2)
    assert run(kpa, [20] * 30, ready=2)[-1] == 2
    counts = run(kpa, [60] * 3, ready=2, start=60)
    assert counts == [4, 5, 6]
    assert kpa.panicking
    # no pod goes while it panics, although the load is gone
    assert run(kpa, [0] * 30, ready=6, start=66) == [6] * 30
    assert kpa.panicking
    assert run(kpa, [0], ready=6, start=126)[0] == 3
    assert not kpa.panicking


def test_more_than_one_pod_starts_in_panic() -> None:
    """A restart without history keeps what there is."""
    kpa = Kpa(TEN, ready=5)
    assert kpa.panicking
    assert run(kpa, [1] * 30, ready=5) == [5] * 30
    assert run(kpa, [1], ready=5, start=60) == [2]


def test_rates_of_change() -> None:
    """One decision at most multiplies the ready pods, or halves them."""
    spec = KpaSpec(
        container_concurrency=1, target_utilization=1.0, max_scale_up_rate=1.5
    )
    assert run(Kpa(spec, ready=1), [100], ready=1) == [2]
    assert run(Kpa(spec, ready=1), [100], ready=3) == [5]
    assert run(Kpa(TEN, ready=1), [0], ready=9) == [4]


def test_bounds() -> None:
    """The scale stays within its bounds; no upper bound is 0."""
    spec = KpaSpec(container_concurrency=1, min_scale=2, max_scale=4)
    assert run(Kpa(spec, ready=2), [100, 100, 0], ready=2) == [4, 4, 4]
    assert run(Kpa(spec, ready=1), [0], ready=1) == [2]


def test_sleeps_after_window_and_grace() -> None:
    """Zero comes a stable window after the last load, and the grace period later."""
    kpa = Kpa(TEN, ready=1)
    counts = run(kpa, [5] * 10 + [0] * 60, ready=1)
    ends = [2 * (i + 1) for i, count in enumerate(counts) if count == 0]
    # the last load leaves the window of 60 s at 80 s
    assert ends[0] == 80 + 30


def test_wakes_from_zero() -> None:
    """A request at zero makes a pod, and starting pods are not taken away."""
    kpa = Kpa(TEN)
    assert kpa.tick(2, [], ready=0) == 0
    assert kpa.tick(3, [1], ready=0) == 1
    assert run(kpa, [0] * 60, ready=0, start=4) == [1] * 60
    assert kpa.tick(200, [1], ready=1) == 1


def test_activation_scale() -> None:
    """Traffic gets at least as many pods as the activation scale says."""
    spec = KpaSpec(container_concurrency=10, activation_scale=3)
    assert run(Kpa(spec), [1], ready=0) == [3]


def test_no_data_changes_nothing() -> None:
    """Without any sample in the window the last decision holds."""
    kpa = Kpa(TEN, ready=1)
    assert run(kpa, [35], ready=1) == [4]
    assert kpa.tick(100, [], ready=4) == 4


@given(
    loads=st.lists(st.floats(0, 500), max_size=40),
    most=st.integers(1, 20),
    up=st.floats(1.1, 10),
)
def test_pods_stay_within_bounds_and_rates(
    loads: list[float], most: int, up: float
) -> None:
    """Pods stay within bounds and rates, and are the same twice."""
    spec = KpaSpec(container_concurrency=10, max_scale=most, max_scale_up_rate=up)
    counts = run(Kpa(spec), loads)
    assert counts == run(Kpa(spec), loads)
    assert all(0 <= count <= most for count in counts)
    for before, after in zip([0, *counts], counts, strict=False):
        assert after <= -(-max(1, before) * up // 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: KpaSpec(min_scale=3, max_scale=2),
            (
                "kpa: 'max_scale' must be at least 'min_scale' (3), got 2; raise it or "
                "lower 'min_scale'"
            ),
        ),
        (
            lambda: KpaSpec(max_scale_down_rate=1, target_utilization=70),
            (
                "kpa: 'target_utilization' must be 0.01 to 1.0, got 70\n"
                "kpa: 'max_scale_down_rate' must be 1.01 to 1000000000.0, got 1"
            ),
        ),
        (
            lambda: Kpa(TEN, now=5).tick(4, [-1], ready=True),
            (
                "tick: 'now' must be 5 to 2147483647, got 4\n"
                "tick: 'ready' must be a whole number, got True\n"
                "tick: 'concurrency[0]' must be 0 to 2147483647, got -1"
            ),
        ),
    ],
)
def test_fails_with_bad_input(call: Callable[[], object], message: str) -> None:
    """Bad input is named with the rule, the value and the repair."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert str(caught.value) == message
