"""Tests of the numbers that follow from a model, its scaling and its pool."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import (
    Accelerator,
    Capacity,
    ConfigurationError,
    Drain,
    Model,
    QueueScaling,
)
from eks_inference.drain import SPOT_GRACE_LIMIT_SECONDS
from eks_inference.planning import GpuPool, ServingPlan, plan_serving
from tests.library.conftest import BadInputs, bad_inputs, make_model, make_pool, refusal

GIB = 1024**3
SUBJECT = "model 'mistral' on pool 'gpu': "


def plan(
    model: Model | None = None,
    scaling: QueueScaling | None = None,
    drain: Drain | None = None,
    pool: GpuPool | None = None,
) -> ServingPlan:
    """Return the plan of the default values, with some of them changed."""
    return plan_serving(
        model=model or make_model(),
        scaling=scaling or QueueScaling(),
        drain=drain or Drain(),
        pool=pool or make_pool(),
    )


def grace_problem(seconds: int) -> str:
    """Return the message about a grace period that a spot notice does not allow."""
    return (
        f"{SUBJECT}'pre_stop_seconds' + 'shutdown_timeout_seconds' + teardown must be "
        f"at most 110 s on spot, got {seconds}; lower 'shutdown_timeout_seconds' or "
        "use Capacity.on_demand()"
    )


NO_NODE = (
    f"{SUBJECT}'gpus' must be at most the GPUs of a node (1), got 2; "
    "raise the pool's 'gpus_per_node'"
)
NO_ROOM = (
    f"{SUBJECT}'max_gpus' of the pool must be at least what 'max_replicas' replicas "
    "need ({} x {}), got 10; raise it or lower 'max_replicas'"
)
SMALL = QueueScaling(max_replicas=5)

BAD: BadInputs = [
    ({"model": make_model(gpus=2), "scaling": SMALL}, NO_NODE),
    ({"scaling": QueueScaling(max_replicas=11)}, NO_ROOM.format(1, 11)),
    ({"drain": Drain(shutdown_timeout_seconds=91)}, grace_problem(111)),
    ({"drain": Drain(pre_stop_seconds=60)}, grace_problem(160)),
    (
        {
            "drain": Drain(pre_stop_seconds=60),
            "pool": make_pool(capacity=Capacity.spot()),
        },
        grace_problem(160),
    ),
]


@bad_inputs(BAD)
def test_fails_when_values_contradict_each_other(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each contradiction between values is refused with its whole message."""
    assert refusal(lambda: plan(**changes)) == message


def test_fails_with_every_contradiction_at_once() -> None:
    """All reasons why a model cannot work on a pool are reported together."""
    message = refusal(
        lambda: plan(
            model=make_model(gpus=2), drain=Drain(shutdown_timeout_seconds=600)
        )
    )
    assert message.splitlines() == [NO_NODE, NO_ROOM.format(2, 10), grace_problem(620)]


def test_on_demand_allows_a_long_drain() -> None:
    """Only spot bounds the grace period by its notice."""
    pool = make_pool(capacity=Capacity.on_demand())
    assert plan(drain=Drain(shutdown_timeout_seconds=300), pool=pool)


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


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([Capacity.spot(), Capacity.spot_with_fallback()]),
)
def test_grace_on_spot_never_exceeds_the_notice(
    pre_stop: int, shutdown: int, capacity: Capacity
) -> None:
    """On spot a grace period is within the limit, or there is no plan."""
    drain = Drain(pre_stop_seconds=pre_stop, shutdown_timeout_seconds=shutdown)
    too_long = drain.grace_period_seconds > SPOT_GRACE_LIMIT_SECONDS
    try:
        plan(drain=drain, pool=make_pool(capacity=capacity))
    except ConfigurationError:
        assert too_long
    else:
        assert not too_long


@given(st.floats(0.01, 2_000), st.integers(4, 2_000))
def test_streamer_never_fills_the_pod(weights: float, memory: int) -> None:
    """The buffer is never empty, and never more than a third of the pod's memory."""
    found = plan(make_model(weights_gb=weights, memory_gib=memory))
    assert 0 < found.streamer_memory_bytes <= memory * GIB // 3
    assert found.streamer_memory_bytes <= round(weights * 1e9)
    assert 16 <= found.streamer_concurrency <= 500


@given(st.integers(1, 8), st.integers(1, 40), st.sampled_from([1, 4, 8]))
def test_no_plan_needs_more_gpus_than_the_pool_has(
    gpus: int, replicas: int, per_node: int
) -> None:
    """A plan exists only where a replica fits a node and all replicas fit the pool."""
    model, scaling = make_model(gpus=gpus), QueueScaling(max_replicas=replicas)
    pool = make_pool(gpus_per_node=per_node, max_gpus=40)
    try:
        plan(model, scaling, pool=pool)
    except ConfigurationError:
        assert gpus > per_node or gpus * replicas > per_node
    else:
        assert gpus <= per_node
        assert gpus * replicas <= pool.max_gpus
