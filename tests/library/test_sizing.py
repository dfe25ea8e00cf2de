"""Tests of how large a replica is."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eks_inference import Accelerator, Capacity, ImageSnapshot, Model
from eks_inference.planning import GpuPool, Sizing, size_replica
from eks_inference.planning.catalogue import CHECKPOINTS
from eks_inference.planning.fit import sequences
from eks_inference.planning.instances import instances_with
from eks_inference.planning.kernels import tensor_parallel_problems
from eks_inference.planning.pool import pool_problems
from eks_inference.planning.sizing import (
    MOST_SEQUENCES,
    TYPICAL_TOKENS,
    fits_on,
    nodes_with_room,
)
from tests.library.cases import SNAPSHOT
from tests.library.conftest import make_model, make_pool, refusal

LENGTH_STEP = 1_024

models = st.sampled_from(sorted(CHECKPOINTS))
counts = st.sampled_from([1, 2, 4, 8])


def known(name: str, **changes: Any) -> Model:
    """Return a model of the catalogue of which nothing else is said."""
    values = {"weights_gb": None, "max_model_len": None, **changes}
    return make_model(checkpoint=CHECKPOINTS[name], **values)


def pool(*accelerators: Accelerator, gpus_per_node: int = 1) -> GpuPool:
    """Return a pool of some GPUs."""
    return make_pool(
        accelerators=accelerators, gpus_per_node=gpus_per_node, max_gpus=64
    )


@st.composite
def pools(draw: st.DrawFn) -> GpuPool:
    """Draw any pool that ``GpuPool`` admits."""
    count = draw(counts)
    sold = [item for item in Accelerator if count in item.counts]
    listed = draw(st.lists(st.sampled_from(sold), min_size=1, max_size=4, unique=True))
    while pool_problems(
        name="gpu",
        accelerators=listed,
        gpus_per_node=count,
        max_gpus=64,
        consolidate_after_seconds=600,
    ):
        listed = listed[:-1]
    return pool(*listed, gpus_per_node=count)


def all_fit(sizing: Sizing) -> bool:
    """Return whether the model fits every GPU of its pool."""
    return all(fit.fits for fit in sizing.fits)


def test_model_without_checkpoint_has_the_documented_defaults() -> None:
    """Where nothing is known, a GPU comes with 3 CPUs, 12 GiB and 32 sequences."""
    found = size_replica(make_model(), make_pool())
    assert found.max_model_len == 8_192
    assert found.max_num_seqs == MOST_SEQUENCES == 32
    assert (found.gpus, found.cpu, found.memory_gib) == (1, 3, 12)
    assert [item.name for item in found.instances] == ["g5.xlarge", "g6.xlarge"]
    assert found.fits == ()


def test_cpus_and_memory_grow_with_the_gpus() -> None:
    """Four GPUs come with four times the CPUs and the memory of one."""
    four = pool(Accelerator.L4, gpus_per_node=4)
    for model in (make_model(gpus=4), known("mistral-7b", gpus=4)):
        found = size_replica(model, four)
        assert (found.gpus, found.cpu, found.memory_gib) == (4, 12, 48)


@pytest.mark.parametrize("checkpoint", [None, CHECKPOINTS["mistral-7b-awq"]])
def test_a_stated_value_holds(checkpoint: Any) -> None:
    """What the model says is what the replica gets, with and without a checkpoint."""
    model = make_model(
        checkpoint=checkpoint,
        max_model_len=4_000,
        max_num_seqs=77,
        gpus=2,
        cpu=5,
        memory_gib=40,
    )
    found = size_replica(model, pool(Accelerator.L4, gpus_per_node=4))
    assert found.max_model_len == 4_000
    assert found.max_num_seqs == 77
    assert (found.gpus, found.cpu, found.memory_gib) == (2, 5, 40)
    for fit in found.fits:
        assert (fit.context, fit.max_num_seqs) == (4_000, 77)
        assert (fit.tensor_parallel, fit.memory_gib) == (2, 40)


@pytest.mark.parametrize(
    ("name", "stated", "problem"),
    [
        ("llama-3.1-8b", {"max_model_len": 131_072}, "a sequence of 131072 tokens"),
        ("llama-3.1-70b", {"gpus": 1}, "exceed the 19.8 GiB usable of one l4"),
        ("mistral-7b", {"gpus": 2}, "2 GPUs are more than the 1 of g6.2xlarge"),
        ("mistral-7b", {"memory_gib": 1_000}, "1000 GiB of the pod"),
        ("mistral-7b", {"gpu_memory_utilization": 0.5}, "exceed the 11.0 GiB usable"),
        ("llama-3.1-8b", {"max_num_seqs": 4_096}, "overhead 7.2 GiB exceed"),
    ],
)
def test_a_stated_value_holds_where_it_does_not_fit(
    name: str, stated: dict[str, Any], problem: str
) -> None:
    """Nothing is made to fit behind the user's back: the fit has the problem."""
    found = size_replica(known(name, **stated), pool(Accelerator.L4))
    for key, value in stated.items():
        assert getattr(found, key, value) == value
    assert not all_fit(found)
    assert any(problem in text for text in found.fits[0].problems)


