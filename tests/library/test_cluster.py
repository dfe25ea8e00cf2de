"""Tests of the clusters that pools and models work on, and of what applies objects."""

from typing import Any, cast

import aws_cdk as cdk
import pytest
from aws_cdk import aws_eks as eks_v1
from aws_cdk import aws_eks_v2 as eks
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from eks_inference import ConfigurationError, GpuInferencePool, QueueScaledModel
from eks_inference._cluster import AnyCluster, apply, cluster_problems, facts
from eks_inference.manifests import Manifest
from eks_inference.testing import MANIFEST_TYPE, manifests
from tests.library.cases import APART, dependencies, resources, template
from tests.library.conftest import (
    children,
    import_cluster,
    import_v1_cluster,
    make_model,
    make_pool,
    refusal,
)

MANIFEST: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
}
NO_KUBECTL = (
    "'cluster' must have a kubectl provider, got 'bare' without one; pass "
    "'kubectl_provider_options' when it is created, or 'kubectl_provider' when it is "
    "imported (aws_eks: 'kubectl_role_arn' and 'kubectl_layer')"
)


def bare_v1(stack: cdk.Stack) -> AnyCluster:
    """Return an imported cluster of the older module without a role for kubectl."""
    return eks_v1.Cluster.from_cluster_attributes(stack, "Bare", cluster_name="bare")


def bare_v2(stack: cdk.Stack) -> AnyCluster:
    """Return an imported cluster without a kubectl provider."""
    return eks.Cluster.from_cluster_attributes(stack, "Bare", cluster_name="bare")


def created_v2_without(stack: cdk.Stack) -> AnyCluster:
    """Return a cluster that is made without a kubectl provider."""
    return eks.Cluster(
        stack,
        "Bare",
        version=eks.KubernetesVersion.V1_35,
        default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
        default_capacity=0,
    )


class Imported:
    """A pool on a cluster, as far as a model needs to know it."""

    def __init__(self, cluster: AnyCluster) -> None:
        self.cluster = cluster
        self.pool = make_pool()
        self.facts = None
        self.manifest = None


@pytest.mark.parametrize("case", ["created-v1", "imported-v1", "imported"])
def test_pool_and_model_are_applied(case: str) -> None:
    """Pool and model reach clusters of both modules, made here and imported."""
    kinds = {
        item["kind"] for group in manifests(template(case)).values() for item in group
    }
    assert kinds == {
        "NodePool",
        "EC2NodeClass",
        "ServiceAccount",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
        "PodMonitor",
        "ScaledObject",
        "PrometheusRule",
        "ConfigMap",
    }


@pytest.mark.parametrize("case", ["created-v1", "imported-v1", "imported"])
def test_order_is_kept_on_every_cluster(case: str) -> None:
    """On clusters of both modules the model comes after its pool and its role."""
    applied = resources(case, MANIFEST_TYPE)
    [pool_id] = [key for key in applied if key.startswith("Gpu")]
    [model_id] = [key for key in applied if key.startswith("Chat")]
    [association_id] = resources(case, "AWS::EKS::PodIdentityAssociation")
    assert {pool_id, association_id} <= set(applied[model_id]["DependsOn"])


def test_cluster_of_another_stack_is_not_touched() -> None:
    """A cluster made elsewhere gets nothing into its stack, and no way back."""
    cluster, pools, models, _ = APART
    assert not resources(cluster, MANIFEST_TYPE)
    assert cluster in dependencies(pools)
    assert cluster in dependencies(models)
    assert dependencies(cluster) == set()


def test_name_of_a_created_cluster_is_known_in_deployment_only() -> None:
    """The discovery tag is the cluster's name, also where it is a reference."""
    [group] = [
        item
        for key, item in manifests(template("created-v1")).items()
        if key.startswith("Gpu")
    ]
    [cluster_id] = resources("created-v1", "Custom::AWSCDK-EKS-Cluster")
    spec = group[0]["spec"]
    [found] = spec["subnetSelectorTerms"]
    assert found["tags"] == {"karpenter.sh/discovery": f"${{{cluster_id}}}"}
    assert spec["role"] == f"KarpenterNodeRole-${{{cluster_id}}}"


@pytest.mark.parametrize("make", [bare_v1, bare_v2])
def test_fails_without_kubectl(make: Any, stack: cdk.Stack) -> None:
    """What needs kubectl is refused without it, and says how to give it."""
    cluster = make(stack)
    before = children(stack)
    assert refusal(lambda: GpuInferencePool(stack, "Gpu", cluster=cluster)) == (
        f"pool 'Gpu': {NO_KUBECTL}"
    )
    pool = Imported(cluster)
    assert refusal(
        lambda: QueueScaledModel(stack, "Chat", pool=pool, model=make_model())
    ) == (f"model 'Chat': {NO_KUBECTL}")
    assert (
        refusal(lambda: apply(stack, "Thing", cluster=cluster, manifests=[MANIFEST]))
        == NO_KUBECTL
    )
    assert children(stack) == before


def test_fails_on_a_created_cluster_without_kubectl(stack: cdk.Stack) -> None:
    """A cluster that is made without a provider is refused too."""
    cluster = created_v2_without(stack)
    with pytest.raises(ConfigurationError, match="must have a kubectl provider"):
        GpuInferencePool(stack, "Gpu", cluster=cluster)


@pytest.mark.parametrize(
    ("make", "is_v2", "has_kubectl"),
    [
        (bare_v1, False, False),
        (bare_v2, True, False),
        (import_v1_cluster, False, True),
        (import_cluster, True, True),
        (created_v2_without, True, False),
    ],
)
def test_module_and_kubectl_are_recognized(
    make: Any, is_v2: bool, has_kubectl: bool, stack: cdk.Stack
) -> None:
    """Imported clusters are proxies, and still tell where they come from."""
    cluster = make(stack)
    found = facts(cluster)
    assert (found.is_v2, found.has_kubectl) == (is_v2, has_kubectl)
    assert found.name == cluster.cluster_name
    assert bool(cluster_problems(cluster)) is not has_kubectl
    assert facts(cluster) is found


def test_created_v1_cluster_has_kubectl(stack: cdk.Stack) -> None:
    """A cluster that the older module makes can always be applied to."""
    cluster = eks_v1.Cluster(
        stack,
        "Cluster",
        version=eks_v1.KubernetesVersion.of("1.35"),
        kubectl_layer=KubectlV35Layer(stack, "Layer"),
        default_capacity=0,
    )
    made = cast("eks_v1.ICluster", cluster)
    assert cluster_problems(made) == []
    assert not facts(made).is_v2


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (import_cluster, eks.KubernetesManifest),
        (import_v1_cluster, eks_v1.KubernetesManifest),
    ],
)
def test_resource_belongs_to_its_scope(make: Any, kind: type, stack: cdk.Stack) -> None:
    """The resource is of the cluster's module, and a child of its scope."""
    scope = Construct(stack, "Scope")
    made = apply(scope, "Resource", cluster=make(stack), manifests=[MANIFEST])
    assert isinstance(made, kind)
    assert made.node.path == f"{stack.node.path}/Scope/Resource"
    assert scope.node.default_child is made


def test_resource_waits_for_what_comes_before(stack: cdk.Stack) -> None:
    """Everything in 'after' is a dependency, and nothing is without it."""
    cluster = import_cluster(stack)
    first = apply(stack, "First", cluster=cluster, manifests=[MANIFEST])
    second = apply(
        stack, "Second", cluster=cluster, manifests=[MANIFEST], after=[first]
    )
    assert first.node.dependencies == []
    assert second.node.dependencies == [first]
