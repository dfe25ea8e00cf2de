"""Which GPUs vLLM has kernels for, by release: facts, each with its source.

A model that fits into memory does not start where a kernel is missing. Compute
capability 7.0 (V100) needs no row: ``Accelerator`` has none below 7.5, and vLLM's
prebuilt images lost 7.0 between 0.16 and 0.20.
"""

import re
from dataclasses import dataclass
from typing import Self

from eks_inference._check import Problems
from eks_inference.accelerator import Accelerator
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.quantization import Quantization

DEFAULT_VLLM_VERSION = "0.31.0"
"""The release in the image that the library serves with by default."""

_TEXT = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})(\.post\d{1,4})?", re.ASCII)

_DTYPES = ("auto", "half", "float16", "bfloat16")

KV_DTYPES = ("auto", "fp8")
"""Types of the KV cache: that of the model, 16 bits, or one byte for each element."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A release of vLLM.

    Args:
        major: First number.
        minor: Second number.
        patch: Third number. A ``.post1`` counts as the release it mends.
    """

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the release that a text names.

        Args:
            text: Three numbers, such as ``0.31.0``; ``.post1`` may follow.

        Raises:
            ConfigurationError: The text is not a version, or one before 0.9.0, which
                the facts here do not cover.
        """
        with Problems() as problems:
            found = _TEXT.fullmatch(text) if isinstance(text, str) else None
            if found is None:
                problems.broken(
                    "'vllm_version' must be a release of vLLM",
                    text,
                    "for example '0.31.0'",
                )
        numbers = found.groups()[:3] if found else ()
        version = cls(*map(int, numbers))
        with Problems() as problems:
            if version < cls(0, 9, 0):
                problems.broken(
                    "'vllm_version' must be at least 0.9.0", text, "use a newer one"
                )
        return version

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class Kernel:
    """Which GPUs can run weights of a format, from a release on.

    Args:
        quantization: Format of the weights.
        since: First release that this row holds for.
        minimum: Lowest compute capability.
        source: Where that stands.
        below: Compute capability from which on it is not supported. Default: none.
    """

    quantization: Quantization
    since: Version
    minimum: tuple[int, int]
    source: str
    below: tuple[int, int] | None = None


KERNELS = (
    Kernel(
        Quantization.FP8,
        Version(0, 9, 0),
        (8, 0),
        "weight-only through Marlin below 8.9, which computes in FP8: "
        "vllm-project/vllm#5975",
    ),
    Kernel(
        Quantization.FP8,
        Version(0, 14, 0),
        (7, 5),
        "Marlin for 7.5: vllm-project/vllm#29901; docs.vllm.ai/en/v0.32.0, "
        "features/quantization/llm_compressor/fp8",
    ),
    Kernel(
        Quantization.INT8,
        Version(0, 9, 0),
        (7, 5),
        "docs.vllm.ai/en/latest, features/quantization/int8",
        below=(10, 0),
    ),
    Kernel(
        Quantization.AWQ,
        Version(0, 9, 0),
        (8, 0),
        "AWQMarlinConfig.get_min_capability, vllm-project/vllm at 0322f29, "
        "vllm/model_executor/layers/quantization/awq_marlin.py",
    ),
    Kernel(
        Quantization.AWQ,
        Version(0, 14, 0),
        (7, 5),
        "Marlin for 7.5: vllm-project/vllm#29901",
    ),
    Kernel(
        Quantization.GPTQ,
        Version(0, 9, 0),
        (6, 0),
        "the kernels before Marlin remain: docs.vllm.ai/en/v0.9.2, "
        "features/quantization/supported_hardware",
    ),
    Kernel(
        Quantization.MXFP4,
        Version(0, 10, 0),
        (10, 0),
        "vllm-project/vllm#22422",
    ),
    Kernel(
        Quantization.MXFP4,
        Version(0, 10, 1),
        (8, 0),
        "vllm-project/vllm#23203; bfloat16 only, at afdb4a4, "
        "vllm/model_executor/layers/quantization/mxfp4.py",
    ),
)
"""By format and release. 16-bit weights need no row.

