"""The Service that several models share."""

from eks_inference.manifests import APP_NAME, ENDPOINT_LABEL, SERVING_APP, Manifest
from eks_inference.manifests.serving import PORT, PORT_NAME


def endpoint_service(*, name: str, namespace: str) -> Manifest:
    """Return a Service in front of every pod that carries its label.

    Args:
        name: Name of the Service, and value of the label.
        namespace: Namespace of the Service and of the pods.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {APP_NAME: SERVING_APP, ENDPOINT_LABEL: name},
        },
        "spec": {
            "selector": {ENDPOINT_LABEL: name},
            "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME}],
        },
    }
