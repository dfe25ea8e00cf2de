"""Tests of whether a model fits its GPUs and its node."""

import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fit import GUIDE, GUIDE_CONTEXT, LIMIT, RUNS, Run
from eks_inference._check import ConfigurationError
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.catalogue import CHECKPOINTS
from eks_inference.planning.fit import (
    BLOCK_TOKENS,
    GIB,
    Fit,
    estimated_overhead_bytes,
    sequences,
)
from eks_inference.planning.instances import INSTANCE_TYPES, InstanceType, instance
from eks_inference.quantization import Quantization

MISTRAL = Architecture(
    name="MistralForCausalLM",
    layers=32,
    hidden_size=4096,
    attention_heads=32,
    kv_heads=8,
    head_size=128,
    vocabulary=32000,
    context=32768,
    parameters=7_241_732_096,
)
WINDOWED = replace(MISTRAL, windowed_layers=16, window=1024)


def make(
    host: str = "g5.xlarge", architecture: Architecture = MISTRAL, **inputs: object
) -> Fit:
    """Return a Mistral 7B in 16 bits on an instance type."""
    model = Checkpoint.computed(name="mistral-7b", architecture=architecture)
    return Fit(model, instance(host), **inputs)  # type: ignore[arg-type]


def on(name: str, host: str, **inputs: object) -> Fit:
    """Return a model of the catalogue on an instance type."""
    return Fit(CHECKPOINTS[name], instance(host), **inputs)  # type: ignore[arg-type]


def test_terms_add_up_to_what_a_gpu_has() -> None:
    """Usable memory is weights, overhead and KV cache, and nothing else."""
    found = make(max_model_len=4096)
    assert found.total_bytes == 22_589 * 1024**2
    assert found.usable_bytes == pytest.approx(0.9 * found.total_bytes)
    assert found.weight_bytes == 2 * 7_241_732_096
    assert found.kv_available_bytes == pytest.approx(
        found.usable_bytes - found.weight_bytes - found.overhead_bytes
    )
    assert found.kv_bytes_per_token == 2 * 32 * 8 * 128 * 2
    blocks = found.kv_available_bytes // (BLOCK_TOKENS * found.kv_bytes_per_token)
    assert found.kv_tokens == blocks * BLOCK_TOKENS
    assert found.concurrency == pytest.approx(found.kv_tokens / 4096, rel=1e-3)
    assert found.fits


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.model.name}-{run.vllm}")
def test_kv_cache_is_what_vllm_printed(run: Run) -> None:
    """The estimate is within 5 % of public runs, but for those that say why not."""
    assert (abs(run.error) > LIMIT) is bool(run.missed)
    assert run.source


def test_runs_that_nothing_was_fitted_to_agree_too() -> None:
    """The runs that the constants were not set with have a median error of 1 %."""
    others = [run for run in RUNS if not run.fitted]
    assert len(others) >= 8
    assert statistics.median(abs(run.error) for run in others) < 0.011
    assert all(run.fitted is False for run in RUNS if run.missed)


@pytest.mark.parametrize(
    ("row", "fits", "tokens"),
    [(0, True, 67_936), (1, True, 44_400), (2, True, 15_856), (3, False, 0)],
)
def test_the_guides_right_sizing_table(row: int, tokens: int, *, fits: bool) -> None:
    """Three of the guide's four rows are right; a 70B does not fit 40 GB."""
    _, model, host = GUIDE[row]
    found = on(model, host, max_model_len=GUIDE_CONTEXT)
    assert found.fits is fits
    assert found.kv_tokens == tokens


def test_weights_that_are_too_large_are_refused_with_the_sum() -> None:
    """The message has every term in GiB, and what they exceed."""
    found = on("llama-3.1-70b-awq", "p4d.24xlarge", max_model_len=4096)
    assert found.problems == (
        (
            "weights 37.0 GiB + overhead 2.7 GiB exceed the 35.5 GiB usable of one "
            "a100_40g (0.9 of 39.4 GiB)"
        ),
    )


