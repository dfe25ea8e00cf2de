"""Names of the metrics that alerts and dashboards ask for, by the program behind them.

Counters and the parts of a histogram carry the ending that Prometheus stores them with.
A constant is the name in the release that the project pins. vLLM renames metrics from
release to release; ``vllm_metrics`` knows what has changed since 0.9.0.
"""
# ruff: noqa: S105 - a token of text is no password

import re
from dataclasses import dataclass

from eks_inference._check import Problems

# vLLM 0.31: vllm-project/vllm@a6f0308, vllm/v1/metrics/loggers.py; the names and labels
# of a running 0.32 are the same
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
WAITING_BY_REASON = "vllm:num_requests_waiting_by_reason"
KV_CACHE_USAGE = "vllm:kv_cache_usage_perc"
"""Share of the KV cache in use, 0 to 1."""
PREEMPTIONS = "vllm:num_preemptions_total"
FINISHED = "vllm:request_success_total"
"""Finished requests, also those that failed, by ``finished_reason``: stop, length,
abort, error or repetition."""
TIME_TO_FIRST_TOKEN = "vllm:time_to_first_token_seconds"
INTER_TOKEN_LATENCY = "vllm:inter_token_latency_seconds"
REQUEST_LATENCY = "vllm:e2e_request_latency_seconds"
QUEUE_TIME = "vllm:request_queue_time_seconds"
PROMPT_TOKENS = "vllm:prompt_tokens_total"
GENERATION_TOKENS = "vllm:generation_tokens_total"
PREFIX_QUERIES = "vllm:prefix_cache_queries_total"
PREFIX_HITS = "vllm:prefix_cache_hits_total"

# prometheus-fastapi-instrumentator, which vLLM's server uses
HTTP_REQUESTS = "http_requests_total"
"""Answers by ``handler``, ``method`` and ``status`` (``2xx``); without the name of the
model, and without the probes' ``/health``."""

# KEDA 2.20: keda.sh/docs/2.20/integrations/prometheus, and
# kedacore/keda@0677eff, pkg/metricscollector/prommetrics.go
KEDA_VALUE = "keda_scaler_metrics_value"
KEDA_ERRORS = "keda_scaler_detail_errors_total"
"""Errors of one trigger; KEDA deletes the series when it builds the trigger anew."""
KEDA_OBJECT_ERRORS = "keda_scaled_object_errors_total"
"""Errors of a ScaledObject, those of its triggers included; never deleted."""
KEDA_PAUSED = "keda_scaled_object_paused"
KEDA_LOOP_LATENCY = "keda_internal_scale_loop_latency_seconds"

# kube-state-metrics: kubernetes/kube-state-metrics@04ee634, docs/metrics
HPA_DESIRED = "kube_horizontalpodautoscaler_status_desired_replicas"
HPA_MAX_REPLICAS = "kube_horizontalpodautoscaler_spec_max_replicas"
HPA_CONDITION = "kube_horizontalpodautoscaler_status_condition"
DEPLOYMENT_REPLICAS = "kube_deployment_spec_replicas"
READY_REPLICAS = "kube_deployment_status_replicas_ready"
POD_UNSCHEDULABLE = "kube_pod_status_unschedulable"
POD_WAITING_REASON = "kube_pod_container_status_waiting_reason"
POD_PHASE = "kube_pod_status_phase"
POD_CREATED = "kube_pod_created"
POD_SCHEDULED = "kube_pod_status_scheduled_time"
CONTAINER_STARTED = "kube_pod_container_state_started"
POD_READY = "kube_pod_status_ready_time"
POD_REQUESTS = "kube_pod_container_resource_requests"
JOB_FAILED = "kube_job_failed"
"""Whether a Job has been given up. ``kube_job_status_failed`` counts pods, also of a
Job that tries again (kube-state-metrics@01ec07a, internal/store/job.go)."""
NODE_LABELS = "kube_node_labels"
NODE_ALLOCATABLE = "kube_node_status_allocatable"
NODE_CONDITION = "kube_node_status_condition"
NODE_TAINT = "kube_node_spec_taint"

