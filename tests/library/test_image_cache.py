"""Tests of the cache for public images in the account's own registry."""

import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from syrupy.assertion import SnapshotAssertion

from eks_inference import ImageCache
from eks_inference.testing import as_text, without_asset_hashes
from tests.library.cases import DIGEST, resources, template
from tests.library.conftest import BadInputs, bad_inputs, refusal

RULE = "AWS::ECR::PullThroughCacheRule"
TEMPLATE = "AWS::ECR::RepositoryCreationTemplate"
VLLM: dict[str, Any] = {"repository": "deep-learning-containers/vllm", "tag": "0.31.0"}
REPOSITORY = (
    "image: 'repository' must be a repository without registry and tag, got {!r}; "
    "for example 'deep-learning-containers/vllm'"
)
TAG = "image: 'tag' must be an image tag, got {!r}"

BAD_IMAGES: BadInputs = [
    ({"repository": ""}, REPOSITORY.format("")),
    ({"repository": "vllm:0.31.0"}, REPOSITORY.format("vllm:0.31.0")),
    ({"repository": "/vllm"}, REPOSITORY.format("/vllm")),
    ({"repository": "VLLM"}, REPOSITORY.format("VLLM")),
    ({"repository": None}, REPOSITORY.format(None)),
    ({"tag": ""}, TAG.format("")),
    ({"tag": "a/b"}, TAG.format("a/b")),
    ({"tag": "t" * 129}, TAG.format("t" * 129)),
    ({"tag": 31}, TAG.format(31)),
    (
        {"tag": "latest"},
        (
            "image: 'tag' must be pinned, got 'latest'; "
            "nodes that start on different days would run different versions"
        ),
    ),
    (
        {"digest": "sha256:0"},
        "image: 'digest' must be 'sha256:' and 64 hex digits, got 'sha256:0'",
    ),
    (
        {"digest": None},
        "image: 'digest' must be 'sha256:' and 64 hex digits, got None",
    ),
    ({"repository": "", "tag": ""}, f"{REPOSITORY.format('')}\n{TAG.format('')}"),
]


def full(stack: cdk.Stack) -> ImageCache:
    """Return a cache of both upstreams."""
    return ImageCache(
        stack, "Images", docker_hub_secret_name="ecr-pullthroughcache/docker-hub"
    )


@pytest.mark.parametrize("case", ["images-smallest", "images-everything"])
def test_template(case: str, snapshot: SnapshotAssertion) -> None:
    """The whole template is the recorded one, with few arguments and with all."""
    assert without_asset_hashes(template(case)["Resources"]) == snapshot


def test_default_caches_public_ecr_alone() -> None:
    """Without credentials there is one rule and one template, for public ECR."""
    [rule] = resources("images-smallest", RULE).values()
    assert rule["Properties"] == {
        "EcrRepositoryPrefix": "ecr-public",
        "UpstreamRegistry": "ecr-public",
        "UpstreamRegistryUrl": "public.ecr.aws",
    }
    [made] = resources("images-smallest", TEMPLATE).values()
    assert made["Properties"]["Prefix"] == "ecr-public"
    assert made["Properties"]["AppliedFor"] == ["PULL_THROUGH_CACHE"]
    assert made["Properties"]["ImageTagMutability"] == "IMMUTABLE"


def test_docker_hub_is_cached_with_credentials() -> None:
    """With a secret there are a rule and a template more, which name it."""
    rules = {
        item["Properties"]["EcrRepositoryPrefix"]: item["Properties"]
        for item in resources("images-everything", RULE).values()
    }
    assert rules.keys() == {"team.ecr", "hub"}
    assert as_text(rules["hub"]["CredentialArn"]) == (
        "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:"
        "secret:ecr-pullthroughcache/docker-hub"
    )
    assert "CredentialArn" not in rules["team.ecr"]
    templates = resources("images-everything", TEMPLATE).values()
    assert {item["Properties"]["Prefix"] for item in templates} == rules.keys()


