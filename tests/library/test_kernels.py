"""Tests of which GPUs vLLM has kernels for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator
from eks_inference._check import ConfigurationError
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.kernels import (
    KERNELS,
    Version,
    kernel_problems,
    minimum_driver,
    tensor_parallel_problems,
)
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


def problems(
    quantization: Quantization,
    accelerator: Accelerator,
    version: str = "0.31.0",
    **more: str,
) -> list[str]:
    """Return the problems of a Mistral 7B in a format on a GPU."""
    model = Checkpoint.computed(
        name="m", architecture=MISTRAL, quantization=quantization
    )
    return kernel_problems(model, accelerator, vllm_version=version, **more)


@pytest.mark.parametrize(
    ("quantization", "accelerator", "version", "runs"),
    [
        (Quantization.AWQ, Accelerator.T4, "0.13.0", False),
        (Quantization.AWQ, Accelerator.T4, "0.14.0", True),
        (Quantization.AWQ, Accelerator.T4G, "0.31.0", True),
        (Quantization.AWQ, Accelerator.A10G, "0.9.0", True),
        (Quantization.GPTQ, Accelerator.T4, "0.13.0", True),
        (Quantization.FP8, Accelerator.A10G, "0.13.0", True),
        (Quantization.FP8, Accelerator.T4, "0.13.0", False),
        (Quantization.FP8, Accelerator.T4, "0.31.0", True),
        (Quantization.FP8, Accelerator.L4, "0.31.0", True),
        (Quantization.INT8, Accelerator.T4, "0.31.0", True),
        (Quantization.INT8, Accelerator.H100, "0.31.0", True),
        (Quantization.INT8, Accelerator.B200, "0.31.0", False),
        (Quantization.INT8, Accelerator.RTX_PRO_6000, "0.31.0", False),
        (Quantization.MXFP4, Accelerator.A10G, "0.10.0", False),
        (Quantization.MXFP4, Accelerator.B200, "0.10.0", True),
        (Quantization.MXFP4, Accelerator.A10G, "0.10.1", True),
        (Quantization.MXFP4, Accelerator.T4, "0.31.0", False),
        (Quantization.NONE, Accelerator.T4, "0.31.0", True),
        (Quantization.NONE, Accelerator.T4, "0.9.2", False),
        (Quantization.NONE, Accelerator.T4, "0.10.0", True),
        (Quantization.NONE, Accelerator.A10G, "0.9.2", True),
    ],
)
def test_formats_run_where_a_release_has_a_kernel(
    quantization: Quantization, accelerator: Accelerator, version: str, *, runs: bool
) -> None:
    """A format runs on a GPU from the release on that has a kernel for it."""
    assert (not problems(quantization, accelerator, version)) is runs


def test_the_repair_names_the_first_release_with_a_kernel() -> None:
    """A missing kernel's message has the need, the GPU and the release that helps."""
    assert problems(Quantization.AWQ, Accelerator.T4, "0.13.0") == [
        (
            "vLLM 0.13.0 needs compute capability 8.0 for 'awq' weights, and t4 (7.5) "
            "has less; use 0.14.0 or newer"
        )
    ]
    assert problems(Quantization.MXFP4, Accelerator.T4) == [
        (
            "vLLM 0.31.0 needs compute capability 8.0 for 'mxfp4' weights, and t4 "
            "(7.5) has less; use another format or GPU"
        )
    ]
    assert problems(Quantization.MXFP4, Accelerator.L4, "0.9.1") == [
        "vLLM 0.9.1 has no kernel for 'mxfp4' weights; use 0.10.0 or newer"
    ]
    assert problems(Quantization.INT8, Accelerator.B200) == [
        (
            "vLLM runs 'int8' weights below compute capability 10.0 only, not on b200 "
            "(10.0); use another format"
        )
    ]


def test_bfloat16_is_refused_on_turing_only_when_asked_for() -> None:
    """Left alone, vLLM takes float16 on a GPU that has no bfloat16."""
    none = Quantization.NONE
    assert not problems(none, Accelerator.T4)
    assert not problems(none, Accelerator.T4, dtype="half")
    assert not problems(none, Accelerator.A10G, dtype="bfloat16")
    assert problems(none, Accelerator.T4, dtype="bfloat16") == [
        "bfloat16 needs compute capability 8.0, and t4 (7.5) has less; use 'half'"
    ]


def test_an_fp8_cache_needs_ampere() -> None:
    """An FP8 KV cache is refused on a T4, which FlashInfer does not support."""
    assert not problems(Quantization.NONE, Accelerator.A10G, kv_dtype="fp8")
    assert problems(Quantization.NONE, Accelerator.T4, kv_dtype="fp8") == [
        (
            "an FP8 KV cache needs compute capability 8.0, and t4 (7.5) has less; use "
            "'auto'"
        )
    ]


