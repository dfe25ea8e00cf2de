"""Every expression of every alert, asked of a real Prometheus."""

import re
from collections.abc import Iterator

import pytest

from eks_inference.manifests.alert_rules_cluster import cluster_alerts
from eks_inference.manifests.alert_rules_model import alerts_of
from eks_inference.manifests.alerts import Alert
from tests.library.conftest import make_model, make_serving
from tests.observability import series as made
from tests.observability.prometheus_server import Prometheus, serve

CHAT = make_serving(model=make_model(name="chat", served_name=made.CHAT))
ALERTS = [*alerts_of(CHAT), *cluster_alerts()]
each_alert = pytest.mark.parametrize(
    "alert", ALERTS, ids=[f"{alert.name}-{alert.severity}" for alert in ALERTS]
)

SELECTOR = re.compile(r'[a-zA-Z_:]\w*(?::\w+)*\{(?:[^}"]|"(?:[^"\\]|\\.)*")*\}')
"""A metric with its labels; a brace may stand in the text of a label."""


def troubles() -> Iterator[made.Series]:
    """What a cluster reports beside the dashboards' series, mostly when it fails."""
    pod = made.PODS[0]
    for status in ("2xx", "5xx"):
        labels = {**pod.labels, "handler": "/v1/completions", "method": "POST"}
        labels.pop("model_name")
        yield made.Series(
            "http_requests_total", {**labels, "status": status}, made.linear(0, 1)
        )
    yield made.Series(
        "keda_scaled_object_errors_total",
        {"namespace": "inference", "scaledObject": "chat"},
        made.linear(0, 0.1),
    )
    # made now, and GPU never found
    node = {"node": "ip-10-0-3-4"}
    ready = {**node, "condition": "Ready", "status": "true"}
    taint = {**node, "key": "nvidia.com/gpu", "effect": "NoSchedule"}
    yield made.Series("kube_node_status_condition", ready, lambda _: 1.0)
    yield made.Series("kube_node_spec_taint", taint, lambda _: 1.0)
    yield made.Series(
        "operator_nodeclaim_status_condition_current_status_seconds",
        {"name": "gpu-fghij", "type": "Initialized", "status": "Unknown"},
        made.linear(0, 1),
    )
    yield made.Series(
        "karpenter_nodeclaims_disrupted_total",
        {"nodepool": "gpu", "reason": "spot_interrupted", "capacity_type": "spot"},
        made.linear(0, 0.01),
    )
    yield made.Series(
        "kube_job_failed",
        {
            "namespace": "inference",
            "job_name": "chat-import-0123456789",
            "condition": "true",
        },
        lambda _: 1.0,
    )


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server with everything that a cluster reports, in trouble and without."""
    series = [*made.cluster(), *troubles()]
    with serve(series, tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server of the same cluster, to which no pod of a model reports."""
    series = made.without([*made.cluster(), *troubles()], "vllm:")
    with serve(series, tmp_path_factory.mktemp("silent")) as server:
        yield server


@each_alert
def test_every_part_of_a_rule_has_data(prometheus: Prometheus, alert: Alert) -> None:
    """Each metric with its labels, as a rule selects it, finds series."""
    parts = set(SELECTOR.findall(alert.expr))
    assert parts
    for part in parts:
        assert prometheus.query(part, at=made.NOW), part
    # and nothing is selected that was not looked at
    assert SELECTOR.sub("", alert.expr).count("{") == 0


@each_alert
def test_every_rule_is_accepted(
    prometheus: Prometheus, silent: Prometheus, alert: Alert
) -> None:
    """A rule is evaluated without an error, and its values are numbers."""
    for server in (prometheus, silent):
        for sample in server.query(alert.expr, at=made.NOW):
            assert sample.value == sample.value, alert.expr


def test_rules_fire_on_what_is_wrong(
    prometheus: Prometheus, silent: Prometheus
) -> None:
    """The troubles above are found, and silent pods only where there are none."""

    def firing(server: Prometheus) -> set[str]:
        return {alert.name for alert in ALERTS if server.query(alert.expr, at=made.NOW)}

    cluster = {
        "InferenceNodeNotInitialized",
        "InferenceNodeWithoutGpu",
        "InferenceSpotInterruptions",
        "InferenceImportFailed",
    }
    assert cluster <= firing(prometheus) & firing(silent)
    assert "InferenceMetricsAbsent" in firing(silent) - firing(prometheus)
    assert "InferenceScalerBlind" in firing(prometheus)
