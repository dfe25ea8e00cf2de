"""Tests of whole runs: what holds for every trace and every way to scale."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eks_inference import ConfigurationError, Drain
from eks_inference.planning.instances import Prices, instance
from eks_inference.simulation import policies
from eks_inference.simulation.generators import bundled, steady
from eks_inference.simulation.policies import (
    ConcurrencyScaling,
    CpuScaling,
    Fixed,
    Foresight,
    KedaScaling,
    ScalingPolicy,
)
from eks_inference.simulation.results import Result
from eks_inference.simulation.run import simulate
from eks_inference.simulation.trace import Trace
from tests.library.simulated import MAX_MODEL_LEN, requests, scenario, trace

SHORT = trace((0, 0.3), (120, 0.3), (120, 4), (300, 4), (300, 0.2), (400, 0.2))

SPOT = Prices(spot_ratio=0.4)

PRICE = instance("g6.xlarge").usd_per_hour or 0.0


POLICIES: dict[str, Callable[[], ScalingPolicy]] = {
    "queue": KedaScaling,
    "guide": lambda: policies.guide(4),
    "as written": lambda: policies.guide_as_written(4),
    "defaults": lambda: policies.keda_defaults(4),
    "cpu": lambda: CpuScaling(request_cpus=1),
    "concurrency": ConcurrencyScaling,
    "fixed": lambda: Fixed(2),
    "foresight": Foresight,
}
"""Policies of at most four replicas."""

KINDS = st.sampled_from(sorted(POLICIES))

TRACES = st.builds(
    lambda rates, seed: trace(
        *((60.0 * i, rate) for i, rate in enumerate(rates)), seed=seed
    ),
    st.lists(st.floats(0.5, 6), min_size=2, max_size=6),
    st.integers(0, 1000),
)


def shown(run: Result) -> tuple[Any, ...]:
    """Return all that a result shows, in a form that can be compared."""
    return (
        run.outcomes,
        run.replicas,
        run.queue,
        [(pod.name, pod.stages, pod.ready_at) for pod in run.pods],
        [(node.name, node.launched_at, node.ended_at) for node in run.nodes],
        run.now,
    )


def check(run: Result, asked: Trace, low: int, high: int) -> None:
    """Require what holds for every run."""
    assert len(run.outcomes) == len(asked.requests)
    for item, request in zip(run.outcomes, asked.requests, strict=True):
        assert (item.finished is None) is (item.lost is not None)
        assert item.request.prompt_tokens == request.prompt_tokens
        assert item.request.answer_tokens == request.answer_tokens
        assert item.request.arrival == run.begin + request.arrival
        if item.finished is not None:
            assert item.first_token is not None
            assert item.request.arrival < item.first_token <= item.finished <= run.now
            # one step at least for each token after the first
            assert (item.first_token < item.finished) is (request.answer_tokens > 1)
    assert sum(run.lost.values()) + len(run.finished) == len(asked.requests)
    for sample in run.replicas:
        # nothing is there before the deployment is first scaled
        assert low <= sample.desired <= high or sample.time == 0
    assert 0 <= run.mean_replicas <= high
    for point in run.queue:
        assert point.running + point.waiting + point.unsent <= len(asked.requests)
        assert 0 <= point.kv_usage <= 1


@settings(max_examples=30)
@given(asked=TRACES, kind=KINDS, seed=st.integers(0, 1000))
def test_every_run(*, asked: Trace, kind: str, seed: int) -> None:
    """Each request ends once, replicas stay in their bounds, and cost at least them."""
    low = 2 if kind == "fixed" else 1
    run = simulate(scenario(), asked, POLICIES[kind](), seed=seed)

    check(run, asked, low, 4)
    hours = asked.duration / 3600
    assert run.gpu_hours >= low * hours * (1 - 1e-9)
    assert run.usd is not None
    assert run.usd >= low * hours * PRICE * (1 - 1e-9)
    assert run.gpu_hours >= run.mean_replicas * hours * (1 - 1e-9)
    assert low <= run.mean_replicas <= run.most_replicas


@settings(max_examples=15)
@given(
    asked=TRACES,
    kind=KINDS,
    rate=st.floats(0, 60),
    error=st.floats(0, 0.9),
    headroom=st.integers(0, 2),
    queues=st.booleans(),
)
def test_every_run_on_spot(
    *,
    asked: Trace,
    kind: str,
    rate: float,
    error: float,
    headroom: int,
    queues: bool,
) -> None:
    """Whatever EC2 does, each request ends once, and the reason is known."""
    tried = scenario(
        spot=True,
        prices=SPOT,
        interruptions_per_hour=rate,
        capacity_errors={"spot": error},
        headroom=headroom,
        gateway_queues=queues,
    )
    run = simulate(tried, asked, POLICIES[kind]())

    check(run, asked, 1, 4)
    assert set(run.lost) <= {"killed", "refused", "unfinished"}


@pytest.mark.parametrize("kind", ["queue", "cpu", "concurrency", "foresight"])
def test_the_same_seed(kind: str) -> None:
    """The same seed gives the same result to the last digit."""
    spot = scenario(spot=True, prices=SPOT, interruptions_per_hour=20)

    assert shown(simulate(spot, SHORT, POLICIES[kind](), seed=3)) == (
        shown(simulate(spot, SHORT, POLICIES[kind](), seed=3))
    )


def test_another_seed() -> None:
    """Another seed gives other times of starts."""
    runs = [simulate(scenario(), SHORT, KedaScaling(), seed=n) for n in range(3)]

    assert len({run.cold_starts for run in runs}) == 3


def test_no_load() -> None:
    """A single request leaves the minimum where it is."""
    for kind in ("queue", "guide", "defaults", "concurrency", "foresight"):
        quiet = requests((5, 100, 20), duration=900)
        run = simulate(scenario(), quiet, POLICIES[kind]())

        assert run.mean_replicas == 1, kind
        assert run.gpu_hours == pytest.approx(900 / 3600), kind


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_the_warm_up_is_free(replicas: int) -> None:
    """What is there from the start is ready, and is paid from the trace's begin."""
    run = simulate(scenario(), requests((0, 100, 20), duration=360), Fixed(replicas))

    assert run.mean_replicas == replicas
    assert run.gpu_hours == pytest.approx(replicas * 0.1)
    assert run.usd == pytest.approx(replicas * 0.1 * PRICE)
    assert run.cold_starts == ()
    assert run.first_token(1) is not None
    assert run.first_token(1) < 1  # type: ignore[operator]


