"""Findings of cdk-nag that are accepted, each with its reason.

The rules are AwsSolutions'. An acknowledgement names one finding exactly, so that a
new wildcard or a new managed policy is found again. Two of the rules (EKS1, EKS2) do
not see clusters of ``aws_eks_v2``; tests of our own stand in for them.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import aws_cdk as cdk
from constructs import IConstruct

from eks_inference.node_drain import CHECKER_ID

if TYPE_CHECKING:
    from aws_cdk import aws_iam as iam

    from infra.stacks import Stacks

_AWS_POLICY = "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{}]"
_WILDCARD = "AwsSolutions-IAM5[Resource::{}]"

_CDK_MADE = (
    "CDK defines this for its kubectl handler and offers no argument for it; the "
    "handler runs in private subnets and administers this cluster alone"
)


def acknowledge_findings(stacks: "Stacks") -> None:
    """Acknowledge what the rules find and we mean."""
    _acknowledge_cluster(stacks)
    _acknowledge_efs_driver(stacks.cluster.efs_csi_role)
    _acknowledge_storage(stacks)
    _acknowledge_controllers(stacks)
    _acknowledge_models(stacks)
    _acknowledge_functions(stacks)


def _arn(stack: cdk.Stack, service: str, resource: str, account: str = "own") -> str:
    """Return an ARN as the findings write it: with names for what is not known yet."""
    resolved = {
        "region": stack.resolve(stack.region),
        "account": stack.resolve(stack.account),
    }
    region, own = (
        value if isinstance(value, str) else f"<{value['Ref']}>"
        for value in resolved.values()
    )
    owner = own if account == "own" else account
    place = "" if service == "iam" else region
    return f"arn:<AWS::Partition>:{service}:{place}:{owner}:{resource}"


def _acknowledge_cluster(stacks: "Stacks") -> None:
    cluster = stacks.cluster.cluster
    _acknowledge(
        cast("iam.Role", cluster.role),
        "EKS requires this policy on the role of a control plane",
        [_AWS_POLICY.format("AmazonEKSClusterPolicy")],
    )
    provider = cluster.node.find_child("KubectlProvider")
    handler = provider.node.find_child("Handler")
    framework = provider.node.find_child("Provider").node.find_child(
        "framework-onEvent"
    )
    public_registry = (
        '{"Fn::If":["ClusterKubectlProviderHandlerHasEcrPublic69E09706",{"Fn::Join":'
        '["",["arn:",{"Ref":"AWS::Partition"},":iam::aws:policy/'
        'AmazonElasticContainerRegistryPublicReadOnly"]]},{"Ref":"AWS::NoValue"}]}'
    )
    _acknowledge(
        provider,
        _CDK_MADE,
        [
            *map(
                _AWS_POLICY.format,
                (
                    "service-role/AWSLambdaBasicExecutionRole",
                    "service-role/AWSLambdaVPCAccessExecutionRole",
                    "AmazonEC2ContainerRegistryReadOnly",
                ),
            ),
            f"AwsSolutions-IAM4[Policy::{public_registry}]",
            "AwsSolutions-L1",
        ],
    )
    function = stacks.cluster.get_logical_id(_cfn(handler))
    _acknowledge(framework, _CDK_MADE, [_WILDCARD.format(f"<{function}.Arn>:*")])
    roles = (stacks.cluster.node_role, stacks.cluster.system_node_role)
    for role in roles:
        _acknowledge_nodes(role, stacks.registry.images.prefixes)


def _acknowledge_nodes(role: IConstruct, image_prefixes: Iterable[str]) -> None:
    _acknowledge(
        role,
        "Karpenter's documentation gives nodes these; pods cannot use the role",
        map(
            _AWS_POLICY.format,
            (
                "AmazonEKSWorkerNodePolicy",
                "AmazonEKS_CNI_Policy",
                "AmazonEC2ContainerRegistryPullOnly",
                "AmazonSSMManagedInstanceCore",
            ),
        ),
    )
    _acknowledge(
        role,
        "which images a cache will hold is not known before they are pulled",
        (
            _WILDCARD.format(_arn(cdk.Stack.of(role), "ecr", f"repository/{prefix}/*"))
            for prefix in image_prefixes
        ),
    )


def _acknowledge_efs_driver(role: IConstruct) -> None:
    _acknowledge(
        role,
        "reads only: file systems come later than their driver, and zones have no ARN",
        (
            _WILDCARD.format(_arn(cdk.Stack.of(role), "elasticfilesystem", f"{kind}/*"))
            for kind in ("access-point", "file-system")
        ),
    )
    _acknowledge(role, "zones have no ARN", [_WILDCARD.format("*")])


def _acknowledge_storage(stacks: "Stacks") -> None:
    _acknowledge(
        stacks.storage.models.bucket,
        "model weights, read by the roles of the models only; CloudTrail data events "
        "can log reads where a policy asks for it, and an access log would log every "
        "range of every cold start",
        ["AwsSolutions-S1"],
    )


def _acknowledge_controllers(stacks: "Stacks") -> None:
    platform = stacks.platform
    _acknowledge(
        platform.interruptions,
        "an event that Karpenter could not handle is stale when anyone reads it",
        ["AwsSolutions-SQS3"],
    )
    _acknowledge(
        platform.karpenter_role,
        "what Karpenter launches and deletes does not exist yet; the tags that it "
        "must set and find bound what it can touch",
        (
            *(
                _WILDCARD.format(_arn(platform, "ec2", f"{kind}/*", account=""))
                for kind in ("image", "snapshot")
            ),
            *(
                _WILDCARD.format(_arn(platform, "ec2", f"{kind}/*", account="*"))
                for kind in (
                    "security-group",
                    "subnet",
                    "capacity-reservation",
                    "placement-group",
                    "launch-template",
                    "fleet",
                    "instance",
                    "volume",
                    "network-interface",
                    "spot-instances-request",
                )
            ),
        ),
    )
    _acknowledge(
        platform.karpenter_role,
        "reads only: profiles, AWS's parameters, and calls that IAM cannot scope",
        (
            _WILDCARD.format(_arn(platform, "iam", "instance-profile/*")),
            _WILDCARD.format(
                _arn(platform, "ssm", "parameter/aws/service/*", account="")
            ),
            _WILDCARD.format("*"),
        ),
    )


def _acknowledge_models(stacks: "Stacks") -> None:
    # the finding names the bucket by the export that carries it across stacks
    export = stacks.storage.resolve(
        stacks.storage.export_value(stacks.storage.models.bucket_arn)
    )["Fn::ImportValue"]
    serving = stacks.serving
    for scope, prefixes in (
        (serving.models_scope, serving.prefixes),
        (serving.imports_scope, serving.imported_prefixes),
    ):
        _acknowledge(
            scope,
            "the objects of one model: a prefix of the bucket, and nothing beside it",
            (_WILDCARD.format(f"{export}/{prefix}*") for prefix in sorted(prefixes)),
        )


def _acknowledge_functions(stacks: "Stacks") -> None:
    counts = "counts instances; EC2 has no resource and no tag to scope this call by"
    opens = "a token opens the registry; ECR has no resource to scope this call by"
    functions = {
        stacks.platform.node.find_child(CHECKER_ID): counts,
        stacks.serving.node.find_child(CHECKER_ID): counts,
        stacks.registry.images: opens,
    }
    for owner, reason in functions.items():
        _acknowledge(owner, reason, [_WILDCARD.format("*")])
        _acknowledge(
            owner,
            "the version that CDK gives its kubectl handler, which is needed as well",
            ["AwsSolutions-L1"],
        )


def _acknowledge(scope: IConstruct, reason: str, ids: Iterable[str]) -> None:
    acknowledgements = [cdk.Acknowledgment(id=rule, reason=reason) for rule in ids]
    if acknowledgements:
        cdk.Validations.of(scope).acknowledge(*acknowledgements)


def _cfn(construct: IConstruct) -> cdk.CfnElement:
    child = construct.node.default_child
    assert isinstance(child, cdk.CfnElement)
    return child