AWQ means Marlin: ``--quantization awq`` has a slower kernel for 7.5 in releases before
0.14.0. That FP8 has run on 7.5 since 0.14.0 is inferred from its kernel's change; the
documentation of 0.32.0 is the first found to say so."""

_V1_ON_TURING = Version(0, 10, 0)
"""V1 in 0.9 refuses GPUs below 8.0 (vllm-project/vllm#15853)."""

_CUDA_13 = Version(0, 20, 0)
"""First release known to be published with CUDA 13 (vllm/vllm-openai v0.20.0, CUDA
13.0.2; v0.16.0 has 12.9.1)."""

BFLOAT16_CAPABILITY = (8, 0)
"""Lowest compute capability with bfloat16: ``_check_if_gpu_supports_dtype``,
vllm-project/vllm at 0012cf6, vllm/v1/worker/gpu_worker.py."""

_BFLOAT16_ONLY = ("Gemma2", "Gemma3")
"""Begin of the names of models that vLLM does not run in float16, in which they are
unstable: ``_FLOAT16_NOT_SUPPORTED_MODELS``, vllm-project/vllm at 18ec662,
vllm/config/model.py."""

_FP8_CACHE = (8, 0)
"""Lowest compute capability with an FP8 KV cache: FlashInfer's, which has one on GPUs
without FP8 (vllm-project/vllm#45375). Below it vLLM has Triton's attention; an FP8
cache there is not known to work."""


def minimum_driver(vllm_version: str) -> int | None:
    """Return the branch of the NVIDIA driver that a release's image needs.

    580 for CUDA 13 (NVIDIA, CUDA compatibility; Bottlerocket has it since 1.56), None
    before: every driver of the pinned Bottlerocket releases is new enough.

    Args:
        vllm_version: Release of vLLM, such as ``0.31.0``.

    Raises:
        ConfigurationError: The text is not a release that the facts here cover.
    """
    return 580 if Version.parse(vllm_version) >= _CUDA_13 else None


def kernel_problems(
    checkpoint: Checkpoint,
    accelerator: Accelerator,
    *,
    vllm_version: str,
    dtype: str | None = None,
    kv_dtype: str = "auto",
) -> list[str]:
    """Return why a GPU lacks kernels for a model, whatever its memory; empty if not.

    Args:
        checkpoint: The model.
        accelerator: The GPU.
        vllm_version: Release of vLLM, such as ``0.31.0``.
        dtype: Value of ``--dtype``. Default: none; vLLM then takes float16 where a
            GPU has no bfloat16.
        kv_dtype: Type of the KV cache, ``auto`` or ``fp8``. Default: ``auto``.

    Raises:
        ConfigurationError: An argument is not of its kind; all of them are named.
    """
    with Problems() as problems:
        problems.instance("checkpoint", checkpoint, Checkpoint)
        problems.instance("accelerator", accelerator, Accelerator)
        version = problems.attempt(lambda: Version.parse(vllm_version))
        problems.one_of("dtype", dtype or "auto", _DTYPES)
        problems.one_of("kv_dtype", kv_dtype, KV_DTYPES)
    assert version is not None
    found = Problems()
    capability = accelerator.compute_capability
    gpu = f"{accelerator.name.lower()} ({_text(capability)})"
    if capability < BFLOAT16_CAPABILITY and version < _V1_ON_TURING:
        found.add(
            f"vLLM {version} needs compute capability 8.0, and {gpu} has less; use "
            "0.10.0 or newer"
        )
    if dtype == "bfloat16" and capability < BFLOAT16_CAPABILITY:
        found.add(
            f"bfloat16 needs compute capability 8.0, and {gpu} has less; use 'half'"
        )
    name = checkpoint.architecture.name
    if name.startswith(_BFLOAT16_ONLY) and capability < BFLOAT16_CAPABILITY:
        found.add(
            f"{name} runs in bfloat16 only, which needs compute capability 8.0, and "
            f"{gpu} has less; use another GPU"
        )
    if kv_dtype == "fp8" and capability < _FP8_CACHE:
        found.add(
            f"an FP8 KV cache needs compute capability {_text(_FP8_CACHE)}, and {gpu} "
            "has less; use 'auto'"
        )
    if checkpoint.quantization is not Quantization.NONE:
        _check_format(found, checkpoint.quantization, capability, gpu, version)
    return found.messages


def _check_format(
    problems: Problems,
    quantization: Quantization,
    capability: tuple[int, int],
    gpu: str,
    version: Version,
) -> None:
    rows = [item for item in KERNELS if item.quantization is quantization]
    valid = [item for item in rows if item.since <= version]
    label = f"{quantization.label!r} weights"
    if not valid:
        problems.add(
            f"vLLM {version} has no kernel for {label}; use {rows[0].since} or newer"
        )
        return
    kernel = valid[-1]
    if kernel.below is not None and capability >= kernel.below:
        problems.add(
            f"vLLM runs {label} below compute capability {_text(kernel.below)} only, "
            f"not on {gpu}; use another format"
        )
    if capability >= kernel.minimum:
        return
    later = [item for item in rows if item not in valid and capability >= item.minimum]
    repair = f"use {later[0].since} or newer" if later else "use another format or GPU"
    problems.add(
        f"vLLM {version} needs compute capability {_text(kernel.minimum)} for {label}, "
        f"and {gpu} has less; {repair}"
    )


def tensor_parallel_problems(
    architecture: Architecture, tensor_parallel: object
) -> list[str]:
    """Return why a model cannot be divided among a number of GPUs; empty if it can.

    Query heads are divided evenly. Key and value heads are divided too, or repeated
    where there are fewer than GPUs. The vocabulary is padded, so any size will do
    (vllm-project/vllm, ``verify_with_parallel_config`` in vllm/config/model.py).

    Args:
        architecture: The model.
        tensor_parallel: Number of GPUs.
    """
    problems = Problems()
    if not problems.integer("tensor_parallel", tensor_parallel, minimum=1, maximum=64):
        return problems.messages
    gpus = int(str(tensor_parallel))
    heads, shared = architecture.attention_heads, architecture.kv_heads
    if heads % gpus:
        problems.broken(
            f"'tensor_parallel' must divide the {heads} attention heads",
            gpus,
            "use 1, 2, 4 or 8 where they do",
        )
    elif shared % gpus and gpus % shared:
        problems.broken(
            f"'tensor_parallel' must divide the {shared} key and value heads, or be "
            "a multiple of them",
            gpus,
        )
    return problems.messages


def _text(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
