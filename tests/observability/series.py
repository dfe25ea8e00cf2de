"""Series as a cluster makes them: two models, their pods, their nodes, the controllers.

An hour and ten minutes at a fixed date. What each part is there for:

- ``chat``: three pods on spot and on-demand nodes. One is new, one restarts in the
  middle, so that its counters begin again at zero.
- ``code``: one pod of an older vLLM, which has another name for the use of its cache.
- ``sleeper``: at zero replicas. No pod reports: vLLM's series are absent.
- The names that clients use differ from the names of the objects.

Half way a burst comes (``BURST``): requests queue up, and the third pod is started.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

BEGIN = 1_795_500_000.0
"""2026-11-24T06:00:00Z."""
STEP = 15.0
MINUTES = 70
END = BEGIN + MINUTES * 60
# between two whole minutes, as a reader's clock is
NOW = BEGIN + 65 * 60 + 30
HOUR = 3_600.0

Value = Callable[[float], float]
"""The value after so many seconds."""

OLD_CACHE_USAGE = "vllm:gpu_cache_usage_perc"
"""What vLLM called the use of the KV cache until 0.11."""

BURST = (1_860.0, 2_310.0)
"""Begin and end of the burst: the last replica is asked for in it, and ends it."""
STEADY = 3_500.0
"""From here to the end the load is what the pods are said to have."""

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


@dataclass(frozen=True)
class Series:
    """One series: name, labels, and its value over time."""

    name: str
    labels: Mapping[str, str]
    value: Value
    begin: float = 0.0
    end: float = field(default=MINUTES * 60.0)


@dataclass(frozen=True)
class Node:
    """A node of a pool."""

    name: str
    instance_type: str
    capacity_type: str
    zone: str
    gpus: int
    begin: float = 0.0
    end: float = MINUTES * 60.0


@dataclass(frozen=True)
class Pod:
    """A pod that serves a model; all times in seconds after ``BEGIN``."""

    model: str
    served_name: str
    name: str
    node: str
    created: float
    scheduled: float
    started: float
    ready: float
    running: float
    waiting: float
    restart: float | None = None
    """When its process begins again, and with it the counters."""

    @property
    def labels(self) -> dict[str, str]:
        return {
            "namespace": "inference",
            "pod": self.name,
            "job": f"inference/{self.model}",
            "model_name": self.served_name,
            "engine": "0",
        }


SPOT = Node("ip-10-0-1-1", "g5.2xlarge", "spot", "eu-central-1a", 1)
ON_DEMAND = Node("ip-10-0-2-2", "g6.12xlarge", "on-demand", "eu-central-1b", 4)
# it comes in the middle of the hour
LATE = Node("ip-10-0-1-3", "g5.2xlarge", "spot", "eu-central-1a", 1, begin=2_130.0)
SYSTEM = Node("ip-10-0-9-9", "m7i.large", "on-demand", "eu-central-1a", 0)
GPU_NODES = (SPOT, ON_DEMAND, LATE)

PRICES = {
    ("g5.2xlarge", "spot", "eu-central-1a"): 0.6,
    ("g5.2xlarge", "on-demand", "eu-central-1a"): 1.5,
    ("g6.12xlarge", "on-demand", "eu-central-1b"): 5.75,
    ("g6.12xlarge", "spot", "eu-central-1b"): 2.4,
}
"""Dollars per hour, made up."""

CHAT = "mistral-7b-instruct"
CODE = 'code "quoted" v1'
PODS = (
    Pod("chat", CHAT, "chat-6f7d-aaaaa", SPOT.name, -900, -840, -800, -700, 20, 4),
    Pod(
        *("chat", CHAT, "chat-6f7d-bbbbb", ON_DEMAND.name),
        *(-900, -890, -850, -740),
        *(12, 0, 1_830.0),
    ),
    Pod("chat", CHAT, "chat-6f7d-ccccc", LATE.name, 2_040, 2_160, 2_205, 2_310, 6, 0),
    Pod("code", CODE, "code-59c8-ddddd", ON_DEMAND.name, 300, 305, 330, 420, 0, 0),
)
PENDING = "chat-6f7d-eeeee"
"""A pod that no node has room for, in the last minutes."""
MODELS = {"chat": 3.0, "code": 1.0, "sleeper": 0.0}
"""The models, with their replicas at the end."""

REQUESTS_PER_SECOND = 2.0
PROMPT_TOKENS_PER_SECOND = 800.0
GENERATED_TOKENS_PER_SECOND = 300.0
"""Of each pod."""


def cluster() -> list[Series]:
    """Return all series."""
    return [
        *vllm(),
        *old_vllm(),
        *keda(),
        *kubernetes(),
        *karpenter(),
        *kubelet(),
        *dcgm(),
    ]


def without(series: Iterable[Series], prefix: str) -> list[Series]:
    """Return the series without those of one source."""
    return [item for item in series if not item.name.startswith(prefix)]


def vllm() -> Iterator[Series]:
    """The pages of the pods, as vLLM exports them and Prometheus labels them."""
    for pod in PODS:
        labels = pod.labels
        gauges = {
            "vllm:num_requests_running": _running(pod),
            "vllm:num_requests_waiting": _waiting(pod),
        }
        if pod.model != "code":
            gauges["vllm:kv_cache_usage_perc"] = _scaled(_running(pod), 1 / 32)
        counters = {
            "vllm:prompt_tokens_total": PROMPT_TOKENS_PER_SECOND,
            "vllm:generation_tokens_total": GENERATED_TOKENS_PER_SECOND,
            "vllm:prefix_cache_queries_total": PROMPT_TOKENS_PER_SECOND,
            "vllm:prefix_cache_hits_total": PROMPT_TOKENS_PER_SECOND / 4,
            "vllm:num_preemptions_total": 0.05 if pod.waiting else 0.0,
        }
        for name, value in gauges.items():
            yield _of(pod, name, labels, value)
        for name, rate in counters.items():
            yield _of(pod, name, labels, _counter(pod, rate))
        for reason, share in {"stop": 0.9, "length": 0.09, "error": 0.01}.items():
            labelled = {**labels, "finished_reason": reason}
            rate = REQUESTS_PER_SECOND * share
            yield _of(pod, "vllm:request_success_total", labelled, _counter(pod, rate))
        yield from _histograms(pod)


def old_vllm() -> Iterator[Series]:
    """What the pod of an older vLLM has besides: a name that is gone today."""
    for pod in PODS:
        if pod.model == "code":
            yield _of(pod, OLD_CACHE_USAGE, pod.labels, _constant(0.2))


def keda() -> Iterator[Series]:
    """KEDA's operator; its chart keeps the namespace of the ScaledObject."""
    for model in MODELS:
        labels = {
            "namespace": "inference",
            "scaledObject": model,
            "scaler": "prometheusScaler",
            "triggerIndex": "0",
            "type": "scaledobject",
            "metric": "s0-prometheus",
            "pod": "keda-operator-7c9-x",
        }
        pods = [pod for pod in PODS if pod.model == model]
        yield Series("keda_scaler_metrics_value", labels, _running(*pods))
        yield Series("keda_scaler_active", labels, _constant(float(bool(pods))))
        failing = 0.1 if model == "sleeper" else 0.0
        yield Series("keda_scaler_detail_errors_total", labels, linear(0, failing))


