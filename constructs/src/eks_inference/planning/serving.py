"""The numbers that follow from a model, its scaling and its pool, each stated once."""

import math
from dataclasses import dataclass, replace

from eks_inference.model import Model
from eks_inference.planning.cold_start_ledger import cold_start
from eks_inference.planning.cold_start_values import (
    ColdStart,
    ColdStartOptions,
    CompileCacheState,
    Storage,
)
from eks_inference.planning.fit import GIB, STREAMER_SHARE
from eks_inference.planning.kernels import (
    BFLOAT16_CAPABILITY,
    DEFAULT_VLLM_VERSION,
)
from eks_inference.planning.pool import COLD_START_SECONDS, GpuPool
from eks_inference.planning.sizing import Sizing, size_replica
from eks_inference.scaling import QueueScaling

_PROBE_PERIOD_SECONDS = 5

_STARTUP_BUDGET_SECONDS = 900
"""What a container may take to start at least. A start-up probe that runs out kills the
container, which then starts from nothing; a generous budget costs nothing when the
start is fast. Starts on small instances have been measured at up to ten minutes."""

_STARTUP_MARGIN = 3
"""How much longer than nine of ten starts a container may take."""

_WAKE_MARGIN = 2
"""How much longer than nine of ten cold starts a client is made to wait: long enough
for the tenth, and no longer than people keep a connection open. Assumed."""

_IN_THE_CONTAINER = ("process", "weights", "compile", "capture")

_FAST_VOLUME_MIB = 1_000
"""Throughput of the data volume of nodes without NVMe, in MiB/s (``GpuPool``)."""

_STREAMER_CONCURRENCY = 16
"""Requests that the Run:ai streamer sends at once. Its default for object storage is
8; its published benchmark gains up to 32."""

STREAMER_CHUNK_BYTES = 8 * 2**20
"""What the streamer reads at once: its own default for object storage, stated because
an upgrade must not change it unseen, and because concurrency times this is what a start
needs in memory at least (run-ai/runai-model-streamer, docs/src/env-vars.md)."""

