"""What the cluster shows of itself: dashboards, rules, and who may scrape whom."""

from collections.abc import Sequence

from eks_inference.dashboards import config_maps, dashboards
from eks_inference.manifests import APP_NAME, Manifest
from k8s.chart import add, new_chart, rendered
from k8s.network_policy import namespace, network, policy, tcp

MONITORING_NAMESPACE = "monitoring"

GPU_TELEMETRY_NAMESPACE = "gpu-telemetry"
"""Namespace of the DCGM exporter, which needs what a baseline namespace forbids: a path
of the host, and SYS_ADMIN for the counters of the driver."""

PROMETHEUS_RELEASE = "kube-prometheus-stack"
"""Name of the Helm release. The chart derives the server's Service from it, and the
library's default signal asks there."""


def monitoring_chart(*, rules: Sequence[Manifest], shown: bool) -> list[Manifest]:
    """Return the rules that exist once for a cluster, and its dashboards.

    Args:
        rules: PrometheusRules of the cluster.
        shown: Whether the dashboards are installed.
    """
    chart = new_chart("monitoring")
    add(chart, rules)
    if shown:
        add(chart, config_maps(dashboards(), namespace=MONITORING_NAMESPACE))
    return rendered(chart)


def monitoring_policies(vpc_cidr: str, *, keda_namespace: str) -> list[Manifest]:
    """Return the network policies of what monitors: nothing but what is named.

    Args:
        vpc_cidr: Network of the control plane's interfaces.
        keda_namespace: Namespace of KEDA, which asks Prometheus.
    """
    own: Manifest = {"podSelector": {}}

    def reached(name: str, number: int, *callers: Manifest) -> Manifest:
        return policy(
            MONITORING_NAMESPACE,
            name,
            {APP_NAME: name},
            ["Ingress"],
            ingress=[{"from": list(callers), "ports": [tcp(number)]}],
        )

    return [
        policy(MONITORING_NAMESPACE, "default-deny", {}, ["Ingress"]),
        reached("prometheus", 9090, namespace(keda_namespace), own),
        reached("alertmanager", 9093, own),
        reached("kube-state-metrics", 8080, own),
        policy(
            MONITORING_NAMESPACE,
            "operator",
            {"app": "kube-prometheus-stack-operator"},
            ["Ingress"],
            ingress=[{"from": [network(vpc_cidr), own], "ports": [tcp(10250)]}],
        ),
        policy(GPU_TELEMETRY_NAMESPACE, "default-deny", {}, ["Ingress"]),
        policy(
            GPU_TELEMETRY_NAMESPACE,
            "dcgm-exporter",
            {APP_NAME: "dcgm-exporter"},
            ["Ingress"],
            ingress=[{"from": [namespace(MONITORING_NAMESPACE)], "ports": [tcp(9400)]}],
        ),
    ]
