"""How long one step of the engine takes on a GPU.

A step reads the weights once, whatever the number of sequences, and calculates once
for each token. The two overlap; what the longer of them hides is not all of the
shorter, so they are joined by a norm between the sum and the maximum:

    step = T0 + (T_weights^1.5 + T_compute^1.5)^(1/1.5) + T_cache + T_attention
         + T_all_reduce

    T_weights    = bytes read / GPUs / (bandwidth x 0.855)
    T_compute    = 2 x weights x tokens / GPUs / (FLOPS x MFU)
    T_cache      = tokens of context x KV bytes / (bandwidth x 0.855)
    T_attention  = 4 x pairs x heads x head size x layers / GPUs / (FLOPS x MFU)
    T_all_reduce = 2 x layers x (latency + 2 (g-1)/g x tokens x hidden x 2 / bandwidth)

Weights of the output layer count for the sequences that emit a token only, and the
table of input embeddings is looked up, not read.

How good it is (``benchmarks/step_time.py`` prints the tables): against 112 decode and
56 prefill times of NVIDIA AIConfigurator 0.12's measured tables (Llama 3.1 8B and 70B;
1, 4 and 8 GPUs; H100, A100 and L40S) the mean absolute error is 5.6 % and 7.0 %;
published times per token of vLLM are met within 15 %. Not modelled: the plain ``awq``
kernel and eager execution, which were measured at up to twice the time.
"""

from dataclasses import dataclass
from typing import Final, NoReturn

from eks_inference._check import Problems
from eks_inference.accelerator import Accelerator
from eks_inference.checkpoint import Checkpoint
from eks_inference.quantization import Quantization

STEP_SECONDS = 1.75e-3
"""What a step costs before it does anything: scheduler, kernel launches, sampling.
Set by hand to the times of Qwen2.5-7B with one sequence on an A100-40, 16 bits and
AWQ (12.4 and 5.5 ms; ree2raz/inference-bench at e15c947, results/v2_a100_vllm_*)."""

BANDWIDTH_SHARE = 0.855
"""Share of a datasheet's bandwidth that reading weights and cache gets; set by hand to
the same two measurements as ``STEP_SECONDS``."""

OVERLAP_EXPONENT = 1.5
"""Between 1 (nothing overlaps) and infinity (all does); fitted to AIConfigurator's
measured tables."""

INT4_COMPUTE_FACTOR = 1.55
"""How much longer a kernel that unpacks 4-bit weights calculates than one of 16 bits.
Calibrated on AWQ with Marlin, Qwen2.5-7B on an A100-40 with 64 sequences (10.0 ms;
ree2raz/inference-bench at e15c947, results/v2_a100_vllm_marlin.jsonl). For GPTQ and
MXFP4, and on other GPUs, assumed."""

_FAST_8_BIT: Final = {
    Quantization.FP8: ((8, 9), (99, 0)),
    Quantization.INT8: ((7, 5), (9, 0)),
}
"""Compute capabilities that calculate in 8 bits, at twice the 16-bit rate (NVIDIA's
datasheets), where vLLM has kernels for it: FP8 from Ada on (docs.vllm.ai, FP8 W8A8,
0.32), INT8 from Turing to Hopper (docs.vllm.ai, quantization, supported hardware,
0.11.2). Elsewhere weights are calculated in 16 bits; unpacking is taken to cost
nothing there, and the MFU to be the same at the doubled rate. Both are assumed."""

_FOUR_BITS: Final = (Quantization.AWQ, Quantization.GPTQ, Quantization.MXFP4)

