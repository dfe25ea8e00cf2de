"""What of an account belongs to a cluster, by the tags that it carries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eks_inference._check import Problems

STAGE_TAG = "eks-inference:stage"
"""Tag that the platform sets on its stacks and all that is in them, and through the
EC2NodeClass on what Karpenter launches."""

PLATFORM_CLUSTER = "inference-{stage}"
"""Name that the platform gives the cluster of a stage."""

STACK_TAG = "aws:cloudformation:stack-name"
"""Tag that CloudFormation sets on what it makes."""

REGION_TAG = "topology.kubernetes.io/region"
"""Tag that Karpenter sets on an instance profile, which belongs to no region
(aws/karpenter-provider-aws, pkg/apis/v1/ec2nodeclass.go, InstanceProfileTags)."""


def tags_of(tags: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Return tags as a mapping.

    Args:
        tags: Tags as most services list them, or None where there are none.
    """
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The cluster whose leftovers are looked for.

    Args:
        cluster: Its name.
        stage: Stage of the platform, or None where the cluster is of another app.
            Default: None.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    cluster: str
    stage: str | None = None

    def __post_init__(self) -> None:
        with Problems() as problems:
            # a tag's filter takes * and ? as wildcards, which a name must not have
            problems.matches(
                "cluster",
                self.cluster,
                r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}",
                rule="the name of an EKS cluster",
            )
            if self.stage is not None:
                problems.dns_label("stage", self.stage)

    @property
    def tags(self) -> dict[str, str]:
        """Tags by any one of which something belongs to the cluster.

        - ``kubernetes.io/cluster/<name>`` with the value ``owned``: Karpenter, EKS and
          Kubernetes' own controllers; ``shared`` is another's.
        - ``eks:eks-cluster-name``: Karpenter (aws/karpenter-provider-aws@004b39b,
          pkg/utils/utils.go, GetTags).
        - ``cluster.k8s.amazonaws.com/name``: network interfaces of the VPC CNI
          (aws/amazon-vpc-cni-k8s@3240d74, pkg/awsutils/awsutils.go).
        - ``elbv2.k8s.aws/cluster``: the AWS Load Balancer Controller.
        - ``eks-inference:stage``: the platform.
        """
        found = {
            f"kubernetes.io/cluster/{self.cluster}": "owned",
            "eks:eks-cluster-name": self.cluster,
            "cluster.k8s.amazonaws.com/name": self.cluster,
            "elbv2.k8s.aws/cluster": self.cluster,
        }
        return found if self.stage is None else {**found, STAGE_TAG: self.stage}

    def reason(self, tags: Mapping[str, str]) -> str | None:
        """Return the tag by which something belongs to the cluster, or None.

        What names another cluster is another's, whatever else it carries.

        Args:
            tags: Its tags.
        """
        if any(_names_another(key, value, self.cluster) for key, value in tags.items()):
            return None
        for key, value in self.tags.items():
            if tags.get(key) == value:
                return f"{key}={value}"
        return None


def _names_another(key: str, value: str, cluster: str) -> bool:
    prefix = "kubernetes.io/cluster/"
    if key.startswith(prefix):
        return value == "owned" and key.removeprefix(prefix) != cluster
    return (
        key
        in {
            "eks:eks-cluster-name",
            "eks:cluster-name",
            "aws:eks:cluster-name",
            "cluster.k8s.amazonaws.com/name",
            "elbv2.k8s.aws/cluster",
        }
        and value != cluster
    )
