"""Every policy of every kind of stage, with example values for its references."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from infra.settings import ObservabilitySettings, Settings
from infra.stacks import define_stacks
from infra.stages import STAGES, load
from tests.app.good_settings import OFFICE

ROOT = Path(__file__).parents[2]

EVERYTHING = "everything"
"""The largest stage with every option that a stage can switch on."""

PLACED = "placed"
"""The same for one account and region, as a deployment names them."""

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
    if variant in STAGES:
        return load(variant)
    place = ("111122223333", "us-east-1") if variant == PLACED else (None, None)
    return replace(
        load("prod", account=place[0], region=place[1]),
        docker_hub_secret="ecr-pullthroughcache/docker-hub",
        admin_role_arns=("arn:aws:iam::111122223333:role/Admin",),
        public_access_cidrs=(OFFICE,),
        observability=ObservabilitySettings(
            emails=("on-call@example.com",),
            managed_prometheus=True,
            managed_grafana=True,
        ),
    )


def new_synthesis(settings: Settings) -> Synthesis:
    """Synthesize a stage, with the construct path on each resource."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = cdk.App(
        context={**context, "aws:cdk:enable-path-metadata": True},
        analytics_reporting=False,
    )
    define_stacks(app, settings)
    stacks = app.synth().stacks
    return Synthesis(app, {stack.id: stack.template for stack in stacks})


@cache
def synthesis(variant: str) -> Synthesis:
    """Return the synthesis of a variant, made once."""
    return new_synthesis(settings_of(variant))


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
    "AWS::SNS::Topic": f"arn:aws:sns:{HERE}:example",
    "AWS::SQS::Queue": f"arn:aws:sqs:{HERE}:example",
    "AWS::APS::Workspace": f"arn:aws:aps:{HERE}:workspace/ws-0123abcd",
}


REFS = {"AWS::SNS::Topic": f"arn:aws:sns:{HERE}:example"}
"""What a reference to a resource yields where that is an ARN too."""


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
        known = templates[stack]["Resources"].get(argument, {})
        return PSEUDO.get(argument) or REFS[known["Type"]]
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
        owner = re.sub(r"^Serving/(Models|Imports)/[^/]+", r"Serving/\1/<model>", path)
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

KARPENTER = "Platform/KarpenterRole"


def label(statement: Mapping[str, Any]) -> str:
    """Return the Sid, or the first action of a statement that has none."""
    return str(statement.get("Sid") or listed(statement["Action"])[0])
