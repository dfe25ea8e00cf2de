"""Tests of what wakes a model that has no replica."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import Activation, QueueScaling
from eks_inference.manifests import Manifest
from eks_inference.manifests.model import serving_manifests
from eks_inference.manifests.scaling import front_service, scaled_object
from eks_inference.manifests.serving import Serving, service
from tests.library.conftest import BadInputs, bad_inputs, make_serving, refusal

GOOD: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "start": "0 8 * * 1-5",
    "end": "0 19 * * 1-5",
}
ZONE = (
    "activation: 'timezone' must be the IANA name of a time zone, got {!r}; "
    "for example 'Europe/Berlin'"
)
CRON = (
    "activation: '{}' must be a cron expression with five fields, got {!r}; "
    "for example '0 8 * * 1-5'"
)

BAD: BadInputs = [
    ({"timezone": ""}, ZONE.format("")),
    ({"timezone": None}, ZONE.format(None)),
    ({"timezone": "+02:00"}, ZONE.format("+02:00")),
    ({"timezone": "Europe/"}, ZONE.format("Europe/")),
    ({"timezone": "Europe/New York"}, ZONE.format("Europe/New York")),
    ({"start": ""}, CRON.format("start", "")),
    ({"start": None}, CRON.format("start", None)),
    ({"start": "0 8 * *"}, CRON.format("start", "0 8 * *")),
    ({"start": "0 0 8 * * 1"}, CRON.format("start", "0 0 8 * * 1")),
    ({"start": "0  8 * * 1"}, CRON.format("start", "0  8 * * 1")),
    ({"start": "@daily"}, CRON.format("start", "@daily")),
    ({"start": "60 8 * * *"}, CRON.format("start", "60 8 * * *")),
    ({"start": "0 24 * * *"}, CRON.format("start", "0 24 * * *")),
    ({"start": "0 8 0 * *"}, CRON.format("start", "0 8 0 * *")),
    ({"start": "0 8 * 13 *"}, CRON.format("start", "0 8 * 13 *")),
    ({"start": "0 8 * * 7"}, CRON.format("start", "0 8 * * 7")),
    ({"start": "0 8 * * FUN"}, CRON.format("start", "0 8 * * FUN")),
    ({"start": "0 8 * * 5-1"}, CRON.format("start", "0 8 * * 5-1")),
    ({"start": "0 8-9-10 * * *"}, CRON.format("start", "0 8-9-10 * * *")),
    ({"start": "*/0 * * * *"}, CRON.format("start", "*/0 * * * *")),
    ({"start": "*/x * * * *"}, CRON.format("start", "*/x * * * *")),
    ({"start": "*/ * * * *"}, CRON.format("start", "*/ * * * *")),
    ({"start": "1/ * * * *"}, CRON.format("start", "1/ * * * *")),
    ({"start": "0, 8 * * *"}, CRON.format("start", "0, 8 * * *")),
    ({"end": "19:00"}, CRON.format("end", "19:00")),
    ({"end": 19}, CRON.format("end", 19)),
    (
        {"end": GOOD["start"]},
        "activation: 'end' must differ from 'start', got '0 8 * * 1-5' twice",
    ),
    ({"replicas": 0}, "activation: 'replicas' must be at least 1, got 0"),
    ({"replicas": "1"}, "activation: 'replicas' must be a whole number, got '1'"),
    ({"replicas": 1.5}, "activation: 'replicas' must be a whole number, got 1.5"),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a window is refused with its whole message."""
    assert refusal(lambda: Activation.schedule(**{**GOOD, **changes})) == message


def test_fails_with_every_problem_at_once() -> None:
    """All problems of a window are reported together."""
    message = refusal(
        lambda: Activation.schedule(timezone="?", start="x", end="x", replicas=0)
    )
    assert message.splitlines() == [
        ZONE.format("?"),
        CRON.format("start", "x"),
        CRON.format("end", "x"),
        "activation: 'end' must differ from 'start', got 'x' twice",
        "activation: 'replicas' must be at least 1, got 0",
    ]