_GB_PER_STREAM = 4
"""AWS's rule for large models: one stream for each 4 GB of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """What the manifests need to know beyond what the user has said.

    Args:
        sizing: How large a replica is.
        scaling_target: Value of the formula at which one replica is full.
        probe_period_seconds: Time between two probes, in seconds.
        startup_failures: Failed start-up probes before the container is killed.
        streamer_concurrency: Requests to S3 at once.
        streamer_memory_bytes: Host memory of the streamer's buffer, in bytes.
        dtype: Value of ``--dtype``, or None to let vLLM read it from the model.
        cold_start_options: What the platform decides about a start.
        cold_start: How long a new replica takes on the slowest GPU of the pool, where
            the compile cache, if there is one, has its kernels.
        cooldown_seconds: Quiet time before the step to zero.
        wake_seconds: How long a client waits at most for the first replica.
        cache_key: Directory of the compile cache: model, then GPUs. vLLM itself
            separates GPU models and versions inside.
    """

    sizing: Sizing
    scaling_target: int
    probe_period_seconds: int
    startup_failures: int
    streamer_concurrency: int
    streamer_memory_bytes: int
    dtype: str | None
    cold_start_options: ColdStartOptions
    cold_start: ColdStart
    cooldown_seconds: int
    wake_seconds: int
    cache_key: str

    @property
    def startup_budget_seconds(self) -> int:
        """How long a start may take before the container is killed."""
        return self.startup_failures * self.probe_period_seconds


def plan_serving(
    *,
    model: Model,
    scaling: QueueScaling,
    pool: GpuPool,
    vllm_version: str = DEFAULT_VLLM_VERSION,
    has_compile_cache: bool = False,
) -> ServingPlan:
    """Return what follows from the values.

    Args:
        model: What is served.
        scaling: When replicas are added and removed.
        pool: Where the replicas run.
        vllm_version: Release of vLLM. Default: that of the library's image.
        has_compile_cache: Whether replicas share compiled kernels. Default: False.

    Raises:
        ConfigurationError: The model cannot be divided among its GPUs.
    """
    sizing = size_replica(model, pool, vllm_version=vllm_version)
    needs_half = any(
        item.compute_capability < BFLOAT16_CAPABILITY for item in pool.accelerators
    )
    gpus = "-".join(sorted({item.gpu_name for item in pool.accelerators}))
    concurrency = max(
        _STREAMER_CONCURRENCY, math.ceil(model.weight_bytes / 1e9 / _GB_PER_STREAM)
    )
    compiling = ColdStartOptions(
        storage=Storage.NVME if pool.keeps_images_on_nvme else Storage.EBS,
        image_snapshot=pool.image_snapshot is not None,
        ebs_throughput_mib=_FAST_VOLUME_MIB,
        streamer_concurrency=concurrency,
        compile_cache=CompileCacheState.NONE,
        capture_sizes=capture_sizes(sizing.max_num_seqs),
        min_replicas=scaling.min_replicas,
        startup_probe_seconds=_PROBE_PERIOD_SECONDS,
        readiness_probe_seconds=_PROBE_PERIOD_SECONDS,
    )
    usual = compiling
    if has_compile_cache:
        usual = replace(compiling, compile_cache=CompileCacheState.EFS_HIT)
    start = _slowest(sizing, model, usual)
    minutes = math.ceil(start.p90 / 60)
    target = scaling.needs.target
    return ServingPlan(
        sizing=sizing,
        scaling_target=target or _share(scaling.target_share, sizing.max_num_seqs),
        probe_period_seconds=_PROBE_PERIOD_SECONDS,
        startup_failures=_startup_failures(
            sizing,
            model,
            # a snapshot's files may come as slowly as from a disk; being killed for it
            # would begin again
            replace(compiling, files_cached=pool.image_snapshot is None),
        ),
        streamer_concurrency=concurrency,
        streamer_memory_bytes=min(
            model.weight_bytes, sizing.memory_gib * GIB // STREAMER_SHARE
        ),
        dtype="half" if needs_half else None,
        cold_start_options=usual,
        cold_start=start,
        cooldown_seconds=(
            max(COLD_START_SECONDS, 60 * minutes)
            if scaling.cooldown_seconds is None
            else scaling.cooldown_seconds
        ),
        wake_seconds=_WAKE_MARGIN * max(COLD_START_SECONDS, 60 * minutes),
        cache_key=f"{model.name}/{gpus}",
    )


def capture_sizes(max_num_seqs: int) -> int:
    """Return how many CUDA graphs vLLM captures.

    Batches of 1, 2 and 4, of every 8th size below 256 and of every 16th from there on,
    up to twice ``max_num_seqs`` and at most 512 (``_set_cudagraph_sizes`` in
    vllm/config/vllm.py, vLLM 0.31).

    Args:
        max_num_seqs: Sequences that a replica processes at once.
    """
    largest = min(2 * max_num_seqs, 512)
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)]
    return sum(size <= largest for size in sizes)


def _starts(sizing: Sizing, model: Model, options: ColdStartOptions) -> list[ColdStart]:
    return [
        cold_start(instance=item, weight_bytes=model.weight_bytes, options=options)
        for item in sizing.instances
    ]


def _slowest(sizing: Sizing, model: Model, options: ColdStartOptions) -> ColdStart:
    return max(_starts(sizing, model, options), key=lambda start: start.p90)


def _startup_failures(sizing: Sizing, model: Model, options: ColdStartOptions) -> int:
    inside = (
        [phase for phase in start.phases if phase.name in _IN_THE_CONTAINER]
        for start in _starts(sizing, model, options)
    )
    seconds = _STARTUP_MARGIN * max(ColdStart(tuple(phases)).p90 for phases in inside)
    return math.ceil(max(_STARTUP_BUDGET_SECONDS, seconds) / _PROBE_PERIOD_SECONDS)


def _share(share: float, of: int) -> int:
    # 0.29 of 100 is 28.999999999999996 to a computer
    return max(1, math.floor(share * of + 1e-9))