def test_a_context_that_has_no_room_is_refused_with_one_that_has() -> None:
    """One sequence that does not fit keeps vLLM from starting; a shorter one fits."""
    found = on("llama-3.1-8b", "g5.xlarge")
    assert found.problems == (
        (
            "a sequence of 131072 tokens needs 16.0 GiB of KV cache, and weights 15.0 "
            "GiB + overhead 1.7 GiB leave 3.2 GiB of the 19.9 GiB usable of one a10g "
            "(0.9 of 22.1 GiB), 26352 tokens"
        ),
    )
    assert replace(found, max_model_len=26352).fits
    assert not replace(found, max_model_len=26353).fits


def test_a_missing_kernel_is_a_problem_whatever_the_memory() -> None:
    """AWQ on a T4 fits, and still does not start before vLLM 0.14.0."""
    found = on("mistral-7b-awq", "g4dn.xlarge", max_model_len=4096)
    assert found.fits
    old = replace(found, vllm_version="0.13.0").problems
    assert [text[:42] for text in old] == ["vLLM 0.13.0 needs compute capability 8.0 f"]


def test_more_gpus_than_the_instance_has_are_refused() -> None:
    """Tensor parallelism does not reach across nodes."""
    assert make(tensor_parallel=4, memory_gib=12).problems == (
        "4 GPUs are more than the 1 of g5.xlarge",
    )


def test_a_pod_that_is_too_large_for_the_node_is_refused() -> None:
    """The pod's memory and the daemons' are compared with what pods get."""
    assert make(memory_gib=12, max_model_len=4096).fits
    assert make(memory_gib=13, max_model_len=4096).problems == (
        (
            "13 GiB of the pod (4.3 GiB of them the streamer's buffer) + 1 GiB of "
            "daemons exceed the 13.8 GiB that pods get of g5.xlarge"
        ),
    )


def test_a_disk_that_cannot_hold_the_image_twice_is_refused() -> None:
    """Karpenter's default volume of 20 GiB has no room for vLLM's image."""
    assert make(disk_gib=20, max_model_len=4096).problems == (
        (
            "41 GB of vLLM's image, compressed and unpacked, exceed 85% of the disk "
            "(21 GB)"
        ),
    )
    assert make("g5g.xlarge", memory_gib=4).disk_bytes == 200 * GIB
    assert make("g5.xlarge").disk_bytes == 250e9


def test_the_streamers_buffer_is_at_most_the_weights() -> None:
    """The buffer is a third of the pod, or the weights where they are smaller."""
    assert make(memory_gib=12).streamer_bytes == 4 * GIB
    assert make(memory_gib=96).streamer_bytes == 2 * 7_241_732_096


def test_gpus_share_weights_and_heads() -> None:
    """Two GPUs have half of the weights and of a token's KV cache each."""
    one, two = make("g5.12xlarge"), make("g5.12xlarge", tensor_parallel=2)
    assert two.weight_bytes == one.weight_bytes / 2
    assert two.kv_bytes_per_token == one.kv_bytes_per_token / 2
    assert two.kv_tokens > 2 * one.kv_tokens
    assert two.pod_gib == 2 * one.pod_gib


def test_an_fp8_cache_holds_twice_the_tokens() -> None:
    """A cached element takes one byte instead of two."""
    plain, half = make(), make(kv_dtype="fp8")
    assert half.kv_bytes_per_token == plain.kv_bytes_per_token / 2
    assert 0 <= half.kv_tokens - 2 * plain.kv_tokens <= BLOCK_TOKENS


def test_a_window_leaves_room_for_more_sequences() -> None:
    """Half of the layers keep 1,024 tokens only: a long sequence takes about half."""
    full, windowed = make(), make(architecture=WINDOWED)
    assert windowed.kv_bytes_per_sequence == pytest.approx(
        full.kv_bytes_per_sequence * (0.5 + 0.5 / 32)
    )
    assert windowed.concurrency > 1.9 * full.concurrency
    short = replace(windowed, max_model_len=512)
    assert short.concurrency == replace(full, max_model_len=512).concurrency


def test_large_gpus_take_larger_steps() -> None:
    """vLLM's server takes 8,192 tokens a step on large GPUs but the A100."""
    assert make("g6.xlarge").batched_tokens == 2048
    assert make("p4de.24xlarge").batched_tokens == 2048
    assert make("p5.4xlarge").batched_tokens == 8192
    assert make("p5.4xlarge", max_num_batched_tokens=4096).batched_tokens == 4096