def test_the_same_answer_whenever_it_is_asked() -> None:
    """A lone request takes as long at the start of the trace as later."""
    asked = requests(*((30.0 * i, 500, 50) for i in range(8)), duration=300)
    run = simulate(scenario(), asked, Fixed(1))
    times = [item.latency for item in run.outcomes]

    assert max(times) == pytest.approx(min(times), rel=1e-6)  # type: ignore[type-var]


def test_littles_law() -> None:
    """Requests in the system are the rate times the time that they spend there."""
    asked = steady(1.5, 3000, seed=2).clipped(MAX_MODEL_LEN)
    run = simulate(scenario(), asked, Fixed(2))
    inside = [
        point.running + point.waiting + point.unsent
        for point in run.queue
        if point.time < run.end
    ]
    spent = math.fsum(
        min(run.end, item.finished) - item.request.arrival
        for item in run.outcomes
        if item.finished is not None
    )

    assert run.lost == {}
    # 600 samples, and 15.6 ms in the API server that no gauge shows
    assert sum(inside) / len(inside) == pytest.approx(spent / asked.duration, rel=0.05)


def test_more_replicas_are_not_slower() -> None:
    """With more replicas, requests wait less and the bill is higher."""
    runs = [simulate(scenario(), SHORT, Fixed(n)) for n in (1, 2, 4)]
    latencies = [run.latency(0.9) for run in runs]
    costs = [run.usd for run in runs]

    assert latencies == sorted(latencies, reverse=True)  # type: ignore[type-var]
    assert costs == sorted(costs)  # type: ignore[type-var]


def test_too_long() -> None:
    """What is longer than the model may be is refused as vLLM does."""
    asked = requests((1, 8000, 192), (2, 8000, 193), (3, 9000, 1))
    run = simulate(scenario(), asked, Fixed(1))

    assert [item.lost for item in run.outcomes] == [None, "too long", "too long"]


def test_without_a_gateway() -> None:
    """Without a replica, requests wait at a gateway and are refused without one."""
    asked = requests((1, 100, 20), (2, 100, 20))
    sleeping: dict[str, Any] = {"scaling": {"min_replicas": 0}}
    queued = simulate(scenario(**sleeping), asked, KedaScaling())
    refused = simulate(scenario(gateway_queues=False, **sleeping), asked, KedaScaling())

    assert queued.lost == {"unfinished": 2}
    assert refused.lost == {"refused": 2}


def test_headroom() -> None:
    """With a node kept empty, the first replica needs no new one."""
    bare = simulate(scenario(), SHORT, KedaScaling())
    ahead = simulate(scenario(headroom=3), SHORT, KedaScaling())

    assert len(ahead.cold_starts) == len(bare.cold_starts) == 3
    assert max(ahead.cold_starts) < min(bare.cold_starts)
    assert ahead.latency(0.9) < bare.latency(0.9)  # type: ignore[operator]
    assert ahead.usd > bare.usd  # type: ignore[operator]


def spot(drain: Drain, seed: int = 0) -> Result:
    """Return an hour of long answers on two replicas that are often interrupted."""
    tried = scenario(spot=True, prices=SPOT, interruptions_per_hour=6, drain=drain)
    asked = requests(*((10.0 * i, 100, 1000) for i in range(360)), duration=3600)
    return simulate(tried, asked, Fixed(3), seed=seed)