def test_keeps_one_replica_by_default() -> None:
    """A window keeps one replica unless told otherwise."""
    assert Activation.schedule(**GOOD).replicas == 1


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT+1", "America/Argentina/Buenos_Aires"])
def test_accepts_iana_time_zones(zone: str) -> None:
    """Names of the IANA database are accepted in every form that it has."""
    assert Activation.schedule(**{**GOOD, "timezone": zone}).timezone == zone


@pytest.mark.parametrize(
    "cron", ["*/5 * * * *", "0 8,14 1-7 JAN MON-FRI", "0 8-18/2 * jul-DEC 0,6"]
)
def test_accepts_cron_expressions(cron: str) -> None:
    """Steps, lists, ranges and names are cron expressions too."""
    assert Activation.schedule(**{**GOOD, "start": cron}).start == cron


class Jobs:
    """A queue, as far as a model needs to know it."""

    queue_url = "https://sqs.eu-central-1.amazonaws.com/111122223333/jobs"
    queue_arn = "arn:aws:sqs:eu-central-1:111122223333:jobs"


def sleeping(*activations: Activation, **changes: Any) -> Serving:
    """Return a model without replicas that something wakes."""
    scaling = QueueScaling(min_replicas=0, activation=activations, **changes)
    return make_serving(scaling=scaling)


def objects(serving: Serving) -> dict[str, Manifest]:
    """Return the objects of a model by kind."""
    return {item["kind"]: item for item in serving_manifests(serving)}


def trigger(serving: Serving, name: str) -> Manifest:
    """Return one trigger of a model."""
    [found] = [
        item
        for item in scaled_object(serving)["spec"]["triggers"]
        if item["name"] == name
    ]
    only: Manifest = found
    return only


def test_request_wakes_through_the_interceptor() -> None:
    """Route and trigger name each other, and the route leads to the model's Service."""
    serving = sleeping(Activation.http(hosts=["llm.example.com"]))
    route = objects(serving)["InterceptorRoute"]
    assert route["apiVersion"] == "http.keda.sh/v1beta1"
    assert trigger(serving, "http") == {
        "type": "external-push",
        "name": "http",
        "metadata": {
            "scalerAddress": "keda-add-ons-http-external-scaler.keda:9090",
            "interceptorRoute": route["metadata"]["name"],
        },
    }
    target = service(serving)
    assert route["spec"]["target"] == {
        "service": target["metadata"]["name"],
        "portName": target["spec"]["ports"][0]["name"],
    }
    assert route["spec"]["scalingMetric"] == {
        "concurrency": {"targetValue": serving.plan.scaling_target}
    }
    kinds = list(objects(serving))
    assert kinds.index("InterceptorRoute") < kinds.index("ScaledObject")


def test_clients_have_a_name_that_leads_to_the_interceptor() -> None:
    """The model's own second name is an alias of the interceptor, which knows it."""
    serving = sleeping(Activation.http(hosts=["llm.example.com"]))
    [front] = front_service(serving)
    assert front["spec"] == {
        "type": "ExternalName",
        "externalName": "keda-add-ons-http-interceptor-proxy.keda.svc.cluster.local",
    }
    [rule] = objects(serving)["InterceptorRoute"]["spec"]["rules"]
    name = f"{front['metadata']['name']}.{front['metadata']['namespace']}"
    assert rule["hosts"] == [
        name,
        f"{name}.svc",
        f"{name}.svc.cluster.local",
        "llm.example.com",
    ]
    assert front_service(make_serving()) == []


def test_held_request_outlasts_the_cold_start() -> None:
    """The interceptor holds a request longer than nine of ten starts take."""
    serving = sleeping(Activation.http())
    limits = objects(serving)["InterceptorRoute"]["spec"]["timeouts"]
    assert limits == {"readiness": "960s", "responseHeader": "0s", "request": "0s"}
    assert serving.plan.wake_seconds == 960
    assert serving.plan.wake_seconds > serving.plan.cold_start.p90
    assert "coldStart" not in objects(serving)["InterceptorRoute"]["spec"]


