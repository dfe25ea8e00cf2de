"""Tests of traces and of what can be done to them."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import ConfigurationError
from eks_inference.simulation.generators import steady
from eks_inference.simulation.lengths import Lengths
from eks_inference.simulation.requests import Request
from eks_inference.simulation.trace import LengthSummary, Trace
from tests.library.conftest import BadInputs, bad_inputs, refusal

TOKENS = st.integers(1, 20_000)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Return traces with all kinds of requests, some at one time."""
    arrivals = sorted(draw(st.lists(st.floats(0, 1000), min_size=1, max_size=30)))
    requests = []
    for arrival in arrivals:
        prompt = draw(TOKENS)
        cached = draw(st.integers(0, prompt))
        requests.append(Request(arrival, prompt, draw(TOKENS), cached))
    more = draw(st.floats(0.001, 100))
    return make(requests=tuple(requests), duration=arrivals[-1] + more)


def make(**changes: Any) -> Trace:
    """Return a trace of 100 requests in 50 seconds, with some values changed."""
    values: dict[str, Any] = {
        "name": "chat",
        "requests": tuple(Request(n / 2, 100 + n, 10 + n) for n in range(100)),
        "duration": 50,
        "source": "test",
        **changes,
    }
    return Trace(**values)


def lengths(trace: Trace) -> list[tuple[int, int, int]]:
    """Return the lengths of all requests."""
    return [(r.prompt_tokens, r.answer_tokens, r.cached_tokens) for r in trace.requests]


def test_summary_of_a_trace() -> None:
    """Rates and lengths are those of the requests, percentiles are nearest rank."""
    trace = make()
    assert trace.rate == 2
    assert trace.peak_rate == 2
    assert trace.prompt_lengths == LengthSummary(149.5, 149, 189, 198, 199)
    assert trace.answer_lengths.p50 == 59
    assert trace.notes == ()


def test_peak_is_the_busiest_window() -> None:
    """The peak rate is that of ten seconds, counted from the start."""
    together = tuple(Request(12.0, 1, 1) for _ in range(30))
    trace = make(requests=(Request(0, 1, 1), *together), duration=100)
    assert trace.peak_rate == 3
    assert trace.rate == 0.31


def test_requests_are_not_printed() -> None:
    """The text of a trace does not contain thousands of requests."""
    assert repr(make()) == ("Trace(name='chat', duration=50, source='test', notes=())")


@given(traces(), st.floats(0.01, 100))
def test_compression_multiplies_the_rate_exactly(trace: Trace, factor: float) -> None:
    """Compressed times keep lengths and order, and the rate is the factor times it."""
    scaled = trace.scaled(factor)
    assert math.isclose(scaled.rate, trace.rate * factor, rel_tol=1e-12)
    assert lengths(scaled) == lengths(trace)
    assert scaled.source == trace.source


def test_compression_says_what_it_did() -> None:
    """The note has the times and the rates before and after."""
    assert make().scaled(4).notes == (
        "times divided by 4: 50 s become 12 s, 2 requests/s become 8",
    )


@given(traces(), st.floats(0.01, 1), st.integers(0, 9))
def test_thinning_leaves_requests_out(trace: Trace, factor: float, seed: int) -> None:
    """A thinned trace has some of the requests, at their times, or is refused."""
    try:
        thinned = trace.scaled(factor, method="thin", seed=seed)
    except ValueError as error:
        assert "'requests' must keep at least one" in str(error)  # noqa: PT017
        return
    left = list(trace.requests)
    for request in thinned.requests:
        left.remove(request)
    assert thinned.duration == trace.duration


def test_thinning_keeps_the_share_that_it_says() -> None:
    """A quarter of 100,000 requests is kept within five standard deviations."""
    trace = make(requests=tuple(Request(n / 2000, 9, 9) for n in range(100_000)))
    thinned = trace.scaled(0.25, method="thin", seed=1)
    assert abs(len(thinned.requests) - 25_000) < 5 * math.sqrt(100_000 * 0.25 * 0.75)
    assert thinned.notes == (
        (
            "rate multiplied by 0.25 at random (thin, seed 1): 100,000 requests become "
            f"{len(thinned.requests):,}"
        ),
    )


@given(traces(), st.floats(1, 5), st.integers(0, 9))
def test_superposition_adds_copies_nearby(
    trace: Trace, factor: float, seed: int
) -> None:
    """Each request stays, and has copies within ten seconds, as many as the factor."""
    more = trace.scaled(factor, method="superpose", seed=seed)
    copies = list(more.requests)
    for request in trace.requests:
        copies.remove(request)
    for copy in copies:
        assert any(
            lengths(make(requests=(replace(copy, arrival=0.0),)))
            == lengths(make(requests=(replace(request, arrival=0.0),)))
            and abs(copy.arrival - request.arrival) <= 10
            for request in trace.requests
        )
    low, high = math.floor(factor), math.ceil(factor)
    assert low <= len(more.requests) / len(trace.requests) <= high
    assert more.duration == trace.duration


