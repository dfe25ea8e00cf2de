"""Least privilege: every policy names what it allows, or the reason why it cannot."""

import json
import re
from fnmatch import fnmatch

import pytest

from tests.app.policies import (
    ANY,
    HERE,
    KARPENTER,
    KEY_OF_ACCOUNT,
    TRUST,
    VARIANTS,
    Synthesis,
    allows,
    label,
    listed,
    policies,
    settings_of,
    synthesis,
)

TLS_ONLY = "CDK's enforce_ssl denies everything without TLS"

WILDCARD_ACTIONS = {
    ("Cluster/SecretsKey", "kms:*"): KEY_OF_ACCOUNT,
    ("Storage/Models/Key", "kms:*"): KEY_OF_ACCOUNT,
    ("Platform/Observability/Key", "kms:*"): KEY_OF_ACCOUNT,
    ("Storage/Models/Resource/Policy", "s3:*"): TLS_ONLY,
    ("Platform/Interruptions/Policy", "sqs:*"): TLS_ONLY,
    **dict.fromkeys(
        (
            ("Storage/Models/Resource/Policy", "s3:DeleteObject*"),
            ("Storage/Models/Resource/Policy", "s3:GetBucket*"),
            ("Storage/Models/Resource/Policy", "s3:List*"),
        ),
        "CDK's auto_delete_objects empties the bucket of a stage that does not retain",
    ),
}
"""Every action with a wildcard; all of them are CDK's."""

NOT_YET = "does not exist before Karpenter makes it; a condition on tags bounds it"
CHOSEN = "Karpenter chooses by tag; the launch needs all of them, and changes none"
UNSCOPED = "IAM has no resource for this call; it reads only"
IMAGES = "which images a cache will hold is not known before they are pulled"

CREATABLE = (
    "arn:aws:ec2:us-east-1:*:fleet/*",
    "arn:aws:ec2:us-east-1:*:instance/*",
    "arn:aws:ec2:us-east-1:*:launch-template/*",
    "arn:aws:ec2:us-east-1:*:network-interface/*",
    "arn:aws:ec2:us-east-1:*:spot-instances-request/*",
    "arn:aws:ec2:us-east-1:*:volume/*",
)
CACHES = (
    f"arn:aws:ecr:{HERE}:repository/<stage>-hub/*",
    f"arn:aws:ecr:{HERE}:repository/<stage>-public/*",
)

