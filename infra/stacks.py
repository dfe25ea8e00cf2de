"""How the stacks fit together: what each one takes from those before it."""

from dataclasses import dataclass

import aws_cdk as cdk

from infra.cluster import ClusterStack
from infra.guardrails import acknowledge_findings
from infra.network import NetworkStack
from infra.platform import PlatformReleasesStack
from infra.registry import RegistryStack
from infra.serving import ServingStack
from infra.settings import Settings
from infra.storage import StorageStack


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacks:
    """The stacks of a stage, in the order of deployment; deletion goes backwards."""

    network: NetworkStack
    registry: RegistryStack
    cluster: ClusterStack
    platform: PlatformReleasesStack
    storage: StorageStack
    serving: ServingStack


def define_stacks(app: cdk.App, settings: Settings) -> Stacks:
    """Define every stack of a stage.

    Args:
        app: Owner.
        settings: Validated settings.
    """
    network = NetworkStack(app, "Network", settings=settings)
    registry = RegistryStack(app, "Registry", settings=settings)
    cluster = ClusterStack(
        app,
        "Cluster",
        settings=settings,
        vpc=network.vpc,
        images=registry.images,
    )
    platform = PlatformReleasesStack(
        app, "Platform", settings=settings, cluster=cluster
    )
    storage = StorageStack(
        app, "Storage", settings=settings, vpc=network.vpc, cluster=cluster
    )
    serving = ServingStack(
        app,
        "Serving",
        settings=settings,
        cluster=cluster,
        storage=storage,
        keda_role=platform.keda_role.role,
        image=registry.images.image_uri(
            settings.image.repository,
            tag=settings.image.tag,
            digest=settings.image.digest,
        ),
    )
    # nothing in the templates says that an image needs its cache, and an object its CRD
    cluster.add_stack_dependency(registry)
    storage.add_stack_dependency(platform)
    serving.add_stack_dependency(platform)
    stacks = Stacks(
        network=network,
        registry=registry,
        cluster=cluster,
        platform=platform,
        storage=storage,
        serving=serving,
    )
    acknowledge_findings(stacks)
    return stacks
