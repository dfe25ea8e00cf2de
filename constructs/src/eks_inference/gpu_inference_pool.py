"""A pool of GPU nodes that grows when models ask for it and shrinks to nothing."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from eks_inference._apply import AnyCluster, apply
from eks_inference.accelerator import Accelerator
from eks_inference.capacity import Capacity
from eks_inference.manifests.gpu_pool import node_class, node_pool
from eks_inference.planning.pool import GpuPool


class IGpuInferencePool(Protocol):
    """What a model needs to know of its pool (satisfied structurally)."""

    @property
    def cluster(self) -> AnyCluster:
        """Cluster of the pool."""

    @property
    def pool(self) -> GpuPool:
        """The pool as a value."""

    @property
    def manifest(self) -> IDependable:
        """What must exist before a model of the pool, and be deleted after it."""


class GpuInferencePool(Construct):
    """GPU nodes that Karpenter launches for pending pods and removes when empty.

    Defines one NodePool and one EC2NodeClass on an existing cluster. The nodes run
    Bottlerocket with the SOCI snapshotter's parallel pull, keep images on the local
    NVMe where there is any, admit only pods that tolerate ``nvidia.com/gpu``, and give
    no pod the node's credentials. The cluster needs Karpenter (checked against 1.14),
    and subnets tagged ``karpenter.sh/discovery`` with its name.

    Args:
        cluster: Cluster with a kubectl provider.
        node_instance_profile: Instance profile whose role may join the cluster.
        security_group_ids: Security groups of the nodes. Default: those with the tag
            ``karpenter.sh/discovery``.
        accelerators: GPUs that the pool may use. More than one gives spot more to
            choose from. Default: A10G and L4, which both have 22.4 GiB.
        gpus_per_node: GPUs of a node. Default: 1.
        capacity: How instances are bought. Default: spot, and on-demand where there
            is no spot.
        max_gpus: Most GPUs of the whole pool. Default: 10.
        consolidate_after_seconds: How long an empty node is kept; at least 300, since
            a node that goes at once makes every dip of the load a cold start.
            Default: 600.
        ami_alias: Pinned Bottlerocket release. Default: 1.64.0, which has variants
            for Kubernetes 1.31 to 1.36 and the R580 driver that CUDA 13 needs.
        name: Name of the NodePool. Default: the construct id in lower case.
        tags: Tags of the instances and volumes. Default: none; CDK's do not reach
            what Karpenter launches.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        node_instance_profile: iam.IInstanceProfile,
        security_group_ids: Sequence[str] = (),
        accelerators: Sequence[Accelerator] = (Accelerator.A10G, Accelerator.L4),
        gpus_per_node: int = 1,
        capacity: Capacity | None = None,
        max_gpus: int = 10,
        consolidate_after_seconds: int = 600,
        ami_alias: str = "bottlerocket@v1.64.0",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        pool = GpuPool(
            name=name or id.lower(),
            accelerators=tuple(accelerators),
            gpus_per_node=gpus_per_node,
            capacity=capacity or Capacity.spot_with_fallback(),
            max_gpus=max_gpus,
            consolidate_after_seconds=consolidate_after_seconds,
            ami_alias=ami_alias,
        )
        super().__init__(scope, id)
        self._cluster = cluster
        self._pool = pool
        self._manifest = apply(
            self,
            "Resource",
            cluster=cluster,
            manifests=[
                node_class(
                    pool,
                    cluster_name=cluster.cluster_name,
                    instance_profile=node_instance_profile.instance_profile_name,
                    security_group_ids=security_group_ids,
                    tags=tags or {},
                ),
                node_pool(pool),
            ],
        )

    @property
    def cluster(self) -> AnyCluster:
        """Cluster of the pool."""
        return self._cluster

    @property
    def pool(self) -> GpuPool:
        """The pool as a value."""
        return self._pool

    @property
    def manifest(self) -> eks.KubernetesManifest:
        """The resource that applies the NodePool and the EC2NodeClass."""
        return self._manifest