def kubernetes() -> Iterator[Series]:
    """kube-state-metrics."""
    for model, replicas in MODELS.items():
        hpa = {"namespace": "inference", "horizontalpodautoscaler": f"keda-hpa-{model}"}
        deployment = {"namespace": "inference", "deployment": model}
        wanted = _wanted if model == "chat" else _constant(replicas)
        prefix = "kube_horizontalpodautoscaler"
        yield Series(f"{prefix}_status_desired_replicas", hpa, wanted)
        yield Series(f"{prefix}_status_current_replicas", hpa, _constant(replicas))
        yield Series(f"{prefix}_spec_max_replicas", hpa, _constant(4))
        yield Series(f"{prefix}_spec_min_replicas", hpa, _constant(1))
        yield Series("kube_deployment_status_replicas_ready", deployment, _ready(model))
        yield Series("kube_deployment_spec_replicas", deployment, wanted)
        for condition in ("AbleToScale", "ScalingActive", "ScalingLimited"):
            met = condition != "ScalingLimited" or model == "chat"
            for status in ("true", "false", "unknown"):
                value = float((status == "true") is met and status != "unknown")
                yield Series(
                    f"{prefix}_status_condition",
                    {**hpa, "condition": condition, "status": status},
                    _constant(value),
                )
    yield from _pod_states()
    yield from _node_states()


