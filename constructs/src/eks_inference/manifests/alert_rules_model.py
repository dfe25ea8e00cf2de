"""The alerts of one model: its queue, its speed, its pods, and its autoscaler."""

import math

from eks_inference.image import vllm_version
from eks_inference.manifests import Manifest
from eks_inference.manifests.alerts import RUNBOOKS, Alert, Severity, prometheus_rule
from eks_inference.manifests.serving import Serving
from eks_inference.metric import Series
from eks_inference.metric_names import (
    DEPLOYMENT_REPLICAS,
    FINISHED,
    HPA_CONDITION,
    HPA_DESIRED,
    HTTP_REQUESTS,
    KEDA_OBJECT_ERRORS,
    POD_PHASE,
    PREEMPTIONS,
    RUNNING,
    TIME_TO_FIRST_TOKEN,
    WAITING,
    vllm_metrics,
)
from eks_inference.model import KEDA_HPA_PREFIX
from eks_inference.objective import LatencyObjective
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION

PAGES = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
TICKETS = ((1.0, "3d", "6h"),)
"""How many times faster than allowed requests are late, over a long and a short time:
2 % of a month's allowance in an hour, 5 % in six, 10 % in three days; the short time
ends the alert soon after the trouble (Google, The Site Reliability Workbook, chapter 5,
table 5-8, sre.google/workbook/alerting-on-slos)."""

_TICKET_HOLD = "3h"
"""Late requests are a large share of three days in which there were few others. Some
hours later they are not (kubernetes-monitoring/kubernetes-mixin waits as long)."""

_SLOW_PACE = "5m"
"""Pace of what looks back for hours and days: reading them twice a minute would cost
more than it tells. Not above 5 min, Prometheus' look-back."""

_RECENT = "4m"
"""What counts as now: below every time for which an alert waits, so that what happens
once, however bad, has left the window before the alert fires."""

_QUEUE = ((10, Severity.WARNING), (50, Severity.CRITICAL))
"""The guide's, for one minute."""

_FAILURES = ((0.01, Severity.WARNING), (0.05, Severity.CRITICAL))
"""The guide's, for five minutes."""

_CACHE_FULL = 0.9
"""The guide's share of the GPU memory, of the KV cache. Above it vLLM begins to
preempt."""

_MARGIN_SECONDS = 300
"""What a model is given beyond a cold start, which itself is no failure: requests are
late, and the pods whose metrics are asked for do not exist yet. Assumed."""


def model_rule(
    serving: Serving,
    *,
    objective: LatencyObjective | None = None,
    runbook_url: str = RUNBOOKS,
) -> Manifest:
    """Return the alerts of one model as a PrometheusRule beside its other objects.

    Args:
        serving: What the objects of the model are rendered from.
        objective: What users may expect. Default: the library's.
        runbook_url: Address of the runbooks. Default: ``docs/runbooks.md``.
    """
    return prometheus_rule(
        alerts_of(serving, objective=objective),
        name=serving.name,
        namespace=serving.namespace,
        labels=serving.labels,
        alert_labels={"namespace": serving.namespace, "model": serving.name},
        runbook_url=runbook_url,
    )


def alerts_of(
    serving: Serving, *, objective: LatencyObjective | None = None
) -> list[Alert]:
    """Return the alerts of one model, from what its objects are rendered from.

    Args:
        serving: What the objects of the model are rendered from.
        objective: What users may expect. Default: the library's.
    """
    return model_alerts(
        serving.series,
        max_replicas=serving.scaling.max_replicas,
        cold_start_seconds=serving.plan.cold_start.p90,
        objective=objective or LatencyObjective(),
        version=vllm_version(serving.image) or DEFAULT_VLLM_VERSION,
    )


def model_alerts(
    series: Series,
    *,
    max_replicas: int,
    cold_start_seconds: float,
    objective: LatencyObjective,
    version: str = DEFAULT_VLLM_VERSION,
) -> list[Alert]:
    """Return the alerts of one model.

    Args:
        series: Whose metrics they read.
        max_replicas: Upper bound of the replicas.
        cold_start_seconds: Time within which nine of ten replicas start.
        objective: What users may expect.
        version: Release of vLLM, which names the metrics. Default: that of the
            library's image.

    Raises:
        ConfigurationError: The release is one whose metrics are not known.
    """
    scope = _Scope(series)
    names = vllm_metrics(version)
    cold_start = math.ceil(cold_start_seconds)
    started = f"{cold_start + _MARGIN_SECONDS}s"
    return [
        *_queue(scope),
        *_failures(scope),
        _memory(scope, names.kv_cache_usage),
        *_speed(scope, objective, names.inter_token_latency, started),
        *_burn(scope, objective, started),
        _pending(scope, f"{cold_start}s"),
        *_blind(scope, started),
        _at_maximum(scope, max_replicas),
    ]


class _Scope:
    """Selectors of the series of one model.

    Args:
        series: Whose they are.
    """

    def __init__(self, series: Series) -> None:
        namespace, name = f'namespace="{series.namespace}"', series.name
        # the server's own series do not know the model, and a pod serves only one
        self.server = f'{namespace},job="{series.job}"'
        self.vllm = f'{self.server},model_name="{_quoted(series.served_name)}"'
        self.deployment = f'{namespace},deployment="{name}"'
        # a Deployment adds two parts to the names of its pods
        self.pods = f'{namespace},pod=~"{name}-[^-]+-[^-]+"'
        self.hpa = f'{namespace},horizontalpodautoscaler="{KEDA_HPA_PREFIX}{name}"'
        self.scaled_object = f'{namespace},scaledObject="{name}"'

    def total(self, metric: str, selector: str) -> str:
        """Return a gauge, added up over the pods."""
        return f"sum({metric}{{{selector}}})"

    def rate(self, metric: str, selector: str, window: str) -> str:
        """Return how fast a counter grows in all pods together, per second."""
        return f"sum(rate({metric}{{{selector}}}[{window}]))"

    def late(self, histogram: str, seconds: float, window: str) -> str:
        """Return the share of observations above a bound; nothing without any."""
        # vLLM writes the bounds as Python writes floats
        within = f'{self.vllm},le="{float(seconds)}"'
        good = self.rate(f"{histogram}_bucket", within, window)
        every = self.rate(f"{histogram}_count", self.vllm, window)
        return f"1 - {good} / ({every} > 0)"


