"""Images: the caches, who fills them, and how pods name what is in them."""

import json

import pytest

from eks_inference.testing import as_text
from infra.settings import Settings
from infra.stages import load
from tests.app.conftest import (
    Templates,
    only,
    other_choices,
    resources,
    statements,
    synthesize,
)
from tests.app.questions import container


def test_public_images_are_cached(templates: Templates) -> None:
    """A rule caches public ECR, and its repositories are made by a template."""
    registry = templates["Registry"]
    rule = only(registry, "AWS::ECR::PullThroughCacheRule")
    template = only(registry, "AWS::ECR::RepositoryCreationTemplate")
    assert rule["EcrRepositoryPrefix"] == "ecr-public"
    assert rule["UpstreamRegistryUrl"] == "public.ecr.aws"
    assert template["Prefix"] == "ecr-public"
    assert template["AppliedFor"] == ["PULL_THROUGH_CACHE"]
    assert template["ImageTagMutability"] == "IMMUTABLE"
    rules = json.loads(template["LifecyclePolicy"])["rules"]
    selected = [rule["selection"] for rule in rules]
    assert [(item["tagStatus"], item["countNumber"]) for item in selected] == [
        ("untagged", 14),
        ("any", 10),
    ]


def test_docker_hub_is_cached_with_credentials_only() -> None:
    """Docker Hub has a cache where a secret for it is named, in the account's own."""
    registry = synthesize(other_choices())["Registry"]
    rules = {
        rule["EcrRepositoryPrefix"]: rule
        for rule in resources(registry, "AWS::ECR::PullThroughCacheRule").values()
    }
    templates = resources(registry, "AWS::ECR::RepositoryCreationTemplate").values()
    assert rules.keys() == {"ecr-public", "docker-hub"}
    assert {template["Prefix"] for template in templates} == rules.keys()
    assert "CredentialArn" not in rules["ecr-public"]
    assert as_text(rules["docker-hub"]["CredentialArn"]) == (
        "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:"
        "secret:ecr-pullthroughcache/docker-hub"
    )


@pytest.mark.parametrize(
    ("settings", "prefixes"),
    [
        (load("dev"), {"ecr-public"}),
        (other_choices(), {"ecr-public", "docker-hub"}),
    ],
)
def test_nodes_may_fill_the_caches(settings: Settings, prefixes: set[str]) -> None:
    """The first pull of an image may import it, below the caches' prefixes alone."""
    cluster = synthesize(settings)["Cluster"]
    roles = [
        {"Ref": name}
        for name, item in resources(cluster, "AWS::IAM::Role").items()
        if "Nodes of the cluster" in item.get("Description", "")
    ]
    granted = [
        (role, item["PolicyDocument"])
        for item in resources(cluster, "AWS::IAM::Policy").values()
        for role in item["Roles"]
        if role in roles
    ]
    assert len(roles) == 2
    assert [role for role, _ in granted] == roles
    for _, policy in granted:
        [statement] = statements(policy)
        assert statement["Action"] == [
            "ecr:BatchImportUpstreamImage",
            "ecr:CreateRepository",
        ]
        assert {as_text(item) for item in statement["Resource"]} == {
            "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:"
            f"repository/{prefix}/*"
            for prefix in prefixes
        }


def test_pods_name_the_cached_image(templates: Templates) -> None:
    """A pod names the repository of the cache, with a pinned tag."""
    assert container(templates, "mistral-7b")["image"] == (
        "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/ecr-public/"
        "deep-learning-containers/vllm:0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
    )


def test_digest_is_used_where_it_is_given() -> None:
    """A known digest pins the image beside the tag."""
    image = container(synthesize(other_choices()), "mistral-7b")["image"]
    assert image.endswith("-ec2@sha256:" + "0" * 64)