def karpenter() -> Iterator[Series]:
    """Karpenter's controller."""
    for (kind, capacity, zone), price in PRICES.items():
        yield Series(
            "karpenter_cloudprovider_instance_type_offering_price_estimate",
            {"instance_type": kind, "capacity_type": capacity, "zone": zone},
            _constant(price),
        )
    gpus = {"nodepool": "gpu", "resource_type": "nvidia.com/gpu"}
    used = _constant(float(sum(node.gpus for node in GPU_NODES)))
    yield Series("karpenter_nodepools_usage", gpus, used)
    yield Series("karpenter_nodepools_limit", gpus, _constant(10))
    prefix = "operator_nodeclaim_status_condition"
    steps = {"Launched": 4.0, "Registered": 40.0, "Initialized": 70.0}
    for step, seconds in steps.items():
        labels = {"name": "gpu-abcde", "type": step, "status": "True", "reason": step}
        yield Series(f"{prefix}_count", labels, _constant(1), begin=2_200)
        waiting = {**labels, "status": "Unknown", "reason": "AwaitingReconciliation"}
        yield Series(
            f"{prefix}_count", waiting, _constant(1), begin=2_060, end=2_060 + seconds
        )
        # two claims took that long
        moved = {"type": step, "status": "Unknown"}
        yield from _histogram(
            f"{prefix}_transition_seconds",
            moved,
            seconds,
            lambda at: 0.0 if at < 2_200 else 2.0,
        )
    yield Series(
        "karpenter_nodeclaims_created_total",
        {"nodepool": "gpu", "reason": "provisioned"},
        lambda at: 2.0 if at < 2_060 else 3.0,
    )


def kubelet() -> Iterator[Series]:
    """The kubelets' pulls of images, in classes of their size."""
    labels = {"image_size_in_bytes": "10GB-50GB", "node": LATE.name, "job": "kubelet"}
    name = "kubelet_image_pull_duration_seconds"
    yield from _histogram(name, labels, 45.0, lambda at: 0.0 if at < 2_205 else 1.0)


def dcgm() -> Iterator[Series]:
    """NVIDIA's exporter."""
    for node in GPU_NODES:
        for gpu in range(node.gpus):
            labels = {"Hostname": node.name, "gpu": str(gpu), "job": "dcgm-exporter"}
            busy = _constant(80.0 if gpu == 0 else 0.0)
            yield Series("DCGM_FI_DEV_GPU_UTIL", labels, busy, node.begin, node.end)


def linear(first: float, per_second: float) -> Value:
    """A counter that grows evenly."""
    return lambda at: first + per_second * at


def steps(values: Mapping[int, float]) -> Value:
    """A gauge with a value for each scrape."""
    return lambda at: values[round(at / STEP)]


def open_metrics(series: Iterable[Series]) -> str:
    """Return the series as text in the OpenMetrics format, with times."""
    lines: dict[str, list[str]] = {}
    for item in series:
        names = ",".join(
            f'{key}="{_quoted(value)}"' for key, value in sorted(item.labels.items())
        )
        family = lines.setdefault(item.name, [])
        count = int((item.end - item.begin) / STEP)
        for index in range(count + 1):
            # scrapes come at fixed moments, whatever the age of a pod
            at = (int(item.begin / STEP) + index) * STEP
            if not item.begin <= at <= item.end:
                continue
            value = float(item.value(at))
            family.append(f"{item.name}{{{names}}} {value!r} {BEGIN + at}")
    return "\n".join(line for family in lines.values() for line in family) + "\n# EOF\n"


def _pod_states() -> Iterator[Series]:
    for pod in PODS:
        labels = {"namespace": "inference", "pod": pod.name, "uid": pod.name[-5:]}
        container = {**labels, "container": "vllm"}
        restarted = pod.restart
        times: dict[str, tuple[Mapping[str, str], float, Value]] = {
            "kube_pod_created": (labels, pod.created, _moment(pod.created)),
            "kube_pod_status_scheduled_time": (
                *(labels, pod.scheduled),
                _moment(pod.scheduled),
            ),
            "kube_pod_container_state_started": (
                *(container, pod.started),
                _moment(pod.started, restarted),
            ),
            "kube_pod_status_ready_time": (
                *(labels, pod.ready),
                _moment(pod.ready, restarted and restarted + 60),
            ),
        }
        for name, (names, since, value) in times.items():
            yield Series(name, names, value, begin=max(0.0, since))
        for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown"):
            yield Series(
                "kube_pod_status_phase",
                {**labels, "phase": phase},
                _constant(float(phase == "Running")),
                begin=max(0.0, pod.scheduled),
            )
        yield Series(
            "kube_pod_container_resource_requests",
            {**container, "node": pod.node, "resource": "nvidia_com_gpu", "unit": ""},
            _constant(1),
            begin=max(0.0, pod.scheduled),
        )
        if pod.scheduled > 0:
            yield Series(
                "kube_pod_container_status_waiting_reason",
                {**container, "reason": "ContainerCreating"},
                _constant(1),
                begin=pod.scheduled,
                end=pod.started,
            )
    pending = {"namespace": "inference", "pod": PENDING, "uid": "eeeee"}
    yield Series("kube_pod_created", pending, _moment(3_600), begin=3_600)
    yield Series("kube_pod_status_unschedulable", pending, _constant(1), begin=3_600)
    # a job that has ended, whose request stays in kube-state-metrics
    done = {"namespace": "inference", "pod": "warm-zzzzz", "uid": "zzzzz"}
    yield Series(
        "kube_pod_container_resource_requests",
        {**done, "container": "job", "node": ON_DEMAND.name}
        | {"resource": "nvidia_com_gpu", "unit": ""},
        _constant(1),
    )
    yield Series("kube_pod_status_phase", {**done, "phase": "Succeeded"}, _constant(1))


