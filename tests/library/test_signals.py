"""Tests of every signal: the trigger that it renders, and what a dead source does."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import Activation, QueueScaling, Signal
from eks_inference.manifests import Manifest
from eks_inference.manifests.otel_scaler import OTEL_SCALER_RELEASE, otel_scaler_values
from eks_inference.manifests.scaling import scaled_object, trigger_authentication
from eks_inference.manifests.serving import Serving, deployment
from eks_inference.simulation import Keda, Observation
from eks_inference.simulation.keda_spec import (
    Fallback,
    ScaledObject,
    ScalingModifiers,
    Trigger,
)
from tests.library.conftest import make_model, make_serving, refusal

AMP = Signal.amp(
    "https://aps-workspaces.eu-central-1.amazonaws.com/workspaces/ws-1",
    workspace_arn="arn:aws:aps:eu-central-1:111122223333:workspace/ws-1",
    region="eu-central-1",
)
SEEING = [Signal.prometheus(), AMP]
BLIND = [Signal.otel_scaler(), Signal.kedify()]


def spec_of(signal: Signal, **changes: Any) -> Manifest:
    """Return the spec of the autoscaler of a model that reads a signal."""
    spec: Manifest = scaled_object(make_serving(signal=signal, **changes))["spec"]
    return spec


def triggers(signal: Signal) -> dict[str, Manifest]:
    """Return the triggers of a model by name."""
    return {item["name"]: item for item in spec_of(signal)["triggers"]}


@pytest.mark.parametrize("signal", [*SEEING, *BLIND])
def test_every_signal_reads_the_same_numbers(signal: Signal) -> None:
    """Whatever is asked, running and waiting requests are summed over the pods."""
    found = triggers(signal)
    for state in ("running", "waiting"):
        metadata = found[state]["metadata"]
        query = metadata.get("query") or metadata["metricQuery"]
        query = query.replace("vllm_", "vllm:")
        assert query.startswith(f"sum(vllm:num_requests_{state}{{")


def test_otel_scaler_is_an_external_trigger() -> None:
    """The add-on is asked by gRPC, with exact labels and bounds on what it may say."""
    running = triggers(Signal.otel_scaler())["running"]
    assert running == {
        "type": "external",
        "name": "running",
        "metadata": {
            "scalerAddress": "keda-otel-scaler.keda.svc:4318",
            "metricQuery": (
                "sum(vllm:num_requests_running{deployment=mistral,namespace=inference})"
            ),
            "operationOverTime": "last_one",
            "targetValue": "24",
            "clampMin": "0",
            "clampMax": "1000000",
        },
    }


def test_kedify_is_the_guides_trigger_with_renamed_metrics() -> None:
    """Kedify's trigger has no colon in its query, and says what its server is."""
    running = triggers(Signal.kedify())["running"]
    assert running["type"] == "kedify-otel"
    assert running["metadata"]["metricQuery"] == (
        "sum(vllm_num_requests_running{deployment=mistral,namespace=inference})"
    )
    assert running["metadata"]["scalerAddress"] == "keda-otel-scaler.keda.svc:4318"


def test_amp_is_asked_with_kedas_own_role() -> None:
    """Each query of the workspace is signed, by Pod Identity and without a secret."""
    serving = make_serving(signal=AMP)
    [authentication] = trigger_authentication(serving)
    assert authentication["spec"] == {"podIdentity": {"provider": "aws"}}
    assert authentication["metadata"]["name"] == "mistral"
    for trigger in spec_of(AMP)["triggers"]:
        assert trigger["type"] == "prometheus"
        assert trigger["authenticationRef"] == {"name": "mistral"}
        assert trigger["metadata"]["awsRegion"] == "eu-central-1"
        assert trigger["metadata"]["ignoreNullValues"] == "false"


@pytest.mark.parametrize("signal", [Signal.prometheus(), *BLIND])
def test_who_asks_nothing_of_aws_needs_no_authentication(signal: Signal) -> None:
    """A model whose sources are in the cluster brings no authentication along."""
    assert trigger_authentication(make_serving(signal=signal)) == []


