"""Dashboards as objects of Kubernetes, which Grafana's sidecar reads."""

from collections.abc import Iterable, Mapping

from eks_inference._check import Problems
from eks_inference.dashboards.values import Dashboard
from eks_inference.manifests import Manifest

SIDECAR_LABEL: Mapping[str, str] = {"grafana_dashboard": "1"}
"""Label by which the sidecar finds them: the default of the Grafana chart and of the
kube-prometheus-stack chart (``grafana.sidecar.dashboards.label``, ``labelValue``)."""


def config_maps(dashboards: Iterable[Dashboard], *, namespace: str) -> list[Manifest]:
    """Return a ConfigMap for each dashboard.

    Args:
        dashboards: What to render, each with an identity of its own.
        namespace: Namespace of the ConfigMaps. The kube-prometheus-stack chart lets
            the sidecar search all namespaces.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    chosen = list(dashboards)
    with Problems("dashboards") as problems:
        problems.dns_label("namespace", namespace)
        problems.unique(
            "uid", (item.uid for item in chosen), repair="give each its own identity"
        )
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": item.uid,
                "namespace": namespace,
                "labels": dict(SIDECAR_LABEL),
            },
            "data": {item.file_name: item.to_json()},
        }
        for item in chosen
    ]
