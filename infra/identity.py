"""Who may do what: every role that the platform's own parts have, in one place.

All roles but the nodes' are bound to one service account by EKS Pod Identity. The
role of a model is the library's: it reads the model's own prefix, see
``eks_inference.queue_scaled_model``.
"""

from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from eks_inference import ImageCache

Statements = list[dict[str, Any]]

_NODE_POLICIES = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore",
)
"""What Karpenter's documentation gives its nodes (v1.14, reference/cloudformation)."""


def node_role(scope: Construct, id: str, *, images: ImageCache) -> iam.Role:
    """Define a role of nodes.

    Pods cannot use it: the metadata service answers no request that took a hop.

    Args:
        scope: Owner.
        id: Construct id.
        images: Cache that fills itself by pulls of nodes.
    """
    role = iam.Role(
        scope,
        id,
        description="Nodes of the cluster: join it, pull images",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        managed_policies=[
            iam.ManagedPolicy.from_aws_managed_policy_name(name)
            for name in _NODE_POLICIES
        ],
    )
    images.grant_pull(role)
    return role


def secrets_key_statements(key_arn: str) -> Statements:
    """Return what the control plane needs to encrypt secrets with a key of ours."""
    return [
        {
            "Effect": "Allow",
            "Action": [
                "kms:CreateGrant",
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
            ],
            "Resource": key_arn,
        }
    ]


def efs_csi_statements(scope: Construct) -> dict[str, Statements]:
    """Return the policy of the EFS CSI controller.

    Volumes are static, so it describes and never creates. The file systems come later
    than the driver, and zones have no ARN: hence the wildcards.
    """
    stack = Stack.of(scope)
    return {
        "Describe": [
            {
                "Effect": "Allow",
                "Action": [
                    "elasticfilesystem:DescribeAccessPoints",
                    "elasticfilesystem:DescribeFileSystems",
                    "elasticfilesystem:DescribeMountTargets",
                ],
                "Resource": [
                    stack.format_arn(
                        service="elasticfilesystem", resource=kind, resource_name="*"
                    )
                    for kind in ("access-point", "file-system")
                ],
            },
            {
                "Effect": "Allow",
                "Action": "ec2:DescribeAvailabilityZones",
                "Resource": "*",
            },
        ]
    }


