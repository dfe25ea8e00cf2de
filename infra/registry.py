"""Images: public registries, cached in the account's own."""

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
            docker_hub_secret_name=settings.docker_hub_secret or None,
        )
