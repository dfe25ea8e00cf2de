"""Namespaces, priorities, and who may talk to whom."""

import cdk8s
import cdk8s_plus_28 as kplus

from eks_inference.manifests import APP_NAME, SERVING_APP, Manifest
from eks_inference.manifests.serving import PORT
from k8s.chart import add, new_chart, rendered
from k8s.keda import KEDA_NAMESPACE
from k8s.monitoring import MONITORING_NAMESPACE

INFERENCE_NAMESPACE = "inference"

INFERENCE_PRIORITY = "inference"
"""Priority of the models: above what fills a cluster, below what keeps it alive."""

HEADROOM_PRIORITY = "inference-headroom"
"""Priority of placeholders, which any other pod displaces."""

CLIENT_LABEL = "eks-inference/client"
"""Label of the namespaces whose pods may call the models."""

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_POD_IDENTITY_AGENT = "169.254.170.23/32"

_POD_SECURITY = {
    INFERENCE_NAMESPACE: "restricted",
    KEDA_NAMESPACE: "baseline",
    MONITORING_NAMESPACE: "baseline",
}
"""Pod Security Standard that each namespace enforces. Third-party charts are held to
the lower one, so that an upgrade of theirs cannot stop scaling."""


def platform_chart(*, vpc_cidr: str) -> list[Manifest]:
    """Return the namespaces with their rules, and the priorities.

    Args:
        vpc_cidr: Network of the control plane's interfaces, from which it calls the
            webhooks; it is not a pod and no selector can name it.
    """
    chart = new_chart("platform")
    for name, level in _POD_SECURITY.items():
        kplus.Namespace(
            chart,
            name,
            metadata=cdk8s.ApiObjectMetadata(
                name=name,
                labels={
                    "pod-security.kubernetes.io/enforce": level,
                    "pod-security.kubernetes.io/warn": "restricted",
                },
            ),
        )
    add(chart, _priorities())
    add(chart, _inference_policies())
    add(chart, _keda_policies(vpc_cidr))
    add(chart, _monitoring_policies(vpc_cidr))
    return rendered(chart)


def _priorities() -> list[Manifest]:
    return [
        _priority(INFERENCE_PRIORITY, 100_000, "Models that serve requests"),
        _priority(HEADROOM_PRIORITY, -10, "Placeholders that keep a node warm"),
    ]


def _inference_policies() -> list[Manifest]:
    serving = {APP_NAME: SERVING_APP}
    clients = [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {CLIENT_LABEL: "true"}}},
        _namespace(MONITORING_NAMESPACE),
    ]
    dns = {
        **_namespace("kube-system"),
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return [
        _policy(INFERENCE_NAMESPACE, "default-deny", {}, ["Ingress", "Egress"]),
        _policy(
            INFERENCE_NAMESPACE,
            "models",
            serving,
            ["Ingress", "Egress"],
            ingress=[{"from": clients, "ports": [_tcp(PORT)]}],
            egress=[
                {"to": [dns], "ports": [_port("UDP", 53), _tcp(53)]},
                # credentials come from an agent on the node, at an address of no pod
                {"to": [_network(_POD_IDENTITY_AGENT)], "ports": [_tcp(80)]},
                # S3 keeps its public addresses behind a gateway endpoint
                {"to": [_network("0.0.0.0/0")], "ports": [_tcp(443)]},
            ],
        ),
    ]


def _keda_policies(vpc_cidr: str) -> list[Manifest]:
    control_plane = _network(vpc_cidr)
    metrics_server = {"app": "keda-operator-metrics-apiserver"}
    return [
        _policy(KEDA_NAMESPACE, "default-deny", {}, ["Ingress"]),
        _policy(
            KEDA_NAMESPACE,
            "metrics-api",
            metrics_server,
            ["Ingress"],
            ingress=[{"from": [control_plane], "ports": [_tcp(6443)]}],
        ),
        _policy(
            KEDA_NAMESPACE,
            "webhooks",
            {"app": "keda-admission-webhooks"},
            ["Ingress"],
            ingress=[{"from": [control_plane], "ports": [_tcp(9443)]}],
        ),
        _policy(
            KEDA_NAMESPACE,
            "operator",
            {"app": "keda-operator"},
            ["Ingress"],
            ingress=[
                {
                    "from": [{"podSelector": {"matchLabels": metrics_server}}],
                    "ports": [_tcp(9666)],
                }
            ],
        ),
        _policy(
            KEDA_NAMESPACE,
            "metrics",
            {},
            ["Ingress"],
            ingress=[
                {"from": [_namespace(MONITORING_NAMESPACE)], "ports": [_tcp(8080)]}
            ],
        ),
    ]


def _monitoring_policies(vpc_cidr: str) -> list[Manifest]:
    return [
        _policy(MONITORING_NAMESPACE, "default-deny", {}, ["Ingress"]),
        _policy(
            MONITORING_NAMESPACE,
            "prometheus",
            {APP_NAME: "prometheus"},
            ["Ingress"],
            ingress=[
                {
                    "from": [_namespace(KEDA_NAMESPACE), {"podSelector": {}}],
                    "ports": [_tcp(9090)],
                }
            ],
        ),
        _policy(
            MONITORING_NAMESPACE,
            "operator",
            {"app": "kube-prometheus-stack-operator"},
            ["Ingress"],
            ingress=[
                {
                    "from": [_network(vpc_cidr), {"podSelector": {}}],
                    "ports": [_tcp(10250)],
                }
            ],
        ),
    ]


def _priority(name: str, value: int, description: str) -> Manifest:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "globalDefault": False,
        "description": description,
    }


def _policy(
    namespace: str,
    name: str,
    pods: dict[str, str],
    types: list[str],
    *,
    ingress: list[Manifest] | None = None,
    egress: list[Manifest] | None = None,
) -> Manifest:
    spec: Manifest = {
        "podSelector": {"matchLabels": pods} if pods else {},
        "policyTypes": types,
    }
    if ingress is not None:
        spec["ingress"] = ingress
    if egress is not None:
        spec["egress"] = egress
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: name}}}


def _network(cidr: str) -> Manifest:
    return {"ipBlock": {"cidr": cidr}}


def _tcp(port: int) -> Manifest:
    return _port("TCP", port)


def _port(protocol: str, port: int) -> Manifest:
    return {"protocol": protocol, "port": port}
