"""The namespace of the models: who may talk to them, and to whom they may talk."""

from collections.abc import Sequence

from eks_inference.manifests import APP_NAME, SERVING_APP, Manifest
from eks_inference.manifests.model_import import COMPONENT, IMPORT_COMPONENT
from eks_inference.manifests.serving import PORT
from k8s.network_policy import namespace, namespaces_with, network, policy, port, tcp

INFERENCE_NAMESPACE = "inference"

CLIENT_LABEL = "eks-inference/client"
"""Label of the namespaces whose pods may call the models."""

_POD_IDENTITY_AGENT = "169.254.170.23/32"


def inference_policies(*, callers: Sequence[str]) -> list[Manifest]:
    """Return the network policies of the models' namespace: nothing but what is named.

    Args:
        callers: Namespaces of what calls the models for the platform: the Prometheus
            that scrapes them, the add-on that hands requests on.
    """
    clients = [
        {"podSelector": {}},
        namespaces_with(CLIENT_LABEL),
        *map(namespace, callers),
    ]
    dns = {
        **namespace("kube-system"),
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    egress = [
        {"to": [dns], "ports": [port("UDP", 53), tcp(53)]},
        # credentials come from an agent on the node, at an address of no pod
        {"to": [network(_POD_IDENTITY_AGENT)], "ports": [tcp(80)]},
        # S3 keeps its public addresses behind a gateway endpoint
        {"to": [network("0.0.0.0/0")], "ports": [tcp(443)]},
    ]
    return [
        policy(INFERENCE_NAMESPACE, "default-deny", {}, ["Ingress", "Egress"]),
        policy(
            INFERENCE_NAMESPACE,
            "models",
            {APP_NAME: SERVING_APP},
            ["Ingress", "Egress"],
            ingress=[{"from": clients, "ports": [tcp(PORT)]}],
            egress=egress,
        ),
        # an import reads the Hub and writes the bucket, and answers nobody
        policy(
            INFERENCE_NAMESPACE,
            "model-imports",
            {COMPONENT: IMPORT_COMPONENT},
            ["Ingress", "Egress"],
            egress=egress,
        ),
    ]
