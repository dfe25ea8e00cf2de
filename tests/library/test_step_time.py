"""Tests of the time of an engine step, by hand and against published times."""

import csv
import statistics
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference.accelerator import Accelerator
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.step_time import (
    SPEEDS,
    GpuSpeed,
    StepModel,
    attention_pairs,
)
from eks_inference.quantization import Quantization
from tests.library.architectures import LLAMA_8B, MIXTRAL
from tests.library.conftest import BadInputs, bad_inputs, recorded_data, refusal

LLAMA_70B = Architecture(
    name="LlamaForCausalLM",
    layers=80,
    hidden_size=8192,
    attention_heads=64,
    kv_heads=8,
    head_size=128,
    vocabulary=128_256,
    context=131_072,
    parameters=70_553_706_496,
)
QWEN_7B = Architecture(
    name="Qwen2ForCausalLM",
    layers=28,
    hidden_size=3584,
    attention_heads=28,
    kv_heads=4,
    head_size=128,
    vocabulary=152_064,
    context=32_768,
    parameters=7_615_616_512,
)
MISTRAL_7B = Architecture(
    name="MistralForCausalLM",
    layers=32,
    hidden_size=4096,
    attention_heads=32,
    kv_heads=8,
    head_size=128,
    vocabulary=32_000,
    context=32_768,
    parameters=7_241_732_096,
)
# round numbers: tables of 1,000, 10,000 weights, of which 8,000 are calculated
TINY = Architecture(
    name="Tiny",
    layers=1,
    hidden_size=10,
    attention_heads=1,
    kv_heads=1,
    head_size=10,
    vocabulary=100,
    context=1000,
    parameters=10_000,
)
# 1 GB/s and 1 TFLOPS, so that bytes are nanoseconds
SLOW = GpuSpeed(
    bandwidth_gb_s=1,
    tflops=1,
    mfu=1,
    all_reduce_seconds=0,
    all_reduce_gb_s=1,
    source="test",
)


def checkpoint(
    architecture: Architecture,
    quantization: Quantization = Quantization.NONE,
) -> Checkpoint:
    """Return weights whose size follows from the architecture."""
    return Checkpoint.computed(
        name="test", architecture=architecture, quantization=quantization
    )


CHECKPOINTS = {
    ("Llama-3.1-8B", "bf16"): checkpoint(LLAMA_8B),
    ("8B class", "bf16"): checkpoint(LLAMA_8B),
    ("Qwen2.5-7B", "fp16"): checkpoint(QWEN_7B),
    ("Qwen2.5-7B", "AWQ-Marlin"): checkpoint(QWEN_7B, Quantization.AWQ),
    ("Qwen2.5-7B", "AWQ plain kernel + eager"): checkpoint(QWEN_7B, Quantization.AWQ),
    ("Mistral-7B", "AWQ"): checkpoint(MISTRAL_7B, Quantization.AWQ),
}
GPUS = {
    "A100-40": Accelerator.A100_40G,
    "a100_sxm": Accelerator.A100_80G,
    "h100_sxm": Accelerator.H100,
    "l40s": Accelerator.L40S,
    "H100": Accelerator.H100,
    "L4": Accelerator.L4,
    "L40S": Accelerator.L40S,
    "T4": Accelerator.T4,
}
# not vLLM's Marlin kernel with CUDA graphs, which is what is modelled
OTHER_KERNELS = {"AWQ plain kernel + eager", "AWQ"}