def karpenter_statements(
    scope: Construct,
    *,
    cluster_name: str,
    node_role_arn: str,
    queue_arn: str,
) -> dict[str, Statements]:
    """Return the policy of Karpenter's controller.

    What version 1.14 needs, from its getting-started CloudFormation template
    (aws/karpenter-provider-aws, website/content/en/v1.14, at e0834c2), less the
    statements for instance profiles: ours is named in every EC2NodeClass and belongs
    to CloudFormation. It changes by minor version: read it again when the chart moves.

    Wildcards below stand for what does not exist yet (instances, volumes, launch
    templates), bounded by the tags that Karpenter must set; for AWS's own images and
    parameters; and for the describe, list and price calls that IAM cannot scope.

    Args:
        scope: Construct whose stack gives account, region and partition.
        cluster_name: A plain text, since it stands in condition keys.
        node_role_arn: The only role that Karpenter may hand to an instance.
        queue_arn: Queue of the interruption events.
    """
    stack = Stack.of(scope)
    ec2 = f"arn:{stack.partition}:ec2:{stack.region}"
    cluster_arn = stack.format_arn(
        service="eks", resource="cluster", resource_name=cluster_name
    )
    owned = f"kubernetes.io/cluster/{cluster_name}"
    own_resource = {
        "StringEquals": {f"aws:ResourceTag/{owned}": "owned"},
        "StringLike": {"aws:ResourceTag/karpenter.sh/nodepool": "*"},
    }
    own_request = {
        "StringEquals": {
            f"aws:RequestTag/{owned}": "owned",
            "aws:RequestTag/eks:eks-cluster-name": cluster_name,
        },
        "StringLike": {"aws:RequestTag/karpenter.sh/nodepool": "*"},
    }
    creatable = [
        f"{ec2}:*:{kind}/*"
        for kind in (
            "fleet",
            "instance",
            "volume",
            "network-interface",
            "launch-template",
            "spot-instances-request",
        )
    ]
    return {
        "NodeLifecycle": [
            {
                "Sid": "LaunchFromExistingParts",
                "Effect": "Allow",
                "Action": ["ec2:RunInstances", "ec2:CreateFleet"],
                "Resource": [
                    f"{ec2}::image/*",
                    f"{ec2}::snapshot/*",
                    f"{ec2}:*:security-group/*",
                    f"{ec2}:*:subnet/*",
                    f"{ec2}:*:capacity-reservation/*",
                    f"{ec2}:*:placement-group/*",
                ],
            },
            {
                "Sid": "LaunchFromOwnTemplates",
                "Effect": "Allow",
                "Action": ["ec2:RunInstances", "ec2:CreateFleet"],
                "Resource": f"{ec2}:*:launch-template/*",
                "Condition": own_resource,
            },
            {
                "Sid": "CreateTagged",
                "Effect": "Allow",
                "Action": [
                    "ec2:RunInstances",
                    "ec2:CreateFleet",
                    "ec2:CreateLaunchTemplate",
                ],
                "Resource": creatable,
                "Condition": own_request,
            },
            {
                "Sid": "TagOnCreation",
                "Effect": "Allow",
                "Action": "ec2:CreateTags",
                "Resource": creatable,
                "Condition": {
                    **own_request,
                    "StringEquals": {
                        **own_request["StringEquals"],
                        "ec2:CreateAction": [
                            "RunInstances",
                            "CreateFleet",
                            "CreateLaunchTemplate",
                        ],
                    },
                },
            },
            {
                "Sid": "TagOwnInstances",
                "Effect": "Allow",
                "Action": "ec2:CreateTags",
                "Resource": f"{ec2}:*:instance/*",
                "Condition": {
                    **own_resource,
                    "StringEqualsIfExists": {
                        "aws:RequestTag/eks:eks-cluster-name": cluster_name
                    },
                    "ForAllValues:StringEquals": {
                        "aws:TagKeys": [
                            "eks:eks-cluster-name",
                            "karpenter.sh/nodeclaim",
                            "Name",
                        ]
                    },
                },
            },
            {
                "Sid": "DeleteOwn",
                "Effect": "Allow",
                "Action": ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
                "Resource": [f"{ec2}:*:instance/*", f"{ec2}:*:launch-template/*"],
                "Condition": own_resource,
            },
        ],
        "Identity": [
            {
                "Sid": "HandNodeRoleToInstances",
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": node_role_arn,
                "Condition": {
                    "StringEquals": {
                        "iam:PassedToService": [
                            "ec2.amazonaws.com",
                            "ec2.amazonaws.com.cn",
                        ]
                    }
                },
            },
            {
                "Sid": "ReadInstanceProfiles",
                "Effect": "Allow",
                "Action": "iam:GetInstanceProfile",
                "Resource": stack.format_arn(
                    service="iam",
                    region="",
                    resource="instance-profile",
                    resource_name="*",
                ),
            },
            {
                # its garbage collection lists them, whoever made them
                "Sid": "ListInstanceProfiles",
                "Effect": "Allow",
                "Action": "iam:ListInstanceProfiles",
                "Resource": "*",
            },
        ],
        "Discovery": [
            {
                "Sid": "FindControlPlane",
                "Effect": "Allow",
                "Action": "eks:DescribeCluster",
                "Resource": cluster_arn,
            },
            {
                "Sid": "DescribeRegion",
                "Effect": "Allow",
                "Action": [
                    "ec2:DescribeCapacityReservations",
                    "ec2:DescribeImages",
                    "ec2:DescribeInstances",
                    "ec2:DescribeInstanceStatus",
                    "ec2:DescribeInstanceTypeOfferings",
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeLaunchTemplates",
                    "ec2:DescribePlacementGroups",
                    "ec2:DescribeSecurityGroups",
                    "ec2:DescribeSpotPriceHistory",
                    "ec2:DescribeSubnets",
                ],
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:RequestedRegion": stack.region}},
            },
            {
                "Sid": "FindImages",
                "Effect": "Allow",
                "Action": "ssm:GetParameter",
                "Resource": (
                    f"arn:{stack.partition}:ssm:{stack.region}::parameter/aws/service/*"
                ),
            },
            {
                "Sid": "ReadPrices",
                "Effect": "Allow",
                "Action": "pricing:GetProducts",
                "Resource": "*",
            },
        ],
        "Interruption": [
            {
                "Sid": "ReadInterruptions",
                "Effect": "Allow",
                "Action": [
                    "sqs:DeleteMessage",
                    "sqs:GetQueueUrl",
                    "sqs:ReceiveMessage",
                ],
                "Resource": queue_arn,
            }
        ],
    }


def admit_nodes(scope: Construct, id: str, *, cluster_name: str, role_arn: str) -> None:
    """Let instances with this role join the cluster as nodes."""
    eks.CfnAccessEntry(
        scope,
        id,
        cluster_name=cluster_name,
        principal_arn=role_arn,
        type="EC2_LINUX",
    )


def admit_administrator(id: str, *, cluster: eks.Cluster, role_arn: str) -> None:
    """Let a role administer the whole cluster."""
    cluster.grant_cluster_admin(id, role_arn)
