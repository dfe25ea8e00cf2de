"""Tests of the generators of traces."""

import itertools
import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference.simulation.generators import (
    bundled,
    burst,
    diurnal,
    profile,
    ramp,
    steady,
    step,
)
from eks_inference.simulation.lengths import CONVERSATIONS, Lengths, Quantiles
from eks_inference.simulation.trace import Trace
from eks_inference.simulation.trace_files import read_trace
from tests.library.conftest import BadInputs, bad_inputs, recorded_data, refusal

SHORT = Lengths.fixed(prompt=100, answer=10)
GENERATORS: dict[str, Callable[..., Trace]] = {
    "steady": lambda **more: steady(2, 300, **more),
    "ramp": lambda **more: ramp(0, 4, 300, **more),
    "step": lambda **more: step(1, 8, at=200, duration=300, **more),
    "burst": lambda **more: burst(1, 9, every=60, length=20, duration=300, **more),
    "diurnal": lambda **more: diurnal(0, 4, duration=300, period=200, **more),
    "profile": lambda **more: profile([(0, 2), (300, 3)], **more),
}
generators = pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)


def count(trace: Trace, start: float, end: float) -> int:
    """Return how many requests arrive in a part of a trace."""
    return sum(start <= request.arrival < end for request in trace.requests)


def assert_chance(found: int, expected: float) -> None:
    """Assert that a Poisson count is within five standard deviations."""
    assert abs(found - expected) <= 5 * math.sqrt(expected)


@generators
def test_one_seed_gives_one_trace(make: Callable[..., Trace]) -> None:
    """The same seed gives the same trace, and another seed another one."""
    assert make(seed=5) == make(seed=5)
    assert make(seed=5).requests != make(seed=6).requests


