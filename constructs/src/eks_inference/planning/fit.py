"""Whether a model fits its GPUs and its node, with every term of the sum.

vLLM divides the memory of a GPU so (``determine_available_memory`` in
vllm/v1/worker/gpu_worker.py, vllm-project/vllm at 35d5cda):

    KV cache = gpu_memory_utilization x total - weights - overhead

and does not start when one sequence of ``max_model_len`` finds no room in it. The
overhead is what vLLM measures while it starts; ``estimated_overhead_bytes`` says how it
is estimated here.
"""

import math
from dataclasses import KW_ONLY, dataclass

from eks_inference._check import Problems
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.instances import InstanceType
from eks_inference.planning.kernels import (
    DEFAULT_VLLM_VERSION,
    KV_DTYPES,
    Version,
    kernel_problems,
    tensor_parallel_problems,
)
from eks_inference.planning.pool import UNPACKED_IMAGE_GIB

GIB = 1024**3

BLOCK_TOKENS = 16
"""Tokens of a block of the KV cache (vLLM's ``--block-size`` on NVIDIA GPUs)."""

_LARGE_GPU_MIB = 70 * 1024
"""From here on, the A100 excepted, the server's ``max_num_batched_tokens`` is 8192
instead of 2048 (``EngineArgs.get_batch_defaults``, vllm/engine/arg_utils.py)."""

_FORWARD_SHARED, _FORWARD_DIVIDED = 7, 21
"""Bytes of activations for each token of a step and element of the hidden state: those
that each GPU has, and those of the MLP, which tensor parallelism divides. For an MLP
of 3.5 times the hidden size in 16 bits; a run without sampling had 28 together (Llama
3.1 8B, 2,048 tokens, 0.22 GiB: a public log, vLLM 0.8, 22.07 GiB GPU)."""

_PARALLEL_GIB = 0.2
"""What NCCL and the all-reduce buffers take of a GPU, for each GPU that shares the
model. Measured: 0.41 GiB with 2 (llm-d, below), 0.21 to 1.4 with 4, 1.4 with 8."""

_VISION_GIB = 2.1
"""Activations of an image encoder that vLLM profiles: 2.12 GiB for Mistral Small 3.2
24B (llm-d, below), 2.17 for a 9B model on an L4."""

MEMORY_GIB_PER_GPU = 12
"""Memory of a pod for each of its GPUs, which have a process each: it fits the 13.8 GiB
that pods get of a g5.xlarge. Not measured."""

DAEMONS_GIB = 1
"""What the daemons of a node request, assumed: CNI, Pod Identity, device plugin."""

STREAMER_SHARE = 3
"""The streamer's buffer is at most this part of the pod: the rest is Python, CUDA's
host side and torch.compile."""

_IMAGE_GB = 12 + 29
"""vLLM's image, compressed and unpacked. Both lie on the disk while it is pulled, also
with SOCI's parallel pull; weights are streamed and never do."""

_DISK_SHARE = 0.85
"""The kubelet removes images above this share (``imageGCHighThresholdPercent``, 85 by
default: kubernetes.io, reference/config-api/kubelet-config.v1beta1)."""


@dataclass(frozen=True, slots=True)
class _Profile:
    """What vLLM's profiling has found, by release.

    Args:
        since: First release that this row holds for.
        fixed_gib: CUDA context, libraries and, since 0.21.0, CUDA graphs.
        compile_gib: What a compilation takes beside a copy of the input embedding.
        sampler_bytes: Bytes for each sequence and entry of the vocabulary.
    """

    since: Version
    fixed_gib: float
    compile_gib: float
    sampler_bytes: float


_PROFILES = (
    _Profile(Version(0, 9, 0), 0.10, 0.10, 38.5),
    _Profile(Version(0, 19, 0), 0.10, 0.10, 14.0),
    _Profile(Version(0, 21, 0), 0.35, 0.35, 14.0),
)
"""Fitted by hand to runs that benchmarks/fit.py lists, mostly:

- 38.5: five models on H100 with vLLM 0.11.0, whose activations are 4.76 to 7.38 GiB for
  1,024 sequences (llm-d/llm-d-benchmark at 4f4d449,
  config_explorer/empirical-vllm-memory-results.md). Sorting the logits takes it;
  FlashInfer's sampler, where it is installed and chosen, takes a third.
- 14.0: vLLM 0.19.1 on H200 and 0.30.0 on L4, A10 and A100. The release that changed it,
  after 0.11 and before 0.19, was not looked for.
- 0.10 and 0.35: as much is left of the same runs. CUDA graphs are charged since 0.21.0
  (gpustack/runner#251 has vLLM's message).
- compilation: first starts of three models with vLLM 0.30.0 need 0.8 to 1.2 GiB more
  than later ones, which is the size of their embedding less 0.2 (surya-koritala/Glyd at
  f77c4b2, vllm-v028-l4-2026-10-04 and vllm-m3-a100-40gb-2026-09-30 in
  benchmarks/gpu)."""


