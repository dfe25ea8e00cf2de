"""Tests of a simulated replica, against a plain engine and a recorded one."""

import csv
import json
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eks_inference.accelerator import Accelerator
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.step_time import StepModel, attention_pairs
from eks_inference.planning.throughput import API_SECONDS, steady_throughput
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.replica import Replica
from eks_inference.simulation.requests import Outcome, Request
from tests.library.architectures import LLAMA_8B
from tests.library.conftest import BadInputs, bad_inputs, recorded_data, refusal
from tests.library.plain_engine import BLOCK, PlainEngine

RUN = "vllm_runs/rtxpro6000-llama-3.1-8b"

WINDOWED = Architecture(
    name="Gemma3ForCausalLM",
    layers=4,
    hidden_size=256,
    attention_heads=4,
    kv_heads=4,
    head_size=64,
    vocabulary=1000,
    context=32_768,
    parameters=10_000_000,
    windowed_layers=3,
    window=24,
)


def step_model(
    architecture: Architecture = LLAMA_8B, gpu: Accelerator = Accelerator.RTX_PRO_6000
) -> StepModel:
    """Return the step times of a model on a GPU."""
    return StepModel(Checkpoint.computed(name="test", architecture=architecture), gpu)


STEP = step_model()
WINDOWED_STEP = step_model(WINDOWED)


@dataclass
class Site:
    """A replica, and what it has finished.

    Args:
        changes: Arguments of the replica that differ from the usual ones.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    events: EventQueue = field(default_factory=EventQueue)
    finished: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the replica."""
        arguments: dict[str, Any] = {
            "name": "chat-1",
            "step": STEP,
            "max_num_seqs": 4,
            "max_num_batched_tokens": 64,
            "kv_tokens": 16 * BLOCK,
            "on_finished": self.finished.append,
        }
        self.replica = Replica(self.events, **(arguments | self.changes))

    def send(self, requests: Iterable[Request]) -> list[Outcome]:
        """Let requests arrive at their times."""
        outcomes = [Outcome(request) for request in requests]
        for outcome in outcomes:
            self.events.at(
                outcome.request.arrival,
                lambda outcome=outcome: self.replica.submit(outcome),  # type: ignore[misc]
            )
        return outcomes

    def replay(self, requests: Iterable[Request]) -> list[Outcome]:
        """Let requests arrive, and run until all are finished."""
        outcomes = self.send(requests)
        self.events.run(until=1e9)
        return outcomes


def times(outcomes: Iterable[Outcome]) -> list[float]:
    """Return all times, in the order of the requests."""
    return [
        time
        for item in outcomes
        for time in (item.first_token, item.finished)
        if time is not None
    ]


def latency(outcome: Outcome) -> float:
    """Return the latency of a request that is finished."""
    assert outcome.latency is not None
    return outcome.latency