# Karpenter 1.14: aws/karpenter-provider-aws@692ccdd, website, v1.14, reference, metrics
NODECLAIM_CONDITIONS = "operator_nodeclaim_status_condition_count"
NODECLAIM_CONDITION_SECONDS = (
    "operator_nodeclaim_status_condition_current_status_seconds"
)
"""How long a condition (``type``) of a node claim (``name``) has had its ``status``."""
NODECLAIM_TRANSITION = "operator_nodeclaim_status_condition_transition_seconds"
NODEPOOL_USAGE = "karpenter_nodepools_usage"
NODEPOOL_LIMIT = "karpenter_nodepools_limit"
OFFERING_PRICE = "karpenter_cloudprovider_instance_type_offering_price_estimate"
INTERRUPTIONS = "karpenter_interruption_received_messages_total"
"""Messages of the interruption queue by ``message_type``, also about instances of the
account that are not Karpenter's."""
NODECLAIMS_DISRUPTED = "karpenter_nodeclaims_disrupted_total"
"""Node claims that Karpenter has ended, by ``nodepool`` and ``reason``, which is
``spot_interrupted`` for a spot interruption (aws/karpenter-provider-aws@f5e7e5a,
pkg/controllers/interruption, controller.go and messages/types.go)."""

# the kubelet, alpha: kubernetes.io, reference, Kubernetes Metrics Reference
IMAGE_PULL = "kubelet_image_pull_duration_seconds"

# DCGM exporter, on by default: NVIDIA/dcgm-exporter 4.6.0-4.8.3, default-counters.csv
GPU_UTILIZATION = "DCGM_FI_DEV_GPU_UTIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmMetrics:
    """The metrics of one release of vLLM whose names other releases do not share.

    Args:
        kv_cache_usage: Share of the KV cache in use, 0 to 1.
        inter_token_latency: Seconds between two outputs of a request, a histogram.
        waiting_by_reason: Waiting requests by ``reason``, or None where vLLM does not
            say it.
    """

    kv_cache_usage: str = KV_CACHE_USAGE
    inter_token_latency: str = INTER_TOKEN_LATENCY
    waiting_by_reason: str | None = WAITING_BY_REASON


_OLD_CACHE_USAGE = "vllm:gpu_cache_usage_perc"
_OLD_LATENCY = "vllm:time_per_output_token_seconds"

_SINCE = {
    # 0.20 has it and 0.16 has not; the releases between were not looked at
    (0, 20, 0): VllmMetrics(),
    # vllm-project/vllm#24110; the old name is hidden from 0.12 on, and went with #32661
    (0, 11, 0): VllmMetrics(waiting_by_reason=None),
    # 0.9.2 has both names; the old one is gone in 0.12
    (0, 9, 2): VllmMetrics(inter_token_latency=_OLD_LATENCY, waiting_by_reason=None),
    (0, 9, 0): VllmMetrics(
        kv_cache_usage=_OLD_CACHE_USAGE,
        inter_token_latency=_OLD_LATENCY,
        waiting_by_reason=None,
    ),
}
"""First release with these names, newest first."""

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})(\.post\d{1,4})?", re.ASCII)


def vllm_metrics(version: str) -> VllmMetrics:
    """Return the names that a release of vLLM gives to what other releases rename.

    Args:
        version: Release of vLLM, such as ``0.31.0``.

    Raises:
        ConfigurationError: The text is no release, or one before 0.9.0, whose names the
            alerts and dashboards do not know.
    """
    found = _VERSION.fullmatch(version) if isinstance(version, str) else None
    with Problems() as problems:
        if found is None:
            problems.broken(
                "'version' must be a release of vLLM", version, "for example '0.31.0'"
            )
    release = tuple(map(int, found.groups()[:3])) if found else ()
    names = next((names for since, names in _SINCE.items() if since <= release), None)
    with Problems() as problems:
        if names is None:
            problems.broken(
                "'version' must be at least 0.9.0, whose metrics are known",
                version,
                "use a newer vLLM",
            )
    return names or VllmMetrics()
