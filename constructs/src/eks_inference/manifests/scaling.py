"""The autoscaler of a model: what it reads, what wakes it, and how fast it moves."""

from eks_inference.activation import (
    Activation,
    GatewayActivation,
    HttpActivation,
    QueueActivation,
    ScheduleActivation,
)
from eks_inference.manifests import APP_INSTANCE, APP_NAME, SERVING_APP, Manifest
from eks_inference.manifests.serving import PORT_NAME, Serving
from eks_inference.metric import Aggregate, Metric
from eks_inference.metric_names import RUNNING, WAITING

INTERCEPTOR_PORT = 8080
"""Port of the HTTP add-on's proxy (kedacore/charts, keda-add-ons-http 0.15.0)."""

_INTERCEPTOR = "keda-add-ons-http-interceptor-proxy"
_HTTP_SCALER = "keda-add-ons-http-external-scaler"
_HTTP_SCALER_PORT = 9090
_SCALE_UP_PERIOD_SECONDS = 15
_FALLBACK_FAILURES = 3
_ZERO_POLLING_SECONDS = 15


def scaled_object(serving: Serving) -> Manifest:
    """Return the autoscaler: how many replicas the queue needs, and how fast."""
    scaling = serving.scaling
    spec: Manifest = {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": serving.name,
        },
        "minReplicaCount": scaling.min_replicas,
        "maxReplicaCount": scaling.max_replicas,
        # a metric source that does not answer must not look like an empty queue
        "fallback": {
            "failureThreshold": _FALLBACK_FAILURES,
            "replicas": max(1, scaling.min_replicas),
            "behavior": "currentReplicasIfHigher",
        },
    }
    advanced: Manifest = {
        "horizontalPodAutoscalerConfig": {"behavior": _speed(serving)}
    }
    if scaling.min_replicas == 0:
        # these three have an effect only where a model can go to zero
        spec["pollingInterval"] = _ZERO_POLLING_SECONDS
        spec["cooldownPeriod"] = serving.plan.cooldown_seconds
        spec["initialCooldownPeriod"] = serving.plan.cooldown_seconds
    if scaling.min_replicas == 0 or scaling.activations:
        # no formula: KEDA would then not see that another trigger is active. The same
        # arithmetic stands in the query, and the autoscaler takes the larger need
        spec["triggers"] = [
            _trigger(serving, "queue", _queue_query(serving)),
            *(_wake(serving, item) for item in scaling.activations),
        ]
    else:
        advanced["scalingModifiers"] = {
            "formula": _formula(serving),
            "target": str(serving.plan.scaling_target),
            "metricType": "AverageValue",
        }
        spec["triggers"] = [
            _trigger(serving, name, serving.signal.query(metric, serving.series))
            for name, metric in scaling.needs.metrics.items()
        ]
        if not serving.signal.sees_outage:
            spec["triggers"] += _liveness(serving)
    spec["advanced"] = advanced
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": serving.metadata,
        "spec": spec,
    }


def trigger_authentication(serving: Serving) -> list[Manifest]:
    """Return how KEDA proves to AWS who it is, where a trigger asks AWS."""
    asks = serving.signal.asks_aws or any(
        isinstance(item, QueueActivation) for item in serving.scaling.activations
    )
    if not asks:
        return []
    return [
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "TriggerAuthentication",
            "metadata": serving.metadata,
            # the role of KEDA's own service account: no key, no secret
            "spec": {"podIdentity": {"provider": "aws"}},
        }
    ]


def http_activation(serving: Serving) -> HttpActivation | None:
    """Return what wakes the model on a request, if something does."""
    for item in serving.scaling.activations:
        if isinstance(item, HttpActivation):
            return item
    return None


def interceptor_route(serving: Serving) -> list[Manifest]:
    """Return the way of requests through the HTTP add-on, where a model has one.

    It stands before the ScaledObject, whose trigger names it.
    """
    front = http_activation(serving)
    if front is None:
        return []
    wait = serving.plan.wake_seconds
    spec: Manifest = {
        "target": {"service": serving.name, "portName": PORT_NAME},
        "rules": [{"hosts": [*_front_hosts(serving), *front.hosts]}],
        "scalingMetric": {"concurrency": {"targetValue": serving.plan.scaling_target}},
        "timeouts": {
            # longer than a cold start, or the client gets 504 instead of an answer
            "readiness": f"{wait}s",
            # the answer to a long prompt begins late; vLLM ends what it cannot serve
            "responseHeader": "0s",
            "request": "0s",
        },
    }
    if not front.hold:
        usual = round(serving.plan.cold_start.p50)
        spec["coldStart"] = {
            "placeholder": {
                "response": {
                    "statusCode": 503,
                    "headers": {
                        "Retry-After": str(usual),
                        "Content-Type": "application/json",
                    },
                    "body": (
                        '{"error":{"message":"The model is starting; try again.",'
                        '"type":"service_unavailable","code":503}}'
                    ),
                }
            }
        }
    return [
        {
            "apiVersion": "http.keda.sh/v1beta1",
            "kind": "InterceptorRoute",
            "metadata": serving.metadata,
            "spec": spec,
        }
    ]


