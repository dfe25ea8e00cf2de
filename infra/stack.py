"""What all stacks have in common: name, place, tags, protection."""

import aws_cdk as cdk
from constructs import Construct

from eks_inference.account.ownership import STAGE_TAG
from infra.settings import Settings


class PlatformStack(cdk.Stack):
    """A stack of the platform.

    Args:
        settings: The stage.
        description: What the stack holds.
    """

    def __init__(
        self, scope: Construct, id: str, *, settings: Settings, description: str
    ) -> None:
        super().__init__(
            scope,
            id,
            stack_name=f"{settings.cluster_name}-{id.lower()}",
            description=description,
            env=cdk.Environment(account=settings.account, region=settings.region),
            tags=platform_tags(settings),
            termination_protection=settings.retain,
        )
        # what a first deployment made before it failed holds nothing, and its name
        # would be in the way of the second
        self.removal_policy = (
            cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
            if settings.retain
            else cdk.RemovalPolicy.DESTROY
        )


def platform_tags(settings: Settings) -> dict[str, str]:
    """Return the tags that say which stage something belongs to."""
    return {STAGE_TAG: settings.stage}
