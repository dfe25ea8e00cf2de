"""Tests of the numbers that follow from a model, its scaling and its pool."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, Model, QueueScaling
from eks_inference.planning import GpuPool, ServingPlan, plan_serving
from tests.library.conftest import make_model, make_pool

GIB = 1024**3


def plan(
    model: Model | None = None,
    scaling: QueueScaling | None = None,
    pool: GpuPool | None = None,
) -> ServingPlan:
    """Return the plan of the default values, with some of them changed."""
    return plan_serving(
        model=model or make_model(),
        scaling=scaling or QueueScaling(),
        pool=pool or make_pool(),
    )


@pytest.mark.parametrize(
    ("share", "seqs", "target"),
    [(0.75, 32, 24), (0.5, 64, 32), (0.95, 2, 1), (0.05, 2, 1), (0.8, 256, 204)],
)
def test_target_is_a_share_of_max_num_seqs(
    share: float, seqs: int, target: int
) -> None:
    """A replica counts as full at a share of what it processes at once."""
    found = plan(make_model(max_num_seqs=seqs), QueueScaling(target_share=share))
    assert found.scaling_target == target


def test_start_up_may_take_fifteen_minutes() -> None:
    """Probe period and failures together give the start-up budget."""
    found = plan()
    assert found.probe_period_seconds * found.startup_failures == 900
    assert found.startup_budget_seconds == 900


@pytest.mark.parametrize(
    ("accelerators", "dtype"),
    [
        ((Accelerator.T4,), "half"),
        ((Accelerator.T4G,), "half"),
        ((Accelerator.L4, Accelerator.T4), "half"),
        ((Accelerator.A100_40G,), None),
        ((Accelerator.A10G, Accelerator.L4), None),
    ],
)
def test_half_precision_where_a_gpu_has_no_bfloat16(
    accelerators: tuple[Accelerator, ...], dtype: str | None
) -> None:
    """One GPU of a pool without bfloat16 decides for all of its replicas."""
    count = min(accelerators[0].counts)
    pool = make_pool(accelerators=accelerators, gpus_per_node=count, max_gpus=80)
    assert plan(pool=pool).dtype == dtype


@pytest.mark.parametrize(
    ("weights", "concurrency"), [(0.5, 16), (64, 16), (64.1, 17), (141, 36)]
)
def test_streamer_sends_more_requests_for_large_weights(
    weights: float, concurrency: int
) -> None:
    """Concurrency is 16, and one stream for each 4 GB where that is more."""
    assert plan(make_model(weights_gb=weights)).streamer_concurrency == concurrency


@pytest.mark.parametrize(
    ("weights", "memory", "buffer"),
    [(2, 12, 2_000_000_000), (4.15, 12, 4_150_000_000), (30, 12, 4 * GIB)],
)
def test_streamer_buffers_the_weights_or_a_third_of_the_pod(
    weights: float, memory: int, buffer: int
) -> None:
    """The buffer holds all weights, unless that is more than a third of the pod."""
    model = make_model(weights_gb=weights, memory_gib=memory)
    assert plan(model).streamer_memory_bytes == buffer


def test_cache_is_kept_apart_by_model_and_gpus() -> None:
    """The directory names the model, then the GPUs in the order of the alphabet."""
    swapped = make_pool(accelerators=(Accelerator.L4, Accelerator.A10G))
    assert plan().cache_key == plan(pool=swapped).cache_key == "mistral/a10g-l4"
    assert plan(make_model(name="other")).cache_key == "other/a10g-l4"
    large = make_pool(accelerators=(Accelerator.L40S,))
    assert plan(pool=large).cache_key == "mistral/l40s"


@given(st.integers(2, 4_096), st.floats(0.05, 0.95))
def test_target_leaves_room_below_max_num_seqs(seqs: int, share: float) -> None:
    """The target is at least one, and running requests alone can exceed it."""
    found = plan(make_model(max_num_seqs=seqs), QueueScaling(target_share=share))
    assert 1 <= found.scaling_target < seqs
    assert found.scaling_target == max(1, math.floor(share * seqs))


@given(st.floats(0.01, 2_000), st.integers(4, 2_000))
def test_streamer_never_fills_the_pod(weights: float, memory: int) -> None:
    """The buffer is never empty, and never more than a third of the pod's memory."""
    found = plan(make_model(weights_gb=weights, memory_gib=memory))
    assert 0 < found.streamer_memory_bytes <= memory * GIB // 3
    assert found.streamer_memory_bytes <= round(weights * 1e9)
    assert 16 <= found.streamer_concurrency <= 500
