"""Tests of the cache for public images in the account's own registry."""

import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import RemovalPolicy, assertions
from aws_cdk import aws_iam as iam
from syrupy.assertion import SnapshotAssertion

from eks_inference import ImageCache
from eks_inference._handler_function import handler_code
from eks_inference.image_pull import IMAGE_PULL_TYPE
from eks_inference.testing import as_text, without_asset_hashes
from tests.library.cases import DIGEST, resources, template
from tests.library.cloudformation import imported
from tests.library.conftest import BadInputs, bad_inputs, refusal

RULE = "AWS::ECR::PullThroughCacheRule"
POLICY = "AWS::IAM::Policy"
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


@pytest.mark.parametrize(
    "case", ["images-smallest", "images-everything", "images-warm"]
)
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
    assert refusal(lambda: images.warm(**values)) == message
    assert refusal(lambda: images.image_uri(**values)) == message
    assert refusal(lambda: images.docker_hub_image_uri(**values)) == message


def test_fails_when_docker_hub_is_not_cached(stack: cdk.Stack) -> None:
    """Without credentials no image of Docker Hub has a name in the cache."""
    images = ImageCache(stack, "Images")
    vllm: dict[str, Any] = {"repository": "vllm/vllm-openai", "tag": "a"}
    for message in (
        refusal(lambda: images.docker_hub_image_uri(**vllm)),
        refusal(lambda: images.warm(**vllm, docker_hub=True)),
    ):
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


def test_warm_images_are_pulled_by_repository() -> None:
    """Each repository has a resource with its images, which the caches precede."""
    pulls = resources("images-warm", IMAGE_PULL_TYPE)
    assert {
        item["Properties"]["Repository"]: item["Properties"]["Images"]
        for item in pulls.values()
    } == {
        "ecr-public/deep-learning-containers/vllm": ["0.31.0", f"0.33.0@{DIGEST}"],
        "docker-hub/vllm/vllm-openai": ["v0.33.0"],
    }
    caches = {*resources("images-warm", RULE), *resources("images-warm", TEMPLATE)}
    assert len(caches) == 4
    for item in pulls.values():
        [policy] = set(item["DependsOn"]) - caches
        assert set(item["DependsOn"]) - {policy} == caches
        assert template("images-warm")["Resources"][policy]["Type"] == POLICY


def test_function_may_pull_what_is_warmed_and_nothing_else() -> None:
    """Each repository is named; only the registry's token has no resource."""
    policies = resources("images-warm", POLICY).values()
    arn = "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository"
    allowed = {}
    for policy in policies:
        [statement] = policy["Properties"]["PolicyDocument"]["Statement"]
        allowed[as_text(statement["Resource"])] = statement["Action"]
    assert allowed.keys() == {
        f"{arn}/ecr-public/deep-learning-containers/vllm",
        f"{arn}/docker-hub/vllm/vllm-openai",
    }
    for actions in allowed.values():
        assert actions == [
            "ecr:BatchGetImage",
            "ecr:BatchImportUpstreamImage",
            "ecr:CreateRepository",
            "ecr:DescribeImages",
            "ecr:GetDownloadUrlForLayer",
            "ecr:DeleteRepository",
        ]
    [role] = resources("images-warm", "AWS::IAM::Role").values()
    [inline] = role["Properties"]["Policies"]
    write, token = inline["PolicyDocument"]["Statement"]
    [log] = resources("images-warm", "AWS::Logs::LogGroup")
    assert write["Resource"] == {"Fn::GetAtt": [log, "Arn"]}
    assert (token["Action"], token["Resource"]) == ("ecr:GetAuthorizationToken", "*")


@pytest.mark.parametrize(
    ("policy", "deleted"),
    [(RemovalPolicy.RETAIN, False), (RemovalPolicy.DESTROY, True)],
)
def test_repositories_go_only_where_that_is_said(
    policy: RemovalPolicy, deleted: bool
) -> None:
    """Without DESTROY nothing is deleted, and nothing may be."""
    images = alone(removal_policy=policy)
    images.warm(**VLLM)
    [pull] = made(images, IMAGE_PULL_TYPE)
    [statement] = made(images, POLICY)[0]["PolicyDocument"]["Statement"]
    assert pull["DeleteRepository"] is deleted
    assert ("ecr:DeleteRepository" in statement["Action"]) is deleted


def test_repositories_stay_by_default() -> None:
    """What is not said deletes nothing."""
    images = alone()
    images.warm(**VLLM)
    assert made(images, IMAGE_PULL_TYPE)[0]["DeleteRepository"] is False


def alone(**changes: Any) -> ImageCache:
    """Return a cache in an app of its own, which can be synthesized."""
    stack = cdk.Stack(cdk.App(analytics_reporting=False), "Alone")
    return ImageCache(stack, "Images", **changes)


def made(images: ImageCache, kind: str) -> list[dict[str, Any]]:
    """Return the properties of the resources of a type, after a synthesis."""
    template = assertions.Template.from_stack(cdk.Stack.of(images)).to_json()
    return [
        item["Properties"]
        for item in template["Resources"].values()
        if item["Type"] == kind
    ]


def test_same_image_is_pulled_once() -> None:
    """Two models with one image need one pull, of which both get the resource."""
    images = alone()
    assert images.warm(**VLLM) is images.warm(**VLLM)
    [pull] = made(images, IMAGE_PULL_TYPE)
    assert pull["Images"] == ["0.31.0"]


def test_fails_when_a_tag_has_two_digests(stack: cdk.Stack) -> None:
    """One tag cannot be two images, and with a digest it is no longer any image."""
    images = ImageCache(stack, "Images")
    images.warm(**VLLM, digest=DIGEST)
    assert refusal(lambda: images.warm(**VLLM)) == (
        "image: 'digest' must be the same wherever "
        "deep-learning-containers/vllm:0.31.0 is warmed "
        f"(0.31.0@{DIGEST}), got '0.31.0'"
    )


def test_long_repository_has_a_policy_of_its_own() -> None:
    """A name of 230 characters gives a policy's name that IAM takes."""
    images = alone()
    images.warm("a" * 115 + "/" + "b" * 115, tag="1")
    images.warm("a" * 115 + "/" + "b" * 114 + "c", tag="1")
    names = [item["PolicyName"] for item in made(images, POLICY)]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 128


def test_log_can_be_kept(stack: cdk.Stack) -> None:
    """The function's log is at hand once there is a function."""
    images = ImageCache(stack, "Images")
    assert images.log is None
    images.warm(**VLLM)
    assert images.log is not None
    assert images.log.retention_in_days == 30


def test_function_is_the_tested_code() -> None:
    """What runs in Lambda is the text that the handler's tests run."""
    [function] = resources("images-warm", "AWS::Lambda::Function").values()
    assert function["Properties"]["Code"] == {"ZipFile": handler_code("image_pull")}
    assert function["Properties"]["Handler"] == "index.handler"
    assert "eks_inference" not in imported(handler_code("image_pull"))


def test_logical_ids_are_stable() -> None:
    """The ids of rules and pulls are pinned: a deletion may delete a repository."""
    assert list(resources("images-smallest", RULE)) == ["ImagesPublicEcr9311D3AC"]
    assert list(resources("images-warm", IMAGE_PULL_TYPE)) == [
        "ImagesPullsPublicEcrdeeplearningcontainersvllmImages0898252D",
        "ImagesPullsDockerHubvllmvllmopenaiImages2FFEDEA1",
    ]
