"""Tests of what a replica serves at a steady load."""

import csv
import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference.accelerator import Accelerator
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.step_time import StepModel, attention_pairs
from eks_inference.planning.throughput import (
    API_SECONDS,
    max_requests_per_second,
    steady_throughput,
)
from eks_inference.quantization import Quantization
from tests.library.architectures import LLAMA_8B, MIXTRAL
from tests.library.conftest import BadInputs, bad_inputs, recorded_data, refusal


def model(
    accelerator: Accelerator = Accelerator.L4,
    architecture: Architecture = LLAMA_8B,
    quantization: Quantization = Quantization.NONE,
) -> StepModel:
    """Return the step times of a model on a GPU."""
    weights = Checkpoint.computed(
        name="test", architecture=architecture, quantization=quantization
    )
    return StepModel(weights, accelerator)


def test_full_replica_of_a_real_engine_is_met() -> None:
    """Tokens per second of vLLM with 128 running requests are met within 10 %."""
    run = recorded_data("vllm_runs/rtxpro6000-llama-3.1-8b")
    lines = (run / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    requests = [json.loads(line) for line in lines]
    with (run / "timeseries.csv").open(encoding="utf-8") as file:
        full = [
            float(row["gen_throughput"])
            for row in csv.DictReader(file)
            if int(row["running"]) >= 120
        ]
    assert len(full) > 30
    computed = steady_throughput(
        model(Accelerator.RTX_PRO_6000),
        prompt_tokens=statistics.mean(item["input_toks"] for item in requests),
        answer_tokens=statistics.mean(item["output_toks"] for item in requests),
        concurrency=128,
    )
    assert computed.output_tokens_per_second == pytest.approx(
        statistics.mean(full), rel=0.10
    )


def test_one_request_at_a_time_by_hand() -> None:
    """One request after the other takes its prompt's step and one for each token."""
    steps = model()
    prompt = steps.seconds(
        tokens=0.9 + 100,
        sequences=0.9 + 1,
        context_tokens=0.9 * 105,
        prefill_pairs=100 * 100 / 2,
    )
    token = steps.seconds(tokens=1, sequences=1, context_tokens=0.9 * 105)
    computed = steady_throughput(
        steps, prompt_tokens=100, answer_tokens=10, concurrency=1
    )
    # a tenth of the steps has a prompt, and 0.9 requests decode on average
    assert computed.seconds_per_output_token == pytest.approx(
        0.1 * prompt + 0.9 * token
    )
    assert computed.requests_per_second == pytest.approx(1 / (prompt + 9 * token))
    assert computed.output_tokens_per_second == pytest.approx(
        10 * computed.requests_per_second
    )
    assert computed.total_tokens_per_second == pytest.approx(
        110 * computed.requests_per_second
    )


def test_prompts_fill_every_step_when_there_is_no_more_room() -> None:
    """A step has no more tokens than there is room for, whatever the concurrency."""
    steps = model()
    # 2048 / (1000 + 100 - 1) = 1.8635 requests end in a step: 184.49 tokens of
    # answers and 1863.5 of prompts
    ended = 2048 / 1099
    full = steps.seconds(
        tokens=2048,
        sequences=ended * 99 + ended,
        context_tokens=ended * 99 * 1050,
        prefill_pairs=ended * 1000 * 1000 / 2,
    )
    for concurrency in (200, 256, 1000):
        computed = steady_throughput(
            steps, prompt_tokens=1000, answer_tokens=100, concurrency=concurrency
        )
        assert computed.requests_per_second == pytest.approx(ended / full)


@pytest.mark.parametrize(
    ("prompt", "chunks"),
    [
        (1, [(1, 1)]),
        (2048, [(2048, 2048)]),
        (2049, [(2048, 2048), (1, 2049)]),
        (5000, [(2048, 2048), (2048, 4096), (904, 5000)]),
    ],
)
def test_first_token_waits_for_all_chunks_of_the_prompt(
    prompt: int, chunks: list[tuple[int, int]]
) -> None:
    """The time to the first token is that of every chunk, and of the server."""
    steps = model()
    expected = sum(
        steps.seconds(
            tokens=tokens,
            sequences=int(context == prompt),
            context_tokens=context,
            prefill_pairs=attention_pairs(tokens, context),
        )
        for tokens, context in chunks
    )
    computed = steady_throughput(
        steps, prompt_tokens=prompt, answer_tokens=10, concurrency=1
    )
    assert computed.seconds_to_first_token == pytest.approx(API_SECONDS + expected)


def test_answers_of_one_token_are_prompts_only() -> None:
    """Where nothing decodes, requests per second are those of the prompts."""
    steps = model()
    alone = steps.seconds(
        tokens=500, sequences=1, context_tokens=0, prefill_pairs=500 * 500 / 2
    )
    computed = steady_throughput(
        steps, prompt_tokens=500, answer_tokens=1, concurrency=1
    )
    assert computed.requests_per_second == pytest.approx(1 / alone)


def test_most_requests_are_those_of_a_full_engine() -> None:
    """A replica's limit is its throughput with all places taken."""
    values = {"prompt_tokens": 500, "answer_tokens": 200}
    assert (
        max_requests_per_second(model(), max_num_seqs=32, **values)
        == steady_throughput(model(), concurrency=32, **values).requests_per_second
    )


@given(
    steps=st.sampled_from(
        [
            model(),
            model(Accelerator.H100),
            model(Accelerator.H100, MIXTRAL),
            model(Accelerator.A10G, quantization=Quantization.AWQ),
        ]
    ),
    tokens=st.tuples(st.floats(1, 20_000), st.floats(1, 2_000)),
    concurrency=st.integers(1, 1_000),
    more=st.integers(1, 1_000),
    room=st.sampled_from([512, 2048, 8192]),
)
def test_more_concurrency_never_serves_less(
    steps: StepModel,
    tokens: tuple[float, float],
    concurrency: int,
    more: int,
    room: int,
) -> None:
    """Throughput does not fall, and tokens do not come sooner, with more requests."""
    few, many = (
        steady_throughput(
            steps,
            prompt_tokens=tokens[0],
            answer_tokens=tokens[1],
            concurrency=number,
            max_num_batched_tokens=room,
        )
        for number in (concurrency, concurrency + more)
    )
    assert many.requests_per_second >= few.requests_per_second * (1 - 1e-9)
    assert many.seconds_per_output_token >= few.seconds_per_output_token * (1 - 1e-9)


BAD: BadInputs = [
    ({"model": None}, "'model' must be of class StepModel, got None"),
    ({"prompt_tokens": 0}, "'prompt_tokens' must be 1 to 100000000, got 0"),
    ({"concurrency": 1.5}, "'concurrency' must be a whole number, got 1.5"),
    (
        {"answer_tokens": float("nan"), "max_num_batched_tokens": -1},
        (
            "'answer_tokens' must be 1 to 100000000, got nan\n"
            "'max_num_batched_tokens' must be 1 to 100000000, got -1"
        ),
    ),
]


@bad_inputs(BAD)
def test_loads_that_cannot_be_are_refused(
    changes: dict[str, object], message: str
) -> None:
    """An impossible load is refused, with every problem named."""
    values: dict[str, object] = {
        "model": model(),
        "prompt_tokens": 10,
        "answer_tokens": 10,
        "concurrency": 1,
    }
    values |= changes
    assert refusal(lambda: steady_throughput(**values)) == message  # type: ignore[arg-type]
