"""The numbers that follow from a model, its scaling and its pool, each stated once."""

import math
from dataclasses import dataclass

from eks_inference.model import Model
from eks_inference.planning.pool import GpuPool
from eks_inference.scaling import QueueScaling

_GIB = 1024**3

_PROBE_PERIOD_SECONDS = 5

_STARTUP_BUDGET_SECONDS = 900
"""A start-up probe that runs out kills the container, which then starts from nothing;
a generous budget costs nothing when the start is fast. Starts on small instances have
been measured at up to ten minutes."""

_STREAMER_CONCURRENCY = 16
"""Requests that the Run:ai streamer sends at once. Its default for object storage is
8; its published benchmark gains up to 32."""

_GB_PER_STREAM = 4
"""AWS's rule for large models: one stream for each 4 GB of weights."""

_BF16_CAPABILITY = (8, 0)
"""Lowest compute capability with bfloat16 (NVIDIA CUDA programming guide)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """What the manifests need to know beyond what the user has said.

    Args:
        scaling_target: Value of the formula at which one replica is full.
        probe_period_seconds: Time between two probes, in seconds.
        startup_failures: Failed start-up probes before the container is killed.
        streamer_concurrency: Requests to S3 at once.
        streamer_memory_bytes: Host memory of the streamer's buffer, in bytes.
        dtype: Value of ``--dtype``, or None to let vLLM read it from the model.
        cache_key: Directory of the compile cache: model, then GPUs. vLLM itself
            separates GPU models and versions inside.
    """

    scaling_target: int
    probe_period_seconds: int
    startup_failures: int
    streamer_concurrency: int
    streamer_memory_bytes: int
    dtype: str | None
    cache_key: str

    @property
    def startup_budget_seconds(self) -> int:
        """How long a start may take before the container is killed."""
        return self.startup_failures * self.probe_period_seconds


def plan_serving(*, model: Model, scaling: QueueScaling, pool: GpuPool) -> ServingPlan:
    """Return what follows from the values.

    Args:
        model: What is served.
        scaling: When replicas are added and removed.
        pool: Where the replicas run.
    """
    needs_half = any(
        item.compute_capability < _BF16_CAPABILITY for item in pool.accelerators
    )
    gpus = "-".join(sorted({item.gpu_name for item in pool.accelerators}))
    return ServingPlan(
        scaling_target=_share(scaling.target_share, model.max_num_seqs),
        probe_period_seconds=_PROBE_PERIOD_SECONDS,
        startup_failures=_STARTUP_BUDGET_SECONDS // _PROBE_PERIOD_SECONDS,
        streamer_concurrency=max(
            _STREAMER_CONCURRENCY, math.ceil(model.weights_gb / _GB_PER_STREAM)
        ),
        # a third of the pod: the rest is Python, CUDA's host side and torch.compile
        streamer_memory_bytes=min(
            round(model.weights_gb * 1e9), model.memory_gib * _GIB // 3
        ),
        dtype="half" if needs_half else None,
        cache_key=f"{model.name}/{gpus}",
    )


def _share(share: float, of: int) -> int:
    # 0.29 of 100 is 28.999999999999996 to a computer
    return max(1, math.floor(share * of + 1e-9))
