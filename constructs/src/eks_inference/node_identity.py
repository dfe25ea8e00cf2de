"""Which role the nodes of a pool have."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from eks_inference._check import Problems

if TYPE_CHECKING:
    from aws_cdk import aws_iam as iam


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """The role of a pool's nodes, as Karpenter takes it. Use a factory.

    Whichever it is: an access entry of type ``EC2_LINUX`` must let the role join the
    cluster, and Karpenter's controller must be allowed to pass it.

    Args:
        kind: ``role`` or ``instanceProfile``, the fields of an EC2NodeClass.
        name: Name of the role or of the instance profile; may be a token.

    Example:
        ```python
        nodes = NodeIdentity.from_role_name("gpu-nodes")
        GpuInferencePool(stack, "Gpu", cluster=cluster, nodes=nodes)
        ```
    """

    kind: str
    name: str

    def __post_init__(self) -> None:
        with Problems("nodes") as problems:
            problems.one_of("kind", self.kind, ("role", "instanceProfile"))
            problems.text("name", self.name)

    @classmethod
    def from_instance_profile(cls, profile: "iam.IInstanceProfile") -> Self:
        """Use an instance profile that exists, or that the app makes.

        The better choice: CloudFormation owns the profile, so that its role can be
        deleted, and Karpenter needs no right to make profiles.

        Args:
            profile: The profile.
        """
        return cls("instanceProfile", profile.instance_profile_name)

    @classmethod
    def from_role(cls, role: "iam.IRole") -> Self:
        """Let Karpenter make an instance profile for a role.

        Args:
            role: The role.
        """
        return cls("role", role.role_name)

    @classmethod
    def from_role_name(cls, name: str) -> Self:
        """Let Karpenter make an instance profile for a role that exists.

        Args:
            name: Name of the role.
        """
        return cls("role", name)