@pytest.mark.parametrize(
    "change",
    [
        lambda trace, seed: trace.scaled(0.5, method="thin", seed=seed),
        lambda trace, seed: trace.scaled(1.5, method="superpose", seed=seed),
        lambda trace, seed: trace.jittered(3, seed=seed),
    ],
    ids=["thin", "superpose", "jittered"],
)
def test_chance_follows_the_seed(change: Callable[[Trace, int], Trace]) -> None:
    """One seed gives one trace, another seed another one."""
    assert change(make(), 7) == change(make(), 7)
    assert change(make(), 7).requests != change(make(), 8).requests


@given(traces(), st.floats(0.1, 10), st.integers(0, 9))
def test_jitter_moves_arrivals_later(trace: Trace, step: float, seed: int) -> None:
    """Jitter keeps the requests and the end, and moves none by more than the step."""
    moved = trace.jittered(step, seed=seed)
    assert sorted(lengths(moved)) == sorted(lengths(trace))
    assert moved.duration == trace.duration + step
    before = [request.arrival for request in trace.requests]
    after = [request.arrival for request in moved.requests]
    assert all(a <= b <= a + step for a, b in zip(before, after, strict=True))
    assert moved.notes == (
        f"each arrival moved later by less than {step:g} s at random (seed {seed})",
    )


@given(traces(), st.integers(2, 30_000))
def test_clipped_requests_fit(trace: Trace, limit: int) -> None:
    """No clipped request is too long, without an answer, or changed for nothing."""
    for old, new in zip(trace.requests, trace.clipped(limit).requests, strict=True):
        assert new.prompt_tokens + new.answer_tokens <= limit
        assert new.answer_tokens >= 1
        assert new.cached_tokens <= min(old.cached_tokens, new.prompt_tokens)
        assert new.arrival == old.arrival
        if old.prompt_tokens + old.answer_tokens <= limit:
            assert new == old
        elif new.prompt_tokens < old.prompt_tokens:
            assert new.answer_tokens == 1
        else:
            assert new.prompt_tokens + new.answer_tokens == limit


def test_clipping_counts() -> None:
    """The note counts requests, answers and prompts that were shortened."""
    trace = make(
        requests=(Request(0, 90, 10), Request(1, 95, 20), Request(2, 300, 5, 299))
    )
    clipped = trace.clipped(100)
    assert lengths(clipped) == [(90, 10, 0), (95, 5, 0), (99, 1, 96)]
    assert clipped.notes == (
        "2 of 3 requests clipped to 100 tokens: 2 answers and 1 prompts shortened",
    )


@given(traces(), st.floats(0, 1))
def test_parts_make_up_the_whole(trace: Trace, share: float) -> None:
    """Each request is in one of two neighbouring parts."""
    cut = trace.duration * share
    parts = 0
    for start, end in ((0.0, cut), (cut, None)):
        try:
            parts += len(trace.between(start, end).requests)
        except ValueError:
            continue
    assert parts == len(trace.requests)


def test_a_part_starts_at_zero() -> None:
    """A part has its own time, and the request at its end belongs to the next one."""
    part = make().between(10, 20)
    assert [request.arrival for request in part.requests] == [n / 2 for n in range(20)]
    assert part.duration == 10
    assert part.notes == ("20 of 100 requests from 10 s to 20 s",)


def test_the_first_requests_end_where_the_next_one_comes() -> None:
    """The rate of the first requests is not that of one request less."""
    first = make().first(10)
    assert first.duration == 5
    assert first.rate == 2
    assert first.notes == ("the first 10 of 100 requests",)
    assert make().first(1000).notes == ("all 100 requests",)
    assert make().first(1000).requests == make().requests


def test_notes_add_up() -> None:
    """A trace that was changed twice says so in that order."""
    notes = make().first(10).between(1).notes
    assert notes == ("the first 10 of 100 requests", "8 of 10 requests from 1 s to 5 s")


NUMBER = "must be a number above 0 and at most"
TRACE_PROBLEMS: BadInputs = [
    ({"name": ""}, "trace '': 'name' must be a text that is not empty, got ''"),
    (
        {"source": None},
        "trace 'chat': 'source' must be a text that is not empty, got None",
    ),
    ({"notes": ["x"]}, "trace 'chat': 'notes' must be a tuple of texts, got ['x']"),
    (
        {"duration": 0},
        f"trace 'chat': 'duration' {NUMBER} 2,147,483,647, got 0",
    ),
    (
        {"duration": math.nan},
        f"trace 'chat': 'duration' {NUMBER} 2,147,483,647, got nan",
    ),
    (
        {"duration": 49},
        (
            "trace 'chat': 'duration' must be at least the last arrival (49.5), got "
            "49; raise it or use between()"
        ),
    ),
    (
        {"requests": ()},
        "trace 'chat': 'requests' must be a tuple with at least one Request, got ()",
    ),
    (
        {"requests": [Request(0, 1, 1)]},
        (
            "trace 'chat': 'requests' must be a tuple with at least one Request, "
            "got 'list'"
        ),
    ),
    (
        {"requests": (Request(0, 1, 1), 2, 3), "duration": None},
        (
            "trace 'chat': 'requests[1]' must be of class Request, got 2\n"
            f"trace 'chat': 'duration' {NUMBER} 2,147,483,647, got None"
        ),
    ),
    (
        {"requests": (Request(2, 1, 1), Request(1, 1, 1))},
        (
            "trace 'chat': 'requests[1]' must not arrive before the one in front of it "
            "(2), got 1; sort them"
        ),
    ),
]


