"""Tests of the models that are known by name."""

import pytest

from eks_inference.planning.catalogue import CHECKPOINTS, checkpoint
from eks_inference.quantization import Quantization
from tests.library.conftest import refusal
from tests.library.hf_configs import CONFIGS

PUBLISHED_GB = {
    "mistral-7b": 14.48,
    "mistral-7b-awq": 4.15,
    "llama-2-70b-awq": 36.6,
    "llama-3.1-8b": 16.06,
    "llama-3.1-8b-fp8": 9.08,
    "llama-3.1-70b": 141.1,
    "llama-3.1-70b-awq": 39.77,
    "qwen2.5-7b": 15.2,
    "qwen2.5-7b-awq": 5.6,
    "gemma-3-12b": 24.37,
    "gpt-oss-20b": 13.76,
}
"""Sizes of the published safetensors, as their repositories show them."""


@pytest.mark.parametrize("name", PUBLISHED_GB)
def test_weights_are_those_of_the_repository(name: str) -> None:
    """Read or computed, weights are within 1 % of what lies in the repository."""
    assert checkpoint(name).weights_gb == pytest.approx(PUBLISHED_GB[name], rel=0.01)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_each_says_where_its_numbers_come_from(name: str) -> None:
    """A source names the repository, and whether the bytes are read or computed."""
    item = CHECKPOINTS[name]
    origin, how = item.source.split("; ", maxsplit=1)
    assert origin.startswith("config.json of ")
    assert how.startswith(
        ("bytes of its model.safetensors.index.json", "bytes computed from the")
    )
    assert item.name == name


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_name_says_the_format(name: str) -> None:
    """What ends in -awq or -fp8 is that, and a model's own name is what it ships."""
    item = CHECKPOINTS[name]
    own = Quantization.MXFP4 if name == "gpt-oss-20b" else Quantization.NONE
    endings = {
        f"-{quantization.label}": quantization
        for quantization in (Quantization.AWQ, Quantization.FP8)
    }
    assert item.quantization is endings.get(name[-4:], own)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_awq_is_half_precision(name: str) -> None:
    """AWQ checkpoints are float16, on which a T4 depends; the rest is as published."""
    item = CHECKPOINTS[name]
    is_half = item.quantization is Quantization.AWQ or name.startswith("llama-2-")
    assert item.dtype == ("float16" if is_half else "bfloat16")


def test_numbers_are_those_of_the_configurations() -> None:
    """A model that the tests have a configuration of has its published parameters."""
    compared = 0
    for item in CHECKPOINTS.values():
        for repository, (_, parameters) in CONFIGS.items():
            if f"config.json of {repository};" in item.source:
                assert item.architecture.parameters == pytest.approx(parameters, 0.005)
                compared += 1
    assert compared > 10


def test_quantized_forms_share_the_architecture() -> None:
    """A format changes the bytes, not the model."""
    plain = checkpoint("llama-3.1-8b").architecture
    assert checkpoint("llama-3.1-8b-awq").architecture is plain
    assert checkpoint("llama-3.1-8b-fp8").architecture is plain


def test_windows_are_known() -> None:
    """Gemma and gpt-oss have windowed layers, Mistral 7B v0.2 has none."""
    models = ("gemma-2-9b", "gemma-3-12b", "gpt-oss-20b", "mistral-7b")
    found = [checkpoint(name).architecture for name in models]
    assert [(item.windowed_layers, item.window) for item in found] == [
        (21, 4096),
        (40, 1024),
        (12, 128),
        (0, 0),
    ]


def test_fails_when_a_name_is_almost_right() -> None:
    """The nearest names are in the message."""
    assert refusal(lambda: checkpoint("Mistral-7B-GPTQ")) == (
        "'name' must name a model of the catalogue, got 'Mistral-7B-GPTQ'; did you "
        "mean 'mistral-7b-fp8' or 'mistral-7b-awq' or 'mistral-7b'? any other model "
        "needs 'read_checkpoint'"
    )


@pytest.mark.parametrize("name", ["zzz", "", None, 7, [3]])
def test_fails_when_a_name_is_nothing_like_one(name: object) -> None:
    """Without a near name, and for what is no name, all are in the message."""
    message = refusal(lambda: checkpoint(name))  # type: ignore[arg-type]
    assert message == (
        f"'name' must name a model of the catalogue, got {name!r}; it has "
        f"{', '.join(CHECKPOINTS)}; any other model needs 'read_checkpoint'"
    )