def _profile(vllm_version: str) -> _Profile:
    version = Version.parse(vllm_version)
    return [item for item in _PROFILES if item.since <= version][-1]


@dataclass(frozen=True, slots=True)
class Fit:
    """A model on an instance type: every term, and whether they add up.

    Bytes are those of one GPU where nothing else is said.

    Args:
        checkpoint: The model.
        instance: Where it runs.
        tensor_parallel: GPUs that share the model. Default: 1.
        max_model_len: Longest sequence in tokens. Default: the model's context.
        max_num_seqs: Sequences that run at once. Default: 32, as ``Model`` has it.
        gpu_memory_utilization: Share of a GPU's memory that vLLM may use. Default: 0.9.
        kv_dtype: Type of the KV cache, ``auto`` (16 bits) or ``fp8``. Default: auto.
        vllm_version: Release of vLLM. Default: that of the library's image.
        max_num_batched_tokens: Tokens of a step. Default: vLLM's own, 8192 on GPUs of
            70 GiB and more other than the A100, 2048 elsewhere.
        compile_cache: Whether a start finds its compiled code. Default: False: the
            first start of a model, which compiles, has to succeed too.
        memory_gib: Memory of the pod in GiB. Default: 12 for each GPU.
        disk_gib: Disk for images in GiB. Default: the instance's NVMe, or else the
            data volume of 200 GiB that a pool gives its nodes.
        overhead_gib: Overhead in GiB, where it was measured. Default: estimated.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    checkpoint: Checkpoint
    instance: InstanceType
    _: KW_ONLY
    tensor_parallel: int = 1
    max_model_len: int | None = None
    max_num_seqs: int = 32
    gpu_memory_utilization: float = 0.9
    kv_dtype: str = "auto"
    vllm_version: str = DEFAULT_VLLM_VERSION
    max_num_batched_tokens: int | None = None
    compile_cache: bool = False
    memory_gib: float | None = None
    disk_gib: float | None = None
    overhead_gib: float | None = None

    def __post_init__(self) -> None:
        with Problems("fit") as problems:
            model = problems.instance("checkpoint", self.checkpoint, Checkpoint)
            problems.instance("instance", self.instance, InstanceType)
            problems.integer(
                "max_num_seqs", self.max_num_seqs, minimum=1, maximum=4_096
            )
            problems.number(
                "gpu_memory_utilization",
                self.gpu_memory_utilization,
                minimum=0.1,
                maximum=0.98,
                repair="CUDA graphs and the context need the rest",
            )
            problems.one_of("kv_dtype", self.kv_dtype, KV_DTYPES)
            problems.flag("compile_cache", self.compile_cache)
            problems.attempt(lambda: Version.parse(self.vllm_version))
            if self.max_num_batched_tokens is not None:
                problems.integer(
                    "max_num_batched_tokens",
                    self.max_num_batched_tokens,
                    minimum=1,
                    maximum=1_000_000,
                )
            for name in ("memory_gib", "disk_gib", "overhead_gib"):
                value = getattr(self, name)
                if value is not None:
                    problems.number(name, value, minimum=0, maximum=1_000_000)
            if model:
                self._check_model(problems)

    def _check_model(self, problems: Problems) -> None:
        model = self.checkpoint.architecture
        problems.include(tensor_parallel_problems(model, self.tensor_parallel))
        if (
            self.max_model_len is not None
            and problems.integer("max_model_len", self.max_model_len, minimum=1)
            and self.max_model_len > model.context
        ):
            problems.broken(
                f"'max_model_len' must be at most the context of "
                f"{self.checkpoint.name} ({model.context})",
                self.max_model_len,
            )

    @property
    def context(self) -> int:
        """Longest sequence in tokens."""
        return self.max_model_len or self.checkpoint.architecture.context

    @property
    def batched_tokens(self) -> int:
        """Tokens that a step has room for."""
        gpu = self.instance.accelerator
        large = gpu.cuda_memory_mib >= _LARGE_GPU_MIB and gpu.gpu_name != "a100"
        return self.max_num_batched_tokens or (8192 if large else 2048)

    @property
    def total_bytes(self) -> int:
        """Memory of a GPU as CUDA reports it."""
        return self.instance.accelerator.cuda_memory_mib * 1024**2

    @property
    def usable_bytes(self) -> float:
        """What vLLM may use of it."""
        return self.total_bytes * self.gpu_memory_utilization

    @property
    def weight_bytes(self) -> float:
        """Weights of a GPU: the model's, divided evenly.

        Norms, which every GPU has, are less than 0.01 %. With quantized weights vLLM
        has been seen to take 0.1 GiB more than the files.
        """
        return self.checkpoint.weight_bytes / self.tensor_parallel

    @property
    def overhead_bytes(self) -> float:
        """What neither weights nor KV cache take, measured or estimated."""
        if self.overhead_gib is not None:
            return self.overhead_gib * GIB
        return estimated_overhead_bytes(self)

    @property
    def kv_available_bytes(self) -> float:
        """What is left for the KV cache; negative where nothing is."""
        return self.usable_bytes - self.weight_bytes - self.overhead_bytes

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of a token that all layers keep."""
        return self.checkpoint.architecture.kv_bytes_per_token(
            element_bytes=self._element_bytes, tensor_parallel=self.tensor_parallel
        )

    @property
    def kv_bytes_per_sequence(self) -> float:
        """Bytes of a sequence of ``context`` tokens, in whole blocks."""
        return self.kv_bytes(self.context)

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds, in whole blocks: what vLLM prints.

        With sliding windows it depends on how long sequences are; this is for
        sequences of ``context`` tokens, as vLLM's figure is.
        """
        whole = max(0.0, self.kv_available_bytes) / self.kv_bytes_per_sequence
        blocks = whole * math.ceil(self.context / BLOCK_TOKENS)
        return math.floor(blocks + 1e-9) * BLOCK_TOKENS

    @property
    def concurrency(self) -> float:
        """Sequences of ``context`` tokens that have room at once."""
        return max(0.0, self.kv_available_bytes) / self.kv_bytes_per_sequence

    @property
    def pod_gib(self) -> float:
        """Memory of the pod in GiB."""
        if self.memory_gib is not None:
            return self.memory_gib
        return MEMORY_GIB_PER_GPU * self.tensor_parallel

    @property
    def streamer_bytes(self) -> float:
        """The streamer's buffer, in the pod's memory: the weights, or a third of it."""
        return min(self.checkpoint.weight_bytes, self.pod_gib * GIB / STREAMER_SHARE)

    @property
    def disk_bytes(self) -> float:
        """The node's disk for images."""
        if self.disk_gib is not None:
            return self.disk_gib * GIB
        return self.instance.nvme_gb * 1e9 or UNPACKED_IMAGE_GIB * GIB

    @property
    def fits(self) -> bool:
        """Whether vLLM starts."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it does not start, each reason with its numbers; empty if it does."""
        found = kernel_problems(
            self.checkpoint,
            self.instance.accelerator,
            vllm_version=self.vllm_version,
            kv_dtype=self.kv_dtype,
        )
        return (*found, *self._gpu_problems(), *self._node_problems())

    def kv_bytes(self, tokens: float) -> float:
        """Return the bytes that a sequence takes of a GPU, in whole blocks.

        Args:
            tokens: Tokens of the sequence.
        """
        return self.checkpoint.architecture.kv_bytes(
            math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS,
            element_bytes=self._element_bytes,
            tensor_parallel=self.tensor_parallel,
        )

    @property
    def _element_bytes(self) -> int:
        return 1 if self.kv_dtype == "fp8" else 2

    def _gpu_problems(self) -> list[str]:
        if self.tensor_parallel > self.instance.gpus:
            have = f"the {self.instance.gpus} of {self.instance.name}"
            return [f"{self.tensor_parallel} GPUs are more than {have}"]
        available = self.kv_available_bytes
        budget = (
            f"the {_gib(self.usable_bytes)} usable of one "
            f"{self.instance.accelerator.name.lower()} "
            f"({self.gpu_memory_utilization:g} of {_gib(self.total_bytes)})"
        )
        terms = f"weights {_gib(self.weight_bytes)} + overhead "
        terms += _gib(self.overhead_bytes)
        if available <= 0:
            return [f"{terms} exceed {budget}"]
        if self.kv_bytes_per_sequence > available:
            need = f"{_gib(self.kv_bytes_per_sequence)} of KV cache"
            room = f"{_gib(available)} of {budget}, {self._longest} tokens"
            return [
                f"a sequence of {self.context} tokens needs {need}, and {terms} leave "
                + room
            ]
        return []

    @property
    def _longest(self) -> int:
        """Tokens of the longest sequence that has room."""
        blocks = 0
        for step in range(self.context.bit_length(), -1, -1):
            more = blocks + 2**step
            if self.kv_bytes(more * BLOCK_TOKENS) <= self.kv_available_bytes:
                blocks = more
        return blocks * BLOCK_TOKENS

    def _node_problems(self) -> list[str]:
        found = []
        allocatable = self.instance.allocatable_memory_mib / 1024
        if self.pod_gib + DAEMONS_GIB > allocatable:
            found.append(
                f"{self.pod_gib:g} GiB of the pod ({_gib(self.streamer_bytes)} of them "
                f"the streamer's buffer) + {DAEMONS_GIB} GiB of daemons exceed the "
                f"{allocatable:.1f} GiB that pods get of {self.instance.name}"
            )
        if self.disk_bytes * _DISK_SHARE < _IMAGE_GB * 1e9:
            found.append(
                f"{_IMAGE_GB} GB of vLLM's image, compressed and unpacked, exceed "
                f"{_DISK_SHARE:.0%} of the disk ({self.disk_bytes / 1e9:.0f} GB)"
            )
        return found