def test_interruptions_drain() -> None:
    """What fits the time to drain is answered; with less time it is lost."""
    long = spot(Drain(shutdown_timeout_seconds=90))
    short = spot(Drain(shutdown_timeout_seconds=1))
    ended = [node for node in long.nodes if node.end_reason == "interrupted"]

    assert len(ended) > 5
    assert long.lost == {}
    assert set(short.lost) == {"killed"}
    assert short.lost["killed"] > 3


def test_no_interruptions_on_demand() -> None:
    """On demand nothing is interrupted, whatever the rate for spot is."""
    run = simulate(scenario(interruptions_per_hour=60), SHORT, KedaScaling())

    assert not [node for node in run.nodes if node.end_reason == "interrupted"]
    assert run.lost == {}


def test_spot_is_cheaper() -> None:
    """The bill follows the price of spot; without one there is no bill."""
    dear = simulate(scenario(), SHORT, Fixed(2))
    cheap = simulate(scenario(spot=True, prices=SPOT), SHORT, Fixed(2))
    unknown = simulate(scenario(spot=True), SHORT, Fixed(2))

    assert cheap.usd == pytest.approx(dear.usd * 0.4)  # type: ignore[operator]
    assert unknown.usd is None


def test_a_day_without_capacity() -> None:
    """Where EC2 never has capacity, nothing is answered, and the run still ends."""
    dry = scenario(capacity_errors={"on-demand": 1.0})
    run = simulate(dry, requests((1, 100, 20)), KedaScaling())

    assert run.lost == {"unfinished": 1}
    assert run.gpu_hours == 0


def test_the_bundled_trace() -> None:
    """The trace of the library has an end, with every request answered."""
    asked = bundled().clipped(MAX_MODEL_LEN)
    run = simulate(scenario(scaling={"max_replicas": 10}), asked, KedaScaling())

    assert len(run.finished) == len(asked.requests)
    assert run.most_replicas <= 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scenario": None}, "'scenario' must be of class Scenario"),
        ({"asked": []}, "'trace' must be of class Trace"),
        ({"policy": None}, "'policy' must be of class ScalingPolicy"),
        ({"policy": KedaScaling}, "'policy' must be of class ScalingPolicy"),
        ({"seed": -1}, "'seed' must be at least 0"),
        ({"seed": None}, "'seed' must be a whole number"),
    ],
)
def test_bad_values(values: dict[str, Any], message: str) -> None:
    """A bad value is refused by its name."""
    known: dict[str, Any] = {
        "scenario": scenario(),
        "asked": SHORT,
        "policy": Fixed(1),
        "seed": 0,
        **values,
    }

    with pytest.raises(ConfigurationError, match=message):
        simulate(known["scenario"], known["asked"], known["policy"], seed=known["seed"])


@pytest.mark.parametrize(
    "values",
    [
        {"capacity_errors": {"on-demand": 2.0}},
        {"capacity_errors": {"reserved-ish": 0.1}},
        {"capacity_errors": {"spot": None}},
    ],
)
def test_bad_probabilities(values: dict[str, Any]) -> None:
    """Probabilities are checked, at the latest when a run begins."""
    with pytest.raises(ConfigurationError, match="errors"):
        simulate(replace(scenario(), **values), SHORT, Fixed(1))


def test_a_scenario_is_left_as_it_was() -> None:
    """A run changes nothing of what it gets."""
    tried = scenario()
    before = (tried, SHORT.requests)
    simulate(tried, SHORT, KedaScaling())

    assert (scenario(), SHORT.requests) == before


def test_balancer_is_what_the_scenario_says() -> None:
    """Round robin sends every other request to a replica, however busy it is."""
    long, short = (0.0, 100, 2_000), (0.1, 100, 10)
    asked = requests(long, short, (2.0, 100, 2_000), (2.1, 100, 10))
    two = {"min_replicas": 2, "max_replicas": 2}
    by_turn = simulate(scenario(scaling=two, balancer="round-robin"), asked, Fixed(2))
    by_load = simulate(scenario(scaling=two), asked, Fixed(2))
    turns = [item.replica for item in by_turn.outcomes]
    assert turns[0] == turns[2] != turns[1] == turns[3]
    assert by_load.outcomes[0].replica != by_load.outcomes[2].replica


def test_prefix_hits_shorten_the_first_token() -> None:
    """What is in the prefix cache is not computed again."""
    asked = requests((0.0, 1_600, 10))
    cold = simulate(scenario(), asked, Fixed(1))
    warm = simulate(scenario(), asked.with_prefix_hits(0.9), Fixed(1))
    before, after = cold.first_token(0.5), warm.first_token(0.5)
    assert before is not None
    assert after is not None
    assert after < 0.5 * before
