"""A role that the pods of one service account get, and nobody else."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jsii
from aws_cdk import Aws
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from eks_inference._check import Problems
from eks_inference._cluster import AnyCluster, facts, kind_problems

_POD_IDENTITY = "pods.eks.amazonaws.com"


@jsii.implements(iam.IGrantable)
class PodIdentityRole(Construct):
    """An IAM role bound to a Kubernetes service account by EKS Pod Identity.

    Defines one IAM role and one Pod Identity association. EKS injects the credentials
    when a pod is created, so the association must exist before the pods: let what
    creates them depend on this construct. Needs the ``eks-pod-identity-agent`` add-on.

    Args:
        cluster: Cluster of the service account.
        namespace: Namespace of the service account.
        service_account: Name of the service account; it needs no annotation.
        statements: Inline policy, by name, as lists of policy statements in IAM's own
            JSON form. Default: none; grant to the construct instead.
        managed_policies: AWS managed policies. Default: none.
        description: Description of the role. Default: names the service account.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        importer = PodIdentityRole(
            stack,
            "Importer",
            cluster=cluster,
            namespace="inference",
            service_account="importer",
        )
        store.grant_write(importer, "models/")
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        namespace: str,
        service_account: str,
        statements: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        managed_policies: Sequence[iam.IManagedPolicy] = (),
        description: str | None = None,
    ) -> None:
        with Problems(f"role {id!r}") as problems:
            problems.dns_label("namespace", namespace)
            problems.dns_label("service_account", service_account)
            problems.include(kind_problems(cluster))
            if not isinstance(statements or {}, Mapping):
                problems.broken("'statements' must map names to policies", statements)
                statements = None
            for policy, content in (statements or {}).items():
                problems.not_empty(
                    f"statements[{policy!r}]", content, repair="remove the policy"
                )
            if problems.sequence("managed_policies", managed_policies):
                for managed in managed_policies:
                    problems.resource(
                        "managed_policies",
                        managed,
                        "managed_policy_arn",
                        kind="managed policies of aws_iam",
                    )
            if description is not None:
                problems.text("description", description)
        name = facts(cluster).name
        super().__init__(scope, id)
        self._role = iam.Role(
            self,
            "Resource",
            assumed_by=pod_identity_principal(),
            description=description
            or f"Pods of service account {namespace}/{service_account}",
            managed_policies=list(managed_policies) or None,
            inline_policies={
                name: iam.PolicyDocument.from_json(
                    {"Version": "2012-10-17", "Statement": list(policy)}
                )
                for name, policy in (statements or {}).items()
            }
            or None,
        )
        self._association = eks.CfnPodIdentityAssociation(
            self,
            "Association",
            cluster_name=name,
            namespace=namespace,
            service_account=service_account,
            role_arn=self._role.role_arn,
        )

    @property
    def role(self) -> iam.Role:
        """The role."""
        return self._role

    @property
    def association(self) -> eks.CfnPodIdentityAssociation:
        """What binds the role to the service account."""
        return self._association

    @property
    def grant_principal(self) -> iam.IPrincipal:
        """The role, for the ``grant_*`` methods of other constructs."""
        return self._role.grant_principal


@cache
def pod_identity_principal() -> iam.IPrincipal:
    """Return the principal that Pod Identity assumes roles with.

    Session tags carry cluster, namespace and service account, so that policies can
    tell pods apart. Only this account's clusters may assume the role (confused
    deputy). The same for every role, so it is made once: a call to jsii is what a
    synthesis waits for.
    """
    return iam.SessionTagsPrincipal(
        iam.ServicePrincipal(
            _POD_IDENTITY,
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