def test_fails_when_a_value_breaks_a_rule() -> None:
    """Bad addresses of the other signals are refused, all values at once."""
    assert refusal(lambda: Signal.otel_scaler("http://x:1")) == (
        "signal: 'scaler_address' must be a host and a port, got 'http://x:1'; for "
        "example 'keda-otel-scaler.keda.svc:4318'"
    )
    assert refusal(lambda: Signal.kedify("x")).startswith("signal: 'scaler_address'")
    message = refusal(lambda: Signal.amp("http://x", workspace_arn="", region=""))
    assert message.splitlines() == [
        (
            "signal: 'query_url' must be the https address of a workspace, got "
            "'http://x'; https://aps-workspaces.<region>.amazonaws.com/workspaces/<id>"
        ),
        "signal: 'workspace_arn' must be a text that is not empty, got ''",
        "signal: 'region' must be a text that is not empty, got ''",
    ]


@pytest.mark.parametrize("signal", BLIND)
def test_blind_signals_hold_while_no_pod_reports(signal: Signal) -> None:
    """The formula asks who reports, and KEDA itself who is there."""
    spec = spec_of(signal)
    assert spec["advanced"]["scalingModifiers"]["formula"] == (
        "alive > 0 ? running + waiting * 10 : pods * 24"
    )
    names = [item["name"] for item in spec["triggers"]]
    assert names == ["running", "waiting", "alive", "pods"]
    alive, pods = spec["triggers"][2:]
    assert alive["metadata"]["metricQuery"].startswith("count(vllm")
    assert pods["type"] == "kubernetes-workload"
    assert pods["metadata"] == {
        "podSelector": "app.kubernetes.io/name=vllm,app.kubernetes.io/instance=mistral",
        "value": "24",
    }
    labels = deployment(make_serving())["spec"]["template"]["metadata"]["labels"]
    for label in pods["metadata"]["podSelector"].split(","):
        name, value = label.split("=")
        assert labels[name] == value


