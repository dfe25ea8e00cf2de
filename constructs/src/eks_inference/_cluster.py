"""What the constructs need to know of a cluster, whichever module it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from weakref import WeakKeyDictionary

from aws_cdk import Duration
from aws_cdk import aws_eks_v2 as eks_v2
from constructs import Construct, IDependable

from eks_inference._check import ConfigurationError, Problems
from eks_inference.manifests import Manifest

if TYPE_CHECKING:
    from aws_cdk import aws_eks as eks

AnyCluster: TypeAlias = "eks_v2.ICluster | eks_v2.Cluster | eks.ICluster | eks.Cluster"
"""A cluster of ``aws_eks`` or ``aws_eks_v2``, made here or imported. The classes stand
beside their own interfaces because aws-cdk-lib 2.275 does not declare every member of
the interfaces on them, which type checkers would hold against every caller."""

_KUBECTL_REPAIR = (
    "'cluster' must have a kubectl provider, got {name!r} without one; pass "
    "'kubectl_provider_options' when it is created, or 'kubectl_provider' when it is "
    "imported (aws_eks: 'kubectl_role_arn' and 'kubectl_layer')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """A cluster, asked once: each answer is a call to JavaScript.

    Args:
        name: Name of the cluster; may be a token.
        key: Account, region and name, which together are one cluster.
        is_v2: Whether the cluster is one of ``aws_eks_v2``.
        has_kubectl: Whether manifests can be applied to it.
    """

    name: str
    key: str
    is_v2: bool
    has_kubectl: bool


_KNOWN: WeakKeyDictionary[Any, ClusterFacts] = WeakKeyDictionary()


def facts(cluster: AnyCluster) -> ClusterFacts:
    """Return what is known of a cluster."""
    known = _KNOWN.get(cluster)
    if known is None:
        # only the older module's clusters know a role for kubectl; an imported cluster
        # is a proxy, whose class does not tell
        is_v2 = not hasattr(cluster, "kubectl_role")
        # a cluster that the older module makes has no attribute for its provider
        provider = getattr(cluster, "kubectl_provider", None)
        if not is_v2:
            provider = provider or cast("eks.ICluster", cluster).kubectl_role
        name, place = cluster.cluster_name, cluster.env
        known = ClusterFacts(
            name=name,
            key=f"{place.account}/{place.region}/{name}",
            is_v2=is_v2,
            has_kubectl=provider is not None,
        )
        _KNOWN[cluster] = known
    return known


def _is_known(cluster: object) -> bool:
    try:
        return cluster in _KNOWN
    except TypeError:  # what nothing can refer to weakly is no construct
        return False


def kind_problems(cluster: AnyCluster) -> list[str]:
    """Return why something is no cluster."""
    problems = Problems()
    if _is_known(cluster):
        # each question is a call to JavaScript, and this one has been answered
        return problems.messages
    problems.resource(
        "cluster",
        cluster,
        "cluster_name",
        kind="a cluster of aws_eks or aws_eks_v2",
    )
    return problems.messages


def cluster_problems(cluster: AnyCluster) -> list[str]:
    """Return why nothing can be applied to a cluster."""
    problems = kind_problems(cluster)
    if not problems and not facts(cluster).has_kubectl:
        problems.append(_KUBECTL_REPAIR.format(name=facts(cluster).name))
    return problems


def apply(
    scope: Construct,
    id: str,
    *,
    cluster: AnyCluster,
    manifests: Sequence[Manifest],
    after: Sequence[IDependable] = (),
) -> Construct:
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

    Raises:
        ConfigurationError: The cluster has no kubectl provider.
    """
    problems = cluster_problems(cluster)
    if problems:
        raise ConfigurationError(problems)
    manifest: Construct
    if facts(cluster).is_v2:
        manifest = eks_v2.KubernetesManifest(
            scope,
            id,
            cluster=cast("eks_v2.ICluster", cluster),
            manifest=list(manifests),
        )
    else:
        # a module of its own weight, which most apps do without
        from aws_cdk import aws_eks as eks  # noqa: PLC0415

        manifest = eks.KubernetesManifest(
            scope,
            id,
            cluster=cast("eks.ICluster", cluster),
            manifest=list(manifests),
        )
    if after:
        manifest.node.add_dependency(*after)
    return manifest


_READY_MINUTES = 14
"""CDK's handler of such queries ends after 15 minutes, whatever it still waits for."""


def await_replica(
    scope: Construct,
    id: str,
    *,
    cluster: AnyCluster,
    namespace: str,
    deployment: str,
    after: IDependable,
) -> Construct:
    """Define what makes a deployment wait until one replica is ready.

    Args:
        scope: Owner.
        id: Construct id.
        cluster: Cluster with a kubectl provider.
        namespace: Namespace of the Deployment.
        deployment: Name of the Deployment.
        after: What applies the Deployment.
    """
    options: dict[str, Any] = {
        "object_type": "deployment",
        "object_name": deployment,
        "object_namespace": namespace,
        "json_path": ".status.readyReplicas",
        "timeout": Duration.minutes(_READY_MINUTES),
    }
    value: Construct
    if facts(cluster).is_v2:
        value = eks_v2.KubernetesObjectValue(
            scope, id, cluster=cast("eks_v2.ICluster", cluster), **options
        )
    else:
        from aws_cdk import aws_eks as eks  # noqa: PLC0415

        value = eks.KubernetesObjectValue(
            scope, id, cluster=cast("eks.ICluster", cluster), **options
        )
    value.node.add_dependency(after)
    return value