@pytest.mark.parametrize(
    ("case", "kept"), [("images-smallest", 10), ("images-everything", 3)]
)
def test_old_images_are_removed(case: str, kept: int) -> None:
    """Each repository keeps the stated number of images, and none without a tag."""
    for item in resources(case, TEMPLATE).values():
        untagged, old = json.loads(item["Properties"]["LifecyclePolicy"])["rules"]
        assert untagged["selection"]["tagStatus"] == "untagged"
        assert untagged["selection"]["countNumber"] == 14
        assert old["selection"]["countNumber"] == kept
        assert untagged["rulePriority"] < old["rulePriority"]


def test_image_is_named_in_the_cache(stack: cdk.Stack) -> None:
    """The name is that of the cached repository in the stack's registry."""
    images = full(stack)
    registry = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}"
    found = [
        images.image_uri(**VLLM),
        images.image_uri(**VLLM, digest=DIGEST),
        images.docker_hub_image_uri("vllm/vllm-openai", tag="v0.31.0"),
        images.docker_hub_image_uri("vllm/vllm-openai", tag="a", digest=DIGEST),
    ]
    vllm = f"{registry}/ecr-public/deep-learning-containers/vllm:0.31.0"
    assert [as_text(stack.resolve(item)) for item in found] == [
        vllm,
        f"{vllm}@{DIGEST}",
        f"{registry}/docker-hub/vllm/vllm-openai:v0.31.0",
        f"{registry}/docker-hub/vllm/vllm-openai:a@{DIGEST}",
    ]


@bad_inputs(BAD_IMAGES)
def test_fails_when_an_image_is_none(
    changes: Mapping[str, Any], message: str, stack: cdk.Stack
) -> None:
    """What is no pinned image is refused, whichever upstream it comes from."""
    images = full(stack)
    values = {**VLLM, **changes}
    assert refusal(lambda: images.image_uri(**values)) == message
    assert refusal(lambda: images.docker_hub_image_uri(**values)) == message


def test_fails_when_docker_hub_is_not_cached(stack: cdk.Stack) -> None:
    """Without credentials no image of Docker Hub has a name in the cache."""
    images = ImageCache(stack, "Images")
    message = refusal(lambda: images.docker_hub_image_uri("vllm/vllm-openai", tag="a"))
    assert message == (
        "image cache 'Images': 'docker_hub_secret_name' must be given to pull from "
        "Docker Hub, got none for 'vllm/vllm-openai'"
    )


def test_nodes_can_fill_the_cache_and_nothing_else() -> None:
    """The grant names two actions on the repositories of the cache."""
    [policy] = resources("images-everything", "AWS::IAM::Policy").values()
    assert policy["Properties"]["Roles"] == ["Nodes"]
    [statement] = policy["Properties"]["PolicyDocument"]["Statement"]
    arn = "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository"
    assert [as_text(item) for item in statement.pop("Resource")] == [
        f"{arn}/team.ecr/*",
        f"{arn}/hub/*",
    ]
    assert statement == {
        "Effect": "Allow",
        "Action": ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"],
    }


def test_grant_is_a_grant(stack: cdk.Stack) -> None:
    """What the grant returns is CDK's, and says what it gave."""
    role = iam.Role(stack, "Role", assumed_by=iam.AccountRootPrincipal())
    grant = ImageCache(stack, "Images").grant_pull(role)
    assert isinstance(grant, iam.Grant)
    assert grant.success
    [statement] = grant.principal_statements
    assert statement.actions == sorted(statement.actions)


def test_prefixes_are_those_that_fill_themselves(stack: cdk.Stack) -> None:
    """The second prefix counts only where there is a second upstream."""
    assert ImageCache(stack, "One").prefixes == ["ecr-public"]
    assert full(stack).prefixes == ["ecr-public", "docker-hub"]
    assert len(full(cdk.Stack(stack, "Nested")).repository_arns) == 2


def test_logical_ids_are_stable() -> None:
    """The ids of the rules are pinned: two rules of one prefix exclude each other."""
    assert list(resources("images-smallest", RULE)) == ["ImagesPublicEcr9311D3AC"]
