"""Who talks to whom around KEDA: its parts, and what wakes a model on request."""

from eks_inference.manifests import APP_NAME, Manifest
from eks_inference.manifests.scaling import INTERCEPTOR_PORT
from k8s.network_policy import namespace, namespaces_with, network, policy, tcp

KEDA_NAMESPACE = "keda"

_COMPONENT = "app.kubernetes.io/component"


def keda_policies(*, vpc_cidr: str, monitoring_namespace: str) -> list[Manifest]:
    """Return the network policies of KEDA's namespace: nothing but what is named.

    Args:
        vpc_cidr: Network of the control plane's interfaces.
        monitoring_namespace: Namespace of the Prometheus that scrapes KEDA.
    """
    control_plane = network(vpc_cidr)
    metrics_server = {"app": "keda-operator-metrics-apiserver"}
    return [
        policy(KEDA_NAMESPACE, "default-deny", {}, ["Ingress"]),
        policy(
            KEDA_NAMESPACE,
            "metrics-api",
            metrics_server,
            ["Ingress"],
            ingress=[{"from": [control_plane], "ports": [tcp(6443)]}],
        ),
        policy(
            KEDA_NAMESPACE,
            "webhooks",
            {"app": "keda-admission-webhooks"},
            ["Ingress"],
            ingress=[{"from": [control_plane], "ports": [tcp(9443)]}],
        ),
        policy(
            KEDA_NAMESPACE,
            "operator",
            {"app": "keda-operator"},
            ["Ingress"],
            ingress=[
                {
                    "from": [{"podSelector": {"matchLabels": metrics_server}}],
                    "ports": [tcp(9666)],
                }
            ],
        ),
        policy(
            KEDA_NAMESPACE,
            "metrics",
            {},
            ["Ingress"],
            ingress=[{"from": [namespace(monitoring_namespace)], "ports": [tcp(8080)]}],
        ),
    ]


def http_addon_policies(*, models: str, client_label: str) -> list[Manifest]:
    """Return who may talk to the HTTP add-on (its chart labels pods by component).

    Args:
        models: Namespace of the models, whose pods may be clients too.
        client_label: Label of the namespaces whose pods may call the models.
    """
    own: Manifest = {"podSelector": {}}
    return [
        policy(
            KEDA_NAMESPACE,
            "http-interceptor",
            {_COMPONENT: "interceptor"},
            ["Ingress"],
            ingress=[
                {
                    "from": [namespace(models), namespaces_with(client_label)],
                    "ports": [tcp(INTERCEPTOR_PORT)],
                },
                # the scaler counts what each interceptor holds
                {"from": [own], "ports": [tcp(9090)]},
            ],
        ),
        policy(
            KEDA_NAMESPACE,
            "http-scaler",
            {_COMPONENT: "scaler"},
            ["Ingress"],
            ingress=[{"from": [own], "ports": [tcp(9090)]}],
        ),
    ]


def otel_scaler_policies() -> list[Manifest]:
    """Return who may talk to the OpenTelemetry scaler: the collector, and KEDA."""
    return [
        policy(
            KEDA_NAMESPACE,
            "otel-scaler",
            {APP_NAME: "otel-add-on"},
            ["Ingress"],
            ingress=[{"from": [{"podSelector": {}}], "ports": [tcp(4317), tcp(4318)]}],
        )
    ]
