"""Images: public registries, cached in the account's own."""

import aws_cdk as cdk
from constructs import Construct

from eks_inference import ImageCache
from infra.settings import Settings
from infra.stack import PlatformStack


class RegistryStack(PlatformStack):
    """Pull-through caches of a stage."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            description="LLM inference: image caches",
        )
        self.images = ImageCache(
            self,
            "Images",
            # a prefix is taken once in a region: each stage has its own
            public_ecr_prefix=f"{settings.stage}-public",
            docker_hub_prefix=f"{settings.stage}-hub",
            docker_hub_secret_name=settings.docker_hub_secret or None,
            removal_policy=self.removal_policy,
        )
        image = settings.image
        warmed = self.images.warm(image.repository, tag=image.tag, digest=image.digest)
        log = self.images.log
        assert log is not None  # it has just been defined
        log.apply_removal_policy(self.removal_policy)
        cdk.CfnOutput(
            self,
            "Image",
            value=warmed.get_att("Images").to_string(),
            description="The image of vLLM, its digest, and whether ECR has all of it",
        )