def front_service(serving: Serving) -> list[Manifest]:
    """Return the name under which clients reach the interceptor, where there is one.

    The interceptor knows a model by the host that a client asks for, so that a name of
    the model's own, which leads to the interceptor, is all that a client needs.
    """
    front = http_activation(serving)
    if front is None:
        return []
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**serving.metadata, "name": front_name(serving)},
            "spec": {
                "type": "ExternalName",
                "externalName": (
                    f"{_INTERCEPTOR}.{front.addon_namespace}.svc.cluster.local"
                ),
            },
        }
    ]


def front_name(serving: Serving) -> str:
    """Return the name of the Service that leads to the interceptor."""
    return f"{serving.name}-http"


def _front_hosts(serving: Serving) -> list[str]:
    host = f"{front_name(serving)}.{serving.namespace}"
    return [f"{host}{suffix}" for suffix in ("", ".svc", ".svc.cluster.local")]


def _formula(serving: Serving) -> str:
    expression = serving.scaling.needs.expression
    if serving.signal.sees_outage:
        return expression
    # where no pod reports, the replicas stay: pods divided by the target's worth
    return f"alive > 0 ? {expression} : pods * {serving.plan.scaling_target}"


def _liveness(serving: Serving) -> list[Manifest]:
    reporting = Metric(RUNNING, Aggregate.COUNT)
    return [
        _trigger(serving, "alive", serving.signal.query(reporting, serving.series)),
        {
            # counted by KEDA itself, from the API server
            "type": "kubernetes-workload",
            "name": "pods",
            "metadata": {
                "podSelector": (
                    f"{APP_NAME}={SERVING_APP},{APP_INSTANCE}={serving.name}"
                ),
                "value": str(serving.plan.scaling_target),
            },
        },
    ]


def _trigger(serving: Serving, name: str, query: str) -> Manifest:
    trigger = serving.signal.trigger(name, query, serving.plan.scaling_target)
    if serving.signal.asks_aws:
        trigger["authenticationRef"] = {"name": serving.name}
    return trigger


def _queue_query(serving: Serving) -> str:
    signal, series = serving.signal, serving.series
    running = signal.query(Metric(RUNNING), series)
    waiting = signal.query(Metric(WAITING), series)
    need = f"{running} + {serving.scaling.waiting_weight} * {waiting}"
    if serving.scaling.min_replicas == 0:
        # no pods, no series, no need: what wakes the model decides. Only a Deployment
        # that says it has none may count as zero; everything else is an error
        replicas = (
            f'kube_deployment_status_replicas{{namespace="{series.namespace}",'
            f'deployment="{series.name}"}}'
        )
        need = f"({need}) or (vector(0) and on() ({replicas} == 0))"
    return need


def _wake(serving: Serving, activation: Activation) -> Manifest:
    target = serving.plan.scaling_target
    match activation:
        case ScheduleActivation():
            return {
                "type": "cron",
                "name": "schedule",
                "metadata": {
                    "timezone": activation.timezone,
                    "start": activation.start,
                    "end": activation.end,
                    "desiredReplicas": str(activation.replicas),
                },
            }
        case HttpActivation():
            return {
                "type": "external-push",
                "name": "http",
                "metadata": {
                    "scalerAddress": (
                        f"{_HTTP_SCALER}.{activation.addon_namespace}:"
                        f"{_HTTP_SCALER_PORT}"
                    ),
                    "interceptorRoute": serving.name,
                },
            }
        case QueueActivation():
            return {
                "type": "aws-sqs-queue",
                "name": "jobs",
                "metadata": {
                    "queueURL": activation.sqs_queue.queue_url,
                    "queueLength": str(activation.messages_per_replica or target),
                    "activationQueueLength": "0",
                    "awsRegion": serving.region,
                    # a message that is worked on keeps the model
                    "scaleOnInFlight": "true",
                },
                "authenticationRef": {"name": serving.name},
            }
        case GatewayActivation():
            return _trigger(serving, "gateway", activation.query)
    raise TypeError(activation)


def _speed(serving: Serving) -> Manifest:
    scaling = serving.scaling
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                _policy("Percent", scaling.scale_up_percent, _SCALE_UP_PERIOD_SECONDS),
                _policy("Pods", scaling.scale_up_pods, _SCALE_UP_PERIOD_SECONDS),
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": serving.scale_down_window_seconds,
            "policies": [_policy("Pods", 1, scaling.scale_down_period_seconds)],
        },
    }


def _policy(kind: str, value: int, period: int) -> Manifest:
    return {"type": kind, "value": value, "periodSeconds": period}
