"""Every object of one model, in the order in which they are created."""

from eks_inference.manifests import Manifest
from eks_inference.manifests.scaling import (
    interceptor_route,
    scaled_object,
    trigger_authentication,
)
from eks_inference.manifests.serving import (
    Serving,
    deployment,
    pod_disruption_budget,
    pod_monitor,
    service,
    service_account,
)


def serving_manifests(serving: Serving) -> list[Manifest]:
    """Return the objects of a model, one of each kind.

    Args:
        serving: What they are rendered from.
    """
    return [
        service_account(serving),
        service(serving),
        pod_disruption_budget(serving),
        deployment(serving),
        pod_monitor(serving),
        *trigger_authentication(serving),
        *interceptor_route(serving),
        scaled_object(serving),
    ]
