"""Tests of what a model's architecture takes in memory."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.architecture import Architecture
from tests.library.conftest import BadInputs, bad_inputs, refusal

MISTRAL: Mapping[str, Any] = {
    "name": "MistralForCausalLM",
    "layers": 32,
    "hidden_size": 4096,
    "attention_heads": 32,
    "kv_heads": 8,
    "head_size": 128,
    "vocabulary": 32_000,
    "context": 32_768,
    "parameters": 7_241_732_096,
}

BAD: BadInputs = [
    ({"name": ""}, "'name' must be a text that is not empty, got ''"),
    ({"layers": 0}, "'layers' must be 1 to 1000, got 0"),
    ({"layers": 1001}, "'layers' must be 1 to 1000, got 1001"),
    ({"layers": True}, "'layers' must be a whole number, got True"),
    ({"hidden_size": "4096"}, "'hidden_size' must be a whole number, got '4096'"),
    ({"hidden_size": None}, "'hidden_size' must be a whole number, got None"),
    ({"attention_heads": 0}, "'attention_heads' must be 1 to 10000, got 0"),
    ({"vocabulary": "32k"}, "'vocabulary' must be a whole number, got '32k'"),
    (
        {"vision_parameters": -1},
        "'vision_parameters' must be 0 to 100000000000000, got -1",
    ),
    ({"head_size": -128}, "'head_size' must be 1 to 10000, got -128"),
    ({"context": math.nan}, "'context' must be a whole number, got nan"),
    (
        {"parameters": 10**15},
        f"'parameters' must be 1 to 100000000000000, got {10**15}",
    ),
    ({"kv_heads": 5}, "'kv_heads' must divide 'attention_heads' (32), got 5"),
    ({"kv_heads": 64}, "'kv_heads' must divide 'attention_heads' (32), got 64"),
    ({"tied_embeddings": 1}, "'tied_embeddings' must be True or False, got 1"),
    ({"latent_size": -1}, "'latent_size' must be 0 to 1000000, got -1"),
    (
        {"active_parameters": 8_000_000_000},
        (
            "'active_parameters' must be at most 'parameters' without "
            "'vision_parameters' (7241732096), got 8000000000"
        ),
    ),
    (
        {"active_parameters": 7e9},
        "'active_parameters' must be a whole number, got 7000000000.0",
    ),
    (
        {"parameters": 7_000},
        (
            "'parameters' must be more than the embeddings alone, 'vocabulary' x "
            "'hidden_size' x 2 tables = 262144000, got 7000 for text; correct one of "
            "them"
        ),
    ),
    (
        {"windowed_layers": 33, "window": 4096},
        "'windowed_layers' must be at most 'layers' (32), got 33",
    ),
    (
        {"windowed_layers": 32},
        "'windowed_layers' and 'window' must be given together, got 32 and 0",
    ),
]


def make(**changes: Any) -> Architecture:
    """Return Mistral 7B's architecture with some values changed."""
    return Architecture(**{**MISTRAL, **changes})


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each rule is checked, and the message names the field, the rule and the value."""
    name = changes.get("name", "MistralForCausalLM")
    assert refusal(lambda: make(**changes)) == f"architecture {name!r}: {message}"


def test_fails_with_every_problem_at_once() -> None:
    """All fields that are wrong are reported together, not what follows from them."""
    message = refusal(lambda: make(layers=0, kv_heads=None, window="4096"))
    assert message.splitlines() == [
        "architecture 'MistralForCausalLM': 'layers' must be 1 to 1000, got 0",
        (
            "architecture 'MistralForCausalLM': 'kv_heads' must be a whole number, "
            "got None"
        ),
        (
            "architecture 'MistralForCausalLM': 'window' must be a whole number, "
            "got '4096'"
        ),
    ]


def test_a_token_takes_keys_and_values_of_each_layer() -> None:
    """Mistral 7B: 2 x 32 layers x 8 heads x 128 elements x 2 bytes."""
    assert make().kv_bytes_per_token() == 131_072
    assert make().kv_bytes_per_token(element_bytes=1) == 65_536


def test_gpus_share_the_heads_but_not_one_head() -> None:
    """Each of 4 GPUs caches a quarter; of 16, one head of 8 each."""
    assert make().kv_bytes_per_token(tensor_parallel=4) == 32_768
    assert make().kv_bytes_per_token(tensor_parallel=16) == 16_384


def test_a_latent_lies_on_every_gpu() -> None:
    """DeepSeek V2 caches 576 elements per layer, however many GPUs share it."""
    model = make(layers=60, latent_size=576)
    assert model.kv_bytes_per_token() == 60 * 576 * 2
    assert model.kv_bytes_per_token(tensor_parallel=8) == 60 * 576 * 2


def test_a_windowed_layer_keeps_its_window_only() -> None:
    """Of 32 layers 24 look back 1,024 tokens: those keep no more of a sequence."""
    model = make(windowed_layers=24, window=1024)
    assert model.kv_bytes(1000) == 1000 * 131_072
    assert model.kv_bytes(9000) == (8 * 9000 + 24 * 1024) * 131_072 / 32


def test_without_windows_a_sequence_takes_what_its_tokens_take() -> None:
    """What one token takes, times the tokens."""
    assert make().kv_bytes(9000, tensor_parallel=2) == 9000 * 65_536


def test_a_decoding_step_reads_no_input_embedding() -> None:
    """The input table is looked up; a tied one is read, as the output layer."""
    table = 32_000 * 4096
    assert make().streamed_parameters == 7_241_732_096 - table
    assert make(tied_embeddings=True).streamed_parameters == 7_241_732_096
    assert make(active_parameters=10**9).streamed_parameters == 10**9 - table
    assert make(vision_parameters=10**9).streamed_parameters == 6_241_732_096 - table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"element_bytes": 0}, "'element_bytes' must be 0.1 to 8, got 0"),
        ({"element_bytes": "1"}, "'element_bytes' must be a number, got '1'"),
        ({"tensor_parallel": 0}, "'tensor_parallel' must be at least 1, got 0"),
        ({"tensor_parallel": 1.5}, "'tensor_parallel' must be a whole number, got 1.5"),
        ({"tokens": -1}, "'tokens' must be at least 0, got -1"),
        ({"tokens": math.nan}, "'tokens' must be at least 0, got nan"),
    ],
)
def test_fails_when_a_sequence_makes_no_sense(
    changes: dict[str, Any], message: str
) -> None:
    """Tokens, bytes and GPUs that cannot be are refused, not computed with."""
    assert refusal(lambda: make().kv_bytes(**{"tokens": 1, **changes})) == message


@given(
    st.integers(0, 32), st.integers(1, 10_000), st.integers(0, 50_000), st.integers(1)
)
def test_a_window_never_takes_more(
    layers: int, window: int, tokens: int, gpus: int
) -> None:
    """A sequence takes at most what its tokens would take without windows."""
    model = make(windowed_layers=layers, window=window if layers else 0)
    most = tokens * model.kv_bytes_per_token(tensor_parallel=gpus)
    taken = model.kv_bytes(tokens, tensor_parallel=gpus)
    assert taken <= most * (1 + 1e-12)


@given(
    st.dictionaries(
        st.sampled_from([*MISTRAL, "active_parameters", "window", "latent_size"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    )
)
def test_any_value_is_accepted_or_refused(changes: dict[str, Any]) -> None:
    """Whatever the fields hold, nothing but the library's own error comes out."""
    problems: tuple[str, ...] = ()
    try:
        assert make(**changes).streamed_parameters > 0
    except ConfigurationError as error:
        problems = error.problems
    assert all("\n" not in problem for problem in problems)
