"""Helm values of the OpenTelemetry add-on, and the collector that feeds it.

Sources: kedify/otel-add-on at f3acd93 (chart v0.1.4 with the subchart
opentelemetry-collector 0.131.0): ports, ``settings.metricStore``, ``otelCollector``.
"""

from collections.abc import Sequence

from eks_inference._check import Problems
from eks_inference.manifests import APP_INSTANCE, APP_NAME, SERVING_APP, Manifest
from eks_inference.manifests.serving import PORT_NAME
from eks_inference.metric_names import KV_CACHE_USAGE, RUNNING, WAITING
from eks_inference.signal import KedifySignal, OtelScalerSignal

OTEL_SCALER_RELEASE = "keda-otel-scaler"
"""Name of the release, and so of the Service that ``Signal.otel_scaler`` asks."""

_OTLP_PORT = 4317
_MEMORY_SECONDS = 60
"""How long the add-on keeps a series that nobody sends any more: twelve scrapes."""


def otel_scaler_values(
    signal: OtelScalerSignal,
    *,
    namespaces: Sequence[str],
    addon_namespace: str = "keda",
    metrics: Sequence[str] = (RUNNING, WAITING, KV_CACHE_USAGE),
) -> Manifest:
    """Return the values for ``oci://ghcr.io/kedify/charts/otel-add-on``, v0.1.4.

    One collector finds the models' pods through the API server, scrapes them and sends
    what scaling needs to the add-on, with the pod as a label: without it the pods
    would overwrite each other's numbers, and a sum would be that of one pod.

    Args:
        signal: The signal that asks the add-on; a ``Signal.kedify`` has vLLM's metrics
            renamed, since Kedify's trigger knows no colon.
        namespaces: Namespaces of the models.
        addon_namespace: Namespace of the release. Default: ``keda``.
        metrics: Metrics that are sent. Default: running and waiting requests, and the
            use of the KV cache.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("OpenTelemetry scaler") as problems:
        problems.instance("signal", signal, OtelScalerSignal)
        if problems.sequence("namespaces", namespaces):
            problems.not_empty("namespaces", namespaces, repair="name the models'")
            for name in namespaces:
                problems.dns_label("namespaces", name)
        problems.dns_label("addon_namespace", addon_namespace)
        if problems.sequence("metrics", metrics):
            problems.not_empty("metrics", metrics, repair="name one")
    return {
        "fullnameOverride": OTEL_SCALER_RELEASE,
        "settings": {"metricStore": {"retentionSeconds": _MEMORY_SECONDS}},
        "otelCollector": {
            "enabled": True,
            "mode": "deployment",
            "clusterRole": {
                "create": True,
                "rules": [
                    {
                        "apiGroups": [""],
                        "resources": ["pods"],
                        "verbs": ["get", "list", "watch"],
                    }
                ],
            },
            "alternateConfig": _collector(signal, namespaces, addon_namespace, metrics),
        },
    }


def _collector(
    signal: OtelScalerSignal,
    namespaces: Sequence[str],
    addon_namespace: str,
    metrics: Sequence[str],
) -> Manifest:
    interval = signal.scrape_interval_seconds
    pipeline: Manifest = {"receivers": ["prometheus"], "exporters": ["otlp"]}
    scrape: Manifest = {
        "job_name": "vllm",
        "scrape_interval": f"{interval}s",
        "scrape_timeout": f"{max(1, interval - 1)}s",
        "kubernetes_sd_configs": [
            {"role": "pod", "namespaces": {"names": list(namespaces)}}
        ],
        "relabel_configs": _relabelling(),
        "metric_relabel_configs": [
            {
                "source_labels": ["__name__"],
                "regex": "|".join(metrics),
                "action": "keep",
            }
        ],
    }
    config: Manifest = {
        "receivers": {"prometheus": {"config": {"scrape_configs": [scrape]}}},
        "exporters": {
            "otlp": {
                "endpoint": f"{OTEL_SCALER_RELEASE}.{addon_namespace}.svc:{_OTLP_PORT}",
                "compression": "none",
                # inside the cluster, between two pods of one release
                "tls": {"insecure": True},
            }
        },
        "extensions": {"health_check": {"endpoint": "${env:MY_POD_IP}:13133"}},
        "service": {"extensions": ["health_check"], "pipelines": {"metrics": pipeline}},
    }
    if isinstance(signal, KedifySignal):
        rename = 'replace_pattern(name, "^vllm:", "vllm_")'
        config["processors"] = {
            "transform": {
                "metric_statements": [{"context": "metric", "statements": [rename]}]
            }
        }
        pipeline["processors"] = ["transform"]
    return config


def _relabelling() -> list[Manifest]:
    pod = "__meta_kubernetes_pod"

    def keep(label: str, regex: str) -> Manifest:
        return {"source_labels": [label], "regex": regex, "action": "keep"}

    def copy(label: str, target: str) -> Manifest:
        return {"source_labels": [label], "target_label": target}

    return [
        keep(f"{pod}_label_{_label(APP_NAME)}", SERVING_APP),
        keep(f"{pod}_container_port_name", PORT_NAME),
        keep(f"{pod}_phase", "Running"),
        copy("__meta_kubernetes_namespace", "namespace"),
        copy(f"{pod}_name", "pod"),
        # the add-on counts a series without the label as a match for every model
        copy(f"{pod}_label_{_label(APP_INSTANCE)}", "deployment"),
    ]


def _label(name: str) -> str:
    """Return a Kubernetes label as Prometheus spells it in meta labels."""
    return name.replace(".", "_").replace("/", "_")
