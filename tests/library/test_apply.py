"""Tests of the resource that applies manifests to a cluster."""

import aws_cdk as cdk
from constructs import Construct

from eks_inference._apply import apply
from eks_inference.manifests import Manifest
from tests.library.conftest import import_cluster

MANIFEST: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
}


def test_resource_belongs_to_its_scope(stack: cdk.Stack) -> None:
    """The resource is a child of the scope, and not of the cluster."""
    scope = Construct(stack, "Scope")
    made = apply(scope, "Resource", cluster=import_cluster(stack), manifests=[MANIFEST])
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
