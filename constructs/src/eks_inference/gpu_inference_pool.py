"""A pool of GPU nodes that grows when models ask for it and shrinks to nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

from constructs import Construct, IDependable

from eks_inference._check import Problems, is_token
from eks_inference._cluster import AnyCluster, apply, cluster_problems, facts
from eks_inference._headroom import define_headroom, headroom_problems
from eks_inference._patches import JsonPatches, patch_problems, patched
from eks_inference.accelerator import Accelerator
from eks_inference.capacity import Capacity
from eks_inference.guardrails import path_of, place
from eks_inference.image_snapshot import ImageSnapshot
from eks_inference.manifests import Manifest
from eks_inference.manifests.gpu_pool import node_class, node_pool
from eks_inference.model import Model
from eks_inference.node_drain import node_drain
from eks_inference.node_identity import NodeIdentity
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION
from eks_inference.planning.pool import GpuPool
from eks_inference.planning.sharing import shared_nodes
from eks_inference.rules import PoolFacts

_KINDS = ("EC2NodeClass", "NodePool")

_KARPENTERS_TAGS = (
    "karpenter.sh/",
    "karpenter.k8s.aws/",
    "kubernetes.io/cluster/",
    "eks:eks-cluster-name",
)
"""Tags that Karpenter sets itself and refuses from others (EC2NodeClass, ``tags``)."""


class IGpuInferencePool(Protocol):
    """What a model needs to know of its pool (satisfied structurally)."""

    @property
    def cluster(self) -> AnyCluster:
        """Cluster of the pool."""

    @property
    def pool(self) -> GpuPool:
        """The pool as a value."""

    @property
    def facts(self) -> PoolFacts | None:
        """What guardrails look at, or None for a pool that is not of this app."""

    @property
    def manifest(self) -> IDependable | None:
        """What must exist before a model of the pool, if the app defines it."""


class GpuInferencePool(Construct):
    """GPU nodes that Karpenter launches for pending pods and removes when empty.

    Defines one NodePool and one EC2NodeClass on an existing cluster. The nodes run
    Bottlerocket with the SOCI snapshotter's parallel pull, keep images on the local
    NVMe where there is any (``image_snapshot`` changes both), admit only pods that
    tolerate ``nvidia.com/gpu``, and give no pod the node's credentials. The cluster
    needs Karpenter (checked against 1.14), and subnets tagged
    ``karpenter.sh/discovery`` with its name.

    Its deletion waits until EC2 knows no instance of the pool, for at most 14 minutes
    after kubectl's own wait, and fails otherwise; see ``docs/teardown.md``. Where the
    app installs Karpenter too, ``pool.node.add_dependency(karpenter)`` keeps it until
    then.

    Args:
        cluster: Cluster of ``aws_eks`` or ``aws_eks_v2`` with a kubectl provider, made
            here or imported.
        nodes: Role of the nodes. Default: ``KarpenterNodeRole-<cluster>``, which
            Karpenter's own installation guide creates.
        security_group_ids: Security groups of the nodes. Default: those with the tag
            ``karpenter.sh/discovery``.
        accelerators: GPUs that the pool may use. More than one gives spot more to
            choose from. Default: A10G and L4, which both have 22.4 GiB.
        gpus_per_node: GPUs of a node. Default: 1.
        capacity: How instances are bought. Default: spot, and on-demand where there
            is no spot.
        max_gpus: Most GPUs of the whole pool; bounds what it can cost. Default: 11,
            for the ten replicas that a model has at most and one that replaces them.
        consolidate_after_seconds: How long an empty node is kept; at least a cold
            start (300), since a node that goes at once makes every dip of the load
            another one. Default: 600.
        ami_alias: Pinned Bottlerocket release. Default: 1.64.0, which has variants
            for Kubernetes 1.31 to 1.36 and the R580 driver that CUDA 13 needs.
        name: Name of the NodePool. Default: the construct id in lower case.
        tags: Tags of the instances and volumes. Default: none; CDK's do not reach
            what Karpenter launches.
        json_patches: Changes to the rendered ``NodePool`` and ``EC2NodeClass``, by
            kind; guardrails judge the result. Default: none.
        headroom_nodes: Spare nodes with the images of the pool's models on them, each
            held by a placeholder that yields to any replica at once. They count against
            ``max_gpus`` and cost what nodes cost; see ``docs/headroom.md``. Default: 0.
        headroom_namespace: Namespace of the placeholders. Default: ``inference``, as
            for models.
        headroom_image: Image that holds the spare nodes by its own entry point, such as
            a mirror of ``pause``, instead of the images of the models; a replica then
            pulls its own. Default: the models' images.
        image_snapshot: EBS snapshot that their data volume is made from, so that the
            images on it need no pull; see ``docs/image-snapshot.md``. The nodes then
            keep images there and not on local NVMe, and pull what is not on it with the
            default snapshotter. Default: none.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        GpuInferencePool(
            stack,
            "Gpu24",
            cluster=cluster,
            accelerators=[Accelerator.A10G, Accelerator.L4],
            capacity=Capacity.spot_with_fallback(),
        )
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        nodes: NodeIdentity | None = None,
        security_group_ids: Sequence[str] = (),
        accelerators: Sequence[Accelerator] = (Accelerator.A10G, Accelerator.L4),
        gpus_per_node: int = 1,
        capacity: Capacity | None = None,
        max_gpus: int = 11,
        consolidate_after_seconds: int = 600,
        ami_alias: str = "bottlerocket@v1.64.0",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        json_patches: JsonPatches | None = None,
        headroom_nodes: int = 0,
        headroom_namespace: str = "inference",
        headroom_image: str | None = None,
        image_snapshot: ImageSnapshot | None = None,
    ) -> None:
        patches = json_patches or {}
        bought = capacity or Capacity.spot_with_fallback()
        with Problems(f"pool {id!r}") as problems:
            problems.include(cluster_problems(cluster))
            problems.include(patch_problems(patches, _KINDS))
            problems.include(_node_problems(nodes, security_group_ids, tags or {}))
            problems.instance("capacity", bought, Capacity)
            problems.include(headroom_problems(headroom_namespace, headroom_image))
            listed = _accelerators(problems, accelerators)
            pool = problems.attempt(
                lambda: GpuPool(
                    name=id.lower() if name is None else name,
                    accelerators=listed,
                    gpus_per_node=gpus_per_node,
                    capacity=bought,
                    max_gpus=max_gpus,
                    consolidate_after_seconds=consolidate_after_seconds,
                    ami_alias=ami_alias,
                    headroom_nodes=headroom_nodes,
                    image_snapshot=image_snapshot,
                )
            )
        assert pool is not None  # or its problems have been raised
        known = facts(cluster)
        identity = nodes or NodeIdentity.from_role_name(
            f"KarpenterNodeRole-{known.name}"
        )
        made = node_class(
            pool,
            cluster_name=known.name,
            nodes=identity,
            security_group_ids=security_group_ids,
            tags=tags or {},
        )
        manifests = patched([made, node_pool(pool)], patches)
        report, scope_path = place(scope)
        path = path_of(scope_path, id)
        report.claim(path, "pool", known.key, pool.name)
        super().__init__(scope, id)
        self._cluster, self._pool = cluster, pool
        by_kind = {manifest["kind"]: manifest for manifest in manifests}
        self._facts = PoolFacts(path=path, pool=pool, manifests=by_kind)
        report.pools.append(self._facts)
        report.constructs[path] = self
        self._manifest = _applied(
            self, manifests, cluster=cluster, needs=[identity.name, *security_group_ids]
        )
        if pool.headroom_nodes:
            define_headroom(
                self,
                "Headroom",
                cluster=cluster,
                facts=self._facts,
                report=report,
                namespace=headroom_namespace,
                image=headroom_image,
                after=self._manifest,
            )

    @classmethod
    def for_models(
        cls,
        scope: Construct,
        id: str,
        *,
        models: Sequence[Model],
        cluster: AnyCluster,
        accelerators: Sequence[Accelerator] | None = None,
        gpus_per_node: int | None = None,
        vllm_version: str = DEFAULT_VLLM_VERSION,
        **others: Any,
    ) -> Self:
        """Define a pool whose GPUs follow from the models that share it.

        The cheapest nodes on which every model fits, and other GPUs whose nodes cost
        at most twice as much; see ``shared_nodes`` in ``eks_inference.planning``.

        Args:
            scope: Owner.
            id: Construct id.
            models: Models with a checkpoint.
            cluster: Cluster with a kubectl provider.
            accelerators: GPUs to choose from. Default: all with x86-64 processors.
            gpus_per_node: GPUs of a node. Default: any number.
            vllm_version: Release of vLLM. Default: that of the library's image.
            others: The other arguments of the class, by name.

        Raises:
            ConfigurationError: A model fits no GPU, two models have none in common,
                or values break rules.

        Example:
            ```python
            from eks_inference.planning import CHECKPOINTS

            chat = Model.from_bucket(
                store,
                "models/llama-8b/",
                name="llama-8b",
                checkpoint=CHECKPOINTS["llama-3.1-8b"],
            )
            pool = GpuInferencePool.for_models(
                stack, "Shared", models=[chat], cluster=cluster
            )
            ```
        """
        with Problems(f"pool {id!r}") as problems:
            nodes = problems.attempt(
                lambda: shared_nodes(
                    models,
                    accelerators=accelerators,
                    gpus_per_node=gpus_per_node,
                    vllm_version=vllm_version,
                )
            )
        assert nodes is not None  # or its problems have been raised
        return cls(
            scope,
            id,
            cluster=cluster,
            accelerators=nodes.accelerators,
            gpus_per_node=nodes.gpus_per_node,
            **others,
        )

    @classmethod
    def from_pool_name(
        cls,
        name: str,
        *,
        cluster: AnyCluster,
        accelerators: Sequence[Accelerator] = (Accelerator.A10G, Accelerator.L4),
        gpus_per_node: int = 1,
        capacity: Capacity | None = None,
        max_gpus: int = 11,
    ) -> IGpuInferencePool:
        """Return a pool that another app has made, for models of this one.

        Args:
            name: Name of the NodePool.
            cluster: Cluster of the pool.
            accelerators: GPUs that the pool may use; models are rendered for them.
            gpus_per_node: GPUs of a node.
            capacity: How its instances are bought. Default: as for a new pool, which
                is the cautious assumption.
            max_gpus: Most GPUs of the whole pool.

        Raises:
            ConfigurationError: Values break rules; all of them are named.
        """
        bought = capacity or Capacity.spot_with_fallback()
        with Problems(f"pool {name!r}") as problems:
            listed = _accelerators(problems, accelerators)
            problems.instance("capacity", bought, Capacity)
        return _ImportedPool(
            cluster,
            GpuPool(
                name=name,
                accelerators=listed,
                gpus_per_node=gpus_per_node,
                capacity=bought,
                max_gpus=max_gpus,
            ),
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
    def facts(self) -> PoolFacts:
        """What guardrails look at."""
        return self._facts

    @property
    def manifest(self) -> Construct:
        """The resource that applies the NodePool and the EC2NodeClass."""
        return self._manifest


def _applied(
    scope: Construct,
    manifests: Sequence[Manifest],
    *,
    cluster: AnyCluster,
    needs: Sequence[str],
) -> Construct:
    """Define what applies the pool, and what waits for its nodes when it is deleted."""
    [name] = [
        item["metadata"]["name"] for item in manifests if item["kind"] == "NodePool"
    ]
    drain = node_drain(
        scope,
        "NodeDrain",
        cluster_name=facts(cluster).name,
        node_pool=name,
        needs=needs,
    )
    return apply(scope, "Resource", cluster=cluster, manifests=manifests, after=[drain])


def _accelerators(problems: Problems, given: object) -> tuple[Accelerator, ...]:
    if not problems.sequence("accelerators", given):
        return (Accelerator.L4,)  # the other values can still be judged
    assert isinstance(given, list | tuple)
    listed = [
        item for item in given if problems.instance("accelerators", item, Accelerator)
    ]
    return tuple(listed) if listed or not given else (Accelerator.L4,)


def _node_problems(
    nodes: NodeIdentity | None, groups: Sequence[str], tags: object
) -> list[str]:
    problems = Problems()
    if nodes is not None:
        problems.instance("nodes", nodes, NodeIdentity)
    if problems.sequence("security_group_ids", groups):
        for group in groups:
            if not is_token(str(group)):
                problems.matches(
                    "security_group_ids",
                    group,
                    r"sg-[0-9a-f]{8,17}",
                    rule="ids of security groups",
                )
    if not isinstance(tags, Mapping):
        problems.broken("'tags' must map names to values", tags)
        return problems.messages
    for key, value in tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            problems.broken("'tags' must map texts to texts", {key: value})
        elif not key or key.startswith(_KARPENTERS_TAGS):
            problems.broken(
                "'tags' must not be empty or Karpenter's own "
                f"({', '.join(_KARPENTERS_TAGS)})",
                key,
                "rename it",
            )
    return problems.messages


class _ImportedPool:
    def __init__(self, cluster: AnyCluster, pool: GpuPool) -> None:
        self.cluster = cluster
        self.pool = pool

    @property
    def facts(self) -> None:
        return None

    @property
    def manifest(self) -> None:
        return None
