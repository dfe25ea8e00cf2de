"""How manifests reach a cluster: one KubernetesManifest per pool or model."""

from collections.abc import Sequence
from typing import TypeAlias, cast

from aws_cdk import aws_eks_v2 as eks
from constructs import Construct, IDependable

from eks_inference.manifests import Manifest

AnyCluster: TypeAlias = eks.ICluster | eks.Cluster
"""A cluster, made here or imported. ``Cluster`` stands beside its own interface because
aws-cdk-lib 2.275 does not declare one of the interface's members on it, which type
checkers would hold against every caller."""


def apply(
    scope: Construct,
    id: str,
    *,
    cluster: AnyCluster,
    manifests: Sequence[Manifest],
    after: Sequence[IDependable] = (),
) -> eks.KubernetesManifest:
    """Define the custom resource that applies ``manifests`` to ``cluster``.

    It belongs to ``scope`` and not to the cluster's stack, so that a model in another
    stack neither collides with another model's id nor makes the stacks depend on each
    other in a circle.

    Args:
        scope: Owner.
        id: Construct id.
        cluster: Cluster with a kubectl provider.
        manifests: Objects, in the order in which they are created.
        after: What must exist before them, and be deleted only after them.
    """
    manifest = eks.KubernetesManifest(
        scope, id, cluster=cast("eks.ICluster", cluster), manifest=list(manifests)
    )
    if after:
        manifest.node.add_dependency(*after)
    return manifest