def _queue(scope: _Scope) -> list[Alert]:
    waiting = scope.total(WAITING, scope.vllm)
    return [
        Alert(
            name="InferenceQueue",
            expr=f"{waiting} > {limit}",
            hold="1m",
            severity=severity,
            summary="{{ $value }} requests wait",
        )
        for limit, severity in _QUEUE
    ]


def _failures(scope: _Scope) -> list[Alert]:
    # what the engine fails, and what the server answers with an error: mostly before
    # the engine has seen it. An answer that is not streamed may count twice
    sent = f'{scope.server},method="POST"'
    broken = scope.rate(FINISHED, f'{scope.vllm},finished_reason="error"', _RECENT)
    refused = scope.rate(HTTP_REQUESTS, f'{sent},status=~"5.."', _RECENT)
    every = scope.rate(HTTP_REQUESTS, sent, _RECENT)
    return [
        Alert(
            name="InferenceFailures",
            # a status that has not come yet has no series
            expr=f"({broken} + ({refused} or vector(0))) / ({every} > 0) > {limit}",
            hold="5m",
            severity=severity,
            summary="{{ $value | humanizePercentage }} of the requests fail",
        )
        for limit, severity in _FAILURES
    ]


def _memory(scope: _Scope, usage: str) -> Alert:
    preempted = scope.rate(PREEMPTIONS, scope.vllm, _RECENT)
    return Alert(
        name="InferenceCacheFull",
        expr=f"max({usage}{{{scope.vllm}}}) > {_CACHE_FULL} or {preempted} > 0",
        hold="5m",
        severity=Severity.WARNING,
        summary="the KV cache is full, and requests wait or are computed twice",
    )


def _speed(
    scope: _Scope, objective: LatencyObjective, latency: str, started: str
) -> list[Alert]:
    return [
        Alert(
            name=name,
            expr=f"{scope.late(histogram, seconds, _RECENT)} > {objective.budget}",
            hold=started,
            severity=Severity.WARNING,
            summary=(
                f"{{{{ $value | humanizePercentage }}}} of {what} "
                f"take more than {seconds:g} s"
            ),
        )
        for name, histogram, seconds, what in (
            (
                *("InferenceFirstTokenSlow", TIME_TO_FIRST_TOKEN),
                *(objective.ttft_seconds, "first tokens"),
            ),
            (
                *("InferenceTokensSlow", latency),
                *(objective.inter_token_seconds, "tokens"),
            ),
        )
    ]


def _burn(scope: _Scope, objective: LatencyObjective, started: str) -> list[Alert]:
    def late(window: str) -> str:
        return scope.late(TIME_TO_FIRST_TOKEN, objective.ttft_seconds, window)

    def burns(factor: float, long: str, short: str) -> str:
        share = round(factor * objective.budget, 6)
        return f"{late(long)} > {share} and {late(short)} > {share}"

    return [
        Alert(
            name="InferenceBudgetBurn",
            expr=" or ".join(burns(*rate) for rate in rates),
            hold=hold,
            every=every,
            severity=severity,
            summary="first tokens are late so often that the objective will be missed",
        )
        for rates, severity, hold, every in (
            (PAGES, Severity.CRITICAL, started, None),
            (TICKETS, Severity.WARNING, _TICKET_HOLD, _SLOW_PACE),
        )
    ]


def _pending(scope: _Scope, cold_start: str) -> Alert:
    pending = f'{scope.pods},phase="Pending"'
    return Alert(
        name="InferencePodPending",
        expr=f"max by (pod) ({POD_PHASE}{{{pending}}}) == 1",
        hold=cold_start,
        severity=Severity.WARNING,
        summary="{{ $labels.pod }} waits longer than a whole cold start takes",
    )


def _blind(scope: _Scope, started: str) -> list[Alert]:
    wanted = scope.total(DEPLOYMENT_REPLICAS, scope.deployment)
    inactive = f'{scope.hpa},condition="ScalingActive",status="false"'
    errors = scope.rate(KEDA_OBJECT_ERRORS, scope.scaled_object, "2m")
    return [
        Alert(
            name="InferenceMetricsAbsent",
            expr=f"{wanted} > 0 unless count({RUNNING}{{{scope.vllm}}})",
            hold=started,
            severity=Severity.CRITICAL,
            summary="there are replicas, and none reports metrics",
        ),
        Alert(
            name="InferenceScalerBlind",
            # an autoscaler of a model at zero is inactive by design
            expr=(
                f"{errors} > 0 or max({HPA_CONDITION}{{{inactive}}}) == 1 "
                f"and {wanted} > 0"
            ),
            hold=started,
            severity=Severity.WARNING,
            summary="the autoscaler cannot read what it scales by",
        ),
    ]


def _at_maximum(scope: _Scope, max_replicas: int) -> Alert:
    desired = f"max({HPA_DESIRED}{{{scope.hpa}}})"
    return Alert(
        name="InferenceAtMaximum",
        expr=f"{desired} >= {max_replicas} and {scope.total(WAITING, scope.vllm)} > 0",
        hold="5m",
        severity=Severity.WARNING,
        summary="requests wait, and there may be no more replicas",
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