def test_request_that_is_not_held_is_told_when_to_come_back() -> None:
    """Without holding, the answer is 503 with the usual start as Retry-After."""
    serving = sleeping(Activation.http(hold=False))
    spec = objects(serving)["InterceptorRoute"]["spec"]
    response = spec["coldStart"]["placeholder"]["response"]
    assert response["statusCode"] == 503
    assert response["headers"]["Retry-After"] == str(round(serving.plan.cold_start.p50))


def test_message_wakes_and_keeps_the_model() -> None:
    """The queue's length scales, messages in flight count, and KEDA's role asks."""
    serving = sleeping(Activation.queue(Jobs()))
    assert trigger(serving, "jobs") == {
        "type": "aws-sqs-queue",
        "name": "jobs",
        "metadata": {
            "queueURL": Jobs.queue_url,
            "queueLength": "24",
            "activationQueueLength": "0",
            "awsRegion": "eu-central-1",
            "scaleOnInFlight": "true",
        },
        "authenticationRef": {"name": "mistral"},
    }
    authentication = objects(serving)["TriggerAuthentication"]
    assert authentication["metadata"]["name"] == "mistral"
    assert authentication["spec"] == {"podIdentity": {"provider": "aws"}}
    few = sleeping(Activation.queue(Jobs(), messages_per_replica=3))
    assert trigger(few, "jobs")["metadata"]["queueLength"] == "3"


def test_gateways_metric_wakes_the_model() -> None:
    """What the gateway counts is read where the queue is, and an empty answer errs."""
    query = 'sum(envoy_cluster_upstream_rq_active{cluster="mistral"})'
    found = trigger(sleeping(Activation.gateway(query)), "gateway")
    assert found["type"] == "prometheus"
    assert found["metadata"]["query"] == query
    assert found["metadata"]["ignoreNullValues"] == "false"


def test_several_sources_can_wake_a_model() -> None:
    """A window keeps a replica in business hours, and a request wakes one at night."""
    serving = sleeping(Activation.schedule(**GOOD), Activation.http())
    names = [item["name"] for item in scaled_object(serving)["spec"]["triggers"]]
    assert names == ["queue", "schedule", "http"]


def test_cooldown_follows_from_the_cold_start() -> None:
    """Without a number the cooldown is nine of ten starts, in whole minutes."""
    serving = sleeping(Activation.http())
    spec = scaled_object(serving)["spec"]
    assert spec["cooldownPeriod"] == spec["initialCooldownPeriod"] == 480
    assert 420 < serving.plan.cold_start.p90 <= 480
    assert "scalingModifiers" not in spec["advanced"]
    longer = sleeping(Activation.http(), cooldown_seconds=1_800)
    assert scaled_object(longer)["spec"]["cooldownPeriod"] == 1_800


def test_fails_when_a_source_cannot_wake() -> None:
    """Bad values of the other sources are refused with their whole messages."""
    assert refusal(lambda: Activation.http(hosts=["a:80"], hold="yes")) == (  # type: ignore[arg-type]
        "activation: 'hosts' must be host names without a port, got 'a:80'; for "
        "example 'llm.example.com'\n"
        "activation: 'hold' must be True or False, got 'yes'"
    )
    assert refusal(lambda: Activation.http(hosts="a")) == (
        "activation: 'hosts' must be a list or tuple, got 'a'; put it in brackets"
    )
    assert refusal(lambda: Activation.queue("jobs", messages_per_replica=0)) == (  # type: ignore[arg-type]
        "activation: 'sqs_queue' must be a queue of aws_sqs, got 'jobs'\n"
        "activation: 'messages_per_replica' must be at least 1, got 0"
    )
    query = "sum(vllm:num_requests_running)"
    assert refusal(lambda: Activation.gateway(query)) == (
        f"activation: 'query' must read a metric that exists without replicas, got "
        f"{query!r}; vLLM's own are gone with its pods; ask the gateway"
    )