def test_overhead_is_the_largest_of_what_comes_in_turn() -> None:
    """A step, sampling and compiling share memory: the largest of them counts."""
    least = make(compile_cache=True)
    step = (7 + 21) * 4096 * 2048
    assert estimated_overhead_bytes(least) == pytest.approx(0.35 * GIB + step)
    sampling = make(compile_cache=True, max_num_seqs=4096)
    assert sampling.overhead_bytes == pytest.approx(0.35 * GIB + 4096 * 32000 * 14)
    first = make()
    assert first.overhead_bytes == pytest.approx(0.7 * GIB + 32000 * 4096 * 2)
    images = make(architecture=replace(MISTRAL, vision_parameters=400_000_000))
    assert images.overhead_bytes == pytest.approx((0.35 + 2.1) * GIB)
    old = make(compile_cache=True, max_num_seqs=4096, vllm_version="0.18.0")
    assert old.overhead_bytes == pytest.approx(0.1 * GIB + 4096 * 32000 * 38.5)


def test_a_measured_overhead_replaces_the_estimate() -> None:
    """Who has read vLLM's log can say what it measured."""
    assert make(overhead_gib=2.5).overhead_bytes == 2.5 * GIB


def test_sequences_are_those_that_have_room() -> None:
    """As many as fit at a typical length, and not more than asked for."""
    found = make(max_num_seqs=256)
    assert sequences(found, 1366) == int(found.kv_tokens // 1376)
    assert sequences(found, 1) == 256
    assert sequences(make("g4dn.xlarge"), 100) == 0


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (0, "'mean_tokens' must be 1 to 32768, got 0"),
        (32769, "'mean_tokens' must be 1 to 32768, got 32769"),
        (float("nan"), "'mean_tokens' must be 1 to 32768, got nan"),
        ("1000", "'mean_tokens' must be a number, got '1000'"),
        (None, "'mean_tokens' must be a number, got None"),
    ],
)
def test_a_typical_length_is_a_number_of_tokens(tokens: object, message: str) -> None:
    """A typical length is between one token and the longest sequence."""
    with pytest.raises(ConfigurationError) as error:
        sequences(make(), tokens)  # type: ignore[arg-type]
    assert error.value.problems == (message,)
    with pytest.raises(ConfigurationError) as error:
        sequences("g5.xlarge", 100)  # type: ignore[arg-type]
    assert error.value.problems == ("'fit' must be of class Fit, got 'g5.xlarge'",)


SHARE = "CUDA graphs and the context need the rest"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"max_model_len": 32769},
            (
                "'max_model_len' must be at most the context of mistral-7b (32768), "
                "got 32769"
            ),
        ),
        ({"max_model_len": 0}, "'max_model_len' must be at least 1, got 0"),
        ({"max_model_len": "8k"}, "'max_model_len' must be a whole number, got '8k'"),
        ({"max_num_seqs": -1}, "'max_num_seqs' must be 1 to 4096, got -1"),
        (
            {"max_num_seqs": 1e9},
            "'max_num_seqs' must be a whole number, got 1000000000.0",
        ),
        (
            {"gpu_memory_utilization": 0.99},
            f"'gpu_memory_utilization' must be 0.1 to 0.98, got 0.99; {SHARE}",
        ),
        (
            {"gpu_memory_utilization": float("nan")},
            f"'gpu_memory_utilization' must be 0.1 to 0.98, got nan; {SHARE}",
        ),
        (
            {"gpu_memory_utilization": None},
            f"'gpu_memory_utilization' must be a number, got None; {SHARE}",
        ),
        ({"kv_dtype": "int8"}, "'kv_dtype' must be one of 'auto', 'fp8', got 'int8'"),
        ({"kv_dtype": []}, "'kv_dtype' must be one of 'auto', 'fp8', got []"),
        ({"compile_cache": 1}, "'compile_cache' must be True or False, got 1"),
        (
            {"tensor_parallel": 3},
            (
                "'tensor_parallel' must divide the 32 attention heads, got 3; use 1, "
                "2, 4 or 8 where they do"
            ),
        ),
        ({"tensor_parallel": -1}, "'tensor_parallel' must be 1 to 64, got -1"),
        (
            {"max_num_batched_tokens": 0},
            "'max_num_batched_tokens' must be 1 to 1000000, got 0",
        ),
        ({"memory_gib": -1}, "'memory_gib' must be 0 to 1000000, got -1"),
        ({"disk_gib": "200Gi"}, "'disk_gib' must be a number, got '200Gi'"),
        ({"overhead_gib": -0.5}, "'overhead_gib' must be 0 to 1000000, got -0.5"),
    ],
)
def test_bad_inputs_are_refused_with_rule_and_value(
    inputs: dict[str, object], message: str
) -> None:
    """Each wrong value has a message with its name, the rule and the value."""
    with pytest.raises(ConfigurationError) as error:
        make(**inputs)  # type: ignore[arg-type]
    assert error.value.problems == (f"fit: {message}",)


