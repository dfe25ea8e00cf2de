"""Tests of the ScaledObject: how many replicas the queue needs, and how fast."""

import re

import pytest

from eks_inference import QueueScaling, Signal
from eks_inference.manifests import Manifest
from eks_inference.manifests.scaling import scaled_object
from eks_inference.manifests.serving import Serving, deployment, vllm_arguments
from tests.library.conftest import WINDOW, make_model, make_serving

ZERO = QueueScaling(min_replicas=0, activation=WINDOW)
SELECTOR = '{namespace="inference",job="inference/mistral",model_name="mistral"}'
ONLY_FOR_ZERO = {"pollingInterval", "cooldownPeriod", "initialCooldownPeriod"}


def spec_of(serving: Serving | None = None) -> Manifest:
    """Return the spec of a model's ScaledObject."""
    spec: Manifest = scaled_object(serving or make_serving())["spec"]
    return spec


def modifiers(serving: Serving) -> Manifest:
    """Return formula and target of a model's ScaledObject."""
    found: Manifest = spec_of(serving)["advanced"]["scalingModifiers"]
    return found


def test_target_is_the_deployment() -> None:
    """What is scaled is the model's own deployment."""
    serving = make_serving()
    replicas = deployment(serving)
    assert spec_of(serving)["scaleTargetRef"] == {
        "apiVersion": replicas["apiVersion"],
        "kind": replicas["kind"],
        "name": replicas["metadata"]["name"],
    }


def test_bounds_are_stated() -> None:
    """Fewest and most replicas are those of the scaling."""
    found = spec_of(make_serving(scaling=QueueScaling(min_replicas=2, max_replicas=7)))
    assert (found["minReplicaCount"], found["maxReplicaCount"]) == (2, 7)


@pytest.mark.parametrize("weight", [1, 4, 10])
def test_formula_weighs_what_waits(weight: int) -> None:
    """The formula adds running and waiting requests, by the triggers' names."""
    serving = make_serving(scaling=QueueScaling(waiting_weight=weight))
    formula = modifiers(serving)["formula"]
    assert formula == f"running + waiting * {weight}"
    names = [trigger["name"] for trigger in spec_of(serving)["triggers"]]
    assert names == re.findall("[a-z]+", formula)


@pytest.mark.parametrize(("seqs", "target"), [(32, 24), (64, 48), (128, 96)])
def test_target_and_flag_come_from_one_number(seqs: int, target: int) -> None:
    """Target, thresholds and --max-num-seqs all follow from the model's one limit."""
    serving = make_serving(model=make_model(max_num_seqs=seqs))
    assert f"--max-num-seqs={seqs}" in vllm_arguments(serving)
    assert modifiers(serving)["target"] == str(target)
    assert modifiers(serving)["metricType"] == "AverageValue"
    for trigger in spec_of(serving)["triggers"]:
        assert trigger["metadata"]["threshold"] == str(target)


def test_queries_give_one_number_for_the_models_own_pods() -> None:
    """Each query sums one of vLLM's gauges over the model, in its namespace."""
    serving = make_serving(model=make_model(name="chat"), namespace="search")
    assert [item["metadata"]["query"] for item in spec_of(serving)["triggers"]] == [
        f'sum(vllm:num_requests_{state}{{namespace="search",job="search/chat",'
        'model_name="chat"})'
        for state in ("running", "waiting")
    ]


def test_queries_go_to_the_signals_server() -> None:
    """Every Prometheus trigger asks the server of the signal."""
    signal = Signal.prometheus("https://prometheus.example.com")
    for trigger in spec_of(make_serving(signal=signal))["triggers"]:
        assert trigger["type"] == "prometheus"
        assert trigger["metadata"]["serverAddress"] == "https://prometheus.example.com"


