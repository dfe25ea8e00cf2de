"""Tests of the construct of a GPU pool."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from constructs import IDependable
from syrupy.assertion import SnapshotAssertion

from eks_inference import Accelerator, Capacity, GpuInferencePool
from eks_inference.gpu_inference_pool import IGpuInferencePool
from eks_inference.manifests import NVIDIA_GPU
from eks_inference.planning import GpuPool
from eks_inference.testing import MANIFEST_TYPE, manifests, without_asset_hashes
from tests.library.cases import objects, one, resources, template
from tests.library.conftest import (
    BadInputs,
    bad_inputs,
    children,
    import_cluster,
    import_profile,
    refusal,
)

NAME = (
    "pool {0!r}: 'name' must be a DNS label of at most 63 characters "
    "(a-z, 0-9 and '-', starting with a letter), got {0!r}"
)

BAD: BadInputs = [
    ({"name": "Gpu Nodes"}, NAME.format("Gpu Nodes")),
    ({"id": "Gpu_24"}, NAME.format("gpu_24")),
    (
        {"accelerators": []},
        (
            "pool 'gpu': 'accelerators' must not be empty; "
            "pass for example [Accelerator.L4]"
        ),
    ),
    (
        {"accelerators": [Accelerator.T4G, Accelerator.L4]},
        (
            "pool 'gpu': 'accelerators' must share one CPU architecture, "
            "got t4g (arm64), l4 (amd64); make a pool for each"
        ),
    ),
    (
        {"gpus_per_node": 2},
        (
            "pool 'gpu': 'gpus_per_node' must be a count that instances with a10g have "
            "(1, 4, 8), got 2\n"
            "pool 'gpu': 'gpus_per_node' must be a count that instances with l4 have "
            "(1, 4, 8), got 2"
        ),
    ),
    ({"max_gpus": 0}, "pool 'gpu': 'max_gpus' must be at least 1, got 0"),
    ({"max_gpus": "8"}, "pool 'gpu': 'max_gpus' must be a whole number, got '8'"),
    (
        {"consolidate_after_seconds": 30},
        (
            "pool 'gpu': 'consolidate_after_seconds' must be at least 300, got 30; "
            "an empty node must outlive a cold start"
        ),
    ),
    (
        {"ami_alias": "bottlerocket@latest"},
        (
            "pool 'gpu': 'ami_alias' must be a pinned Bottlerocket release, "
            "got 'bottlerocket@latest'; for example 'bottlerocket@v1.64.0'"
        ),
    ),
    (
        {"max_gpus": 0, "consolidate_after_seconds": 0},
        (
            "pool 'gpu': 'max_gpus' must be at least 1, got 0\n"
            "pool 'gpu': 'consolidate_after_seconds' must be at least 300, got 0; "
            "an empty node must outlive a cold start"
        ),
    ),
]


def make(stack: cdk.Stack, id: str = "Gpu", **changes: Any) -> GpuInferencePool:
    """Define a pool on a cluster that the stack has already."""
    cluster = import_cluster(stack)
    profile = import_profile(stack)
    return GpuInferencePool(
        stack, id, cluster=cluster, node_instance_profile=profile, **changes
    )


def needs_of_a_model(pool: IGpuInferencePool) -> tuple[str, GpuPool, IDependable]:
    """Return what a model asks of its pool; mypy says whether a pool has it."""
    return pool.cluster.cluster_name, pool.pool, pool.manifest


@pytest.mark.parametrize("case", ["pool-smallest", "pool-everything"])
def test_manifests(case: str, snapshot: SnapshotAssertion) -> None:
    """The rendered objects are the recorded ones, with few arguments and with all."""
    assert without_asset_hashes(manifests(template(case))) == snapshot


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str, stack: cdk.Stack
) -> None:
    """A refused pool says everything that is wrong, and defines nothing."""
    cluster, profile = import_cluster(stack), import_profile(stack)
    before = children(stack)
    values = {"id": "Gpu", **changes}
    made = refusal(
        lambda: GpuInferencePool(
            stack, cluster=cluster, node_instance_profile=profile, **values
        )
    )
    assert made == message
    assert children(stack) == before


def test_default_is_spot_with_fallback_on_24_gb_gpus(stack: cdk.Stack) -> None:
    """Without arguments a pool has A10G and L4, one a node, bought as spot first."""
    pool = make(stack).pool
    assert pool.accelerators == (Accelerator.A10G, Accelerator.L4)
    assert pool.capacity == Capacity.spot_with_fallback()
    assert (pool.gpus_per_node, pool.max_gpus) == (1, 10)
    assert pool.consolidate_after_seconds == 600
    assert pool.ami_alias == "bottlerocket@v1.64.0"


def test_name_is_the_id_in_lower_case(stack: cdk.Stack) -> None:
    """A pool is called like its construct, unless it is given a name."""
    assert make(stack, "Gpu24").pool.name == "gpu24"
    assert one("pool-everything", "NodePool")["metadata"]["name"] == "arm-16g"


def test_attributes_are_what_models_need(stack: cdk.Stack) -> None:
    """A pool is structurally what a model asks of its pool."""
    made = make(stack)
    assert needs_of_a_model(made) == ("shared", made.pool, made.manifest)
    assert made.node.default_child is made.manifest


def test_class_is_created_before_the_pool() -> None:
    """One resource applies both objects, first the class and then the pool."""
    [group] = manifests(template("pool-smallest")).values()
    assert [item["kind"] for item in group] == ["EC2NodeClass", "NodePool"]


def test_every_argument_reaches_the_objects() -> None:
    """Each argument of a pool is found where Karpenter reads it."""
    pool = one("pool-everything", "NodePool")["spec"]
    made = one("pool-everything", "EC2NodeClass")["spec"]
    requires = {
        item["key"]: item["values"] for item in pool["template"]["spec"]["requirements"]
    }
    assert requires["karpenter.k8s.aws/instance-gpu-name"] == ["t4g"]
    assert requires["karpenter.k8s.aws/instance-gpu-count"] == ["2"]
    assert requires["karpenter.sh/capacity-type"] == ["on-demand"]
    assert pool["limits"] == {NVIDIA_GPU: "8"}
    assert pool["disruption"]["consolidateAfter"] == "1200s"
    assert made["amiSelectorTerms"] == [{"alias": "bottlerocket@v1.57.0"}]
    assert made["tags"] == {"team": "search", "cost-center": "4711"}
    assert [item["id"] for item in made["securityGroupSelectorTerms"]] == [
        "sg-0123456789abcdef0",
        "sg-0fedcba9876543210",
    ]
    assert made["instanceProfile"] == "gpu-node"
    assert made["subnetSelectorTerms"] == [
        {"tags": {"karpenter.sh/discovery": "shared"}}
    ]


def test_two_pools_live_in_one_stack() -> None:
    """Two pools of one stack have names, classes and resources of their own."""
    assert [item["metadata"]["name"] for item in objects("fleet", "NodePool")] == [
        "small",
        "large",
    ]
    assert {
        item["spec"]["template"]["spec"]["nodeClassRef"]["name"]
        for item in objects("fleet", "NodePool")
    } == {item["metadata"]["name"] for item in objects("fleet", "EC2NodeClass")}


def test_logical_ids_are_stable() -> None:
    """The ids of the resources are pinned: another id would replace every node."""
    assert list(resources("pool-smallest", MANIFEST_TYPE)) == ["Gpu05B72DCE"]


def test_fails_when_an_argument_is_missing(stack: cdk.Stack) -> None:
    """Without its required arguments nothing is defined."""
    make_nothing: Any = GpuInferencePool
    with pytest.raises(TypeError, match="'cluster'"):
        make_nothing(stack, "Nothing")
    assert children(stack) == [stack.node.path]
