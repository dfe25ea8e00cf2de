"""How well the estimate of a GPU's memory agrees with what vLLM has printed.

    python benchmarks/fit.py

Prints the right-sizing table of the guide, each row with its arithmetic, and the KV
cache of public runs beside the estimate. ``RUNS`` is also what the tests read.
"""

import statistics
from dataclasses import dataclass
from typing import Any

from eks_inference import Accelerator
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.catalogue import CHECKPOINTS
from eks_inference.planning.fit import GIB, Fit, sequences
from eks_inference.planning.instances import instance, instances_with

GUIDE = (
    ("7B (AWQ), T4 (16GB)", "mistral-7b-awq", "g4dn.xlarge"),
    ("7B (FP16), A10G (24GB)", "mistral-7b", "g5.xlarge"),
    ("13B (AWQ), A10G (24GB)", "llama-2-13b-awq", "g5.xlarge"),
    ("70B (AWQ), A100 (40GB)", "llama-3.1-70b-awq", "p4d.24xlarge"),
)
"""The guide's rows, as models of the catalogue and instance types."""

GUIDE_CONTEXT = 4096
"""Longest sequence that the rows are computed for: Llama 2's whole context."""

LLM_D = (
    "llm-d/llm-d-benchmark at 4f4d449, config_explorer/empirical-vllm-memory-results.md"
)
GLYD_L4 = (
    "surya-koritala/Glyd at f77c4b2, benchmarks/gpu/vllm-v028-l4-2026-10-04/README.md"
)
GLYD_A100 = (
    "surya-koritala/Glyd at 10e8cae, "
    "benchmarks/gpu/vllm-m3-a100-40gb-2026-09-30/README.md"
)
GLYD_A10 = (
    "surya-koritala/Glyd at 10e8cae, benchmarks/gpu/vllm-m3-a10-2026-09-30/README.md"
)
GLYD_H100 = (
    "surya-koritala/Glyd at 1ffedb2, benchmarks/gpu/h100-vllm-kv-2026-10-02/README.md"
)
GLYD_72B = (
    "surya-koritala/Glyd at 8e2d34c, "
    "benchmarks/gpu/h100x2-qwen2.5-72b-2026-10-03/README.md"
)
LIMIT = 0.05
"""Largest error of a KV cache that is not called a miss."""

LOG = "a public log without a thread to cite"


def _model(  # noqa: PLR0917 - a row of a table
    name: str,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    vocabulary: int,
    parameters: int,
    *,
    tied: bool = False,
    vision: int = 0,
) -> Checkpoint:
    """Return a model that the catalogue does not have, from its config.json."""
    return Checkpoint.computed(
        name=name,
        architecture=Architecture(
            name=name,
            layers=layers,
            hidden_size=hidden,
            attention_heads=heads,
            kv_heads=kv_heads,
            head_size=128,
            vocabulary=vocabulary,
            context=32768,
            parameters=parameters,
            tied_embeddings=tied,
            vision_parameters=vision,
        ),
    )


QWEN3_0_6B = _model("qwen3-0.6b", 28, 1024, 16, 8, 151936, 596_049_920, tied=True)
QWEN3_4B = _model("qwen3-4b", 36, 2560, 32, 8, 151936, 4_022_468_096, tied=True)
QWEN3_14B = _model("qwen3-14b", 40, 5120, 40, 8, 151936, 14_768_307_200)
QWEN2_5_1_5B = _model("qwen2.5-1.5b", 28, 1536, 12, 2, 151936, 1_543_714_304, tied=True)
QWEN2_5_72B = _model("qwen2.5-72b", 80, 8192, 64, 8, 152064, 72_706_203_648)
MISTRAL_SMALL = _model(
    "mistral-small-3.2-24b",
    40,
    5120,
    32,
    8,
    131072,
    24_011_361_280,
    vision=439_000_000,
)


@dataclass(frozen=True)
class Run:
    """A run of vLLM, and the memory that it found for its KV cache.

    ``usable_gib`` is utilization x total as the run's own GPU has it; the GPU here
    stands for one with the same kernels. ``warm`` runs found a compile cache.
    ``fitted`` runs are those that the constants were set with; the others were looked
    at afterwards, and no constant was changed for them.
    """

    model: Checkpoint
    gpu: Accelerator
    usable_gib: float
    vllm: str
    kv_gib: float
    source: str
    label: str = ""
    gpus: int = 1
    seqs: int = 256
    batched: int = 2048
    warm: bool = False
    fitted: bool = False
    missed: str = ""

    def fit(self) -> Fit:
        """Return the estimate for the same configuration."""
        least = max(self.gpus, 1)
        host = next(item for item in instances_with([self.gpu]) if item.gpus >= least)
        total = self.gpu.cuda_memory_mib / 1024
        return Fit(
            self.model,
            host,
            tensor_parallel=self.gpus,
            max_model_len=1024,
            max_num_seqs=self.seqs,
            max_num_batched_tokens=self.batched,
            gpu_memory_utilization=self.usable_gib / total,
            vllm_version=self.vllm,
            compile_cache=self.warm,
        )

    @property
    def error(self) -> float:
        """Estimate over measurement, less one."""
        return self.fit().kv_available_bytes / GIB / self.kv_gib - 1