@pytest.mark.parametrize(
    ("name", "accelerators", "gpus"),
    [
        ("mistral-7b", (Accelerator.L4, Accelerator.A10G), 1),
        ("qwen3-32b", (Accelerator.L4, Accelerator.A10G), 4),
        ("qwen3-32b-awq", (Accelerator.L4,), 2),
        ("qwen3-32b-awq", (Accelerator.L40S,), 1),
        ("qwen3-32b-awq", (Accelerator.L40S, Accelerator.L4), 2),
    ],
)
def test_takes_the_fewest_gpus_that_fit_every_gpu_of_the_pool(
    name: str, accelerators: tuple[Accelerator, ...], gpus: int
) -> None:
    """The smallest GPU of a pool decides how many a replica takes."""
    found = size_replica(known(name), pool(*accelerators, gpus_per_node=4))
    assert found.gpus == gpus
    assert all_fit(found)


def test_takes_the_most_gpus_where_none_fit() -> None:
    """A model that fits no number of GPUs is shown with as many as a node has."""
    found = size_replica(known("llama-3.1-70b"), pool(Accelerator.L4, gpus_per_node=4))
    assert found.gpus == 4
    assert not all_fit(found)


def test_takes_only_numbers_of_gpus_that_divide_the_model() -> None:
    """28 attention heads are never divided among 8 GPUs."""
    model = CHECKPOINTS["qwen2.5-7b"]
    assert tensor_parallel_problems(model.architecture, 8)
    found = size_replica(
        known("qwen2.5-7b", max_num_seqs=4_096), pool(Accelerator.T4, gpus_per_node=4)
    )
    eight = size_replica(
        known("qwen2.5-7b", gpu_memory_utilization=0.1),
        pool(Accelerator.A100_40G, gpus_per_node=8),
    )
    assert found.gpus == eight.gpus == 4


def test_a_stated_number_of_gpus_must_divide_the_model() -> None:
    """Stated GPUs that do not divide the heads are refused with the repair."""
    model = known("mistral-7b", gpus=3)
    assert refusal(lambda: size_replica(model, pool(Accelerator.L4))) == (
        "fit: 'tensor_parallel' must divide the 32 attention heads, got 3; use 1, 2, "
        "4 or 8 where they do"
    )


def test_length_is_the_context_where_several_have_room() -> None:
    """A model whose context is short enough keeps all of it."""
    found = size_replica(known("llama-2-7b-awq"), pool(Accelerator.L4))
    assert found.max_model_len == 4_096
    assert found.fits[0].concurrency > 4


def test_length_is_a_quarter_of_the_kv_cache_in_whole_steps() -> None:
    """A longer context is cut to what has room four times, in steps of 1,024."""
    found = size_replica(known("llama-3.1-8b"), pool(Accelerator.L4))
    quarter = found.fits[0].kv_tokens / 4
    assert found.max_model_len == quarter // LENGTH_STEP * LENGTH_STEP == 6_144


def test_smallest_gpu_of_the_pool_decides_the_length() -> None:
    """All replicas of a model take the same requests, on whichever GPU they run."""
    alone = size_replica(known("mistral-7b-awq"), pool(Accelerator.L4))
    both = size_replica(known("mistral-7b-awq"), pool(Accelerator.L4, Accelerator.T4))
    small = size_replica(known("mistral-7b-awq"), pool(Accelerator.T4))
    assert alone.max_model_len > both.max_model_len == small.max_model_len


def test_a_usual_request_has_room_where_no_length_is_given() -> None:
    """A model with room for less than a usual request takes more GPUs, or fails."""
    tight = known("llama-2-13b-awq", gpu_memory_utilization=0.6)
    found = size_replica(tight, pool(Accelerator.T4))
    assert found.max_model_len == 2_048 > TYPICAL_TOKENS
    assert not all_fit(found)
    more = size_replica(tight, pool(Accelerator.T4, gpus_per_node=4))
    assert more.gpus == 2
    assert all_fit(more)


