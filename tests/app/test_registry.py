"""Images: the caches, who fills them, and how pods name what is in them."""

import json

import pytest

from eks_inference.image_pull import IMAGE_PULL_TYPE
from eks_inference.testing import as_text
from infra.settings import Settings
from infra.stages import load
from tests.app.conftest import (
    Templates,
    only,
    other_choices,
    resources,
    statements,
    synthesis,
    synthesize,
)
from tests.app.questions import container


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_public_images_are_cached(stage: str) -> None:
    """A rule caches public ECR, and its repositories are made by a template."""
    registry = synthesize(load(stage))["Registry"]
    rule = only(registry, "AWS::ECR::PullThroughCacheRule")
    template = only(registry, "AWS::ECR::RepositoryCreationTemplate")
    assert rule["EcrRepositoryPrefix"] == f"{stage}-public"
    assert rule["UpstreamRegistryUrl"] == "public.ecr.aws"
    assert template["Prefix"] == f"{stage}-public"
    assert template["AppliedFor"] == ["PULL_THROUGH_CACHE"]
    assert template["ImageTagMutability"] == "IMMUTABLE"
    rules = json.loads(template["LifecyclePolicy"])["rules"]
    selected = [rule["selection"] for rule in rules]
    assert [(item["tagStatus"], item["countNumber"]) for item in selected] == [
        ("untagged", 14),
        ("any", 10),
    ]


def test_stages_share_an_account() -> None:
    """A prefix is taken once in a region: no two stages have the same."""
    prefixes = [
        rule["EcrRepositoryPrefix"]
        for stage in (other_choices(), load("prod"))
        for rule in resources(
            synthesize(stage)["Registry"], "AWS::ECR::PullThroughCacheRule"
        ).values()
    ]
    assert len(set(prefixes)) == len(prefixes) == 3


def test_docker_hub_is_cached_with_credentials_only() -> None:
    """Docker Hub has a cache where a secret for it is named, in the account's own."""
    registry = synthesize(other_choices())["Registry"]
    rules = {
        rule["EcrRepositoryPrefix"]: rule
        for rule in resources(registry, "AWS::ECR::PullThroughCacheRule").values()
    }
    templates = resources(registry, "AWS::ECR::RepositoryCreationTemplate").values()
    assert rules.keys() == {"dev-public", "dev-hub"}
    assert {template["Prefix"] for template in templates} == rules.keys()
    assert "CredentialArn" not in rules["dev-public"]
    assert as_text(rules["dev-hub"]["CredentialArn"]) == (
        "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:"
        "secret:ecr-pullthroughcache/docker-hub"
    )


@pytest.mark.parametrize(
    ("settings", "prefixes"),
    [
        (load("dev"), {"dev-public"}),
        (other_choices(), {"dev-public", "dev-hub"}),
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


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_pods_name_the_cached_image(stage: str) -> None:
    """A pod names the repository of the cache, with a pinned tag."""
    assert container(synthesize(load(stage)), "mistral-7b")["image"] == (
        "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/"
        f"{stage}-public/"
        "deep-learning-containers/vllm:0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
    )


def test_digest_is_used_where_it_is_given() -> None:
    """A known digest pins the image beside the tag, and the deployment checks it."""
    stage = synthesize(other_choices())
    image = container(stage, "mistral-7b")["image"]
    assert image.endswith("-ec2@sha256:" + "0" * 64)
    pull = only(stage["Registry"], IMAGE_PULL_TYPE)
    assert image.endswith(f":{pull['Images'][0]}")


def test_image_of_the_pods_is_pulled_before_there_is_a_node() -> None:
    """What the models run is in the cache when their cluster is made."""
    stage = synthesis(load("dev"))
    pull = only(stage.templates["Registry"], IMAGE_PULL_TYPE)
    image = container(stage.templates, "mistral-7b")["image"]
    assert [f"{pull['Repository']}:{tag}" for tag in pull["Images"]] == [
        image.partition("/")[2]
    ]
    assert "Registry" in stage.needs["Cluster"]


@pytest.mark.parametrize(("name", "deleted"), [("dev", True), ("prod", False)])
def test_cached_images_go_with_a_stage_that_is_not_kept(
    name: str, deleted: bool
) -> None:
    """ECR's repositories, which are no resources of the stack, follow the stage."""
    pull = only(synthesize(load(name))["Registry"], IMAGE_PULL_TYPE)
    assert pull["DeleteRepository"] is deleted


def test_deployment_says_what_the_image_is(templates: Templates) -> None:
    """An output names the digest, which is what can be pinned next."""
    [name] = resources(templates["Registry"], IMAGE_PULL_TYPE)
    value = templates["Registry"]["Outputs"]["Image"]["Value"]
    assert value == {"Fn::GetAtt": [name, "Images"]}