def _tokens(model: Checkpoint, tokens: int, gpus: int = 1) -> float:
    """Return the GiB of a GPU that a printed number of tokens takes."""
    per_token = model.architecture.kv_bytes_per_token(tensor_parallel=gpus)
    return tokens * per_token / GIB


_8B, _Q8 = CHECKPOINTS["llama-3.1-8b"], CHECKPOINTS["qwen3-8b"]
_Q32, _Q7 = CHECKPOINTS["qwen3-32b"], CHECKPOINTS["qwen2.5-7b"]
_OSS, _70B = CHECKPOINTS["gpt-oss-20b"], CHECKPOINTS["llama-3.1-70b-fp8"]
_H100 = {"gpu": Accelerator.H100, "seqs": 1024, "batched": 8192}
_LLM_D = {**_H100, "usable_gib": 71.26, "vllm": "0.11.0", "source": LLM_D}
_L4 = {
    "gpu": Accelerator.L4,
    "usable_gib": 0.9 * 22.03,
    "vllm": "0.30.0",
    "source": GLYD_L4,
}
_A10 = {
    "gpu": Accelerator.A10G,
    "usable_gib": 0.9 * 22.06,
    "vllm": "0.30.0",
    "source": GLYD_A10,
    "label": "A10",
}
_A100 = {
    "gpu": Accelerator.A100_40G,
    "usable_gib": 0.9 * 39.39,
    "vllm": "0.30.0",
    "source": GLYD_A100,
}
_A100_80 = {"gpu": Accelerator.A100_80G}
_QWEN2 = {
    **_A100_80,
    "usable_gib": 0.5 * 79.25,
    "vllm": "0.10.1",
    "source": "dennislee22/vLLM-benchmarking at 608c86e and e514a58, log/vllm-7B-*",
}

_ROWS: tuple[dict[str, Any], ...] = (
    {"model": _8B, "kv_gib": 51.38, "fitted": True, **_LLM_D},
    {"model": QWEN3_0_6B, "kv_gib": 64.45, "fitted": True, **_LLM_D},
    {"model": _Q32, "kv_gib": 4.45, "fitted": True, **_LLM_D},
    {"model": _Q32, "kv_gib": 34.49, "gpus": 2, "fitted": True, **_LLM_D},
    {"model": _70B, "kv_gib": 32.00, "gpus": 2, **_LLM_D},
    {"model": _OSS, "kv_gib": 50.28, **_LLM_D},
    {
        "model": MISTRAL_SMALL,
        "kv_gib": 28.20,
        "missed": "its sampling takes half of what other models' takes",
        **_LLM_D,
        "usable_gib": 75.23,
    },
    {"model": _Q7, "kv_gib": 24.83, **_QWEN2},
    {"model": _Q7, "kv_gib": 31.83, "gpus": 2, **_QWEN2},
    {
        "model": _8B,
        "gpu": Accelerator.A10G,
        "usable_gib": 0.9 * 23.52,
        "vllm": "0.19.0",
        "kv_gib": _tokens(_8B, 2588 * 16),
        "label": "RTX 4090",
        "fitted": True,
        "source": "casys-kaist/LLMServingSim at 5daddb2, bench/examples/RTX4090",
    },
    {
        "model": _OSS,
        "usable_gib": 0.65 * 79.25,
        "vllm": "0.19.0",
        "kv_gib": 36.56,
        "source": "myoceane.fr/index.php/ai-vllm-a100-gemma-4",
        **_A100_80,
    },
    {
        "model": QWEN2_5_1_5B,
        **_H100,
        "gpu": Accelerator.H200,
        "usable_gib": 0.9 * 139.8,
        "vllm": "0.19.1",
        "kv_gib": _tokens(QWEN2_5_1_5B, 4_513_888),
        "fitted": True,
        "source": LOG,
    },
    {"model": _Q8, "kv_gib": _tokens(_Q8, 19_760), "fitted": True, **_L4},
    {
        "model": _Q8,
        "kv_gib": _tokens(_Q8, 27_024),
        "warm": True,
        "fitted": True,
        **_L4,
    },
    {"model": _8B, "kv_gib": _tokens(_8B, 26_112), "fitted": True, **_L4},
    {
        "model": _8B,
        "kv_gib": _tokens(_8B, 32_592),
        "warm": True,
        "fitted": True,
        **_L4,
    },
    {
        "model": QWEN3_4B,
        "kv_gib": _tokens(QWEN3_4B, 73_968),
        "missed": "compiling takes two embeddings where they are tied",
        **_L4,
    },
    {
        "model": QWEN3_4B,
        "kv_gib": _tokens(QWEN3_4B, 83_408),
        "warm": True,
        **_L4,
    },
    {"model": _Q8, "kv_gib": _tokens(_Q8, 19_824), **_A10},
    {"model": _Q8, "kv_gib": _tokens(_Q8, 27_072), "warm": True, **_A10},
    {"model": _Q8, "kv_gib": _tokens(_Q8, 133_776), **_A100},
    {"model": _Q8, "kv_gib": _tokens(_Q8, 141_040), "warm": True, **_A100},
    {
        "model": QWEN3_14B,
        "kv_gib": _tokens(QWEN3_14B, 37_728),
        "fitted": True,
        **_A100,
    },
    {
        "model": QWEN3_14B,
        "kv_gib": _tokens(QWEN3_14B, 45_744),
        "warm": True,
        "fitted": True,
        **_A100,
    },
    {
        "model": _Q8,
        **_H100,
        "usable_gib": 71.26,
        "vllm": "0.30.0",
        "kv_gib": _tokens(_Q8, 377_024),
        "source": GLYD_H100,
    },
    {
        "model": QWEN2_5_72B,
        **_H100,
        "seqs": 128,
        "fitted": True,
        "usable_gib": 71.26,
        "vllm": "0.30.0",
        "gpus": 2,
        "kv_gib": 1.34,
        "source": GLYD_72B,
    },
    {
        "model": _8B,
        "usable_gib": 72.91,
        "vllm": "0.31.0",
        "kv_gib": 56.21,
        "source": LOG,
        **_A100_80,
    },
)

