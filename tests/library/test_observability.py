"""Tests of what a model shows of itself, and when it calls somebody."""

import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from eks_inference import (
    GpuInferencePool,
    LatencyObjective,
    Observability,
    PlatformRequirements,
    QueueScaledModel,
    Signal,
)
from eks_inference.manifests import Manifest
from eks_inference.testing import manifests
from tests.library.conftest import (
    BadInputs,
    bad_inputs,
    import_cluster,
    make_model,
    refusal,
)

BAD: BadInputs = [
    ({"objective": 2.5}, "'objective' must be of class LatencyObjective, got 2.5"),
    ({"alerts": "yes"}, "'alerts' must be True or False, got 'yes'"),
    ({"dashboard": None}, "'dashboard' must be True or False, got None"),
    (
        {"runbook_url": "a#b"},
        (
            "'runbook_url' must be an address without an anchor, got 'a#b'; for "
            "example 'https://wiki.example.com/runbooks'"
        ),
    ),
]


@pytest.fixture
def stack() -> cdk.Stack:
    """An empty stack of an app that this test alone synthesizes."""
    return cdk.Stack(cdk.App(analytics_reporting=False), "Stack")


def chat(stack: cdk.Stack, **values: Any) -> QueueScaledModel:
    """Define a model with some values."""
    pool = GpuInferencePool(stack, "Gpu", cluster=import_cluster(stack))
    return QueueScaledModel(stack, "Chat", pool=pool, model=make_model(), **values)


def kinds(stack: cdk.Stack) -> dict[str, Manifest]:
    """Return the objects of the only model by kind."""
    template = Template.from_stack(stack).to_json()
    return {
        item["kind"]: item
        for key, group in manifests(template).items()
        if key.startswith("Chat")
        for item in group
    }


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value is refused with its whole message."""
    assert refusal(lambda: Observability(**changes)) == f"observability: {message}"


def test_a_model_brings_alerts_and_dashboard(stack: cdk.Stack) -> None:
    """Without a word, rules and a dashboard come with the model, in its namespace."""
    chat(stack)
    found = kinds(stack)
    rule, board = found["PrometheusRule"], found["ConfigMap"]
    assert (
        rule["metadata"]["namespace"] == board["metadata"]["namespace"] == "inference"
    )
    assert rule["metadata"]["name"] == "mistral"
    assert board["metadata"]["labels"] == {"grafana_dashboard": "1"}
    [text] = board["data"].values()
    assert "mistral" in json.loads(text)["title"]
    # all models of an app share one template of at most 1 MiB
    assert len(json.dumps(rule)) < 10 * 1024
    assert len(text) < 12 * 1024


def test_one_argument_switches_both_off(stack: cdk.Stack) -> None:
    """Switched off, neither comes, and the other objects are the same."""
    chat(stack, observability=Observability.off())
    assert not {"PrometheusRule", "ConfigMap"} & kinds(stack).keys()
    assert "PodMonitor" in kinds(stack)


def test_a_model_that_no_prometheus_reads_needs_no_operator(stack: cdk.Stack) -> None:
    """Scaled by the add-on and shown nowhere, a model has no monitor."""
    chat(stack, observability=Observability.off(), signal=Signal.otel_scaler())
    assert "PodMonitor" not in kinds(stack)
    names = [item.name for item in PlatformRequirements.of(stack).requirements]
    assert "Prometheus operator" not in names


def test_objective_and_runbooks_reach_the_alerts(stack: cdk.Stack) -> None:
    """The thresholds are those of the objective, and the links lead to the runbooks."""
    chat(
        stack,
        observability=Observability(
            objective=LatencyObjective(ttft_seconds=0.75),
            runbook_url="https://wiki.example.com/llm",
        ),
    )
    rules = [
        rule
        for group in kinds(stack)["PrometheusRule"]["spec"]["groups"]
        for rule in group["rules"]
    ]
    assert any('le="0.75"' in rule["expr"] for rule in rules)
    for rule in rules:
        link = rule["annotations"]["runbook_url"]
        assert link.startswith("https://wiki.example.com/llm#")


def test_alerts_and_dashboard_can_be_taken_elsewhere(stack: cdk.Stack) -> None:
    """Switched off, both can still be read, to be delivered in another way."""
    model = chat(stack, observability=Observability.off())
    assert {alert.name for alert in model.alarms} > {"InferenceQueue"}
    assert "inference/mistral" in model.dashboard.title
