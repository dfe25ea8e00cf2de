"""Tests of the numbers that follow from a model, its scaling and its pool."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, ImageSnapshot, Model, QueueScaling
from eks_inference.planning import GpuPool, ServingPlan, plan_serving
from eks_inference.planning.catalogue import CHECKPOINTS
from eks_inference.planning.cold_start_ledger import cold_start
from eks_inference.planning.cold_start_values import (
    ColdStart,
    CompileCacheState,
    Storage,
)
from eks_inference.planning.serving import capture_sizes
from tests.library.cases import SNAPSHOT
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


@pytest.mark.parametrize(
    ("seqs", "graphs"),
    [(2, 3), (4, 4), (16, 7), (32, 11), (64, 19), (128, 35), (256, 51), (4_096, 51)],
)
def test_cuda_graphs_are_those_that_vllm_captures(seqs: int, graphs: int) -> None:
    """Batches up to twice the sequences have a graph each, but none above 512."""
    assert capture_sizes(seqs) == graphs
    found = plan(make_model(max_num_seqs=seqs))
    assert found.cold_start_options.capture_sizes == graphs


@given(st.integers(1, 4_096))
def test_more_sequences_never_have_fewer_cuda_graphs(seqs: int) -> None:
    """The number of graphs grows with the sequences, to 51."""
    assert 2 <= capture_sizes(seqs) <= capture_sizes(seqs + 1) <= 51


def test_start_up_may_take_longer_where_weights_are_large() -> None:
    """141 GB through the network of a small instance take more than 15 minutes."""
    large = make_model(
        checkpoint=CHECKPOINTS["llama-3.1-70b"], weights_gb=None, max_model_len=None
    )
    slow = make_pool(accelerators=(Accelerator.L40S,))
    fast = make_pool(accelerators=(Accelerator.L40S,), gpus_per_node=8)
    assert plan(large, pool=slow).startup_budget_seconds == 2_990
    assert plan(large, pool=fast).startup_budget_seconds == 900


@given(
    st.floats(0.01, 500),
    st.lists(
        st.sampled_from([Accelerator.T4, Accelerator.A10G, Accelerator.L4]),
        min_size=1,
        unique=True,
    ),
)
def test_start_up_may_take_three_times_what_it_usually_does(
    weights: float, accelerators: list[Accelerator]
) -> None:
    """On the slowest GPU, compiling, the budget is three times what 9 of 10 take."""
    pool = make_pool(accelerators=tuple(accelerators))
    model = make_model(weights_gb=weights)
    found = plan_serving(
        model=model, scaling=QueueScaling(), pool=pool, has_compile_cache=True
    )
    compiling = replace(found.cold_start_options, compile_cache=CompileCacheState.NONE)
    assert found.startup_budget_seconds >= 900
    for item in found.sizing.instances:
        start = cold_start(
            instance=item, weight_bytes=model.weight_bytes, options=compiling
        )
        inside = [
            phase
            for phase in start.phases
            if phase.name in {"process", "weights", "compile", "capture"}
        ]
        assert found.startup_budget_seconds >= 3 * ColdStart(tuple(inside)).p90


def test_cold_start_is_that_of_the_slowest_gpu() -> None:
    """A pool is as slow as the instance whose start takes longest."""
    both = plan(pool=make_pool(accelerators=(Accelerator.L4, Accelerator.T4)))
    alone = [
        plan(pool=make_pool(accelerators=(item,))).cold_start.p90
        for item in (Accelerator.L4, Accelerator.T4)
    ]
    assert both.cold_start.p90 == max(alone)


def test_a_compile_cache_shortens_the_cold_start_but_not_the_budget() -> None:
    """The first replica compiles, and has the time for it; later ones do not."""
    with_cache = plan_serving(
        model=make_model(),
        scaling=QueueScaling(),
        pool=make_pool(),
        has_compile_cache=True,
    )
    assert with_cache.cold_start_options.compile_cache is CompileCacheState.EFS_HIT
    assert with_cache.cold_start.seconds("compile") < plan().cold_start.seconds(
        "compile"
    )
    assert with_cache.startup_budget_seconds == plan().startup_budget_seconds


def test_snapshot_saves_the_pull_and_shortens_no_budget() -> None:
    """A start needs no image phase, and may be as slow as one that reads a disk."""
    large = make_model(
        checkpoint=CHECKPOINTS["llama-3.1-70b"], weights_gb=None, max_model_len=None
    )
    pulled, restored = (
        plan(large, pool=make_pool(accelerators=(Accelerator.L40S,), **snapshot))
        for snapshot in ({}, {"image_snapshot": ImageSnapshot(snapshot_id=SNAPSHOT)})
    )
    assert pulled.cold_start.seconds("image") > 0
    assert restored.cold_start.seconds("image") == 0
    assert restored.cold_start_options.image_snapshot
    assert restored.cold_start_options.storage is Storage.EBS
    assert restored.cold_start_options.ebs_throughput_mib == 1_000
    slower = replace(restored.cold_start_options, files_cached=False)
    assert restored.startup_budget_seconds >= 3 * max(
        ColdStart(
            tuple(
                phase
                for phase in cold_start(
                    instance=item, weight_bytes=large.weight_bytes, options=slower
                ).phases
                if phase.name in {"process", "weights", "compile", "capture"}
            )
        ).p90
        for item in restored.sizing.instances
    )
    assert restored.startup_budget_seconds > pulled.startup_budget_seconds


def test_options_of_the_cold_start_are_those_of_pool_and_scaling() -> None:
    """Nodes without NVMe read their image from the volume that the pool gives them."""
    arm = plan(pool=make_pool(accelerators=(Accelerator.T4G,)))
    assert arm.cold_start_options.storage is Storage.EBS
    assert plan().cold_start_options.storage is Storage.NVME
    zero = plan(scaling=QueueScaling(min_replicas=0))
    assert zero.cold_start_options.min_replicas == 0
    assert zero.cold_start_options.startup_probe_seconds == 5


def test_a_checkpoint_says_what_the_model_leaves_open() -> None:
    """Weights, length, sequences and the target follow from the checkpoint."""
    model = make_model(
        checkpoint=CHECKPOINTS["llama-3.1-8b"], weights_gb=None, max_model_len=None
    )
    assert model.weight_bytes == 16_060_522_496
    found = plan(model, pool=make_pool(accelerators=(Accelerator.L4,)))
    assert found.sizing.max_num_seqs == 18
    assert found.scaling_target == 13
    assert found.streamer_memory_bytes == 4 * GIB


def test_a_stated_size_may_differ_by_rounding() -> None:
    """A size within 2 % of the checkpoint's is taken as it was written down."""
    checkpoint = CHECKPOINTS["llama-3.1-8b"]
    model = make_model(checkpoint=checkpoint, weights_gb=16.1)
    assert model.weight_bytes == 16_100_000_000
