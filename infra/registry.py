"""Images: public registries, cached in the account's own."""

import json

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from infra.settings import ImageSettings, Settings
from infra.stack import PlatformStack

ECR_PUBLIC_PREFIX = "ecr-public"
DOCKER_HUB_PREFIX = "docker-hub"

_LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "images that no tag names any more",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 14,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": "all but the newest versions",
            "selection": {
                "tagStatus": "any",
                "countType": "imageCountMoreThan",
                "countNumber": 10,
            },
            "action": {"type": "expire"},
        },
    ]
}


class RegistryStack(PlatformStack):
    """Pull-through caches of a stage.

    ECR never intercepts the name of a public image: a pod must name the cached
    repository, which ``cached_image`` returns.
    """

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            description="LLM inference: image caches",
        )
        self.prefixes = [ECR_PUBLIC_PREFIX]
        ecr.CfnPullThroughCacheRule(
            self,
            "EcrPublic",
            ecr_repository_prefix=ECR_PUBLIC_PREFIX,
            upstream_registry="ecr-public",
            upstream_registry_url="public.ecr.aws",
        )
        if settings.docker_hub_secret:
            self.prefixes.append(DOCKER_HUB_PREFIX)
            ecr.CfnPullThroughCacheRule(
                self,
                "DockerHub",
                ecr_repository_prefix=DOCKER_HUB_PREFIX,
                upstream_registry="docker-hub",
                upstream_registry_url="registry-1.docker.io",
                credential_arn=self.format_arn(
                    service="secretsmanager",
                    resource="secret",
                    resource_name=settings.docker_hub_secret,
                    arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                ),
            )
        for prefix in self.prefixes:
            # neither tags nor a key of our own: both would need a role for ECR
            ecr.CfnRepositoryCreationTemplate(
                self,
                f"{prefix.title().replace('-', '')}Template",
                prefix=prefix,
                applied_for=["PULL_THROUGH_CACHE"],
                description="Repositories that a pull through the cache creates",
                image_tag_mutability="IMMUTABLE",
                lifecycle_policy=json.dumps(_LIFECYCLE),
            )

    def cached_image(self, image: ImageSettings) -> str:
        """Return the name under which nodes pull a public ECR image from the cache."""
        registry = f"{self.account}.dkr.ecr.{self.region}.{self.url_suffix}"
        name = f"{registry}/{ECR_PUBLIC_PREFIX}/{image.repository}:{image.tag}"
        return f"{name}@{image.digest}" if image.digest else name
