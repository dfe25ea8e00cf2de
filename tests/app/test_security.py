"""What every template must keep: least privilege, encryption, no way in, no secrets."""

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks
from constructs import Construct

from infra import guardrails
from infra.settings import Settings
from infra.stacks import define_stacks
from infra.stages import STAGES, load

ROOT = Path(__file__).parents[2]

EVERYTHING = "everything"
"""The largest stage with every option that a stage can switch on."""

PLACED = "placed"
"""The largest stage for one account and region, as a deployment names them."""

VARIANTS = (*sorted(STAGES), EVERYTHING, PLACED)

ANY = "*"


@dataclass(frozen=True, slots=True)
class Synthesis:
    """A stage: its app, its templates by stack, and the paths of its constructs."""

    app: cdk.App
    templates: Mapping[str, Any]

    def resources(self, *types: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield stack, construct path and body of the resources of some types."""
        for stack, template in self.templates.items():
            for resource in template["Resources"].values():
                if not types or resource["Type"] in types:
                    path = resource.get("Metadata", {}).get("aws:cdk:path", stack)
                    yield stack, re.sub(r"(/Resource)+$", "", path), resource


def settings_of(variant: str) -> Settings:
    """Return the settings of a stage, or of one with more options."""
    if variant == PLACED:
        return load("prod", account="111122223333", region="us-east-1")
    if variant != EVERYTHING:
        return load(variant)
    return replace(
        load("prod"),
        docker_hub_secret="ecr-pullthroughcache/docker-hub",
        admin_role_arns=("arn:aws:iam::111122223333:role/Admin",),
        public_access_cidrs=("192.0.2.0/24",),
    )


def new_synthesis(variant: str) -> Synthesis:
    """Synthesize a variant, with the construct path on each resource."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = cdk.App(
        context={**context, "aws:cdk:enable-path-metadata": True},
        analytics_reporting=False,
    )
    define_stacks(app, settings_of(variant))
    stacks = app.synth().stacks
    return Synthesis(app, {stack.id: stack.template for stack in stacks})


@cache
def synthesis(variant: str) -> Synthesis:
    """Return the synthesis of a variant, made once."""
    return new_synthesis(variant)


@pytest.fixture(params=VARIANTS)
def made(request: pytest.FixtureRequest) -> Synthesis:
    """Each stage, one with every option, and one for an account and region."""
    return synthesis(str(request.param))


# --- tokens, as a deployment would fill them in -------------------------------------

PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "111122223333",
    "AWS::URLSuffix": "amazonaws.com",
}
HERE = "us-east-1:111122223333"
ARNS = {
    "AWS::EFS::FileSystem": f"arn:aws:elasticfilesystem:{HERE}:file-system/fs-0123abcd",
    "AWS::EKS::Cluster": f"arn:aws:eks:{HERE}:cluster/example",
    "AWS::IAM::Role": "arn:aws:iam::111122223333:role/example",
    "AWS::KMS::Key": f"arn:aws:kms:{HERE}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "AWS::Lambda::Function": f"arn:aws:lambda:{HERE}:function:example",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{HERE}:log-group:example:*",
    "AWS::S3::Bucket": "arn:aws:s3:::example",
    "AWS::SQS::Queue": f"arn:aws:sqs:{HERE}:example",
}


def rendered(value: Any, stack: str, templates: Mapping[str, Any]) -> Any:
    """Return a part of a template with example values instead of functions."""
    if isinstance(value, list):
        return [rendered(item, stack, templates) for item in value]
    if not isinstance(value, dict):
        return value
    parts = {key: rendered(item, stack, templates) for key, item in value.items()}
    return call(parts, stack, templates) if len(parts) == 1 else parts


def call(parts: dict[str, Any], stack: str, templates: Mapping[str, Any]) -> Any:
    """Return what a function of CloudFormation yields, or a value that is none."""
    [(function, argument)] = parts.items()
    if function == "Ref":
        return PSEUDO[argument]
    if function == "Fn::GetAtt":
        return ARNS[templates[stack]["Resources"][argument[0]]["Type"]]
    if function == "Fn::Join":
        return argument[0].join(argument[1])
    if function == "Fn::Split":
        return argument[1].split(argument[0])
    if function == "Fn::ImportValue":
        return rendered(*exported(argument, templates), templates)
    return parts