def _node_states() -> Iterator[Series]:
    for node in (*GPU_NODES, SYSTEM):
        labels = {
            "node": node.name,
            "label_node_kubernetes_io_instance_type": node.instance_type,
            "label_topology_kubernetes_io_zone": node.zone,
        }
        if node is not SYSTEM:
            labels["label_karpenter_sh_nodepool"] = "gpu"
            labels["label_karpenter_sh_capacity_type"] = node.capacity_type
        yield Series("kube_node_labels", labels, _constant(1), node.begin, node.end)
        if node.gpus:
            yield Series(
                "kube_node_status_allocatable",
                {"node": node.name, "resource": "nvidia_com_gpu", "unit": "integer"},
                _constant(node.gpus),
                node.begin,
                node.end,
            )


def _histograms(pod: Pod) -> Iterator[Series]:
    # usually, and in the burst
    means = {
        "vllm:time_to_first_token_seconds": (0.2, 4.0),
        "vllm:inter_token_latency_seconds": (0.04, 0.08),
        "vllm:e2e_request_latency_seconds": (8.0, 20.0),
        "vllm:request_queue_time_seconds": (0.01, 3.0),
    }
    count = _counter(pod, REQUESTS_PER_SECOND)
    quick = pod.model == "code"
    for name, (usual, in_burst) in means.items():
        mean = usual / 2 if quick else usual
        slow = mean if quick else in_burst
        for series in _histogram(name, pod.labels, mean, count, slow):
            yield _of(pod, series.name, series.labels, series.value)


def _histogram(
    name: str,
    labels: Mapping[str, str],
    mean: float,
    count: Value,
    in_burst: float | None = None,
) -> Iterator[Series]:
    """Nine of ten observations take the mean, one takes five times as long."""
    slow = mean if in_burst is None else in_burst

    def up_to(bound: float, mean: float) -> float:
        return 0.9 * (mean <= bound) + 0.1 * (5 * mean <= bound)

    def of_burst(at: float) -> float:
        begin, end = BURST
        return 0.0 if at < begin else count(min(at, end)) - max(0.0, count(begin))

    def weighted(usually: float, then: float) -> Value:
        return lambda at: usually * (count(at) - of_burst(at)) + then * of_burst(at)

    for bound in (*BOUNDS, float("inf")):
        text = "+Inf" if bound == float("inf") else str(bound)
        value = weighted(up_to(bound, mean), up_to(bound, slow))
        yield Series(f"{name}_bucket", {**labels, "le": text}, value)
    yield Series(f"{name}_count", labels, count)
    yield Series(f"{name}_sum", labels, weighted(1.4 * mean, 1.4 * slow))


def _of(pod: Pod, name: str, labels: Mapping[str, str], value: Value) -> Series:
    return Series(name, labels, value, begin=max(0.0, pod.ready - 30))


def _running(*pods: Pod) -> Value:
    """A third of the load, twice a full batch in the burst, all of it at the end."""

    def value(at: float) -> float:
        begin, end = BURST
        share = 1.0 if at >= STEADY else 1.5 if begin <= at < end else 0.4
        return sum(round(share * pod.running) for pod in pods if pod.ready - 30 <= at)

    return value


def _waiting(pod: Pod) -> Value:
    def value(at: float) -> float:
        begin, end = BURST
        if begin <= at < end:
            return pod.running * (at - begin) // (end - begin)
        return pod.waiting if at >= STEADY else 0.0

    return value


def _wanted(at: float) -> float:
    """Replicas of ``chat`` that the autoscaler asks for, just before they exist."""
    return 2.0 if at < BURST[0] + 165 else 3.0 if at < 3_600 else 4.0


def _ready(model: str) -> Value:
    since = [pod.ready for pod in PODS if pod.model == model]
    return lambda at: float(sum(ready <= at for ready in since))


def _constant(value: float) -> Value:
    return lambda _: float(value)


def _counter(pod: Pod, rate: float) -> Value:
    def value(at: float) -> float:
        if pod.restart is not None and at >= pod.restart:
            return rate * (at - pod.restart)
        return rate * (at - pod.ready + 30)

    return value


def _scaled(value: Value, factor: float) -> Value:
    return lambda at: value(at) * factor


def _moment(first: float, then: float | None = None) -> Value:
    """A time as Kubernetes writes it down; a restart moves it."""
    return lambda at: BEGIN + (then if then is not None and at >= then else first)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
