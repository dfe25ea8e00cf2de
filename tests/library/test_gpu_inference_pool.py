"""Tests of the construct of a GPU pool."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from constructs import IDependable
from syrupy.assertion import SnapshotAssertion

from eks_inference import Accelerator, Capacity, GpuInferencePool
from eks_inference.gpu_inference_pool import IGpuInferencePool
from eks_inference.manifests import NVIDIA_GPU
from eks_inference.planning import GpuPool
from eks_inference.testing import MANIFEST_TYPE, manifests, without_asset_hashes
from tests.library.cases import objects, one, resources, template
from tests.library.conftest import import_cluster, import_vpc


def make(stack: cdk.Stack, id: str = "Gpu", **changes: Any) -> GpuInferencePool:
    """Define a pool on a cluster that the stack has already."""
    return GpuInferencePool(stack, id, cluster=import_cluster(stack), **changes)


def needs_of_a_model(
    pool: IGpuInferencePool,
) -> tuple[str, GpuPool, IDependable | None]:
    """Return what a model asks of its pool; mypy says whether a pool has it."""
    return pool.cluster.cluster_name, pool.pool, pool.manifest


@pytest.mark.parametrize("case", ["pool-smallest", "pool-everything", "pool-snapshot"])
def test_manifests(case: str, snapshot: SnapshotAssertion) -> None:
    """The rendered objects are the recorded ones, with few arguments and with all."""
    assert without_asset_hashes(manifests(template(case))) == snapshot


def test_default_is_spot_with_fallback_on_24_gb_gpus(stack: cdk.Stack) -> None:
    """Without arguments a pool has A10G and L4, one a node, bought as spot first."""
    pool = make(stack).pool
    assert pool.accelerators == (Accelerator.A10G, Accelerator.L4)
    assert pool.capacity == Capacity.spot_with_fallback()
    assert (pool.gpus_per_node, pool.max_gpus) == (1, 11)
    assert pool.consolidate_after_seconds == 600
    assert pool.ami_alias == "bottlerocket@v1.64.0"


def test_name_is_the_id_in_lower_case(stack: cdk.Stack) -> None:
    """A pool is called like its construct, unless it is given a name."""
    assert make(stack, "Gpu24").pool.name == "gpu24"
    assert one("pool-everything", "NodePool")["metadata"]["name"] == "arm-16g"


def test_attributes_are_what_models_need(stack: cdk.Stack) -> None:
    """A pool is structurally what a model asks of its pool."""
    made = make(stack)
    assert needs_of_a_model(made) == (
        stack.stack_name,
        made.pool,
        made.manifest,
    )
    assert made.node.default_child is made.manifest


def test_security_groups_may_be_known_in_deployment_only(stack: cdk.Stack) -> None:
    """The id of a security group of this app is a reference, which is no bad id."""
    group = ec2.SecurityGroup(stack, "Group", vpc=import_vpc(stack))
    made = make(stack, security_group_ids=[group.security_group_id])
    spec = made.facts.manifests["EC2NodeClass"]["spec"]
    assert spec["securityGroupSelectorTerms"] == [{"id": group.security_group_id}]


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
        {"tags": {"karpenter.sh/discovery": "pool-everything"}}
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