def estimated_overhead_bytes(fit: Fit) -> float:
    """Return the memory of a GPU that neither weights nor KV cache take.

    What stays (CUDA context, libraries, CUDA graphs, buffers between GPUs), and the
    largest of what comes one after the other while vLLM profiles: a step of
    ``max_num_batched_tokens``, sampling ``max_num_seqs`` sequences, compiling (a
    benchmark of the compiled code holds a second input embedding) and images.
    An estimate. benchmarks/fit.py compares 27 runs of vLLM 0.10.1 to 0.31.0: of 14 that
    were not used to fit it, 12 have their KV cache within 4 %, and two miss it by 7 and
    9 %. No run on a T4 is among them.

    Args:
        fit: The model, its GPUs and how vLLM runs it.
    """
    model = fit.checkpoint.architecture
    profile = _profile(fit.vllm_version)
    gpus = fit.tensor_parallel
    per_token = (_FORWARD_SHARED + _FORWARD_DIVIDED / gpus) * model.hidden_size
    passing = [
        fit.batched_tokens * per_token,
        fit.max_num_seqs * model.vocabulary * profile.sampler_bytes,
    ]
    if not fit.compile_cache:
        embedding = model.vocabulary * model.hidden_size * 2 / gpus
        passing.append(embedding + profile.compile_gib * GIB)
    if model.vision_parameters:
        passing.append(_VISION_GIB * GIB)
    parallel = _PARALLEL_GIB * gpus if gpus > 1 else 0
    return (profile.fixed_gib + parallel) * GIB + max(passing)


def sequences(fit: Fit, mean_tokens: float) -> int:
    """Return how many sequences run at once: a value for ``max_num_seqs``.

    As many as the KV cache has room for at a typical length, but not more than
    ``fit.max_num_seqs``. More would be preempted and computed again.

    Args:
        fit: The model on its instance, with the largest ``max_num_seqs`` wanted.
        mean_tokens: Tokens of a typical sequence, prompt and answer.

    Raises:
        ConfigurationError: ``mean_tokens`` is not from 1 to the longest sequence.
    """
    with Problems() as problems:
        problems.instance("fit", fit, Fit)
    with Problems() as problems:
        problems.number("mean_tokens", mean_tokens, minimum=1, maximum=fit.context)
    room = max(0.0, fit.kv_available_bytes) / fit.kv_bytes(mean_tokens)
    return min(fit.max_num_seqs, math.floor(room))


def _gib(value: float) -> str:
    return f"{value / GIB:.1f} GiB"