WILDCARD_RESOURCES: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    (KARPENTER, "LaunchFromExistingParts"): (
        (
            "arn:aws:ec2:us-east-1:*:capacity-reservation/*",
            "arn:aws:ec2:us-east-1:*:placement-group/*",
            "arn:aws:ec2:us-east-1:*:security-group/*",
            "arn:aws:ec2:us-east-1:*:subnet/*",
            "arn:aws:ec2:us-east-1::image/*",
            "arn:aws:ec2:us-east-1::snapshot/*",
        ),
        CHOSEN,
    ),
    (KARPENTER, "LaunchFromOwnTemplates"): (
        ("arn:aws:ec2:us-east-1:*:launch-template/*",),
        NOT_YET,
    ),
    (KARPENTER, "CreateTagged"): (CREATABLE, NOT_YET),
    (KARPENTER, "TagOnCreation"): (CREATABLE, NOT_YET),
    (KARPENTER, "TagOwnInstances"): (("arn:aws:ec2:us-east-1:*:instance/*",), NOT_YET),
    (KARPENTER, "DeleteOwn"): (
        (
            "arn:aws:ec2:us-east-1:*:instance/*",
            "arn:aws:ec2:us-east-1:*:launch-template/*",
        ),
        NOT_YET,
    ),
    (KARPENTER, "ReadInstanceProfiles"): (
        ("arn:aws:iam::111122223333:instance-profile/*",),
        "reads the profile that an EC2NodeClass names",
    ),
    (KARPENTER, "ListInstanceProfiles"): ((ANY,), UNSCOPED),
    (KARPENTER, "DescribeRegion"): ((ANY,), UNSCOPED),
    (KARPENTER, "ReadPrices"): ((ANY,), UNSCOPED),
    (KARPENTER, "FindImages"): (
        ("arn:aws:ssm:us-east-1::parameter/aws/service/*",),
        "AWS's own public parameters, which name the newest images",
    ),
    ("Cluster/EfsCsiRole", "elasticfilesystem:DescribeAccessPoints"): (
        (
            f"arn:aws:elasticfilesystem:{HERE}:access-point/*",
            f"arn:aws:elasticfilesystem:{HERE}:file-system/*",
        ),
        "reads only; the file systems come in a later stack than their driver",
    ),
    ("Cluster/EfsCsiRole", "ec2:DescribeAvailabilityZones"): ((ANY,), UNSCOPED),
    ("Cluster/NodeRole/DefaultPolicy", "ecr:BatchImportUpstreamImage"): (
        CACHES,
        IMAGES,
    ),
    ("Cluster/SystemNodeRole/DefaultPolicy", "ecr:BatchImportUpstreamImage"): (
        CACHES,
        IMAGES,
    ),
    ("Serving/Models/<model>/Role", "s3:GetObject"): (
        ("arn:aws:s3:::example/<prefix>*",),
        "the objects of one model, whose names only the bucket knows",
    ),
    ("Serving/Imports/<model>/Role", "s3:AbortMultipartUpload"): (
        ("arn:aws:s3:::example/<prefix>*",),
        "the objects of one model, which it writes",
    ),
    ("Network/Endpoints/S3", "s3:GetObject"): (
        (
            "arn:aws:s3:::docker-images-prod/*",
            "arn:aws:s3:::prod-registry-k8s-io-us-east-1/*",
            "arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*",
            "arn:aws:s3:::quayio-production-s3/*",
        ),
        "image layers of registries; an endpoint policy bounds, it grants nothing",
    ),
    ("Network/Endpoints/S3", "s3:PutObject"): (
        ("arn:aws:s3:::cloudformation-custom-resource-response-useast1/*",),
        "answers of CDK's handler; an endpoint policy bounds, it grants nothing",
    ),
    ("Network/Endpoints/S3", "s3:AbortMultipartUpload"): (
        (ANY,),
        "a condition bounds it to buckets of the account; it grants nothing",
    ),
    ("Cluster/SecretsKey", "kms:*"): ((ANY,), "in a key policy: this key"),
    ("Storage/Models/Key", "kms:*"): ((ANY,), "in a key policy: this key"),
    ("Platform/Observability/Key", "kms:*"): ((ANY,), "in a key policy: this key"),
    ("Platform/Observability/Key", "AlarmsOfCloudWatch"): (
        (ANY,),
        "in a key policy: this key",
    ),
    **{
        (owner, action): (resources, reason)
        for owner, question in (
            ("Platform/EksInferenceNodeDrain/Role", "ec2:DescribeInstances"),
            ("Serving/EksInferenceNodeDrain/Role", "ec2:DescribeInstances"),
            ("Registry/Images/Pulls/Role", "ecr:GetAuthorizationToken"),
        )
        for action, resources, reason in (
            (question, (ANY,), UNSCOPED),
            (
                "logs:CreateLogStream",
                (f"arn:aws:logs:{HERE}:log-group:example:*",),
                "the streams of the function's own group",
            ),
        )
    },
    ("Storage/Models/Resource/Policy", "s3:DeleteObject*"): (
        ("arn:aws:s3:::example/*",),
        "CDK's auto_delete_objects empties the bucket of a stage that is not kept",
    ),
    (
        (
            "Cluster/Cluster/KubectlProvider/Provider/framework-onEvent/ServiceRole"
            "/DefaultPolicy"
        ),
        "lambda:InvokeFunction",
    ): (
        (f"arn:aws:lambda:{HERE}:function:example:*",),
        "CDK's framework calls every version of CDK's handler",
    ),
    ("Network/Vpc/FlowLog/IAMRole/DefaultPolicy", "logs:CreateLogStream"): (
        (f"arn:aws:logs:{HERE}:log-group:example:*",),
        "CloudFormation's ARN of a log group ends so: the streams of this one group",
    ),
}
"""Resources with a wildcard, by construct and Sid (or first action): which, and why."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_actions_are_named(variant: str) -> None:
    """No action holds a wildcard but those that CDK writes."""
    found = {
        (policy.owner, action)
        for policy in policies(synthesis(variant))
        for statement in policy.statements
        for action in listed(statement["Action"])
        if ANY in action
    }
    assert found <= set(WILDCARD_ACTIONS)


def test_every_exception_for_actions_is_needed() -> None:
    """An exception that no stage needs any more is removed from the list."""
    needed = {
        (policy.owner, action)
        for variant in VARIANTS
        for policy in policies(synthesis(variant))
        for statement in policy.statements
        for action in listed(statement["Action"])
    }
    assert set(WILDCARD_ACTIONS) <= needed


def test_nothing_is_said_by_exclusion(made: Synthesis) -> None:
    """No statement uses NotAction, NotResource or NotPrincipal."""
    for policy in policies(made):
        for statement in policy.statements:
            assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement)


def wildcard_resources(variant: str) -> dict[tuple[str, str], set[str]]:
    """Return the resources with a wildcard that a variant allows something on."""
    found: dict[tuple[str, str], set[str]] = {}
    for policy, statement in allows(synthesis(variant)):
        for resource in listed(statement.get("Resource", [])):
            name = resource.replace(
                f":repository/{settings_of(variant).stage}-", ":repository/<stage>-"
            )
            for model in settings_of(variant).models:
                # an import writes below a folder of its own, named after the source
                name = re.sub(f"{model.prefix}([0-9a-f]{{10}}/)?", "<prefix>", name)
            if ANY in name:
                found.setdefault((policy.owner, label(statement)), set()).add(name)
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_resources_are_named(variant: str) -> None:
    """Every wildcard in a resource is in the list, with its reason."""
    for key, resources in wildcard_resources(variant).items():
        allowed, reason = WILDCARD_RESOURCES.get(key, ((), ""))
        assert resources <= set(allowed), key
        assert reason


def test_every_exception_for_resources_is_needed() -> None:
    """A wildcard that no stage needs any more is removed from the list."""
    needed: dict[tuple[str, str], set[str]] = {}
    for variant in VARIANTS:
        for key, resources in wildcard_resources(variant).items():
            needed.setdefault(key, set()).update(resources)
    assert {key: set(row[0]) for key, row in WILDCARD_RESOURCES.items()} == needed


TAG_BOUND = {
    "LaunchFromOwnTemplates": "aws:ResourceTag/",
    "CreateTagged": "aws:RequestTag/",
    "TagOnCreation": "aws:RequestTag/",
    "TagOwnInstances": "aws:ResourceTag/",
    "DeleteOwn": "aws:ResourceTag/",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_karpenter_touches_only_its_own(variant: str) -> None:
    """What Karpenter creates, tags or deletes carries the tag of this cluster."""
    cluster = settings_of(variant).cluster_name
    bound = {
        label(statement): statement["Condition"]["StringEquals"]
        for policy, statement in allows(synthesis(variant))
        if policy.owner == KARPENTER and label(statement) in TAG_BOUND
    }
    assert set(bound) == set(TAG_BOUND)
    for sid, tag in TAG_BOUND.items():
        assert bound[sid][f"{tag}kubernetes.io/cluster/{cluster}"] == "owned"


PODS = "pods.eks.amazonaws.com"
TRUSTED = {
    "Cluster/Cluster/Role": "eks.amazonaws.com",
    "Cluster/Cluster/KubectlProvider/Handler/ServiceRole": "lambda.amazonaws.com",
    "Cluster/Cluster/KubectlProvider/Provider/framework-onEvent/ServiceRole": (
        "lambda.amazonaws.com"
    ),
    "Cluster/NodeRole": "ec2.amazonaws.com",
    "Cluster/SystemNodeRole": "ec2.amazonaws.com",
    "Network/Vpc/FlowLog/IAMRole": "vpc-flow-logs.amazonaws.com",
    "Platform/KarpenterRole": PODS,
    "Platform/KedaRole": PODS,
    "Platform/Observability/AlertmanagerRole": PODS,
    "Platform/Observability/PrometheusRole": PODS,
    "Platform/Observability/GrafanaRole": "grafana.amazonaws.com",
    "Registry/Images/Pulls/Role": "lambda.amazonaws.com",
    "Platform/EksInferenceNodeDrain/Role": "lambda.amazonaws.com",
    "Serving/EksInferenceNodeDrain/Role": "lambda.amazonaws.com",
    "Cluster/EfsCsiRole": PODS,
    "Serving/Imports/<model>/Role": PODS,
    "Serving/Models/<model>/Role": PODS,
    "Storage/Custom::S3AutoDeleteObjectsCustomResourceProvider/Role": (
        "lambda.amazonaws.com"
    ),
}
"""Who may assume each role."""


def test_roles_trust_one_service(made: Synthesis) -> None:
    """Each role trusts the one service that it is for, and Pod Identity of us only."""
    for policy in policies(made):
        if policy.where != TRUST:
            continue
        [statement] = policy.statements
        assert statement["Principal"] == {"Service": TRUSTED[policy.owner]}
        actions = set(listed(statement["Action"]))
        if TRUSTED[policy.owner] == PODS:
            assert actions == {"sts:AssumeRole", "sts:TagSession"}
            assert statement["Condition"] == {
                "StringEquals": {"aws:SourceAccount": "111122223333"}
            }
        else:
            assert actions == {"sts:AssumeRole"}


def test_every_role_is_known() -> None:
    """The list of roles names exactly those that some stage has."""
    owners = {
        policy.owner
        for variant in VARIANTS
        for policy in policies(synthesis(variant))
        if policy.where == TRUST
    }
    assert owners == set(TRUSTED)


OPEN_TO_ANYONE = {
    ("Network/Endpoints/S3", "s3:GetObject"): "an endpoint policy grants nothing",
    ("Network/Endpoints/S3", "s3:PutObject"): "an endpoint policy grants nothing",
    (
        "Network/Endpoints/S3",
        "s3:AbortMultipartUpload",
    ): "an endpoint policy grants nothing",
    ("Storage/CompileCache", "MountThroughTheNetwork"): (
        "a condition asks for a mount target, whose security group admits nodes only"
    ),
}


def test_no_resource_is_open_to_anyone() -> None:
    """A policy that allows every principal is in the list, with its reason."""
    found = {
        (policy.owner, label(statement))
        for variant in VARIANTS
        for policy, statement in allows(synthesis(variant))
        if ANY in json.dumps(statement.get("Principal", {}))
    }
    assert found == set(OPEN_TO_ANYONE)


def test_roles_are_handed_to_named_services(made: Synthesis) -> None:
    """PassRole names one role and the service that gets it."""
    passing = [
        statement
        for _, statement in allows(made)
        if any(
            fnmatch("iam:PassRole", action) for action in listed(statement["Action"])
        )
    ]
    assert len(passing) == 1
    assert ANY not in json.dumps(passing[0]["Resource"])
    services = passing[0]["Condition"]["StringEquals"]["iam:PassedToService"]
    assert services == ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]


def test_a_model_reads_its_own_weights_only(made: Synthesis) -> None:
    """A model's role reads its prefix, and may not write anything."""
    statements = [
        (action, statement)
        for policy, statement in allows(made)
        if policy.owner == "Serving/Models/<model>/Role"
        for action in listed(statement["Action"])
    ]
    assert {action for action, _ in statements} == {
        "s3:GetObject",
        "s3:ListBucket",
        "kms:Decrypt",
    }
    for action, statement in statements:
        if action == "s3:GetObject":
            assert re.fullmatch(r"arn:aws:s3:::example/[^*]+/\*", statement["Resource"])
        if action == "s3:ListBucket":
            assert re.fullmatch(
                r"[^*]+/\*", statement["Condition"]["StringLike"]["s3:prefix"]
            )