@st.composite
def workloads(draw: st.DrawFn) -> tuple[dict[str, Any], list[Request]]:
    """Return a small engine, and requests that fill it."""
    blocks = draw(st.integers(6, 24))
    seqs = draw(st.integers(1, 6))
    engine = {
        "max_num_seqs": seqs,
        "max_num_batched_tokens": draw(st.integers(seqs, 80)),
        "kv_tokens": blocks * BLOCK + draw(st.integers(0, BLOCK - 1)),
        "step": draw(st.sampled_from([STEP, WINDOWED_STEP])),
    }
    requests = []
    for _ in range(draw(st.integers(1, 14))):
        prompt = draw(st.integers(1, blocks * BLOCK - 1))
        answer = draw(st.integers(1, blocks * BLOCK - prompt + 1))
        arrival = draw(st.floats(0, 3)) if draw(st.booleans()) else 0.0
        cached = draw(st.sampled_from([0, prompt // 2, prompt]))
        requests.append(Request(arrival, prompt, answer, cached))
    return engine, requests


@settings(max_examples=300)
@given(workloads())
def test_skipping_steps_changes_nothing(
    workload: tuple[dict[str, Any], list[Request]],
) -> None:
    """Times and preemptions are those of an engine that takes every step."""
    engine, requests = workload
    outcomes, expected = (
        Site(engine).replay(requests),
        PlainEngine(**engine).replay(requests),
    )
    assert times(outcomes) == pytest.approx(times(expected), rel=1e-9, abs=0)
    assert [item.preemptions for item in outcomes] == [
        item.preemptions for item in expected
    ]


def test_skipping_steps_changes_nothing_in_a_crowd() -> None:
    """The same with many short prompts, which lose their places again and again."""
    chance, preemptions = random.Random(6), 0
    for _ in range(250):
        blocks, seqs = chance.randint(6, 24), chance.randint(1, 8)
        engine: dict[str, Any] = {
            "max_num_seqs": seqs,
            "max_num_batched_tokens": chance.randint(seqs, 80),
            "kv_tokens": blocks * BLOCK,
            "step": chance.choice([STEP, WINDOWED_STEP]),
        }
        requests = []
        for _ in range(25):
            prompt = chance.randint(1, 2 * blocks - 1)
            answer = chance.randint(1, blocks * BLOCK - prompt + 1)
            requests.append(Request(chance.uniform(0, 2), prompt, answer))
        outcomes = Site(engine).replay(requests)
        expected = PlainEngine(**engine).replay(requests)
        assert times(outcomes) == pytest.approx(times(expected), rel=1e-9, abs=0)
        preemptions += sum(item.preemptions for item in outcomes)
    assert preemptions > 1_000


@given(workloads(), st.floats(0.001, 0.5))
def test_limits_hold_and_nothing_is_lost(
    workload: tuple[dict[str, Any], list[Request]], period: float
) -> None:
    """Gauges stay within the engine's limits, and every request is finished once."""
    engine, requests = workload
    site = Site(engine)

    def scrape() -> None:
        replica = site.replica
        assert 0 <= replica.running <= engine["max_num_seqs"]
        assert 0 <= replica.kv_usage <= 1
        assert (replica.kv_usage > 0) >= (replica.running > 0)
        assert replica.running + replica.waiting <= replica.outstanding

    outcomes = site.send(requests)
    for turn in range(40):
        site.events.at(turn * period, scrape)
    site.events.run(until=1e9)
    assert len(site.finished) == len(requests)
    assert {id(item) for item in site.finished} == {id(item) for item in outcomes}
    assert all(item.lost is None and item.finished for item in outcomes)
    replica = site.replica
    assert (replica.running, replica.waiting, replica.outstanding) == (0, 0, 0)
    assert replica.kv_usage == 0


class Counting(StepModel):
    """A step model that notes what the engine computes."""

    seen: list[tuple[float, float]]

    def seconds(
        self,
        *,
        tokens: float,
        sequences: float,
        context_tokens: float,
        prefill_pairs: float = 0.0,
    ) -> float:
        """Note the tokens of a step."""
        self.seen.append((tokens, sequences))
        return super().seconds(
            tokens=tokens,
            sequences=sequences,
            context_tokens=context_tokens,
            prefill_pairs=prefill_pairs,
        )


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 2)), min_size=1, max_size=9)
)
def test_tokens_are_conserved(lengths: list[tuple[int, int]]) -> None:
    """Tokens of prompts are computed once, and those of answers are emitted once."""
    step = Counting(STEP.checkpoint, STEP.accelerator)
    step.seen = []
    # answers of two tokens at most, so that no burst asks for more than one step
    requests = [Request(0.0, prompt, answer) for prompt, answer in lengths]
    site = Site({"step": step, "kv_tokens": 10_000})
    site.replay(requests)
    assert sum(tokens for tokens, _ in step.seen) == sum(
        prompt + answer - 1 for prompt, answer in lengths
    )
    assert sum(emitted for _, emitted in step.seen) == sum(
        answer for _, answer in lengths
    )


def test_single_request_takes_the_time_of_its_steps() -> None:
    """On an idle replica the times are the API's, the chunks' and the tokens'."""
    outcome = Site().replay([Request(1.0, prompt_tokens=100, answer_tokens=3)])[0]
    chunks = [
        STEP.seconds(
            tokens=64, sequences=0, context_tokens=64, prefill_pairs=64 * (64 - 32)
        ),
        STEP.seconds(
            tokens=36, sequences=1, context_tokens=100, prefill_pairs=36 * (100 - 18)
        ),
    ]
    tokens = [
        STEP.seconds(tokens=1, sequences=1, context_tokens=end) for end in (101, 102)
    ]
    first = API_SECONDS + sum(chunks)
    assert outcome.time_to_first_token == pytest.approx(first, rel=1e-12)
    assert latency(outcome) == pytest.approx(first + sum(tokens), rel=1e-12)
    assert outcome.time_per_output_token == pytest.approx(sum(tokens) / 2, rel=1e-12)


