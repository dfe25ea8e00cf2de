"""What a deployment will ask of its account, as values."""

from collections.abc import Sequence
from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.planning.instances import InstanceType, instances_with
from eks_inference.planning.pool import GpuPool

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
"""Where ``cdk bootstrap`` notes its version (aws-cdk-lib 2.275, default qualifier)."""

BOOTSTRAP_VERSION = 6
"""Least version that aws-cdk-lib 2.275 writes into a cloud assembly
(``requiresBootstrapStackVersion``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolNeeds:
    """A GPU pool, and the largest replica that runs on it.

    Args:
        pool: The pool.
        cpu: CPUs that the largest replica requests. Default: 0, and then every
            instance type of the pool will do.
        memory_mib: Memory that the largest replica requests, in MiB. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule, or no instance type has the room.
    """

    pool: GpuPool
    cpu: float = 0
    memory_mib: float = 0

    def __post_init__(self) -> None:
        with Problems() as problems:
            problems.instance("pool", self.pool, GpuPool)
            problems.number("cpu", self.cpu, minimum=0)
            problems.number("memory_mib", self.memory_mib, minimum=0)
        with Problems(f"pool {self.pool.name!r}") as problems:
            if not self.instances:
                problems.add(
                    "'accelerators' must have an instance type with room for a "
                    f"replica, got {self.cpu:g} CPUs and {self.memory_mib:,.0f} MiB; "
                    "request less, or use other GPUs"
                )

    @property
    def nodes(self) -> int:
        """Most nodes of the pool: Karpenter never passes its limit."""
        return self.pool.max_gpus // self.pool.gpus_per_node

    @property
    def instances(self) -> tuple[InstanceType, ...]:
        """Instance types on which a replica has room, cheapest first."""
        return tuple(
            item
            for item in instances_with(
                self.pool.accelerators, gpus=self.pool.gpus_per_node
            )
            if item.allocatable_cpu >= self.cpu
            and item.allocatable_memory_mib >= self.memory_mib
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroupNeeds:
    """On-demand nodes that run from the start, such as those of the controllers.

    Args:
        instance_type: EC2 instance type, the largest of the group.
        count: How many.
    """

    instance_type: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentNeeds:
    """Everything that ``preflight`` compares an account with.

    Args:
        pools: GPU pools. Default: none.
        kubernetes_version: Version of the cluster. Default: not checked.
        availability_zones: Zones of the nodes. Default: not known by name.
        first_zones: How many of the region's zones the nodes use, in the order of
            their names, where they are not known by name; CDK counts like this in a
            stack that is bound to no region. Default: not known, any of the region.
        node_groups: Nodes that run from the start. Default: none.
        other_vcpus: Most vCPUs that Karpenter's pools without GPUs may have.
            Default: 0.
        vpcs: VPCs that will be made. Default: 0.
        elastic_ips: Elastic IP addresses that will be made. Default: 0.
        bootstrap: Parameter that holds the version of CDK's bootstrap, and the least
            version. Default: what a stack with CDK's own synthesizer needs.
        accounts: Accounts that the stacks are bound to. Default: none, any will do.
        regions: Regions that the stacks are bound to. Default: none, any will do.
        stacks: Names of the stacks. What they have already made counts as theirs and
            not as in use. Default: none.
        clusters: Names of the clusters, whose nodes likewise. Default: none.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    pools: tuple[PoolNeeds, ...] = ()
    kubernetes_version: str | None = None
    availability_zones: tuple[str, ...] = ()
    first_zones: int | None = None
    node_groups: tuple[NodeGroupNeeds, ...] = ()
    other_vcpus: float = 0
    vpcs: int = 0
    elastic_ips: int = 0
    bootstrap: tuple[str, int] = (BOOTSTRAP_PARAMETER, BOOTSTRAP_VERSION)
    accounts: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with Problems() as problems:
            problems.unique(
                "pools", _names(self.pools), repair="give each pool its own name"
            )
            if self.kubernetes_version is not None:
                problems.matches(
                    "kubernetes_version",
                    self.kubernetes_version,
                    r"1\.\d+",
                    rule="a version of Kubernetes",
                    repair="for example '1.35'",
                )
            if self.first_zones is not None:
                problems.integer("first_zones", self.first_zones, minimum=1)
            for zone in self.availability_zones:
                problems.matches(
                    "availability_zones",
                    zone,
                    r"[a-z]{2,4}(-[a-z0-9]+)+[a-z]",
                    rule="names of availability zones",
                    repair="for example 'us-east-1a'",
                )

    @property
    def uses_spot(self) -> bool:
        """Whether a pool may buy spot instances."""
        return any(item.pool.capacity.uses_spot for item in self.pools)


def _names(pools: Sequence[PoolNeeds]) -> list[str]:
    return [item.pool.name for item in pools]
