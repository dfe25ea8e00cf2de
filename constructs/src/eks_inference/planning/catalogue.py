"""Models that are often served, by name: their shapes and the bytes of their weights.

A small table of facts, not a list of what is supported: ``read_checkpoint`` reads every
other model from its files, and an ``Architecture`` can be given by hand.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from eks_inference._check import Problems
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.config_json import read_architecture
from eks_inference.quantization import Quantization


def _shape(  # noqa: PLR0917 - a row of the table below
    kind: str,
    layers: int,
    hidden: int,
    inner: int,
    heads: int,
    kv_heads: int,
    vocabulary: int,
    context: int,
    **more: object,
) -> Architecture:
    """Return the architecture of a ``config.json`` with these numbers."""
    goal = "ConditionalGeneration" if "vision_config" in more else "CausalLM"
    config: dict[str, Any] = {
        "architectures": [f"{kind}For{goal}"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
    }
    return read_architecture({**config, **more})


_VISION = {
    "num_hidden_layers": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "patch_size": 14,
    "image_size": 896,
}

_BF16, _FP16 = "bfloat16", "float16"
_FP8, _AWQ, _MXFP4 = Quantization.FP8, Quantization.AWQ, Quantization.MXFP4


@dataclass(frozen=True, slots=True)
class _Row:
    """A model: where its ``config.json`` lies, what it says, which formats are usual.

    ``total_size`` is that of the repository's index, None where it was not found.
    """

    repository: str
    architecture: Architecture
    dtype: str
    total_size: int | None
    formats: tuple[Quantization, ...] = ()
    own_format: Quantization = Quantization.NONE


_MODELS = {
    "mistral-7b": _Row(
        "mistralai/Mistral-7B-Instruct-v0.2",
        _shape("Mistral", 32, 4096, 14336, 32, 8, 32000, 32768, sliding_window=None),
        *(_BF16, 14_483_464_192, (_AWQ, _FP8)),
    ),
    "mixtral-8x7b": _Row(
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        _shape(
            *("Mixtral", 32, 4096, 14336, 32, 8, 32000, 32768),
            num_local_experts=8,
            num_experts_per_tok=2,
        ),
        *(_BF16, 93_405_585_408, (_AWQ,)),
    ),
    "llama-2-7b": _Row(
        "meta-llama/Llama-2-7b-chat-hf",
        _shape("Llama", 32, 4096, 11008, 32, 32, 32000, 4096),
        *(_FP16, None, (_AWQ,)),
    ),
    "llama-2-13b": _Row(
        "meta-llama/Llama-2-13b-chat-hf",
        _shape("Llama", 40, 5120, 13824, 40, 40, 32000, 4096),
        *(_FP16, None, (_AWQ, _FP8)),
    ),
    "llama-2-70b": _Row(
        "meta-llama/Llama-2-70b-chat-hf",
        _shape("Llama", 80, 8192, 28672, 64, 8, 32000, 4096),
        *(_FP16, None, (_AWQ,)),
    ),
    "llama-3.1-8b": _Row(
        "meta-llama/Llama-3.1-8B-Instruct",
        _shape("Llama", 32, 4096, 14336, 32, 8, 128256, 131072),
        *(_BF16, 16_060_522_496, (_AWQ, _FP8)),
    ),
    "llama-3.1-70b": _Row(
        "meta-llama/Llama-3.1-70B-Instruct",
        _shape("Llama", 80, 8192, 28672, 64, 8, 128256, 131072),
        *(_BF16, 141_107_412_992, (_AWQ, _FP8)),
    ),
    "qwen2.5-7b": _Row(
        "Qwen/Qwen2.5-7B-Instruct",
        _shape("Qwen2", 28, 3584, 18944, 28, 4, 152064, 32768),
        *(_BF16, 15_231_233_024, (_AWQ, _FP8)),
    ),
    "qwen2.5-14b": _Row(
        "Qwen/Qwen2.5-14B-Instruct",
        _shape("Qwen2", 48, 5120, 13824, 40, 8, 152064, 32768),
        *(_BF16, 29_540_067_328, (_AWQ, _FP8)),
    ),
    "qwen3-8b": _Row(
        "Qwen/Qwen3-8B",
        _shape("Qwen3", 36, 4096, 12288, 32, 8, 151936, 40960),
        *(_BF16, 16_381_470_720, (_AWQ, _FP8)),
    ),
    "qwen3-32b": _Row(
        "Qwen/Qwen3-32B",
        _shape("Qwen3", 64, 5120, 25600, 64, 8, 151936, 40960),
        *(_BF16, 65_524_246_528, (_AWQ, _FP8)),
    ),
    "qwen3-30b-a3b": _Row(
        "Qwen/Qwen3-30B-A3B",
        _shape(
            *("Qwen3Moe", 48, 2048, 6144, 32, 4, 151936, 40960),
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=768,
        ),
        *(_BF16, 61_064_245_248, (_FP8,)),
    ),
    "gemma-2-9b": _Row(
        "google/gemma-2-9b-it",
        _shape("Gemma2", 42, 3584, 14336, 16, 8, 256000, 8192),
        *(_BF16, 18_483_411_968),
    ),
    "gemma-3-12b": _Row(
        "google/gemma-3-12b-it",
        _shape(
            *("Gemma3", 48, 3840, 15360, 16, 8, 262208, 131072),
            sliding_window=1024,
            vision_config=_VISION,
        ),
        *(_BF16, None),
    ),
    "gpt-oss-20b": _Row(
        "openai/gpt-oss-20b",
        _shape(
            *("GptOss", 24, 2880, 2880, 64, 8, 201088, 131072),
            num_local_experts=32,
            num_experts_per_tok=4,
        ),
        *(_BF16, 13_761_264_768, (), _MXFP4),
    ),
}


def _checkpoints(name: str, row: _Row) -> Iterator[Checkpoint]:
    source = f"config.json of {row.repository}"
    if row.total_size is None:
        yield Checkpoint.computed(
            name=name, architecture=row.architecture, dtype=row.dtype, source=source
        )
    else:
        yield Checkpoint(
            name=name,
            architecture=row.architecture,
            weight_bytes=row.total_size,
            quantization=row.own_format,
            dtype=row.dtype,
            source=f"{source}; bytes of its model.safetensors.index.json",
        )
    for quantization in row.formats:
        yield Checkpoint.computed(
            name=f"{name}-{quantization.label}",
            architecture=row.architecture,
            quantization=quantization,
            # AWQ's kernels are made for float16, which its checkpoints have
            dtype=_FP16 if quantization is _AWQ else row.dtype,
            source=source,
        )


CHECKPOINTS: Mapping[str, Checkpoint] = MappingProxyType(
    {
        item.name: item
        for name, row in _MODELS.items()
        for item in _checkpoints(name, row)
    }
)
"""Checkpoints by name: a model's name is its published form, ``-awq`` and ``-fp8`` are
its quantized ones. ``source`` of each says where its numbers come from."""


def checkpoint(name: str) -> Checkpoint:
    """Return a checkpoint of the catalogue.

    Args:
        name: Its name, such as ``mistral-7b-awq``.

    Raises:
        ConfigurationError: There is none of that name; the nearest ones are named.
    """
    with Problems() as problems:
        if not isinstance(name, str) or name not in CHECKPOINTS:
            near = difflib.get_close_matches(str(name).lower(), CHECKPOINTS, n=3)
            known = " or ".join(map(repr, near)) or ", ".join(CHECKPOINTS)
            problems.broken(
                "'name' must name a model of the catalogue",
                name,
                f"{'did you mean' if near else 'it has'} {known}{'?' if near else ';'} "
                "any other model needs 'read_checkpoint'",
            )
    return CHECKPOINTS[name]