def test_as_many_sequences_as_have_room_at_usual_length() -> None:
    """Fewer than 32 sequences run where the KV cache holds fewer usual ones."""
    found = size_replica(known("llama-3.1-8b"), pool(Accelerator.L4))
    assert found.max_num_seqs == sequences(found.fits[0], TYPICAL_TOKENS) == 18
    large = size_replica(known("llama-3.1-8b"), pool(Accelerator.L40S))
    assert large.max_num_seqs == 32


def test_sequences_shorter_than_a_usual_one_need_less_room() -> None:
    """A stated length below the usual one leaves room for more sequences."""
    short = size_replica(known("qwen3-8b", max_model_len=512), pool(Accelerator.L4))
    assert short.max_num_seqs == 32


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        ({}, ["g5.xlarge", "g6.xlarge"]),
        ({"memory_gib": 13}, ["g5.2xlarge", "g6.2xlarge"]),
        ({"memory_gib": 100}, ["g5.8xlarge", "gr6.4xlarge"]),
        ({"memory_gib": 3_000}, ["g5.16xlarge", "gr6.8xlarge"]),
        ({"cpu": 4}, ["g5.2xlarge", "g6.2xlarge"]),
        ({"cpu": 40}, ["g5.16xlarge", "g6.16xlarge"]),
    ],
)
def test_memory_and_cpus_decide_the_instance(
    stated: dict[str, int], names: list[str]
) -> None:
    """The cheapest instance with room is launched, or the largest is shown."""
    for model in (make_model(**stated), known("mistral-7b-awq", **stated)):
        found = size_replica(model, make_pool())
        assert [item.name for item in found.instances] == names
        assert all(
            fit.instance == item
            for fit, item in zip(found.fits, found.instances, strict=False)
        )


def test_pods_without_memory_still_share_the_node_with_daemons() -> None:
    """Only memory decides where no CPUs are given."""
    assert [item.name for item in nodes_with_room(make_pool(), 0)] == [
        "g5.xlarge",
        "g6.xlarge",
    ]


def test_daemons_of_a_node_need_cpus_too() -> None:
    """Of 3.92 CPUs, daemons request 0.4, and a pod that asks for 3.6 has no room."""
    nodes = pool(Accelerator.L4)
    assert nodes_with_room(nodes, 4, 3.5)[0].name == "g6.xlarge"
    assert nodes_with_room(nodes, 4, 3.6)[0].name == "g6.2xlarge"


def test_nodes_without_nvme_keep_images_on_the_data_volume() -> None:
    """T4G instances have no NVMe: their disk is the pool's volume, and big enough."""
    arm = pool(Accelerator.T4G)
    found = size_replica(known("mistral-7b-awq"), arm)
    assert found.instances[0].name == "g5g.2xlarge"
    assert found.fits[0].disk_gib == arm.data_volume_gib == 200
    assert all_fit(found)
    fast = size_replica(known("mistral-7b-awq"), pool(Accelerator.T4))
    assert fast.fits[0].disk_gib is None
    restored = replace(
        pool(Accelerator.T4), image_snapshot=ImageSnapshot(snapshot_id=SNAPSHOT)
    )
    assert size_replica(known("mistral-7b-awq"), restored).fits[0].disk_gib == 200


@pytest.mark.parametrize(("version", "fits"), [("0.13.0", False), ("0.14.0", True)])
def test_release_of_vllm_decides_about_kernels(version: str, *, fits: bool) -> None:
    """AWQ runs on a T4 from 0.14.0 on."""
    found = size_replica(
        known("mistral-7b-awq"), pool(Accelerator.T4), vllm_version=version
    )
    assert all_fit(found) is fits
    assert found.fits[0].vllm_version == version


def test_fails_when_an_argument_is_not_of_its_kind() -> None:
    """Texts and nothing are refused, both in one message."""
    assert refusal(lambda: size_replica("m", None)) == (  # type: ignore[arg-type]
        "sizing: 'model' must be of class Model, got 'm'\n"
        "sizing: 'pool' must be of class GpuPool, got None"
    )
    model = known("mistral-7b")
    assert refusal(
        lambda: size_replica(model, make_pool(), vllm_version="latest")
    ).endswith(
        "'vllm_version' must be a release of vLLM, got 'latest'; for example '0.31.0'"
    )