def exported(name: str, templates: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the value behind an export, and the stack that exports it."""
    for stack, template in templates.items():
        for output in template.get("Outputs", {}).values():
            if output.get("Export", {}).get("Name") == name:
                return output["Value"], stack
    raise KeyError(name)


# --- policies -----------------------------------------------------------------------

TRUST = "AssumeRolePolicyDocument"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy document, with its construct and the property that holds it."""

    owner: str
    where: str
    document: dict[str, Any]

    @property
    def statements(self) -> list[dict[str, Any]]:
        """The statements."""
        statements: list[dict[str, Any]] = self.document["Statement"]
        return statements


def policies(made: Synthesis) -> list[Policy]:
    """Return every policy document of every template, model names left out."""
    found = []
    for stack, path, resource in made.resources():
        owner = re.sub(r"^Serving/Models/[^/]+", "Serving/Models/<model>", path)
        for name, document in documents(resource.get("Properties", {})):
            found.append(Policy(owner, name, rendered(document, stack, made.templates)))
    return found


def documents(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what has statements inside a value, with the property that holds it."""
    if isinstance(value, list):
        for item in value:
            yield from documents(item, name)
    elif isinstance(value, dict):
        if "Statement" in value:
            yield name, value
        for key, item in value.items():
            yield from documents(item, key)


def listed(value: Any) -> list[Any]:
    """Return a list that may be a single value."""
    return value if isinstance(value, list) else [value]


def allows(made: Synthesis) -> Iterator[tuple[Policy, dict[str, Any]]]:
    """Yield every statement that allows something, trust policies left out."""
    for policy in policies(made):
        if policy.where != TRUST:
            for statement in policy.statements:
                if statement["Effect"] == "Allow":
                    yield policy, statement


KEY_OF_ACCOUNT = (
    "CDK's default key policy: IAM of the account decides, or nobody could ever "
    "change the key again"
)
TLS_ONLY = "CDK's enforce_ssl denies everything without TLS"

WILDCARD_ACTIONS = {
    ("Cluster/SecretsKey", "kms:*"): KEY_OF_ACCOUNT,
    ("Storage/Key", "kms:*"): KEY_OF_ACCOUNT,
    ("Storage/Models/Policy", "s3:*"): TLS_ONLY,
    ("Platform/Interruptions/Policy", "sqs:*"): TLS_ONLY,
    **dict.fromkeys(
        (
            ("Storage/Models/Policy", "s3:DeleteObject*"),
            ("Storage/Models/Policy", "s3:GetBucket*"),
            ("Storage/Models/Policy", "s3:List*"),
        ),
        "CDK's auto_delete_objects empties the bucket of a stage that does not retain",
    ),
}
"""Every action with a wildcard; all of them are CDK's."""

NOT_YET = "does not exist before Karpenter makes it; a condition on tags bounds it"
CHOSEN = "Karpenter chooses by tag; the launch needs all of them, and changes none"
UNSCOPED = "IAM has no resource for this call; it reads only"
IMAGES = "which images a cache will hold is not known before they are pulled"

KARPENTER = "Platform/KarpenterRole"
CREATABLE = (
    "arn:aws:ec2:us-east-1:*:fleet/*",
    "arn:aws:ec2:us-east-1:*:instance/*",
    "arn:aws:ec2:us-east-1:*:launch-template/*",
    "arn:aws:ec2:us-east-1:*:network-interface/*",
    "arn:aws:ec2:us-east-1:*:spot-instances-request/*",
    "arn:aws:ec2:us-east-1:*:volume/*",
)
CACHES = (
    f"arn:aws:ecr:{HERE}:repository/docker-hub/*",
    f"arn:aws:ecr:{HERE}:repository/ecr-public/*",
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
    ("Platform/EfsCsiRole", "elasticfilesystem:DescribeAccessPoints"): (
        (f"arn:aws:elasticfilesystem:{HERE}:access-point/*",),
        "reads the access points; CloudFormation makes them in another stack",
    ),
    ("Platform/EfsCsiRole", "ec2:DescribeAvailabilityZones"): ((ANY,), UNSCOPED),
    ("Cluster/NodeRole", "ecr:BatchImportUpstreamImage"): (CACHES, IMAGES),
    ("Cluster/SystemNodeRole", "ecr:BatchImportUpstreamImage"): (CACHES, IMAGES),
    ("Serving/Models/<model>/Role", "s3:GetObject"): (
        ("arn:aws:s3:::example/<prefix>*",),
        "the objects of one model, whose names only the bucket knows",
    ),
    ("Network/Vpc/S3", "s3:GetObject"): (
        ("arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*",),
        "image layers of ECR; an endpoint policy bounds, it grants nothing",
    ),
    ("Network/Vpc/S3", "s3:PutObject"): (
        ("arn:aws:s3:::cloudformation-custom-resource-response-useast1/*",),
        "answers of CDK's handler; an endpoint policy bounds, it grants nothing",
    ),
    ("Network/Vpc/S3", "s3:AbortMultipartUpload"): (
        (ANY,),
        "a condition bounds it to buckets of the account; it grants nothing",
    ),
    ("Cluster/SecretsKey", "kms:*"): ((ANY,), "in a key policy: this key"),
    ("Storage/Key", "kms:*"): ((ANY,), "in a key policy: this key"),
    ("Storage/Models/Policy", "s3:DeleteObject*"): (
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


def label(statement: Mapping[str, Any]) -> str:
    """Return the Sid, or the first action of a statement that has none."""
    return str(statement.get("Sid") or listed(statement["Action"])[0])


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
            name = resource
            for model in settings_of(variant).models:
                name = name.replace(model.prefix, "<prefix>")
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
    "Platform/EfsCsiRole": PODS,
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
    ("Network/Vpc/S3", "s3:GetObject"): "an endpoint policy grants nothing",
    ("Network/Vpc/S3", "s3:PutObject"): "an endpoint policy grants nothing",
    ("Network/Vpc/S3", "s3:AbortMultipartUpload"): "an endpoint policy grants nothing",
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


# --- linters ------------------------------------------------------------------------

LINTED: dict[tuple[str, str], str] = {
    (KARPENTER, "RESOURCE_MISMATCH"): (
        "RunInstances and CreateFleet need several kinds of resource, which are in "
        "several statements; AWS's own parameters have no account in their ARN"
    ),
    (KARPENTER, "PERMISSIONS_MANAGEMENT_ACTIONS"): (
        "PassRole: one role, to EC2 only, see the test of its own"
    ),
    ("Cluster/NodeRole", "RESOURCE_MISMATCH"): (
        "BatchImportUpstreamImage takes repositories (ECR user guide, pull-through "
        "cache permissions); the linter's data is older"
    ),
    ("Cluster/SystemNodeRole", "RESOURCE_MISMATCH"): "as on the other role of nodes",
    ("Cluster/Cluster/Role/DefaultPolicy", "PERMISSIONS_MANAGEMENT_ACTIONS"): (
        "CreateGrant: EKS encrypts secrets by a grant on this one key"
    ),
    ("Cluster/SecretsKey", "PERMISSIONS_MANAGEMENT_ACTIONS"): KEY_OF_ACCOUNT,
    ("Storage/Key", "PERMISSIONS_MANAGEMENT_ACTIONS"): KEY_OF_ACCOUNT,
    ("Storage/CompileCache", "MALFORMED"): (
        "a file system policy applies to its file system and needs no Resource"
    ),
    **dict.fromkeys(
        (
            ("Storage/Models/Policy", "PERMISSIONS_MANAGEMENT_ACTIONS"),
            ("Storage/Models/Policy", "RESOURCE_MISMATCH"),
            ("Storage/Models/Policy", "RESOURCE_POLICY_PRIVILEGE_ESCALATION"),
        ),
        "CDK's auto_delete_objects empties the bucket of a stage that does not retain",
    ),
}
"""Findings of the IAM linter that are meant, by construct: why."""

UNKNOWN_TO_LINTER: dict[str, str] = {}
"""Actions that are newer than the linter's data: where they are documented."""

COUNTED = {"MEDIUM", "HIGH", "CRITICAL"}


def iam_findings(policy: Policy) -> list[tuple[str, str, str]]:
    """Return severity, issue and detail of what the linter finds in a policy."""
    with warnings.catch_warnings():
        # it uses pkg_resources, and does not close its configuration
        warnings.simplefilter("ignore")
        import parliament  # type: ignore[import-untyped]  # noqa: PLC0415

        auditors = Path(parliament.__file__).parent / "community_auditors"
        parliament.override_config(str(auditors / "config_override.yaml"))
        analyzed = parliament.analyze_policy_string(
            json.dumps(policy.document), include_community_auditors=True
        )
        findings = [parliament.enhance_finding(item) for item in analyzed.findings]
    return [(item.severity, item.issue, str(item.detail)) for item in findings]


def test_iam_linter_finds_nothing_unexplained() -> None:
    """The IAM linter finds what the list explains, and nothing else."""
    found = {
        (policy.owner, issue)
        for variant in VARIANTS
        for policy in policies(synthesis(variant))
        if policy.where != TRUST
        for severity, issue, _ in iam_findings(policy)
        if severity in COUNTED
    }
    assert found == set(LINTED)


def test_iam_linter_knows_every_action() -> None:
    """Every action exists, as far as the linter's data goes."""
    unknown = {
        detail
        for variant in VARIANTS
        for policy in policies(synthesis(variant))
        for _, issue, detail in iam_findings(policy)
        if issue in {"UNKNOWN_ACTION", "UNKNOWN_PREFIX"}
    }
    assert unknown == set(UNKNOWN_TO_LINTER)


@pytest.mark.parametrize(
    ("action", "issue"),
    [
        ("s3:GetObjekt", "UNKNOWN_ACTION"),
        ("iam:CreateAccessKey", "PRIVILEGE_ESCALATION"),
        ("kms:PutKeyPolicy", "PERMISSIONS_MANAGEMENT_ACTIONS"),
    ],
)
def test_iam_linter_sees_a_bad_policy(action: str, issue: str) -> None:
    """The linter runs, with its optional auditors: it finds what is wrong."""
    statement = {"Effect": "Allow", "Action": action, "Resource": ANY}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    assert issue in {found for _, found, _ in iam_findings(Policy("", "", document))}


def template_lint(templates: list[Path]) -> list[dict[str, Any]]:
    """Return what cfn-lint finds."""
    result = subprocess.run(
        [
            Path(sys.executable).with_name("cfn-lint"),
            *("--regions", "us-east-1", "--format", "json", "--"),
            *templates,
        ],
        cwd=templates[0].parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    findings: list[dict[str, Any]] = json.loads(result.stdout)
    return findings


CDK_HANDLERS = re.compile(r"ClusterKubectlProvider|CustomS3AutoDeleteObjects")


def test_templates_pass_cfn_lint(tmp_path: Path) -> None:
    """cfn-lint finds nothing but a dependency that CDK states twice."""
    files = []
    for variant in VARIANTS:
        for stack, template in synthesis(variant).templates.items():
            files.append(tmp_path / f"{variant}-{stack}.json")
            files[-1].write_text(json.dumps(template))
    unexplained = [
        (finding["Rule"]["Id"], finding["Filename"], finding["Message"])
        for finding in template_lint(files)
        if finding["Rule"]["Id"] != "W3005"
        or not CDK_HANDLERS.match(finding["Location"]["Path"][1])
    ]
    assert not unexplained


def test_cfn_lint_sees_a_bad_template(tmp_path: Path) -> None:
    """The linter runs: it finds a property that does not exist."""
    file = tmp_path / "bad.json"
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"Colour": "red"}}
    file.write_text(json.dumps({"Resources": {"Queue": queue}}))
    assert [finding["Rule"]["Id"] for finding in template_lint([file])] == ["E3002"]


def run_with_validation(command: list[str], output: Path) -> list[dict[str, Any]]:
    """Run an app with CDK's own validation and return the reports of its plugins."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    environment = os.environ | {
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(output),
    }
    environment.pop("CDK_VALIDATION", None)
    result = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((output / "validation-report.json").read_text())
    reports: list[dict[str, Any]] = report["pluginReports"]
    return reports


def test_cdk_validates_the_default_stage(tmp_path: Path) -> None:
    """CDK's own CloudFormation validation and cdk-nag report nothing, as users run."""
    assert run_with_validation(["app.py"], tmp_path) == []


def test_cdk_validation_sees_a_bad_template(tmp_path: Path) -> None:
    """CDK's own validation runs unless it is switched off: it finds a bad value."""
    bad = (
        "import aws_cdk as cdk; from aws_cdk import aws_eks_v2 as eks\n"
        "app = cdk.App(); stack = cdk.Stack(app, 'Bad')\n"
        "eks.CfnAddon(stack, 'A', addon_name='a', cluster_name='c', "
        "resolve_conflicts='MAYBE')\n"
        "app.synth()\n"
    )
    reports = run_with_validation(["-c", bad], tmp_path)
    assert "MAYBE" in json.dumps(reports)


# --- cdk-nag ------------------------------------------------------------------------


def nag_findings(app: cdk.App) -> set[tuple[str, str]]:
    """Return rule and construct of what AwsSolutions finds in a synthesized app."""
    return {
        (violation.rule_name, str(resource.construct_path))
        for violation in AwsSolutionsChecks(app).validate_scope(app).violations
        for resource in violation.violating_resources
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_aws_solutions_are_met(variant: str) -> None:
    """cdk-nag finds nothing that is not acknowledged."""
    assert nag_findings(synthesis(variant).app) == set()


def test_every_acknowledgement_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each acknowledged finding exists where it is acknowledged, and says why."""
    acknowledged: set[tuple[str, str]] = set()

    def record(scope: Construct, reason: str, ids: Any) -> None:
        assert len(reason.split()) >= 5, reason
        acknowledged.update((rule, scope.node.path) for rule in ids)

    monkeypatch.setattr(guardrails, "_acknowledge", record)
    found = set()
    for variant in VARIANTS:
        found |= nag_findings(new_synthesis(variant).app)
    assert acknowledged
    stale = [
        (rule, scope)
        for rule, scope in acknowledged
        if not any(
            rule == name and (path + "/").startswith(scope + "/")
            for name, path in found
        )
    ]
    assert not stale


def test_control_plane_is_private_and_logged(made: Synthesis) -> None:
    """Rules EKS1 and EKS2, which do not see this cluster: private, five logs, a key."""
    [(_, _, cluster)] = made.resources("AWS::EKS::Cluster")
    access = cluster["Properties"]["ResourcesVpcConfig"]
    assert access["EndpointPrivateAccess"] is True
    if access["EndpointPublicAccess"]:
        assert access["PublicAccessCidrs"] == ["192.0.2.0/24"]
    enabled = cluster["Properties"]["Logging"]["ClusterLogging"]["EnabledTypes"]
    assert {item["Type"] for item in enabled} == {
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    }
    [encryption] = cluster["Properties"]["EncryptionConfig"]
    assert encryption["Resources"] == ["secrets"]
    assert encryption["Provider"]["KeyArn"]
    authentication = cluster["Properties"]["AccessConfig"]
    assert authentication["AuthenticationMode"] == "API"
    assert authentication["BootstrapClusterCreatorAdminPermissions"] is False


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_no_stage_opens_the_api_to_the_internet(stage: str) -> None:
    """The API of every stage of the app answers inside the VPC only."""
    [(_, _, cluster)] = synthesis(stage).resources("AWS::EKS::Cluster")
    access = cluster["Properties"]["ResourcesVpcConfig"]
    assert access["EndpointPublicAccess"] is False


# --- secrets, network, encryption ---------------------------------------------------

SECRETS = {
    "access key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "secret key": re.compile(r'"(?=[^"]*[a-z])(?=[^"]*[A-Z])[A-Za-z0-9/+]{40}"'),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "token": re.compile(r"\b(hf|ghp|gho|xox[bp]|sk)[_-][A-Za-z0-9]{20,}\b"),
    "password": re.compile(
        r'(?i)"[^"]*(password|secret_?key|api_?key|token)\\*": *\\*"[^"]'
    ),
}
"""What a credential looks like, in a template or in a manifest within one."""


def test_templates_hold_no_secret(made: Synthesis) -> None:
    """No template has a literal that looks like a credential."""
    for template in made.templates.values():
        resources = template["Resources"].values()
        text = json.dumps([resource.get("Properties") for resource in resources])
        for name in template["Resources"]:
            text = text.replace(f'"{name}"', '""')
        assert [name for name, form in SECRETS.items() if form.search(text)] == []


@pytest.mark.parametrize(
    ("kind", "sample"),
    [
        ("access key", '"AKIA' + "A" * 16 + '"'),
        ("secret key", '"wJalrXUtnFEMI/K7MDENG/' + 'bPxRfiCYEXAMPLEKEY"'),
        ("private key", "-----BEGIN RSA " + "PRIVATE KEY-----"),
        ("token", '"hf_' + "a" * 34 + '"'),
        ("password", '"DbPassword": "hunter2"'),
        ("password", json.dumps(json.dumps({"api_key": "hunter2"}))),
    ],
)
def test_secrets_would_be_recognized(kind: str, sample: str) -> None:
    """The forms of credentials match a credential of their kind."""
    assert SECRETS[kind].search(sample)


def test_parameters_have_no_values(made: Synthesis) -> None:
    """The only parameter is CDK's version of the bootstrap stack."""
    for template in made.templates.values():
        [(name, parameter)] = template["Parameters"].items()
        assert name == "BootstrapVersion"
        assert parameter["Default"].startswith("/cdk-bootstrap/")


def test_no_instance_gets_a_public_address(made: Synthesis) -> None:
    """No subnet hands out public addresses."""
    subnets = list(made.resources("AWS::EC2::Subnet"))
    assert subnets
    for _, _, subnet in subnets:
        assert subnet["Properties"].get("MapPublicIpOnLaunch", False) is False


def test_no_group_admits_the_internet(made: Synthesis) -> None:
    """No security group has a rule for traffic from anywhere."""
    rules = [
        rule
        for _, _, group in made.resources("AWS::EC2::SecurityGroup")
        for rule in group["Properties"].get("SecurityGroupIngress", [])
    ]
    rules += [
        rule["Properties"]
        for _, _, rule in made.resources("AWS::EC2::SecurityGroupIngress")
    ]
    assert rules
    for rule in rules:
        assert rule.get("CidrIp") != "0.0.0.0/0"
        assert "CidrIpv6" not in rule
        assert rule["IpProtocol"] == "tcp"
        assert rule["FromPort"] == rule["ToPort"]


def test_buckets_are_private_and_encrypted(made: Synthesis) -> None:
    """Every bucket blocks public access, uses a key of ours and refuses plain HTTP."""
    buckets = list(made.resources("AWS::S3::Bucket"))
    assert buckets
    for _, _, bucket in buckets:
        properties = bucket["Properties"]
        assert properties["PublicAccessBlockConfiguration"] == {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        }
        [rule] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        default = rule["ServerSideEncryptionByDefault"]
        assert default["SSEAlgorithm"] == "aws:kms"
        assert default["KMSMasterKeyID"]


@pytest.mark.parametrize(
    "owner", ["Storage/Models/Policy", "Platform/Interruptions/Policy"]
)
def test_plain_http_is_denied(made: Synthesis, owner: str) -> None:
    """The resource policies deny every request that is not encrypted."""
    [policy] = [item for item in policies(made) if item.owner == owner]
    denials = [item for item in policy.statements if item["Effect"] == "Deny"]
    assert [item["Condition"] for item in denials] == [
        {"Bool": {"aws:SecureTransport": "false"}}
    ]


def test_everything_at_rest_is_encrypted(made: Synthesis) -> None:
    """File systems, queues, and every volume that Karpenter makes are encrypted."""
    for _, _, file_system in made.resources("AWS::EFS::FileSystem"):
        assert file_system["Properties"]["Encrypted"] is True
        assert file_system["Properties"]["KmsKeyId"]
    for _, _, queue in made.resources("AWS::SQS::Queue"):
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
    for _, _, key in made.resources("AWS::KMS::Key"):
        assert key["Properties"]["EnableKeyRotation"] is True


def test_file_system_refuses_root_and_plain_text(made: Synthesis) -> None:
    """Nobody is root on the compile cache, and the connection must be encrypted."""
    [policy] = [item for item in policies(made) if item.owner == "Storage/CompileCache"]
    allowed, denied = policy.statements
    assert (allowed["Effect"], denied["Effect"]) == ("Allow", "Deny")
    assert "elasticfilesystem:ClientRootAccess" not in allowed["Action"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": False}}
    assert set(allowed["Action"]) < set(denied["Action"])
