"""Namespaces, priorities, and who may talk to whom."""

import cdk8s
import cdk8s_plus_28 as kplus

from eks_inference.manifests import APP_NAME, Manifest
from k8s.chart import add, new_chart, rendered
from k8s.keda import KEDA_NAMESPACE
from k8s.monitoring import MONITORING_NAMESPACE
from k8s.network_policy import namespace, network, policy, tcp
from k8s.vllm import INFERENCE_NAMESPACE, inference_policies

INFERENCE_PRIORITY = "inference"
"""Priority of the models: above what fills a cluster, below what keeps it alive."""

HEADROOM_PRIORITY = "inference-headroom"
"""Priority of placeholders, which any other pod displaces."""

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
    add(chart, inference_policies(monitoring_namespace=MONITORING_NAMESPACE))
    add(chart, _keda_policies(vpc_cidr))
    add(chart, _monitoring_policies(vpc_cidr))
    return rendered(chart)


def _priorities() -> list[Manifest]:
    return [
        _priority(INFERENCE_PRIORITY, 100_000, "Models that serve requests"),
        _priority(HEADROOM_PRIORITY, -10, "Placeholders that keep a node warm"),
    ]


def _keda_policies(vpc_cidr: str) -> list[Manifest]:
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
            ingress=[{"from": [namespace(MONITORING_NAMESPACE)], "ports": [tcp(8080)]}],
        ),
    ]


def _monitoring_policies(vpc_cidr: str) -> list[Manifest]:
    return [
        policy(MONITORING_NAMESPACE, "default-deny", {}, ["Ingress"]),
        policy(
            MONITORING_NAMESPACE,
            "prometheus",
            {APP_NAME: "prometheus"},
            ["Ingress"],
            ingress=[
                {
                    "from": [namespace(KEDA_NAMESPACE), {"podSelector": {}}],
                    "ports": [tcp(9090)],
                }
            ],
        ),
        policy(
            MONITORING_NAMESPACE,
            "operator",
            {"app": "kube-prometheus-stack-operator"},
            ["Ingress"],
            ingress=[
                {
                    "from": [network(vpc_cidr), {"podSelector": {}}],
                    "ports": [tcp(10250)],
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