def test_every_format_has_rows_in_order_with_a_source() -> None:
    """Each quantized format has kernels, from older to newer releases, with sources."""
    for quantization in Quantization:
        rows = [item for item in KERNELS if item.quantization is quantization]
        assert bool(rows) is (quantization is not Quantization.NONE)
        assert rows == sorted(rows, key=lambda item: item.since)
        assert all(item.source for item in rows)


@given(
    st.sampled_from(list(Quantization)),
    st.sampled_from(list(Accelerator)),
    st.tuples(st.integers(9, 60), st.integers(0, 5)),
    st.tuples(st.integers(9, 60), st.integers(0, 5)),
)
def test_a_newer_release_runs_what_an_older_one_did(
    quantization: Quantization,
    accelerator: Accelerator,
    first: tuple[int, int],
    second: tuple[int, int],
) -> None:
    """No row takes back what a release before it could."""
    old, new = (f"0.{minor}.{patch}" for minor, patch in sorted((first, second)))
    if not problems(quantization, accelerator, old):
        assert not problems(quantization, accelerator, new)


def test_images_with_cuda_13_need_a_driver_of_the_580_branch() -> None:
    """CUDA 13 came with 0.20.0; before, any driver in use will do."""
    assert minimum_driver("0.31.0") == 580
    assert minimum_driver("0.20.0") == 580
    assert minimum_driver("0.16.0") is None


def test_versions_are_compared_by_their_numbers() -> None:
    """Release 0.9 is older than 0.31, and a post release counts as its release."""
    assert Version.parse("0.9.2") < Version.parse("0.31.0")
    assert Version.parse("0.10.1.post1") == Version.parse("0.10.1")
    assert str(Version.parse("1.2.3")) == "1.2.3"


@pytest.mark.parametrize(
    "text",
    [
        "latest",
        "",
        "0.31",
        "v0.31.0",
        "0.31.0-gpu",
        "0.x.0",
        "\u0660.\u0663\u0661.\u0660",
        None,
        31,
        0.31,
    ],
)
def test_a_text_that_is_not_a_release_is_refused(text: object) -> None:
    """What is not three numbers is refused with an example."""
    with pytest.raises(ConfigurationError) as error:
        Version.parse(text)
    assert error.value.problems == (
        f"'vllm_version' must be a release of vLLM, got {text!r}; for example '0.31.0'",
    )


def test_a_release_before_the_facts_is_refused() -> None:
    """Releases that the table does not cover are refused, not guessed."""
    with pytest.raises(ConfigurationError) as error:
        Version.parse("0.8.5")
    assert error.value.problems == (
        "'vllm_version' must be at least 0.9.0, got '0.8.5'; use a newer one",
    )


def test_all_wrong_arguments_are_named_at_once() -> None:
    """Arguments of a wrong kind are reported together."""
    with pytest.raises(ConfigurationError) as error:
        kernel_problems(
            None,  # type: ignore[arg-type]
            "t4",  # type: ignore[arg-type]
            vllm_version="latest",
            dtype="float8",
            kv_dtype="int4",
        )
    assert error.value.problems == (
        "'checkpoint' must be of class Checkpoint, got None",
        "'accelerator' must be of class Accelerator, got 't4'",
        "'vllm_version' must be a release of vLLM, got 'latest'; for example '0.31.0'",
        "'dtype' must be one of 'auto', 'half', 'float16', 'bfloat16', got 'float8'",
        "'kv_dtype' must be one of 'auto', 'fp8', got 'int4'",
    )


@pytest.mark.parametrize(
    ("gpus", "message"),
    [
        (1, None),
        (2, None),
        (8, None),
        (16, None),
        (
            3,
            (
                "'tensor_parallel' must divide the 32 attention heads, got 3; use 1, "
                "2, 4 or 8 where they do"
            ),
        ),
        (0, "'tensor_parallel' must be 1 to 64, got 0"),
        (-2, "'tensor_parallel' must be 1 to 64, got -2"),
        (True, "'tensor_parallel' must be a whole number, got True"),
        (2.0, "'tensor_parallel' must be a whole number, got 2.0"),
        (None, "'tensor_parallel' must be a whole number, got None"),
    ],
)
def test_gpus_divide_the_heads(gpus: object, message: str | None) -> None:
    """Query heads are divided evenly; key and value heads may be repeated."""
    expected = [message] if message else []
    assert tensor_parallel_problems(MISTRAL, gpus) == expected


def test_key_and_value_heads_divide_one_way_or_the_other() -> None:
    """Heads that neither divide the GPUs nor are divided by them are refused."""
    model = replace(MISTRAL, attention_heads=48, kv_heads=6)
    assert not tensor_parallel_problems(model, 3)
    assert not tensor_parallel_problems(model, 12)
    assert tensor_parallel_problems(model, 4) == [
        (
            "'tensor_parallel' must divide the 6 key and value heads, or be a multiple "
            "of them, got 4"
        )
    ]