@bad_inputs(TRACE_PROBLEMS)
def test_bad_traces_are_refused(changes: dict[str, Any], message: str) -> None:
    """A trace that breaks rules is refused with all of them."""
    assert refusal(lambda: make(**changes)) == message


FACTOR = f"trace 'chat': 'rate_factor' {NUMBER} 1,000"
SEED = "trace 'chat': 'seed' must be a whole number"
CHANGE_PROBLEMS: list[tuple[Callable[[Trace], Trace], str]] = [
    (lambda t: t.scaled(0), f"{FACTOR}, got 0"),
    (lambda t: t.scaled(math.inf), f"{FACTOR}, got inf"),
    (lambda t: t.scaled(None), f"{FACTOR}, got None"),  # type: ignore[arg-type]
    (
        lambda t: t.scaled("2", method="faster", seed=1.5),  # type: ignore[arg-type]
        (
            f"{SEED}, got 1.5\n"
            "trace 'chat': 'method' must be one of 'compress', 'thin', 'superpose', "
            f"got 'faster'\n{FACTOR}, got '2'"
        ),
    ),
    (
        lambda t: t.scaled(2, method="thin"),
        (
            "trace 'chat': 'rate_factor' must be at most 1 for 'thin', got 2; use "
            "'superpose' or 'compress'"
        ),
    ),
    (
        lambda t: t.scaled(0.5, method="superpose"),
        (
            "trace 'chat': 'rate_factor' must be at least 1 for 'superpose', got 0.5; "
            "use 'thin' or 'compress'"
        ),
    ),
    (
        lambda t: t.scaled(1e-9, method="thin"),
        (
            "trace 'chat': 'requests' must keep at least one, got 'rate multiplied by "
            "1e-09 at random (thin, seed 0): 100 requests become 0'; choose a longer "
            "part or a higher rate"
        ),
    ),
    (
        lambda t: t.jittered(-1, seed="x"),  # type: ignore[arg-type]
        f"trace 'chat': 'seconds' {NUMBER} 2,147,483,647, got -1\n{SEED}, got 'x'",
    ),
    (
        lambda t: t.clipped(1),
        "trace 'chat': 'max_model_len' must be 2 to 20971520, got 1",
    ),
    (
        lambda t: t.between(-1, 60),
        (
            "trace 'chat': 'start' must be 0 to 50, got -1\n"
            "trace 'chat': 'end' must be 0 to 50, got 60"
        ),
    ),
    (
        lambda t: t.between(20, 10),
        "trace 'chat': 'start' must be below 'end' (10), got 20",
    ),
    (
        lambda t: t.between(0.1, 0.2),
        (
            "trace 'chat': 'requests' must keep at least one, got '0 of 100 requests "
            "from 0.1 s to 0.2 s'; choose a longer part or a higher rate"
        ),
    ),
    (lambda t: t.first(0), "trace 'chat': 'n' must be at least 1, got 0"),
    (lambda t: t.first(True), "trace 'chat': 'n' must be a whole number, got True"),
]


@pytest.mark.parametrize(("change", "message"), CHANGE_PROBLEMS)
def test_bad_changes_are_refused(
    change: Callable[[Trace], Trace], message: str
) -> None:
    """A change that breaks rules is refused with all of them."""
    assert refusal(lambda: change(make())) == message


def test_too_many_copies_are_refused() -> None:
    """A trace does not grow until memory ends."""
    trace = make(requests=tuple(Request(n / 200, 9, 9) for n in range(10_000)))
    assert refusal(lambda: trace.scaled(600, method="superpose")) == (
        "trace 'chat': 'rate_factor' must give at most 5,000,000 requests, got 600; "
        "use 'compress' or a part of the trace"
    )


def test_prefix_hits_are_whole_blocks_of_each_prompt() -> None:
    """A share of each prompt is cached, in blocks of 16 and never the last token."""
    trace = steady(1, 60, lengths=Lengths.fixed(prompt=100, answer=10))
    found = trace.with_prefix_hits(0.5)
    assert {item.cached_tokens for item in found.requests} == {48}
    whole = trace.with_prefix_hits(1)
    assert {item.cached_tokens for item in whole.requests} == {96}
    assert found.notes[-1] == "50% of each prompt taken as found in the prefix cache"


@pytest.mark.parametrize("share", [-0.1, 1.5, "half", math.nan])
def test_fails_when_the_share_of_hits_is_none(share: Any) -> None:
    """A share is a number from 0 to 1."""
    with pytest.raises(ConfigurationError, match="'share' must be"):
        steady(1, 60).with_prefix_hits(share)