def test_idle_replica_meets_the_closed_form() -> None:
    """The first token comes when the planner says so, for a prompt of many chunks."""
    engine = {"max_num_batched_tokens": 2048, "kv_tokens": 100_000}
    outcome = Site(engine).replay([Request(0.0, 9_000, 2)])[0]
    steady = steady_throughput(
        STEP, prompt_tokens=9_000, answer_tokens=2, concurrency=1
    )
    assert outcome.time_to_first_token == pytest.approx(
        steady.seconds_to_first_token, rel=1e-9
    )


def test_cached_prefix_is_not_computed_but_takes_room() -> None:
    """Whole blocks of a cached prefix save their time, and are in the KV cache."""
    prompt = 10 * BLOCK
    site = Site({"max_num_batched_tokens": 512})
    outcome = site.send([Request(0.0, prompt, 2, cached_tokens=5 * BLOCK + 3)])[0]
    site.events.run(until=API_SECONDS + 1e-6)
    assert site.replica.kv_usage == 10 / 16
    site.events.run(until=10)
    new = 5 * BLOCK
    expected = STEP.seconds(
        tokens=new,
        sequences=1,
        context_tokens=prompt,
        prefill_pairs=attention_pairs(new, prompt),
    )
    assert outcome.time_to_first_token == pytest.approx(API_SECONDS + expected)


def test_prompt_that_is_cached_as_a_whole_computes_a_block() -> None:
    """The last block of a prompt is computed even where all of it was found."""
    site = Site()
    outcome = site.replay([Request(0.0, 2 * BLOCK, 1, cached_tokens=2 * BLOCK)])[0]
    expected = STEP.seconds(
        tokens=BLOCK,
        sequences=1,
        context_tokens=2 * BLOCK,
        prefill_pairs=attention_pairs(BLOCK, 2 * BLOCK),
    )
    assert outcome.time_to_first_token == pytest.approx(API_SECONDS + expected)


def test_newest_request_is_preempted_and_computed_again() -> None:
    """Where the cache is full the newest loses its place, and keeps its first token."""
    engine = {"kv_tokens": 5 * BLOCK}
    requests = [Request(0.0, 2 * BLOCK, 20), Request(0.001, 2 * BLOCK - 3, 20)]
    old, new = Site(engine).replay(requests)
    assert (old.preemptions, new.preemptions) == (0, 1)
    assert old.finished is not None
    assert new.first_token is not None
    assert new.finished is not None
    assert new.first_token < old.finished < new.finished
    alone = Site(engine).replay(requests[:1])[0]
    assert old.finished > latency(alone)


def test_prompt_waits_until_all_of_it_has_room() -> None:
    """A prompt is not begun while the free blocks hold only its first chunk."""
    site = Site({"max_num_batched_tokens": 16, "kv_tokens": 6 * BLOCK})
    site.send([Request(0.0, 2 * BLOCK, 30), Request(0.001, 5 * BLOCK, 1)])
    site.events.run(until=0.1)
    assert (site.replica.running, site.replica.waiting) == (1, 1)


def test_gauges_follow_a_burst() -> None:
    """``running`` stops at its limit, ``waiting`` has the rest, the cache fills."""
    site = Site({"kv_tokens": 4_000})
    site.send([Request(0.0, BLOCK, 100) for _ in range(10)])
    site.events.run(until=API_SECONDS / 2)
    assert (site.replica.running, site.replica.waiting) == (0, 0)
    assert site.replica.outstanding == 10
    usages = []
    for tick in range(1, 8):
        site.events.run(until=API_SECONDS + tick / 10)
        assert (site.replica.running, site.replica.waiting) == (4, 6)
        usages.append(site.replica.kv_usage)
    assert usages == sorted(usages)
    assert usages[-1] > usages[0] >= 4 / 250