RUNS = tuple(Run(**row) for row in _ROWS)
"""Runs of which configuration, release and KV cache are public. None of them is on a
T4: no log of a release with the V1 engine was found."""


def print_guide() -> None:
    """Print the guide's rows with verdict and arithmetic."""
    for row, model, host in GUIDE:
        fit = Fit(CHECKPOINTS[model], instance(host), max_model_len=GUIDE_CONTEXT)
        print(f"{row}: {model} on {host}, {fit.context} tokens")
        print(
            f"  {fit.gpu_memory_utilization:g} x {fit.total_bytes / GIB:.2f} - weights "
            f"{fit.weight_bytes / GIB:.2f} - overhead {fit.overhead_bytes / GIB:.2f} = "
            f"{fit.kv_available_bytes / GIB:.2f} GiB of KV cache"
        )
        print(
            f"  {fit.kv_tokens} tokens of {fit.kv_bytes_per_token / 1024:.0f} KiB: "
            f"{fit.concurrency:.1f} x {fit.context} tokens, "
            f"{sequences(fit, 1366)} of {fit.max_num_seqs} sequences of 1366"
        )
        print("  right" if fit.fits else f"  wrong: {'; '.join(fit.problems)}")


def print_runs() -> None:
    """Print the runs with estimate and error."""
    print(f"{'model':22}{'GPU':16}{'vLLM':8}{'start':6}{'GiB':>8}{'estimate':>10}")
    for run in RUNS:
        name = run.label or run.gpu.name
        gpu = f"{run.gpus} x {name}" if run.gpus > 1 else name
        marks = "*" if run.fitted else ""
        print(
            f"{run.model.name:22}{gpu:16}{run.vllm:8}"
            f"{'later' if run.warm else 'first':6}{run.kv_gib:8.2f}"
            f"{run.fit().kv_available_bytes / GIB:10.2f}{run.error:+8.1%}{marks}"
            f"{'  ' + run.missed if run.missed else ''}"
        )
    for name, runs in (
        ("fitted (*)", [run for run in RUNS if run.fitted]),
        ("others", [run for run in RUNS if not run.fitted]),
    ):
        errors = [abs(run.error) for run in runs]
        print(
            f"{name}: {len(runs)} runs, median {statistics.median(errors):.1%}, "
            f"largest {max(errors):.1%}, above 5 %: {sum(e > LIMIT for e in errors)}"
        )


def main() -> None:
    """Print both tables."""
    print_guide()
    print()
    print_runs()


if __name__ == "__main__":
    main()