@pytest.mark.parametrize(("signal", "window"), [(SEEING[0], 300), (BLIND[0], 600)])
def test_blind_signals_shrink_more_slowly(signal: Signal, window: int) -> None:
    """What cannot tell an outage from an idle model is believed later."""
    config = spec_of(signal)["advanced"]["horizontalPodAutoscalerConfig"]
    assert config["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == window


def keda_of(serving: Serving) -> tuple[ScaledObject, Keda]:
    """Return what KEDA makes of a rendered autoscaler."""
    spec = scaled_object(serving)["spec"]
    modifiers = spec["advanced"].get("scalingModifiers")
    scaled = ScaledObject(
        triggers=tuple(
            Trigger(name=item["name"], threshold=serving.plan.scaling_target)
            for item in spec["triggers"]
        ),
        min_replica_count=spec["minReplicaCount"],
        max_replica_count=spec["maxReplicaCount"],
        cooldown_period_seconds=spec.get("cooldownPeriod", 300),
        initial_cooldown_period_seconds=spec.get("initialCooldownPeriod", 0),
        scaling_modifiers=modifiers
        and ScalingModifiers(
            formula=modifiers["formula"], target=int(modifiers["target"])
        ),
        fallback=Fallback(
            failure_threshold=spec["fallback"]["failureThreshold"],
            replicas=spec["fallback"]["replicas"],
            behavior=spec["fallback"]["behavior"],
        ),
    )
    return scaled, Keda(scaled)


def outage(
    serving: Serving, dead: Mapping[str, float | None], *, replicas: int = 6
) -> list[int]:
    """Return the replicas of a busy model over an hour without its metric source."""
    scaled, keda = keda_of(serving)
    hpa = scaled.autoscaler()
    desired, history = replicas, []
    for second in range(0, 3_600, 15):
        desired = keda.poll(second, dead, replicas=desired)
        if desired:
            seen = Observation(
                replicas=desired,
                status_replicas=desired,
                ready_pods=desired,
                external=keda.metric(dead, replicas=desired, ready_pods=desired),
            )
            desired = hpa.sync(second, seen)
        history.append(desired)
    return history


@pytest.mark.parametrize("signal", SEEING)
@pytest.mark.parametrize("minimum", [0, 1, 3])
def test_a_dead_source_that_errs_never_scales_in(signal: Signal, minimum: int) -> None:
    """An hour without an answer leaves every replica where it is."""
    activation = Activation.http() if minimum == 0 else None
    scaling = QueueScaling(min_replicas=minimum, activation=activation)
    serving = make_serving(signal=signal, scaling=scaling)
    names = [item["name"] for item in scaled_object(serving)["spec"]["triggers"]]
    dead = {name: 0.0 if name == "http" else None for name in names}
    assert set(outage(serving, dead)) == {6}


@pytest.mark.parametrize("signal", BLIND)
def test_a_dead_source_that_says_zero_never_scales_in(signal: Signal) -> None:
    """An hour of zeros for every series leaves every replica where it is."""
    dead = {"running": 0.0, "waiting": 0.0, "alive": 0.0, "pods": 6.0}
    assert set(outage(make_serving(signal=signal), dead)) == {6}


def test_without_the_liveness_term_zeros_do_scale_in() -> None:
    """The same hour takes replicas away when the pods count as reporting."""
    idle = {"running": 0.0, "waiting": 0.0, "alive": 6.0, "pods": 6.0}
    assert outage(make_serving(signal=Signal.otel_scaler()), idle)[-1] == 1


def test_collector_labels_each_pod_and_model() -> None:
    """Every series carries its pod, its namespace and its model."""
    values = otel_scaler_values(Signal.otel_scaler(), namespaces=["inference"])
    assert values["fullnameOverride"] == OTEL_SCALER_RELEASE
    config = values["otelCollector"]["alternateConfig"]
    [scrape] = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    targets = {
        item["target_label"]
        for item in scrape["relabel_configs"]
        if "target_label" in item
    }
    assert targets == {"namespace", "pod", "deployment"}
    assert (scrape["scrape_interval"], scrape["scrape_timeout"]) == ("5s", "4s")
    assert "processors" not in config
    assert config["service"]["pipelines"]["metrics"] == {
        "receivers": ["prometheus"],
        "exporters": ["otlp"],
    }


def test_collector_of_kedify_renames_what_it_sends() -> None:
    """Kedify's trigger finds the names that the collector has made of vLLM's."""
    config = otel_scaler_values(Signal.kedify(), namespaces=["inference"])[
        "otelCollector"
    ]["alternateConfig"]
    [statement] = config["processors"]["transform"]["metric_statements"]
    assert statement == {
        "context": "metric",
        "statements": ['replace_pattern(name, "^vllm:", "vllm_")'],
    }
    assert config["service"]["pipelines"]["metrics"]["processors"] == ["transform"]


def test_collector_sends_what_every_query_asks_for() -> None:
    """No query of a model is for a metric that the collector drops."""
    [scrape] = otel_scaler_values(Signal.otel_scaler(), namespaces=["a"])[
        "otelCollector"
    ]["alternateConfig"]["receivers"]["prometheus"]["config"]["scrape_configs"]
    kept = scrape["metric_relabel_configs"][0]["regex"].split("|")
    for trigger in spec_of(Signal.otel_scaler())["triggers"]:
        query = trigger["metadata"].get("metricQuery")
        if query:
            assert query.partition("(")[2].partition("{")[0] in kept


def test_fails_when_the_collector_has_nothing_to_scrape() -> None:
    """Bad values of the collector are refused, all at once."""
    message = refusal(
        lambda: otel_scaler_values(
            Signal.prometheus(),  # type: ignore[arg-type]
            namespaces=[],
            addon_namespace="",
            metrics=(),
        )
    )
    assert [line.partition(" must ")[0] for line in message.splitlines()] == [
        "OpenTelemetry scaler: 'signal'",
        "OpenTelemetry scaler: 'namespaces'",
        "OpenTelemetry scaler: 'addon_namespace'",
        "OpenTelemetry scaler: 'metrics'",
    ]


@pytest.mark.parametrize("signal", [*SEEING, *BLIND])
def test_queries_of_two_models_never_meet(signal: Signal) -> None:
    """Two models in one namespace, and one model twice, have queries of their own."""
    pairs = [
        (make_model(name="chat"), make_model(name="code")),
        (
            make_model(name="chat-l4", served_name="chat"),
            make_model(name="chat-a10g", served_name="chat"),
        ),
        (
            make_model(name="chat-1", served_name="chat"),
            make_model(name="chat-2", served_name="chat"),
        ),
    ]
    for pair in pairs:
        queries = [
            {
                item["metadata"].get("query") or item["metadata"].get("metricQuery")
                for item in spec_of(signal, model=model)["triggers"]
            }
            - {None}
            for model in pair
        ]
        assert not queries[0] & queries[1]