@pytest.mark.parametrize("minimum", [1, 3])
def test_an_outage_is_never_an_empty_queue(minimum: int) -> None:
    """An empty answer is an error, after which no replica is taken away."""
    found = spec_of(make_serving(scaling=QueueScaling(min_replicas=minimum)))
    assert found["fallback"] == {
        "failureThreshold": 3,
        "replicas": minimum,
        "behavior": "currentReplicasIfHigher",
    }
    for trigger in found["triggers"]:
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert "vector(0)" not in trigger["metadata"]["query"]


def test_grows_at_once_and_shrinks_slowly() -> None:
    """Both directions are stated, so that no default of the autoscaler decides."""
    scaling = QueueScaling(
        scale_up_percent=300,
        scale_up_pods=4,
        scale_down_window_seconds=600,
        scale_down_period_seconds=240,
    )
    advanced = spec_of(make_serving(scaling=scaling))["advanced"]
    assert advanced["horizontalPodAutoscalerConfig"]["behavior"] == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 300, "periodSeconds": 15},
                {"type": "Pods", "value": 4, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 600,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 240}],
        },
    }


@pytest.mark.parametrize("scaling", [QueueScaling(), QueueScaling(activation=WINDOW)])
def test_warm_model_states_nothing_about_zero(scaling: QueueScaling) -> None:
    """What matters for the step to zero alone is absent where there is no such step."""
    assert not ONLY_FOR_ZERO & spec_of(make_serving(scaling=scaling)).keys()


def test_model_at_zero_states_polling_and_cooldown() -> None:
    """A model that goes to zero waits for its cooldown, also after its creation."""
    scaling = QueueScaling(min_replicas=0, activation=WINDOW, cooldown_seconds=1_200)
    found = spec_of(make_serving(scaling=scaling))
    assert found["minReplicaCount"] == 0
    assert found["pollingInterval"] == 15
    assert found["cooldownPeriod"] == found["initialCooldownPeriod"] == 1_200


def test_model_at_zero_is_woken_by_its_window() -> None:
    """The window is a cron trigger beside the queue, and no formula hides it."""
    found = spec_of(make_serving(scaling=ZERO))
    assert "scalingModifiers" not in found["advanced"]
    queue, window = found["triggers"]
    assert (queue["type"], queue["name"]) == ("prometheus", "queue")
    assert window == {
        "type": "cron",
        "name": "schedule",
        "metadata": {
            "timezone": "Europe/Berlin",
            "start": "0 8 * * 1-5",
            "end": "0 19 * * 1-5",
            "desiredReplicas": "2",
        },
    }


def test_queue_of_a_model_at_zero_does_the_formulas_arithmetic() -> None:
    """One query weighs what waits; without pods it is zero and not an error."""
    scaling = QueueScaling(min_replicas=0, waiting_weight=7, activation=WINDOW)
    queue, _ = spec_of(make_serving(scaling=scaling))["triggers"]
    selector = SELECTOR
    assert queue["metadata"]["query"] == (
        f"(sum(vllm:num_requests_running{selector})"
        f" + 7 * sum(vllm:num_requests_waiting{selector}))"
        " or (vector(0) and on() (kube_deployment_status_replicas{"
        'namespace="inference",deployment="mistral"} == 0))'
    )
    assert queue["metadata"]["threshold"] == "24"
    assert queue["metadata"]["ignoreNullValues"] == "false"


def test_window_keeps_more_replicas_of_a_warm_model() -> None:
    """With a window a warm model has its need in one query, which no formula hides."""
    scaling = QueueScaling(min_replicas=1, waiting_weight=7, activation=WINDOW)
    found = spec_of(make_serving(scaling=scaling))
    assert "scalingModifiers" not in found["advanced"]
    queue, window = found["triggers"]
    selector = SELECTOR
    assert queue["metadata"]["query"] == (
        f"sum(vllm:num_requests_running{selector})"
        f" + 7 * sum(vllm:num_requests_waiting{selector})"
    )
    assert window["metadata"]["desiredReplicas"] == "2"


def test_model_at_zero_falls_back_to_one_replica() -> None:
    """A dead metric source keeps one replica, also where none is the minimum."""
    assert spec_of(make_serving(scaling=ZERO))["fallback"]["replicas"] == 1