@given(models, pools())
@settings(max_examples=200)
def test_derived_size_keeps_its_promises(name: str, nodes: GpuPool) -> None:
    """What fits has room for a usual request, and for four of the longest if it can."""
    checkpoint = CHECKPOINTS[name]
    context = checkpoint.architecture.context
    found = size_replica(known(name), nodes)
    assert 2 <= found.max_num_seqs <= MOST_SEQUENCES
    assert min(2_048, context) <= found.max_model_len <= context
    assert found.max_model_len == context or not found.max_model_len % LENGTH_STEP
    assert found.gpus <= nodes.gpus_per_node
    assert len(found.fits) == len(found.instances) == len(nodes.accelerators)
    assert {fit.context for fit in found.fits} == {found.max_model_len}
    usual = min(TYPICAL_TOKENS, found.max_model_len)
    for fit in found.fits:
        if found.max_num_seqs > 2:
            needed = found.max_num_seqs * fit.kv_bytes(usual)
            assert needed <= fit.kv_available_bytes
        if found.max_model_len > 2_048:
            assert fit.concurrency >= 4


@given(models, pools())
@settings(max_examples=200)
def test_no_fewer_gpus_would_do(name: str, nodes: GpuPool) -> None:
    """A replica that fits takes the fewest GPUs: half of them fit not every node."""
    found = size_replica(known(name), nodes)
    if all_fit(found) and found.gpus > 1:
        half = size_replica(known(name, gpus=found.gpus // 2), nodes)
        assert not all_fit(half)


@given(models, pools())
@settings(max_examples=200)
def test_one_more_gpu_never_makes_a_model_fit(name: str, nodes: GpuPool) -> None:
    """What fits a pool of several GPUs fits each of them alone, with as much room."""
    model = known(name)
    together = size_replica(model, nodes)
    for item in nodes.accelerators:
        alone = size_replica(model, replace(nodes, accelerators=(item,)))
        if all_fit(together):
            assert all_fit(alone)
            assert alone.gpus <= together.gpus
        if alone.gpus == together.gpus:
            assert alone.max_model_len >= together.max_model_len


@given(models, pools(), st.floats(0.3, 0.9))
def test_a_larger_share_of_the_gpu_never_fits_less(
    name: str, nodes: GpuPool, share: float
) -> None:
    """More GPU memory for vLLM keeps what fits, and makes nothing smaller."""
    less = size_replica(known(name, gpu_memory_utilization=share), nodes)
    more = size_replica(known(name, gpu_memory_utilization=share + 0.05), nodes)
    assert all_fit(more) >= all_fit(less)
    if all_fit(less):
        assert more.gpus <= less.gpus
    if more.gpus == less.gpus:
        assert more.max_model_len >= less.max_model_len


@given(pools(), st.integers(4, 2_000), st.integers(1, 100))
def test_larger_pods_get_instances_with_room(
    nodes: GpuPool, memory: int, cpu: int
) -> None:
    """The instance has room for the pod, unless no instance of its GPU has."""
    for item, found in zip(
        nodes.accelerators, nodes_with_room(nodes, memory, cpu), strict=True
    ):
        types = instances_with([item], gpus=nodes.gpus_per_node)
        roomy = [
            kind
            for kind in types
            if kind.allocatable_memory_mib >= (memory + 1) * 1_024
            and kind.allocatable_cpu >= cpu + 0.4
        ]
        assert found.accelerator is item
        assert found in types
        if roomy:
            cheapest = min(kind.usd_per_hour or math.inf for kind in roomy)
            assert found in roomy
            assert (found.usd_per_hour or math.inf) == cheapest
        else:
            assert found.allocatable_memory_mib == max(
                kind.allocatable_memory_mib for kind in types
            )


def test_fits_on_passes_every_limit() -> None:
    """The arguments of a fit are those that were given, on every instance."""
    nodes = pool(Accelerator.L4, Accelerator.A10G)
    types = nodes_with_room(nodes, 12)
    found = fits_on(CHECKPOINTS["mistral-7b"], nodes, types, kv_dtype="fp8")
    assert [fit.instance for fit in found] == list(types)
    assert {fit.kv_dtype for fit in found} == {"fp8"}


def test_how_instances_are_bought_does_not_matter() -> None:
    """A replica has one size on spot and on-demand instances."""
    spot = replace(make_pool(), capacity=Capacity.spot())
    model = known("mistral-7b")
    assert size_replica(model, spot) == size_replica(model, make_pool())