@generators
def test_even_arrivals_are_those_expected(make: Callable[..., Trace]) -> None:
    """Evenly spaced, the requests are as many as the integral of the rate says."""
    even = make(arrivals="even", lengths=SHORT)
    chance = [len(make(seed=seed, lengths=SHORT).requests) for seed in range(30)]
    assert_chance(sum(chance), 30 * len(even.requests))
    assert even.source == "generated: even arrivals, seed 0"
    assert even.name in GENERATORS


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20)), min_size=1, max_size=8),
    st.sampled_from(["poisson", "even"]),
    st.integers(),
)
def test_arrivals_are_in_order_and_in_time(
    points: list[tuple[float, float]], arrivals: str, seed: int
) -> None:
    """Requests of any rates come in order and in time, as many as the rates say."""
    shape = [(0.0, 5.0), *sorted((time + 1, rate) for time, rate in points)]
    trace = profile(shape, arrivals=arrivals, seed=seed, lengths=SHORT)
    expected = sum(
        (b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(shape)
    )
    if arrivals == "even":
        assert abs(len(trace.requests) - expected) <= 1
    assert trace.duration == shape[-1][0]
    times = [request.arrival for request in trace.requests]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= trace.duration


def test_steady_is_poisson() -> None:
    """Times between arrivals vary as much as they last, as those of chance do."""
    trace = steady(10, 5000, lengths=SHORT, seed=3)
    assert_chance(len(trace.requests), 50_000)
    times = [request.arrival for request in trace.requests]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert abs(statistics.stdev(gaps) / statistics.mean(gaps) - 1) < 0.02
    # counts of a second vary as much as their mean
    windows = [0] * 5000
    for time in times:
        windows[int(time)] += 1
    assert abs(statistics.variance(windows) / 10 - 1) < 0.1


def test_even_arrivals_are_evenly_spaced() -> None:
    """At two requests per second one comes every half second."""
    trace = steady(2, 2, arrivals="even")
    assert [request.arrival for request in trace.requests] == [0.25, 0.75, 1.25, 1.75]


def test_ramp_grows() -> None:
    """The count of each tenth of a ramp is that of its middle."""
    trace = ramp(1, 21, 1000, lengths=SHORT)
    for tenth in range(10):
        expected = 100 * (2 + 2 * tenth)
        assert_chance(count(trace, 100 * tenth, 100 * tenth + 100), expected)


def test_ramp_to_zero_ends() -> None:
    """A ramp down to nothing is quiet at its end."""
    even = ramp(2, 0, 100, arrivals="even", lengths=SHORT)
    assert len(even.requests) == 100
    assert count(even, 90, 100) == 1


def test_step_changes_at_once() -> None:
    """Before and after its moment a step has its rates."""
    trace = step(2, 20, at=600, duration=1000, lengths=SHORT)
    assert_chance(count(trace, 0, 600), 1200)
    assert_chance(count(trace, 600, 1000), 8000)
    assert step(0, 5, at=60, duration=70).requests[0].arrival >= 60


def test_bursts_come_every_time() -> None:
    """Bursts start when their period is over; between them nothing changes."""
    trace = burst(1, 50, every=100, length=10, duration=1000, lengths=SHORT)
    for start in range(100, 1000, 100):
        assert_chance(count(trace, start, start + 10), 500)
        assert_chance(count(trace, start + 10, start + 100), 90)
    assert_chance(count(trace, 0, 100), 100)


@given(st.floats(0.01, 10), st.floats(0.3, 90))
def test_bursts_may_touch(every: float, duration: float) -> None:
    """Bursts as long as their period are one, and time never goes back."""
    trace = burst(5, 5, every=every, length=every, duration=duration, arrivals="even")
    assert abs(len(trace.requests) - duration * 5) <= 1


def test_days_swing() -> None:
    """A day starts at its lowest rate and has its highest at noon."""
    trace = diurnal(0.1, 2.1, lengths=SHORT, seed=2)
    assert trace.duration == 86_400
    assert_chance(len(trace.requests), 1.1 * 86_400)
    hour = 3600
    # the mean of 1.1 - cos(2 pi t / 24) over the first hour and the one after noon
    edge = math.sin(2 * math.pi / 24) / (2 * math.pi / 24)
    assert_chance(count(trace, 0, hour), (1.1 - edge) * hour)
    assert_chance(count(trace, 12 * hour, 13 * hour), (1.1 + edge) * hour)


def test_the_same_seed_gives_the_same_lengths_at_every_rate() -> None:
    """Two rates differ in when requests come, not in what they ask."""
    slow, fast = (steady(rate, 100, seed=4).requests for rate in (1, 2))
    pairs = zip(slow, fast, strict=False)
    assert all(a.prompt_tokens == b.prompt_tokens for a, b in pairs)


def test_the_bundled_trace() -> None:
    """The bundled hour has a quiet start, a ramp, a step, a quiet spell and a burst."""
    trace = bundled()
    assert 5_000 <= len(trace.requests) <= 8_000
    assert trace.duration == 3600
    assert (trace.name, trace.source, trace.notes) == (
        "bundled",
        "generated: poisson arrivals, seed 2023",
        (),
    )
    for start, end, rate in (
        (0, 600, 0.3),
        (600, 1200, 0.9),
        (1200, 1500, 1.5),
        (1500, 2400, 4.5),
        (2400, 3000, 1),
        (3000, 3060, 10),
        (3060, 3600, 1),
    ):
        assert_chance(count(trace, start, end), rate * (end - start))
    assert trace == bundled()


def test_lengths_have_the_quantiles_they_were_made_of() -> None:
    """Draws have the mean and the percentiles of the conversations of Azure."""
    trace = steady(100, 1000, seed=9)
    for lengths, mean, p50, p99 in (
        (trace.prompt_lengths, 1155, 1020, 4142),
        (trace.answer_lengths, 211, 129, 601),
    ):
        assert abs(lengths.mean / mean - 1) < 0.015
        assert abs(lengths.p50 / p50 - 1) < 0.02
        assert abs(lengths.p99 / p99 - 1) < 0.02
    assert round(CONVERSATIONS.prompt.mean) == 1159
    assert round(CONVERSATIONS.answer.mean) == 210


def test_lengths_are_those_of_the_published_trace() -> None:
    """Every point of the conversations is a percentile of Azure's trace."""
    path = recorded_data("traces/azure-2023/AzureLLMInferenceTrace_conv.csv")
    requests = read_trace(path).requests
    for quantiles, ranked in (
        (CONVERSATIONS.prompt, sorted(item.prompt_tokens for item in requests)),
        (CONVERSATIONS.answer, sorted(item.answer_tokens for item in requests)),
    ):
        for share, tokens in quantiles.points:
            assert tokens == ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def test_quantiles_are_straight_between_points() -> None:
    """Between two points the tokens grow in a straight line."""
    quantiles = Quantiles(((0, 10), (0.5, 20), (1, 120)))
    assert [quantiles.at(share) for share in (0, 0.25, 0.5, 0.75, 1)] == [
        10,
        15,
        20,
        70,
        120,
    ]
    assert quantiles.mean == 42.5


def test_fixed_lengths() -> None:
    """Fixed lengths are the same for all requests."""
    requests = steady(5, 20, lengths=SHORT).requests
    assert {(r.prompt_tokens, r.answer_tokens) for r in requests} == {(100, 10)}


NUMBER = "must be a number above 0 and at most"
PAIRS = "a share and a number of tokens"
TIMES = "a time and a rate"
QUANTILES: BadInputs = [
    (
        {"points": None},
        f"quantiles: 'points' must be two or more pairs of {PAIRS}, got None",
    ),
    (
        {"points": ((0, 1),)},
        f"quantiles: 'points' must be two or more pairs of {PAIRS}, got ((0, 1),)",
    ),
    (
        {"points": ((0, 1), 5)},
        f"quantiles: 'points[1]' must be a pair of {PAIRS}, got 5",
    ),
    (
        {"points": ((0, 0), (math.nan, 1.5))},
        (
            "quantiles: 'points[0][1]' must be 1 to 10485760, got 0\n"
            "quantiles: 'points[1][0]' must be 0 to 1, got nan\n"
            "quantiles: 'points[1][1]' must be a whole number, got 1.5"
        ),
    ),
    (
        {"points": ((0.1, 5), (0.1, 4), (0.9, 3))},
        (
            "quantiles: 'points' must start at share 0 and end at share 1, got "
            "(0.1, 0.9); "
            "add the least and the most tokens\n"
            "quantiles: 'points[1]' must have a larger share and no fewer "
            "tokens than the "
            "one before ((0.1, 5)), got (0.1, 4); sort the points\n"
            "quantiles: 'points[2]' must have a larger share and no fewer "
            "tokens than the "
            "one before ((0.1, 4)), got (0.9, 3); sort the points"
        ),
    ),
]


@bad_inputs(QUANTILES)
def test_bad_quantiles_are_refused(changes: dict[str, Any], message: str) -> None:
    """Points that are no distribution are refused with all rules that they break."""
    assert refusal(lambda: Quantiles(**changes)) == message


def test_bad_lengths_are_refused() -> None:
    """Lengths that are none are refused with all of them."""
    assert refusal(lambda: Lengths(prompt=5, answer=None)) == (  # type: ignore[arg-type]
        "lengths: 'prompt' must be of class Quantiles, got 5\n"
        "lengths: 'answer' must be of class Quantiles, got None"
    )
    assert refusal(lambda: Lengths.fixed(prompt=0, answer=1.5)) == (  # type: ignore[arg-type]
        "lengths: 'prompt' must be 1 to 10485760, got 0\n"
        "lengths: 'answer' must be a whole number, got 1.5"
    )
    assert refusal(lambda: Quantiles.fixed(0)) == (
        "'tokens' must be 1 to 10485760, got 0"
    )


def wrong(function: Callable[..., Trace], *args: Any, **more: Any) -> Any:
    """Return a call that is refused."""
    return lambda: function(*args, **more)


DURATION = f"'duration' {NUMBER} 2,147,483,647"
CALLS: list[tuple[Callable[[], Trace], str]] = [
    (
        wrong(steady, -1, 0),
        (
            f"trace 'steady': {DURATION}, got 0\n"
            "trace 'steady': 'rate' must be 0 to 100000, got -1"
        ),
    ),
    (
        wrong(steady, None, math.nan),
        (
            f"trace 'steady': {DURATION}, got nan\n"
            "trace 'steady': 'rate' must be a number, got None"
        ),
    ),
    (
        wrong(steady, 1, 1, lengths=5, arrivals="odd", seed="x"),
        (
            "trace 'steady': 'lengths' must be of class Lengths, got 5\n"
            "trace 'steady': 'arrivals' must be one of 'poisson', 'even', got 'odd'\n"
            "trace 'steady': 'seed' must be a whole number, got 'x'"
        ),
    ),
    (
        wrong(steady, 0, 60),
        (
            "trace 'steady': the rates must let at least one request arrive, "
            "got 0; raise "
            "them or the duration, or take another seed"
        ),
    ),
    (
        wrong(steady, 1000, 86_400),
        (
            "trace 'steady': the rates must let at most 5,000,000 requests arrive, got "
            "86400000; lower them or the duration"
        ),
    ),
    (
        wrong(ramp, 1, math.inf, "long"),
        (
            f"trace 'ramp': {DURATION}, got 'long'\n"
            "trace 'ramp': 'end' must be 0 to 100000, got inf"
        ),
    ),
    (
        wrong(step, 1, 2, at=61, duration=60),
        "trace 'step': 'at' must be 0 to 60, got 61",
    ),
    (
        wrong(step, 1, 2, at=61, duration=None),
        f"trace 'step': {DURATION}, got None",
    ),
    (
        wrong(burst, 1, 2, every=60, length=61, duration=600),
        f"trace 'burst': 'length' {NUMBER} 60, got 61",
    ),
    (
        wrong(burst, 1, 2, every=1e-6, length=1e-7, duration=600),
        (
            "trace 'burst': 'every' must be at least a 10,000th of 'duration', "
            "got 1e-06; "
            "raise it or lower 'duration'"
        ),
    ),
    (
        wrong(burst, 1, 2, every=None, length=1, duration=0),
        (
            f"trace 'burst': {DURATION}, got 0\n"
            f"trace 'burst': 'every' {NUMBER} 2,147,483,647, got None"
        ),
    ),
    (
        wrong(diurnal, 1, 2, duration=86_400, period=1),
        (
            "trace 'diurnal': 'period' must be at least a 10,000th of "
            "'duration', got 1; "
            "raise it or lower 'duration'"
        ),
    ),
    (
        wrong(profile, 7, name=""),
        (
            "trace '': 'name' must be a text that is not empty, got ''\n"
            f"trace '': 'points' must be two or more pairs of {TIMES}, got 7"
        ),
    ),
    (
        wrong(profile, [(0, 1), "ab", None]),
        (
            f"trace 'profile': 'points[1]' must be a pair of {TIMES}, got 'ab'\n"
            f"trace 'profile': 'points[2]' must be a pair of {TIMES}, got None"
        ),
    ),
    (
        wrong(profile, [(0, "1"), (math.nan, 1)]),
        (
            "trace 'profile': 'points[0][1]' must be a number, got '1'\n"
            "trace 'profile': 'points[1][0]' must be 0 to 2147483647, got nan"
        ),
    ),
    (
        wrong(profile, [(5, 1), (9, 1), (8, 1)]),
        (
            "trace 'profile': 'points[0][0]' must be 0, the start, got 5\n"
            "trace 'profile': 'points[2][0]' must be at least the time before "
            "(9), got 8; "
            "sort the points"
        ),
    ),
    (
        wrong(profile, [(0, 1), (0, 2)]),
        "trace 'profile': 'points' must end later than they start",
    ),
]


@pytest.mark.parametrize(("call", "message"), CALLS, ids=range(len(CALLS)))
def test_bad_shapes_are_refused(call: Callable[[], Trace], message: str) -> None:
    """Arguments that break rules are refused with all of them."""
    assert refusal(call) == message