_LARGEST = 1e12
"""Beyond every step; keeps arithmetic finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpeed:
    """How fast a GPU is.

    Args:
        bandwidth_gb_s: Bandwidth of its memory, in GB/s (10^9).
        tflops: Dense 16-bit tensor throughput, in TFLOPS.
        mfu: Share of ``tflops`` that large matrices get (model FLOPs utilization).
        all_reduce_seconds: Latency of an all-reduce with the other GPUs of the node.
        all_reduce_gb_s: Bandwidth of an all-reduce, in GB/s.
        source: Where the numbers come from, and which of them are assumed.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    bandwidth_gb_s: float
    tflops: float
    mfu: float
    all_reduce_seconds: float
    all_reduce_gb_s: float
    source: str

    def __post_init__(self) -> None:
        with Problems() as problems:
            for name in ("bandwidth_gb_s", "tflops"):
                problems.number(name, getattr(self, name), minimum=1, maximum=1e6)
            problems.number("mfu", self.mfu, minimum=0.01, maximum=1)
            problems.number(
                "all_reduce_seconds", self.all_reduce_seconds, minimum=0, maximum=1
            )
            problems.number(
                "all_reduce_gb_s", self.all_reduce_gb_s, minimum=0.01, maximum=1e6
            )
            problems.text("source", self.source)


def _speed(
    bandwidth: float,
    tflops: float,
    mfu: float,
    link: tuple[float, float],
    source: str,
) -> GpuSpeed:
    return GpuSpeed(
        bandwidth_gb_s=bandwidth,
        tflops=tflops,
        mfu=mfu,
        all_reduce_seconds=link[0],
        all_reduce_gb_s=link[1],
        source=source,
    )


_FITTED = "MFU and all-reduce fitted to AIConfigurator 0.12's measured tables"
_OVER_PCIE = (40e-6, 3.7)
_OVER_PCIE_5 = (40e-6, 20.0)
_OVER_NVLINK_3 = (30e-6, 200.0)
_OVER_NVLINK_4 = (15e-6, 300.0)
_OVER_NVLINK_5 = (15e-6, 600.0)

SPEEDS: Final = {
    Accelerator.T4: _speed(
        300,
        65,
        0.35,
        _OVER_PCIE,
        "320 GB/s and 65 TFLOPS: sysrqmts.com/en/gpus/nvidia/tesla/t4; that 300 GB/s "
        "are left, MFU and all-reduce assumed",
    ),
    Accelerator.T4G: _speed(
        300,
        65,
        0.35,
        _OVER_PCIE,
        "assumed to be as fast as a T4: same chip, cores and clocks "
        "(technical.city/en/video/Tesla-T4G)",
    ),
    Accelerator.A10G: _speed(
        600,
        70,
        0.55,
        _OVER_PCIE,
        "baseten.co, NVIDIA A10 vs A10G; MFU and all-reduce assumed, between L4 and "
        "A100 and as L40S",
    ),
    Accelerator.L4: _speed(
        300,
        121,
        0.46,
        _OVER_PCIE,
        "NVIDIA L4 datasheet (half of the sparse rate); MFU fitted to a first token "
        "after 0.42 s for about 1,800 tokens (ree2raz/inference-bench); all-reduce "
        "assumed, as L40S",
    ),
    Accelerator.L40S: _speed(
        864,
        362,
        0.57,
        _OVER_PCIE,
        f"NVIDIA L40S datasheet; {_FITTED}",
    ),
    Accelerator.RTX_PRO_4500: _speed(
        800,
        220,
        0.46,
        _OVER_PCIE_5,
        "800 GB/s: exxactcorp.com, RTX PRO 4500 Server Edition LLM benchmark, 2026-05; "
        "TFLOPS of the 200 W workstation card (82 SMs x 1024 x 2.617 GHz), so assumed "
        "for the 165 W server card; MFU assumed, as L4; all-reduce as RTX PRO 6000",
    ),
    Accelerator.RTX_PRO_6000: _speed(
        1792,
        468,
        0.60,
        _OVER_PCIE_5,
        "ai-dynamo/aiconfigurator at 5ecb4d6, systems/rtx_pro_6000_server.yaml; MFU "
        "and all-reduce fitted to runs of vLLM 0.19 (casys-kaist/LLMServingSim at "
        "5daddb2)",
    ),
    Accelerator.A100_40G: _speed(
        1555,
        312,
        0.70,
        _OVER_NVLINK_3,
        f"NVIDIA A100 datasheet; {_FITTED} of the A100-80",
    ),
    Accelerator.A100_80G: _speed(
        2039,
        312,
        0.70,
        _OVER_NVLINK_3,
        f"NVIDIA A100 datasheet; {_FITTED}",
    ),
    Accelerator.H100: _speed(
        3350,
        989,
        0.68,
        _OVER_NVLINK_4,
        f"NVIDIA H100 SXM datasheet; {_FITTED}",
    ),
    Accelerator.H200: _speed(
        4800,
        989,
        0.68,
        _OVER_NVLINK_4,
        "NVIDIA H200 SXM datasheet; MFU and all-reduce assumed, as H100",
    ),
    Accelerator.B200: _speed(
        7700,
        2250,
        0.60,
        _OVER_NVLINK_5,
        "inference-sim/inference-sim at 129e0b8, catalog/hardware/b200.yaml (after "
        "NVIDIA's own descriptor); MFU and all-reduce assumed",
    ),
    Accelerator.B300: _speed(
        7750,
        2250,
        0.60,
        _OVER_NVLINK_5,
        "inference-sim/inference-sim at 129e0b8, catalog/hardware/b300.yaml (after "
        "NVIDIA's own descriptor); MFU and all-reduce assumed",
    ),
}
"""Speed of every GPU; each row says which of its numbers are assumed."""