def test_usage_within_a_burst_is_that_of_every_step() -> None:
    """A scrape between two changes sees the blocks of the step that is under way."""
    site = Site({"api_seconds": 0.0})
    site.send([Request(0.0, 20, 100)])
    now = STEP.seconds(
        tokens=20,
        sequences=1,
        context_tokens=20,
        prefill_pairs=attention_pairs(20, 20),
    )
    for end in range(21, 120):
        seconds = STEP.seconds(tokens=1, sequences=1, context_tokens=end)
        site.events.run(until=now + seconds / 2)
        assert site.replica.kv_usage == -(-end // BLOCK) / 16
        now += seconds


def test_draining_finishes_what_is_there() -> None:
    """A replica that drains takes nothing more, finishes all it has, and says so."""
    site, empty = Site(), []
    outcomes = site.send([Request(0.0, 30, 10) for _ in range(6)])
    late = site.send([Request(0.2, 30, 10)])[0]
    site.events.at(0.005, lambda: site.replica.drain(lambda: empty.append(1)))
    site.events.run(until=0.2)
    assert not site.replica.accepting
    assert late.lost == "refused"
    assert empty == []
    site.events.run(until=100)
    assert all(item.finished for item in outcomes)
    assert empty == [1]


def test_draining_an_empty_replica_is_done_at_once() -> None:
    """There is nothing to wait for, and killing it later changes nothing."""
    empty: list[int] = []
    site = Site()
    site.replica.drain(lambda: empty.append(1))
    assert empty == [1]
    assert site.replica.kill() == []
    assert empty == [1]


def test_killing_loses_what_is_not_finished() -> None:
    """Requests in the API server, the queue and the engine are lost, others are not."""
    site, empty = Site({"kv_tokens": 10_000}), []
    outcomes = site.send(
        [Request(0.0, 30, 2)]
        + [Request(0.0, 30, 1_000) for _ in range(6)]
        + [Request(0.995, 30, 2)]
    )
    site.events.at(0.5, lambda: site.replica.drain(lambda: empty.append(1)))
    site.events.run(until=0.4)
    late = Outcome(Request(0.4, 30, 2))
    site.replica.submit(late)
    killed = site.replica.kill()
    site.events.run(until=1e6)
    assert killed == [*outcomes[1:7], late]
    assert {item.lost for item in killed} == {"killed"}
    assert site.finished[0] is outcomes[0]
    assert outcomes[0].lost is None
    assert outcomes[7].lost == "refused"
    assert all(item.finished is None for item in killed)
    replica = site.replica
    assert (replica.running, replica.waiting, replica.outstanding) == (0, 0, 0)
    assert (replica.kv_usage, replica.accepting) == (0, False)


def test_replica_may_be_killed_by_who_hears_of_the_end() -> None:
    """A request that ends in the same step is finished, and nothing else follows."""
    site, empty = Site(), []

    def kill(_: Outcome) -> None:
        site.replica.kill()

    site.replica._on_finished = kill  # noqa: SLF001 - the site has a list for it
    site.events.at(0.01, lambda: site.replica.drain(lambda: empty.append(1)))
    outcomes = site.replay([Request(0.0, 10, 5), Request(0.0, 10, 5), Request(0, 9, 6)])
    assert outcomes[0].finished == outcomes[1].finished is not None
    assert [item.lost for item in outcomes] == [None, None, "killed"]
    assert empty == []


def test_request_longer_than_the_cache_is_refused() -> None:
    """What can never have room is refused, and what just fits is served."""
    fits, refused = Site().replay(
        [Request(0.0, 200, 16 * BLOCK - 200 + 1), Request(0.0, 200, 58)]
    )
    assert fits.finished
    assert (refused.lost, refused.finished) == ("refused", None)


def test_number_in_the_system_is_rate_times_time() -> None:
    """Little's law holds over a whole run, API server and queue included."""
    chance = random.Random(7)
    site = Site({"kv_tokens": 40 * BLOCK})
    area, since, inside = 0.0, 0.0, 0

    def note(change: int) -> None:
        nonlocal area, since, inside
        area += inside * (site.events.now - since)
        since, inside = site.events.now, inside + change

    site.replica._on_finished = lambda _: note(-1)  # noqa: SLF001 - seen as it happens
    outcomes = [
        Outcome(Request(chance.uniform(0, 60), 10 + chance.randrange(90), 5 + index))
        for index in range(100)
    ]

    def arrive(outcome: Outcome) -> Callable[[], None]:
        def action() -> None:
            site.replica.submit(outcome)
            note(+1)
            assert inside == site.replica.outstanding

        return action

    for outcome in outcomes:
        site.events.at(outcome.request.arrival, arrive(outcome))
    site.events.run(until=1e6)
    assert inside == 0
    assert area == pytest.approx(sum(map(latency, outcomes)), rel=1e-9)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_at_a_time_is_a_queue_of_known_theory(load: float) -> None:
    """With one sequence and equal lengths waits are those of an M/D/1 queue."""
    shape = (50, 20)
    engine = {"max_num_seqs": 1, "api_seconds": 0.0}
    service = latency(Site(engine).replay([Request(0.0, *shape)])[0])
    chance = random.Random(2)
    arrival, requests = 0.0, []
    for _ in range(40_000):
        arrival += chance.expovariate(load / service)
        requests.append(Request(arrival, *shape))
    waits = [latency(item) - service for item in Site(engine).replay(requests)]
    expected = load * service / (2 * (1 - load))
    assert statistics.mean(waits) == pytest.approx(expected, rel=0.03)
    wait = 0.0
    for (before, after), simulated in zip(pairwise(requests), waits[1:], strict=True):
        wait = max(0.0, wait + service - (after.arrival - before.arrival))
        assert simulated == pytest.approx(wait, abs=1e-8)


def test_two_runs_are_the_same() -> None:
    """Nothing in a replica depends on chance or on addresses in memory."""
    requests = [Request(index % 5 / 10, 20 + index, 30) for index in range(40)]
    assert times(Site().replay(requests)) == times(Site().replay(requests))


PERCENTILES = ("mean", "p50", "p90", "p99")


@dataclass(frozen=True)
class Comparison:
    """A recorded run beside a simulated one.

    Args:
        measured: Seconds of the recorded run, by quantity and statistic.
        simulated: The same of the simulated run.
        gauges: Mean absolute error of ``running`` and ``waiting`` each second, and
            the largest value that was recorded.
    """

    measured: dict[tuple[str, str], float]
    simulated: dict[tuple[str, str], float]
    gauges: dict[str, tuple[float, float]]

    def error(self, *key: str) -> float:
        """Return how much more was simulated than measured."""
        name, statistic = key
        return self.simulated[name, statistic] / self.measured[name, statistic] - 1


def _statistics(name: str, values: Sequence[float]) -> dict[tuple[str, str], float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = (statistics.mean(values), cuts[49], cuts[89], cuts[98])
    return {(name, key): value for key, value in zip(PERCENTILES, found, strict=True)}


def replay_recorded_run(step: StepModel = STEP) -> Comparison:
    """Return a recorded run of vLLM 0.19 beside the same requests, simulated.

    Its client is in the engine's process, so nothing is added for an API server. The
    KV cache is not recorded, and is larger than what 128 of its requests can take.
    """
    lines = recorded_data(f"{RUN}/requests.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    with recorded_data(f"{RUN}/timeseries.csv").open(encoding="utf-8") as file:
        gauges = list(csv.DictReader(file))
    start = rows[0]["arrival_time"]
    # two clocks: the first request found the engine idle, and was queued in 2 ms
    shift = rows[0]["queued_ts"] - 0.002
    site = Site(
        {
            "step": step,
            "max_num_seqs": 128,
            "max_num_batched_tokens": 2048,
            "kv_tokens": 500_000,
            "api_seconds": 0.0,
        }
    )
    outcomes = site.send(
        Request(row["arrival_time"] - start, row["input_toks"], row["output_toks"])
        for row in rows
    )
    seen: dict[str, list[float]] = {"running": [], "waiting": []}
    for row in gauges:
        site.events.run(until=float(row["t"]))
        for name, errors in seen.items():
            errors.append(abs(getattr(site.replica, name) - float(row[name])))
    site.events.run(until=1e6)

    def collect(times: Iterable[tuple[float, float, float]]) -> Any:
        found: dict[str, list[float]] = {"first token": [], "token": [], "latency": []}
        for (arrival, first, last), row in zip(times, rows, strict=True):
            found["first token"].append(first - arrival)
            found["latency"].append(last - arrival)
            if row["output_toks"] > 1:
                found["token"].append((last - first) / (row["output_toks"] - 1))
        return {
            key: value
            for name, values in found.items()
            for key, value in _statistics(name, values).items()
        }

    return Comparison(
        measured=collect(
            (
                row["arrival_time"] - start,
                row["first_token_ts"] - shift,
                row["last_token_ts"] - shift,
            )
            for row in rows
        ),
        simulated=collect(
            (item.request.arrival, item.first_token or 0.0, item.finished or 0.0)
            for item in outcomes
        ),
        gauges={
            name: (statistics.mean(errors), max(float(row[name]) for row in gauges))
            for name, errors in seen.items()
        },
    )


@pytest.mark.parametrize("quantity", ["first token", "token", "latency"])
def test_recorded_run_is_met(quantity: str) -> None:
    """Mean and 90th percentile of vLLM's own times are met within 10 %."""
    run = replay_recorded_run()
    for statistic in ("mean", "p90"):
        assert abs(run.error(quantity, statistic)) < 0.10


def test_gauges_of_a_recorded_run_are_met() -> None:
    """``running`` and ``waiting`` are met within 5 % of their largest, on average."""
    for error, largest in replay_recorded_run().gauges.values():
        assert error < 0.05 * largest


def test_small_engine_queues_as_a_recorded_one() -> None:
    """Of a burst, four run and the rest waits, for as long as there is a rest."""
    with recorded_data("vllm_queue_trace.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    recorded = [
        (float(row["num_requests_running"]), float(row["num_requests_waiting"]))
        for row in rows
    ]
    site = Site({"max_num_batched_tokens": 2048, "kv_tokens": 524_288})
    site.send(Request(0.0, 32, 64) for _ in range(32))
    simulated = []
    for tick in range(1, 400):
        site.events.run(until=API_SECONDS + tick / 100)
        simulated.append((site.replica.running, site.replica.waiting))
    for series in (recorded, simulated):
        assert max(running for running, _ in series) == 4
        queued = [running for running, waiting in series if waiting]
        assert queued.count(4) / len(queued) > 0.95
        assert max(waiting for _, waiting in series) in (28, 30)
    waits = [waiting for _, waiting in simulated]
    assert all(after <= before for before, after in pairwise(waits))


BAD: BadInputs = [
    ({"name": ""}, "'name' must be a text that is not empty, got ''"),
    ({"step": 3}, "'step' must be of class StepModel, got 3"),
    ({"max_num_seqs": 0}, "'max_num_seqs' must be 1 to 1000000, got 0"),
    (
        {"max_num_batched_tokens": 3},
        (
            "'max_num_batched_tokens' must be at least 'max_num_seqs' (4), got 3; "
            "raise it or lower 'max_num_seqs'"
        ),
    ),
    ({"kv_tokens": 15}, "'kv_tokens' must be 16 to 1000000000, got 15"),
    ({"kv_tokens": 1e5}, "'kv_tokens' must be a whole number, got 100000.0"),
    ({"on_finished": None}, "'on_finished' must be a function, got None"),
    ({"api_seconds": float("nan")}, "'api_seconds' must be 0 to 3600, got nan"),
    (
        {"name": None, "max_num_seqs": "4", "api_seconds": -1},
        (
            "'name' must be a text that is not empty, got None\n"
            "'max_num_seqs' must be a whole number, got '4'\n"
            "'api_seconds' must be 0 to 3600, got -1"
        ),
    ),
]


@bad_inputs(BAD)
def test_replica_refuses(changes: dict[str, Any], message: str) -> None:
    """Arguments that contradict a rule are named, all at once."""
    assert refusal(lambda: Site(changes)) == message


def test_replica_refuses_what_belongs_elsewhere() -> None:
    """Events, requests and functions of another kind are named."""
    site = Site()
    assert refusal(
        lambda: Replica(
            None,  # type: ignore[arg-type]
            name="a",
            step=STEP,
            max_num_seqs=1,
            max_num_batched_tokens=1,
            kv_tokens=16,
            on_finished=print,
        )
    ) == ("'events' must be of class EventQueue, got None")
    assert refusal(lambda: site.replica.submit(None)) == (  # type: ignore[arg-type]
        "'outcome' must be of class Outcome, got None"
    )
    assert refusal(lambda: site.replica.drain(1)) == (  # type: ignore[arg-type]
        "'on_empty' must be a function, got 1"
    )
    done = Outcome(Request(0.0, 1, 1), finished=1.0)
    assert refusal(lambda: site.replica.submit(done)) == (
        f"'outcome' must be neither finished nor lost, got {done!r}; make a new one "
        "for each request"
    )


@bad_inputs(
    [
        ({"arrival": -1}, "request: 'arrival' must be 0 to 2147483647, got -1"),
        (
            {"prompt_tokens": 0, "answer_tokens": 2.0},
            (
                "request: 'prompt_tokens' must be 1 to 100000000, got 0\n"
                "request: 'answer_tokens' must be a whole number, got 2.0"
            ),
        ),
        (
            {"cached_tokens": 11},
            "request: 'cached_tokens' must be at most 'prompt_tokens' (10), got 11",
        ),
        (
            {"cached_tokens": None},
            "request: 'cached_tokens' must be a whole number, got None",
        ),
    ]
)
def test_request_refuses(changes: dict[str, Any], message: str) -> None:
    """A request without tokens, or that starts before the run, is named."""
    values: dict[str, Any] = {"arrival": 0, "prompt_tokens": 10, "answer_tokens": 1}
    assert refusal(lambda: Request(**(values | changes))) == message