def rows(name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a table of published times."""
    with recorded_data(name).open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


def serving_errors(*, other_kernels: bool) -> dict[str, float]:
    """Return the relative error of every measured time per token of vLLM."""
    found = {}
    for row in rows("serving_points.csv"):
        if (row["precision"] in OTHER_KERNELS) is not other_kernels:
            continue
        together = int(row["concurrency"])
        model = StepModel(CHECKPOINTS[row["model"], row["precision"]], GPUS[row["gpu"]])
        seconds = model.seconds(
            tokens=together,
            sequences=together,
            # an 'alpha' is the time without context
            context_tokens=together * int(row["approx_ctx"] or 0),
        )
        name = f"{row['gpu']} {row['precision']} {together} {row['approx_ctx']}"
        found[name] = 1000 * seconds / float(row["value_ms"]) - 1
    return found


def tabled_errors() -> dict[tuple[str, str, str, str], list[float]]:
    """Return the relative errors against AIConfigurator's measured tables."""
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for row in rows("aic_estimates.csv"):
        if row["db_mode"] != "SILICON":
            continue
        size = row["model"].rpartition("-")[2]
        model = StepModel(
            checkpoint({"8B": LLAMA_8B, "70B": LLAMA_70B}[size]),
            GPUS[row["system"]],
            tensor_parallel=int(row["tp"]),
        )
        batch, prompt = int(row["batch"]), int(row["isl"])
        if row["kind"] == "decode":
            expected = row["tpot_ms"]
            seconds = model.seconds(
                tokens=batch, sequences=batch, context_tokens=batch * (prompt + 1)
            )
        else:
            expected = row["ttft_ms"]
            seconds = model.seconds(
                tokens=prompt,
                sequences=1,
                context_tokens=prompt,
                prefill_pairs=attention_pairs(prompt, prompt),
            )
        found.setdefault((row["kind"], size, row["system"], row["tp"]), []).append(
            1000 * seconds / float(expected) - 1
        )
    return found


def mean_error(errors: list[float]) -> float:
    """Return the mean absolute error."""
    return statistics.mean(map(abs, errors))


def test_measured_times_per_token_are_met_within_a_fifth() -> None:
    """Every published time per token of vLLM's usual kernels is met within 20 %."""
    errors = serving_errors(other_kernels=False)
    assert len(errors) == 12
    assert {key: error for key, error in errors.items() if abs(error) > 0.2} == {}


def test_other_kernels_are_known_misses() -> None:
    """The plain AWQ kernel and AutoAWQ of 2023 are slower than what is modelled."""
    errors = serving_errors(other_kernels=True)
    assert {key for key, error in errors.items() if error < -0.2} == {
        "L4 AWQ plain kernel + eager 64 150",
        "T4 AWQ 1 256",
    }
    assert len(errors) == 3


@pytest.mark.parametrize(("kind", "number"), [("decode", 112), ("prefill", 56)])
def test_measured_tables_are_met(kind: str, number: int) -> None:
    """AIConfigurator's measured step times are met within 10 % on average."""
    errors = [
        error
        for key, group in tabled_errors().items()
        if key[0] == kind
        for error in group
    ]
    assert len(errors) == number
    assert mean_error(errors) <= 0.10
    assert max(map(abs, errors)) <= 0.25


def test_decode_step_by_hand() -> None:
    """One decoding sequence reads all weights but the table of input embeddings."""
    # read:    16,060,522,496 - 2 x 128,256 x 4096 = 15,009,849,344 bytes
    #          / (3350e9 x 0.855)                  = 5.24041 ms
    # compute: 2 x 8,030,261,248 - 2 x 525,336,576 = 15,009,849,344 FLOP
    #          / (989e12 x 0.68)                   = 0.02232 ms
    # joined:  (5.24041^1.5 + 0.02232^1.5)^(1/1.5) = 5.24138 ms
    # cache:   1000 x 131,072 / (3350e9 x 0.855)   = 0.04576 ms
    # step:    1.75 + 5.24138 + 0.04576            = 7.03714 ms
    model = StepModel(checkpoint(LLAMA_8B), Accelerator.H100)
    seconds = model.seconds(tokens=1, sequences=1, context_tokens=1000)
    assert seconds == pytest.approx(7.03714e-3, rel=1e-6)


def test_prefill_step_by_hand() -> None:
    """A prompt calculates for all tokens, attends to all pairs, and emits once."""
    # read:      15,009,849,344 / (2039e9 x 0.855) = 8.60980 ms
    # compute:   2 x (8,030,261,248 - 2 x 525,336,576) x 2048 + 2 x 525,336,576
    #            / (312e12 x 0.70)                 = 130.90404 ms
    # joined:    (8.60980^1.5 + 130.90404^1.5)^(1/1.5) = 132.37198 ms
    # cache:     2048 x 131,072 / (2039e9 x 0.855) = 0.15398 ms
    # attention: 4 x 2048 x 1024 x 4096 x 32 / (312e12 x 0.70) = 5.03439 ms
    # step:      1.75 + 132.37198 + 0.15398 + 5.03439 = 139.31035 ms
    model = StepModel(checkpoint(LLAMA_8B), Accelerator.A100_80G)
    seconds = model.seconds(
        tokens=2048,
        sequences=1,
        context_tokens=2048,
        prefill_pairs=attention_pairs(2048, 2048),
    )
    assert seconds == pytest.approx(139.31035e-3, rel=1e-6)


def test_tensor_parallel_step_by_hand() -> None:
    """Four GPUs share the work, and send the tokens around twice in a layer."""
    # read:       (141,107,412,992 - 2 x 128,256 x 8192) / 4 / (864e9 x 0.855)
    #                                                       = 47.04288 ms
    # compute:    2 x (70,553,706,496 - 1,050,673,152) / 4 / (362e12 x 0.57)
    #                                                       = 0.16842 ms
    # joined:     (47.04288^1.5 + 0.16842^1.5)^(1/1.5)      = 47.04960 ms
    # all-reduce: 160 x 40 us + 160 x 2 x 3/4 x 8192 x 2 / 3.7e9
    #                                                       = 7.46275 ms
    # step:       1.75 + 47.04960 + 7.46275                 = 56.26235 ms
    model = StepModel(checkpoint(LLAMA_70B), Accelerator.L40S, tensor_parallel=4)
    seconds = model.seconds(tokens=1, sequences=1, context_tokens=0)
    assert seconds == pytest.approx(56.26235e-3, rel=1e-6)


def test_experts_are_read_as_tokens_touch_them() -> None:
    """A mixture of experts reads the active weights for one token, all for many."""
    model = StepModel(
        checkpoint(replace(TINY, active_parameters=4_000)), Accelerator.L4, speed=SLOW
    )

    def beyond(tokens: int) -> float:
        return model.seconds(tokens=tokens, sequences=0, context_tokens=0) - 1.75e-3

    # (2 x 10,000 - 2 x 1,000 bytes) / 0.855e9 = 21.0526 us; 40 % for one token,
    # 1 - 0.6^2 = 64 % for two, all for many
    assert beyond(1) == pytest.approx(0.4 * 21.0526e-6, rel=1e-3)
    assert beyond(2) == pytest.approx(0.64 * 21.0526e-6, rel=1e-3)
    assert beyond(100) == pytest.approx(21.0526e-6, rel=1e-2)


@pytest.mark.parametrize(
    ("quantization", "accelerator", "factor"),
    [
        (Quantization.FP8, Accelerator.L4, 0.5),
        (Quantization.FP8, Accelerator.B200, 0.5),
        (Quantization.FP8, Accelerator.A100_80G, 1),
        (Quantization.INT8, Accelerator.T4, 0.5),
        (Quantization.INT8, Accelerator.H100, 0.5),
        (Quantization.INT8, Accelerator.B200, 1),
        (Quantization.AWQ, Accelerator.L4, 1.55),
        (Quantization.MXFP4, Accelerator.H100, 1.55),
        (Quantization.NONE, Accelerator.H100, 1),
    ],
)
def test_weights_are_calculated_at_the_rate_of_their_format(
    quantization: Quantization, accelerator: Accelerator, factor: float
) -> None:
    """8 bits are twice as fast where GPU and vLLM can; 4 bits are unpacked first."""
    model = StepModel(checkpoint(TINY, quantization), accelerator, speed=SLOW)
    # 2 x 8000 x 10^9 tokens / 1e12 = 16 s; reading 8,000 bytes is nothing beside it
    seconds = model.seconds(tokens=1e9, sequences=0, context_tokens=0)
    assert seconds == pytest.approx(factor * 16, rel=1e-3)


def test_an_fp8_cache_is_read_in_half_the_time() -> None:
    """The context costs half as much where an element has one byte."""
    times = [
        StepModel(
            checkpoint(TINY), Accelerator.L4, speed=SLOW, kv_element_bytes=size
        ).seconds(tokens=1, sequences=1, context_tokens=1e12)
        for size in (1, 2)
    ]
    assert times[1] == pytest.approx(2 * times[0])


def test_every_gpu_has_a_speed_with_a_source() -> None:
    """There is a row for each GPU, and one without a fit says what is assumed."""
    assert set(SPEEDS) == set(Accelerator)
    for speed in SPEEDS.values():
        assert "fitted" in speed.source or "assumed" in speed.source


FINITE = st.floats(min_value=0, max_value=1e6)
PARALLEL = st.sampled_from([item for item in Accelerator if max(item.counts) > 1])


@given(
    weights=st.sampled_from([*CHECKPOINTS.values(), checkpoint(MIXTRAL)]),
    accelerator=PARALLEL,
    gpus=st.sampled_from([1, 2]),
    less=st.tuples(FINITE, FINITE, FINITE, FINITE),
    more=st.tuples(FINITE, FINITE, FINITE, FINITE),
)
def test_more_work_never_takes_less_time(
    weights: Checkpoint,
    accelerator: Accelerator,
    gpus: int,
    less: tuple[float, ...],
    more: tuple[float, ...],
) -> None:
    """A step with more tokens, sequences, context or pairs is not shorter."""
    model = StepModel(weights, accelerator, tensor_parallel=gpus)
    prompt, sequences, context, pairs = less
    short = model.seconds(
        tokens=1 + prompt + sequences,
        sequences=sequences,
        context_tokens=context,
        prefill_pairs=pairs,
    )
    long = model.seconds(
        tokens=1 + prompt + sequences + more[0] + more[1],
        sequences=sequences + more[1],
        context_tokens=context + more[2],
        prefill_pairs=pairs + more[3],
    )
    assert long >= short * (1 - 1e-12)


@given(
    weights=st.sampled_from(list(CHECKPOINTS.values())),
    bandwidth=st.floats(min_value=1, max_value=1e5),
    factor=st.floats(min_value=1, max_value=10),
    tokens=st.integers(1, 10_000),
    context=FINITE,
)
def test_more_bandwidth_never_takes_more_time(
    weights: Checkpoint, bandwidth: float, factor: float, tokens: int, context: float
) -> None:
    """A GPU with faster memory is not slower."""
    slow, fast = (
        StepModel(
            weights,
            Accelerator.L4,
            speed=GpuSpeed(
                bandwidth_gb_s=rate,
                tflops=100,
                mfu=0.5,
                all_reduce_seconds=0,
                all_reduce_gb_s=1,
                source="test",
            ),
        ).seconds(tokens=tokens, sequences=tokens, context_tokens=context)
        for rate in (bandwidth, bandwidth * factor)
    )
    assert fast <= slow * (1 + 1e-12)


NO_STEP = (
    "'tokens' must be more than 0, and at least 'sequences' ({}), got {}; "
    "each sequence of a step has a token in it"
)
MOST = "1000000000000.0"
BAD: BadInputs = [
    ({"tokens": 0}, NO_STEP.format(1, 0)),
    ({"sequences": 2}, NO_STEP.format(2, 1)),
    ({"tokens": "1"}, "'tokens' must be a number, got '1'"),
    ({"tokens": None}, "'tokens' must be a number, got None"),
    ({"tokens": 10**400}, f"'tokens' must be 0 to {MOST}, got {10**400}"),
    ({"sequences": -1}, f"'sequences' must be 0 to {MOST}, got -1"),
    ({"context_tokens": -1}, f"'context_tokens' must be 0 to {MOST}, got -1"),
    ({"prefill_pairs": "x"}, "'prefill_pairs' must be a number, got 'x'"),
    (
        {"prefill_pairs": float("inf")},
        "'prefill_pairs' must be 0 to 1e+24, got inf",
    ),
    (
        {"context_tokens": float("nan"), "prefill_pairs": -1},
        (
            f"'context_tokens' must be 0 to {MOST}, got nan\n"
            "'prefill_pairs' must be 0 to 1e+24, got -1"
        ),
    ),
]


@bad_inputs(BAD)
def test_steps_that_cannot_be_are_refused(
    changes: dict[str, object], message: str
) -> None:
    """A step with an impossible number is refused, with every problem named."""
    model = StepModel(checkpoint(TINY), Accelerator.L4)
    values: dict[str, object] = {"tokens": 1, "sequences": 1, "context_tokens": 1}
    values |= changes
    assert refusal(lambda: model.seconds(**values)) == message  # type: ignore[arg-type]


def test_models_that_cannot_be_are_refused() -> None:
    """Everything that is wrong with a model is named at once."""
    assert refusal(
        lambda: StepModel(
            None,  # type: ignore[arg-type]
            Accelerator.T4G,
            tensor_parallel=4,
            kv_element_bytes=float("nan"),
            speed=1,  # type: ignore[arg-type]
        )
    ).splitlines() == [
        "'checkpoint' must be of class Checkpoint, got None",
        "'tensor_parallel' must be 1 to 2, got 4",
        "'kv_element_bytes' must be 0.5 to 4, got nan",
        "'speed' must be of class GpuSpeed, got 1",
    ]


def test_weights_smaller_than_their_embeddings_are_refused() -> None:
    """Weights of which nothing is left to read are a mistake."""
    images = Checkpoint(
        name="test",
        architecture=replace(TINY, vision_parameters=7_900),
        weight_bytes=15_000,
    )
    assert refusal(lambda: StepModel(images, Accelerator.L4)) == (
        "checkpoint 'test': 'weight_bytes' must be more than those of input embeddings "
        "and 'vision_parameters' (17800), got 15000; give the bytes of all files"
    )


def test_windowed_layers_read_no_more_than_their_window() -> None:
    """A sequence counts by the layers that see all of it and those that do not."""
    model = StepModel(
        checkpoint(replace(LLAMA_8B, windowed_layers=24, window=1000)), Accelerator.L4
    )
    assert model.context_of(400) == 400
    # 8 of 32 layers see 5000 tokens, 24 see 1000
    assert model.context_of(5000) == 2000


def test_an_image_encoder_is_not_read_by_text() -> None:
    """Weights that only images use cost a step of text nothing."""
    larger = replace(
        LLAMA_8B, vision_parameters=10**9, parameters=LLAMA_8B.parameters + 10**9
    )
    with_images, text = (
        StepModel(checkpoint(item), Accelerator.L4).seconds(
            tokens=1, sequences=1, context_tokens=0
        )
        for item in (larger, LLAMA_8B)
    )
    assert with_images == pytest.approx(text)


def test_speeds_that_cannot_be_are_refused() -> None:
    """Everything that is wrong with a speed is named at once."""
    assert refusal(
        lambda: GpuSpeed(
            bandwidth_gb_s=0,
            tflops=float("inf"),
            mfu=2,
            all_reduce_seconds=-1,
            all_reduce_gb_s=0,
            source="",
        )
    ).splitlines() == [
        "'bandwidth_gb_s' must be 1 to 1000000.0, got 0",
        "'tflops' must be 1 to 1000000.0, got inf",
        "'mfu' must be 0.01 to 1, got 2",
        "'all_reduce_seconds' must be 0 to 1, got -1",
        "'all_reduce_gb_s' must be 0.01 to 1000000.0, got 0",
        "'source' must be a text that is not empty, got ''",
    ]