def attention_pairs(tokens: float, context_tokens: float) -> float:
    """Return how many pairs of tokens the attention of a prefill chunk compares.

    Each token of the chunk looks at all that stand before it: c - a, then one more
    for each, on average c - a/2. In layers with a window these are too many.

    Args:
        tokens: Tokens of the chunk (a).
        context_tokens: Tokens of the sequence up to the end of the chunk (c).
    """
    return tokens * (context_tokens - tokens / 2)


class StepModel:
    """Time of a step of one replica; made once, then asked as often as needed.

    A mixture of experts reads more weights the more tokens there are. If a token uses
    the share f of the weights, and chooses regardless of other tokens, n tokens touch
    1 - (1 - f)^n of them: the active weights for one token, all for many. The share is
    ``active_parameters / parameters``, for want of the number of experts. That counts
    attention and shared experts like the rest, so that growth is overstated where
    these are a large part of the active weights. Not measured.

    Args:
        checkpoint: The weights. What is not quantized, the embeddings, is taken to
            have 16 bits.
        accelerator: The GPUs of the replica.
        tensor_parallel: Number of them. Default: 1.
        kv_element_bytes: Bytes of an element of the KV cache; 1 for an FP8 cache.
            Default: 2.
        speed: Speed of the GPU, where you have measured it. Default: the row of
            ``SPEEDS``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    __slots__ = (
        "_all_reduce",
        "_attention",
        "_cache",
        "_compute",
        "_constant",
        "_emit",
        "_untouched",
        "_weights",
        "_window",
        "_windowed",
        "accelerator",
        "checkpoint",
        "speed",
        "tensor_parallel",
    )

    def __init__(
        self,
        checkpoint: Checkpoint,
        accelerator: Accelerator,
        *,
        tensor_parallel: int = 1,
        kv_element_bytes: float = 2,
        speed: GpuSpeed | None = None,
    ) -> None:
        with Problems() as problems:
            problems.instance("checkpoint", checkpoint, Checkpoint)
            most = 8
            if problems.instance("accelerator", accelerator, Accelerator):
                most = max(accelerator.counts)
            problems.integer(
                "tensor_parallel", tensor_parallel, minimum=1, maximum=most
            )
            problems.number(
                "kv_element_bytes", kv_element_bytes, minimum=0.5, maximum=4
            )
            if speed is not None:
                problems.instance("speed", speed, GpuSpeed)
        self.checkpoint = checkpoint
        self.accelerator = accelerator
        self.tensor_parallel = tensor_parallel
        self.speed = speed or SPEEDS[accelerator]
        self._prepare(kv_element_bytes)

    def _prepare(self, kv_element_bytes: float) -> None:
        model, gpus = self.checkpoint.architecture, self.tensor_parallel
        text = model.parameters - model.vision_parameters
        active = model.active_parameters or text
        table = model.vocabulary * model.hidden_size
        lookup = 0 if model.tied_embeddings else table
        unread = 2 * (lookup + model.vision_parameters)
        read = self.checkpoint.weight_bytes - unread
        with Problems(f"checkpoint {self.checkpoint.name!r}") as problems:
            if read <= 0:
                problems.broken(
                    "'weight_bytes' must be more than those of input embeddings and "
                    f"'vision_parameters' ({unread})",
                    self.checkpoint.weight_bytes,
                    "give the bytes of all files",
                )
        bandwidth = self.speed.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE
        flops = self.speed.tflops * 1e12 * self.speed.mfu * gpus
        heads = model.attention_heads * model.head_size
        self._weights = read / gpus / bandwidth
        self._untouched = 1 - active / text
        calculated = active - lookup - table
        self._compute = 2 * calculated / flops * self._compute_factor()
        self._emit = 2 * table / flops
        self._cache = (
            model.kv_bytes_per_token(
                element_bytes=kv_element_bytes, tensor_parallel=gpus
            )
            / bandwidth
        )
        self._attention = 4 * heads * model.layers / flops
        self._windowed = model.windowed_layers / model.layers
        self._window = model.window
        self._constant = STEP_SECONDS
        self._all_reduce = 0.0
        if gpus > 1:
            self._constant += 2 * model.layers * self.speed.all_reduce_seconds
            sent = 2 * (gpus - 1) / gpus * model.hidden_size * 2
            self._all_reduce = (
                2 * model.layers * sent / self.speed.all_reduce_gb_s / 1e9
            )

    def _compute_factor(self) -> float:
        kind = self.checkpoint.quantization
        if kind in _FOUR_BITS:
            return INT4_COMPUTE_FACTOR
        if kind in _FAST_8_BIT:
            lowest, highest = _FAST_8_BIT[kind]
            if lowest <= self.accelerator.compute_capability <= highest:
                return 0.5
        return 1.0

    def context_of(self, tokens: float) -> float:
        """Return what a sequence counts in ``context_tokens``.

        Layers with a window read no more than the window of its cache.

        Args:
            tokens: Tokens of the sequence so far.
        """
        hidden = max(0.0, tokens - self._window) * self._windowed
        return tokens - hidden

    def seconds(
        self,
        *,
        tokens: float,
        sequences: float,
        context_tokens: float,
        prefill_pairs: float = 0.0,
    ) -> float:
        """Return the time of one step, in seconds.

        Args:
            tokens: Tokens that the step computes: one for each decoding sequence, and
                those of all prefill chunks. Means may have fractions.
            sequences: Sequences that get a token from it: those that decode, and
                prompts that end in it.
            context_tokens: Sum of ``context_of`` over the sequences of the step.
            prefill_pairs: Sum of ``attention_pairs`` over its prefill chunks.
                Default: 0, there are none.

        Raises:
            ConfigurationError: A value is not a number, is negative or too large, or
                there are more sequences than tokens.
        """
        try:
            if not (
                0 < tokens <= _LARGEST
                and 0 <= sequences <= tokens
                and 0 <= context_tokens <= _LARGEST
                and 0 <= prefill_pairs <= _LARGEST * _LARGEST
            ):
                _refuse(tokens, sequences, context_tokens, prefill_pairs)
            weights = self._weights * (1.0 - self._untouched**tokens)
            compute = self._compute * tokens + self._emit * sequences
            work: float = (weights**OVERLAP_EXPONENT + compute**OVERLAP_EXPONENT) ** (
                1.0 / OVERLAP_EXPONENT
            )
            return (
                self._constant
                + work
                + self._cache * context_tokens
                + self._attention * prefill_pairs
                + self._all_reduce * tokens
            )
        except TypeError:
            _refuse(tokens, sequences, context_tokens, prefill_pairs)


def _refuse(
    tokens: object, sequences: object, context_tokens: object, prefill_pairs: object
) -> NoReturn:
    """Name what is wrong; kept out of the way of a step that is right."""
    with Problems() as problems:
        for name, value, most in (
            ("tokens", tokens, _LARGEST),
            ("sequences", sequences, _LARGEST),
            ("context_tokens", context_tokens, _LARGEST),
            ("prefill_pairs", prefill_pairs, _LARGEST * _LARGEST),
        ):
            problems.number(name, value, minimum=0, maximum=most)
        if not problems.messages:
            problems.broken(
                "'tokens' must be more than 0, and at least 'sequences' "
                f"({sequences!r})",
                tokens,
                "each sequence of a step has a token in it",
            )
    raise AssertionError
