"""Tests of what would make a model fit."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.planning.catalogue import CHECKPOINTS
from eks_inference.planning.fit import Fit
from eks_inference.planning.instances import INSTANCE_TYPES, InstanceType, instance
from eks_inference.planning.repair import Repair, options, repairs
from eks_inference.quantization import Quantization


def found(model: str, host: str, **inputs: object) -> tuple[Repair, ...]:
    """Return the repairs of a model of the catalogue on an instance type."""
    fit = Fit(CHECKPOINTS[model], instance(host), **inputs)  # type: ignore[arg-type]
    return repairs(fit)


def texts(model: str, host: str, **inputs: object) -> list[str]:
    """Return the repairs in words."""
    return [item.text for item in found(model, host, **inputs)]


def test_what_fits_needs_no_repair() -> None:
    """A model that fits has no repairs."""
    assert not found("mistral-7b-awq", "g4dn.xlarge", max_model_len=4096)


def test_the_guides_70b_runs_on_more_or_larger_gpus() -> None:
    """A 70B in AWQ, too large for one A100 of 40 GB, fits on two, or elsewhere."""
    cheaper, more = found("llama-3.1-70b-awq", "p4d.24xlarge", max_model_len=4096)
    assert cheaper.text == "1 GPU of g7e.2xlarge (rtx_pro_6000)"
    assert cheaper.extra_usd_per_hour == pytest.approx(3.36312 - 21.957642)
    assert more.text == "2 GPUs of p4d.24xlarge"
    assert more.fit.tensor_parallel == 2
    assert more.extra_usd_per_hour == 0


def test_a_shorter_context_is_the_longest_round_one_that_fits() -> None:
    """The context suggested is a multiple of 1024, and the next one does not fit."""
    first = found("llama-3.1-8b", "g5.xlarge")[0]
    assert first.text == "a context of 25600 tokens instead of 131072"
    assert first.fit.max_model_len == 25600
    assert not replace(first.fit, max_model_len=25600 + 1024).fits


def test_a_very_short_context_comes_in_smaller_steps() -> None:
    """Where not even 1024 tokens fit, multiples of 256 are tried."""
    first = found("llama-2-70b-awq", "p4d.24xlarge", max_model_len=4096)
    shorter = [item for item in first if item.text.startswith("a context")]
    assert [item.fit.max_model_len for item in shorter] == [512]


def test_another_format_is_suggested_with_its_bytes() -> None:
    """Weights of 16 bits that are too large are suggested in 8 and 4 bits."""
    assert texts("mistral-7b", "g4dn.xlarge")[:2] == [
        "fp8 weights, 7.0 GiB instead of 13.5 GiB",
        "awq weights, 3.9 GiB instead of 13.5 GiB",
    ]


def test_a_format_without_kernels_gets_one_with() -> None:
    """INT8 weights, which Blackwell has no kernel for, are suggested in FP8."""
    model = replace(
        CHECKPOINTS["mistral-7b-fp8"],
        quantization=Quantization.INT8,
    )
    listed = repairs(Fit(model, instance("g7e.2xlarge")))
    assert any(item.text.startswith("fp8 weights") for item in listed)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"vllm_version": "0.13.0"}, "vLLM 0.31.0"),
        ({"memory_gib": 400}, "12 GiB of memory for the pod"),
        ({"disk_gib": 20}, "a disk of 116 GiB"),
        (
            {"gpu_memory_utilization": 0.3},
            "0.9 of a GPU's memory instead of 0.3",
        ),
        ({"max_num_batched_tokens": 100_000}, "2048 tokens in a step"),
        ({"tensor_parallel": 4}, "1 GPU of g4dn.xlarge"),
    ],
)
def test_a_setting_that_is_at_fault_is_repaired(
    inputs: dict[str, object], text: str
) -> None:
    """What a setting has broken is mended by its default."""
    assert text in texts("mistral-7b-awq", "g4dn.xlarge", max_model_len=4096, **inputs)


def test_fewer_sequences_where_sampling_them_takes_the_memory() -> None:
    """Thousands of sequences on an old release are halved until they fit."""
    wanted = {"vllm_version": "0.14.0", "max_num_seqs": 4096, "max_model_len": 2048}
    listed = texts("llama-3.1-8b-awq", "g4dn.xlarge", **wanted)
    assert "1024 sequences at once instead of 4096" in listed


def test_an_fp8_cache_and_a_filled_compile_cache_leave_more_room() -> None:
    """A context that just fails is served with either."""
    listed = texts("llama-3.1-8b", "g6.xlarge", max_model_len=30_000)
    assert "an FP8 KV cache" in listed
    assert "a compile cache that is filled" in listed


def test_what_no_instance_serves_has_no_repair() -> None:
    """With a measured overhead above every GPU there is nothing to suggest."""
    assert not found("mistral-7b", "g5.xlarge", overhead_gib=500)


@settings(deadline=None, max_examples=60)
@given(
    model=st.sampled_from(sorted(CHECKPOINTS)),
    host=st.sampled_from(INSTANCE_TYPES),
    gpus=st.sampled_from([1, 2, 4, 8]),
    context=st.sampled_from([None, 512, 8192]),
    seqs=st.integers(1, 4096),
    share=st.sampled_from([0.1, 0.5, 0.9, 0.98]),
    version=st.sampled_from(["0.9.2", "0.13.0", "0.31.0"]),
    memory=st.sampled_from([None, 2, 64, 4000]),
)
def test_every_repair_works(
    *,
    model: str,
    host: InstanceType,
    gpus: int,
    context: int | None,
    seqs: int,
    share: float,
    version: str,
    memory: int | None,
) -> None:
    """Each suggested repair, computed anew, fits, and they come cheapest first."""
    checkpoint = CHECKPOINTS[model]
    try:
        fit = Fit(
            checkpoint,
            host,
            tensor_parallel=gpus,
            max_model_len=context,
            max_num_seqs=seqs,
            gpu_memory_utilization=share,
            vllm_version=version,
            memory_gib=memory,
        )
    except ConfigurationError:
        # heads that this number of GPUs does not divide
        return
    listed = repairs(fit)
    assert not (fit.fits and listed)
    for item in listed:
        assert replace(item.fit).fits
        assert item.fit != fit
    extra = [
        float("inf") if item.extra_usd_per_hour is None else item.extra_usd_per_hour
        for item in listed
    ]
    assert extra == sorted(extra)
    # a text that stands twice would hide what differs
    assert len({item.text for item in listed}) == len(listed)


def test_options_are_all_that_fits_cheapest_first() -> None:
    """Every option fits; no instance is listed before a cheaper one."""
    listed = options(CHECKPOINTS["llama-3.1-70b-awq"], max_model_len=8192)
    assert all(item.fits for item in listed)
    prices = [item.instance.usd_per_hour or float("inf") for item in listed]
    assert prices == sorted(prices)
    first = listed[0]
    assert (first.instance.name, first.tensor_parallel) == ("g7e.2xlarge", 1)
    assert ("g6.12xlarge", 4) in {
        (item.instance.name, item.tensor_parallel) for item in listed
    }
    assert not any(
        item.instance.name == "p4d.24xlarge" and item.tensor_parallel == 1
        for item in listed
    )


def test_options_leave_out_gpus_that_do_not_divide_the_heads() -> None:
    """A model of 28 heads is never divided among 8 GPUs."""
    listed = options(CHECKPOINTS["qwen2.5-7b"], max_model_len=8192)
    assert {item.tensor_parallel for item in listed} == {1, 2, 4}


def test_wrong_arguments_are_refused() -> None:
    """Other kinds of arguments, and inputs that options tries itself, are refused."""
    with pytest.raises(ConfigurationError) as error:
        repairs(None)  # type: ignore[arg-type]
    assert error.value.problems == ("'fit' must be of class Fit, got None",)
    with pytest.raises(ConfigurationError) as error:
        options("mistral-7b", tensor_parallel=2)  # type: ignore[arg-type]
    assert error.value.problems == (
        "'checkpoint' must be of class Checkpoint, got 'mistral-7b'",
        "'tensor_parallel' must not be given; options tries all of them",
    )
    with pytest.raises(ConfigurationError) as error:
        options(CHECKPOINTS["mistral-7b"], max_model_len=10**9, max_num_seqs=0)
    assert error.value.problems == (
        "fit: 'max_num_seqs' must be 1 to 4096, got 0",
        (
            "fit: 'max_model_len' must be at most the context of mistral-7b (32768), "
            "got 1000000000"
        ),
    )