def test_all_bad_inputs_are_named_at_once() -> None:
    """Wrong values of several arguments are reported together."""
    with pytest.raises(ConfigurationError) as error:
        Fit(
            "mistral-7b",  # type: ignore[arg-type]
            "g5.xlarge",  # type: ignore[arg-type]
            vllm_version="latest",
            max_num_seqs=0,
        )
    assert error.value.problems == (
        "fit: 'checkpoint' must be of class Checkpoint, got 'mistral-7b'",
        "fit: 'instance' must be of class InstanceType, got 'g5.xlarge'",
        "fit: 'max_num_seqs' must be 1 to 4096, got 0",
        "'vllm_version' must be a release of vLLM, got 'latest'; for example '0.31.0'",
    )


HOSTS = st.sampled_from(INSTANCE_TYPES)
MODELS = st.sampled_from(sorted(CHECKPOINTS))
VERSIONS = st.sampled_from(["0.9.2", "0.11.0", "0.20.0", "0.31.0"])


@settings(deadline=None)
@given(
    model=MODELS,
    host=HOSTS,
    version=VERSIONS,
    seqs=st.integers(1, 2048),
    more=st.integers(0, 2048),
    share=st.floats(0.1, 0.98),
    larger=st.floats(0, 0.5),
    length=st.floats(0.001, 1),
    shorter=st.floats(0.001, 1),
)
def test_less_work_and_more_memory_never_hurt(
    *,
    model: str,
    host: InstanceType,
    version: str,
    seqs: int,
    more: int,
    share: float,
    larger: float,
    length: float,
    shorter: float,
) -> None:
    """Fewer and shorter sequences need no more, and more memory is never worse."""
    checkpoint = CHECKPOINTS[model]
    context = max(1, int(checkpoint.architecture.context * length))
    hard = Fit(
        checkpoint,
        host,
        max_model_len=context,
        max_num_seqs=seqs + more,
        gpu_memory_utilization=share,
        vllm_version=version,
    )
    easy = replace(
        hard,
        max_model_len=max(1, int(context * shorter)),
        max_num_seqs=seqs,
        gpu_memory_utilization=min(0.98, share + larger),
        compile_cache=True,
    )
    assert easy.fits or not hard.fits
    assert easy.overhead_bytes <= hard.overhead_bytes
    assert easy.kv_available_bytes >= hard.kv_available_bytes
    assert easy.kv_bytes_per_sequence <= hard.kv_bytes_per_sequence
    assert replace(easy, disk_gib=10_000, memory_gib=1).fits or not easy.fits


@settings(deadline=None)
@given(model=MODELS, host=HOSTS, length=st.integers(1, 131_072))
def test_what_fits_has_room_for_one_sequence(
    *, model: str, host: InstanceType, length: int
) -> None:
    """A model fits only where at least one sequence has room, and then it has."""
    checkpoint = CHECKPOINTS[model]
    found = Fit(
        checkpoint,
        host,
        max_model_len=min(length, checkpoint.architecture.context),
        memory_gib=4,
    )
    if found.fits:
        assert found.kv_tokens >= found.context
        assert found.concurrency >= 1
        assert sequences(found, found.context) >= 1
    else:
        assert found.kv_tokens < found.context or "compute" in found.problems[0]


def test_quantization_shows_in_the_weights() -> None:
    """4-bit weights take about a quarter of those in 16 bits."""
    awq = Checkpoint.computed(
        name="a", architecture=MISTRAL, quantization=Quantization.AWQ
    )
    small = Fit(awq, instance("g5.xlarge"))
    assert 0.25 < small.weight_bytes / make().weight_bytes < 0.3
