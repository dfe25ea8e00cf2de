"""Namespaces, priorities, and who may talk to whom."""

import cdk8s
import cdk8s_plus_28 as kplus

from eks_inference.manifests import Manifest
from k8s.chart import add, new_chart, rendered
from k8s.keda import (
    KEDA_NAMESPACE,
    http_addon_policies,
    keda_policies,
    otel_scaler_policies,
)
from k8s.monitoring import (
    GPU_TELEMETRY_NAMESPACE,
    MONITORING_NAMESPACE,
    monitoring_policies,
)
from k8s.vllm import CLIENT_LABEL, INFERENCE_NAMESPACE, inference_policies

INFERENCE_PRIORITY = "inference"
"""Priority of the models: above what fills a cluster, below what keeps it alive."""

_POD_SECURITY = {
    INFERENCE_NAMESPACE: "restricted",
    KEDA_NAMESPACE: "baseline",
    MONITORING_NAMESPACE: "baseline",
    GPU_TELEMETRY_NAMESPACE: "privileged",
}
"""Pod Security Standard that each namespace enforces. Third-party charts are held to
the lower one, so that an upgrade of theirs cannot stop scaling."""


def platform_chart(
    *, vpc_cidr: str, http_addon: bool = False, otel_scaler: bool = False
) -> list[Manifest]:
    """Return the namespaces with their rules, and the priorities.

    Args:
        vpc_cidr: Network of the control plane's interfaces, from which it calls the
            webhooks; it is not a pod and no selector can name it.
        http_addon: Whether requests reach models through KEDA's HTTP add-on.
        otel_scaler: Whether a collector in KEDA's namespace scrapes the models.
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
    callers = [MONITORING_NAMESPACE]
    if http_addon or otel_scaler:
        callers.append(KEDA_NAMESPACE)
    add(chart, inference_policies(callers=callers))
    add(
        chart,
        keda_policies(vpc_cidr=vpc_cidr, monitoring_namespace=MONITORING_NAMESPACE),
    )
    if http_addon:
        add(
            chart,
            http_addon_policies(models=INFERENCE_NAMESPACE, client_label=CLIENT_LABEL),
        )
    if otel_scaler:
        add(chart, otel_scaler_policies())
    add(chart, monitoring_policies(vpc_cidr, keda_namespace=KEDA_NAMESPACE))
    return rendered(chart)


def _priorities() -> list[Manifest]:
    return [
        _priority(INFERENCE_PRIORITY, 100_000, "Models that serve requests"),
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
