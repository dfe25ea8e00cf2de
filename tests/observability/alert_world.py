"""What a cluster reports while a story happens: made-up series for promtool's tests.

Times are minutes since the story began. A world in which nothing is wrong is the
default of every value; a story changes some of them.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from eks_inference.objective import LatencyObjective
from tests.library.conftest import make_model, make_serving

NAMESPACE = "inference"
NAME = "chat"
SERVED_NAME = "team/chat"
OBJECTIVE = LatencyObjective()
SERVING = make_serving(model=make_model(name=NAME, served_name=SERVED_NAME))
COLD_START = SERVING.plan.cold_start.p90 / 60
"""Minutes within which nine of ten replicas start."""
MAX_REPLICAS = SERVING.scaling.max_replicas

Value = Callable[[float], float]
"""A value at a minute."""

Labels = Mapping[str, str]

Samples = dict[str, str]
"""Values of each series, in promtool's notation."""

Sampled = tuple[str, Labels, str]
"""Name and labels of a series, and its values in promtool's notation."""

Rated = tuple[str, Labels, Value]
"""Name and labels of a counter, and how much it grows in a second."""

BOUNDS = {"time_to_first_token": "2.5", "inter_token_latency": "0.1"}
"""Bounds of the default objective, as vLLM labels its buckets."""


def always(value: float) -> Value:
    """Return a value that never changes."""
    return lambda _: value


def after(minute: float, value: float, before: float = 0.0) -> Value:
    """Return a value that changes once."""
    return lambda at: value if at >= minute else before


def between(begin: float, end: float, value: float, otherwise: float = 0.0) -> Value:
    """Return a value that holds for some time."""
    return lambda at: value if begin <= at < end else otherwise


@dataclass(frozen=True)
class Pod:
    """A replica.

    Args:
        name: What its name ends with.
        created: When it is there.
        started: When its container runs; until then it is pending.
        ready: When vLLM answers, and reports.
        end: When it is gone.
    """

    name: str = "6f7d-aaaaa"
    created: float = -60.0
    started: float = -60.0
    ready: float = -60.0
    end: float = math.inf


@dataclass(frozen=True)
class Node:
    """A node of a pool.

    Args:
        name: Name of the node and of its claim.
        created: When its claim is there.
        initialized: When it can be used.
        gpus: How many it offers; -1 while the plugin has not spoken.
        tainted: Whether it is meant for pods with GPUs.
    """

    name: str = "node-a"
    created: float = -60.0
    initialized: float = -60.0
    gpus: Value = field(default=always(1))
    tainted: bool = True

    def has_spoken(self, at: float) -> bool:
        """Say whether the node's plugin has told of GPUs."""
        return self.gpus(at) >= 0


@dataclass(frozen=True)
class World:
    """Everything that is reported.

    Args:
        pods: Replicas of the model.
        nodes: Nodes of the pool.
        requests: Requests that each replica finishes in a second.
        late: Share of them whose first token is late.
        stalled: Share of the tokens that are late.
        broken: Share of the requests that the engine fails.
        refused: Share of the requests that the server answers with 503.
        waiting: Requests that wait, in all replicas.
        cache: Share of the KV cache in use.
        preemptions: Preemptions in a second.
        scraped: Whether Prometheus reaches the pods.
        scaler_errors: Errors of KEDA in a second.
        active: Whether the autoscaler has its metric.
        desired: What the autoscaler asks for, or None for the pods that there are.
        interruptions: Spot interruptions in a second.
        import_failed: Whether the import of a model has been given up.
    """

    pods: tuple[Pod, ...] = (Pod(),)
    nodes: tuple[Node, ...] = (Node(),)
    requests: Value = field(default=always(2))
    late: Value = field(default=always(0.01))
    stalled: Value = field(default=always(0.01))
    broken: Value = field(default=always(0))
    refused: Value = field(default=always(0))
    waiting: Value = field(default=always(0))
    cache: Value = field(default=always(0.4))
    preemptions: Value = field(default=always(0))
    scraped: Value = field(default=always(1))
    scaler_errors: Value = field(default=always(0))
    active: Value = field(default=always(1))
    desired: Value | None = None
    interruptions: Value = field(default=always(0))
    import_failed: Value = field(default=always(0))

    def samples(self, minutes: float, step: int) -> Samples:
        """Return all series.

        Args:
            minutes: How long the story is.
            step: Seconds between two samples.
        """
        clock = _Clock(minutes, step)
        found: Samples = {}
        for name, labels, values in (
            *self._vllm(clock),
            *self._kubernetes(clock),
            *self._karpenter(clock),
        ):
            text = ",".join(
                f'{key}="{_quoted(value)}"' for key, value in labels.items()
            )
            found[f"{name}{{{text}}}"] = values
        return found

    def _vllm(self, clock: "_Clock") -> Iterator[Sampled]:
        for pod in self.pods:
            server = {
                "namespace": NAMESPACE,
                "job": f"{NAMESPACE}/{NAME}",
                "pod": f"{NAME}-{pod.name}",
            }
            vllm = {**server, "model_name": SERVED_NAME, "engine": "0"}

            def there(at: float, pod: Pod = pod) -> bool:
                return pod.ready <= at < pod.end and bool(self.scraped(at))

            gauges = {
                "num_requests_running": always(3),
                # one queue, and the first replica has it
                "num_requests_waiting": self.waiting
                if pod is self.pods[0]
                else always(0),
                "kv_cache_usage_perc": self.cache,
            }
            for name, value in gauges.items():
                yield f"vllm:{name}", vllm, clock.gauge(value, there)
            rates: list[Rated] = [
                ("vllm:num_preemptions_total", vllm, self.preemptions),
                *self._finished(vllm, server),
                *_histogram("time_to_first_token", vllm, self.requests, self.late),
                *_histogram("inter_token_latency", vllm, self._tokens, self.stalled),
            ]
            for name, labels, rate in rates:
                yield name, labels, clock.counter(rate, there, since=pod.ready)

    def _finished(self, vllm: Labels, server: Labels) -> Iterator[Rated]:
        post = {**server, "handler": "/v1/chat/completions", "method": "POST"}
        get = {**server, "handler": "/v1/models", "method": "GET", "status": "2xx"}
        name, answers = "vllm:request_success_total", "http_requests_total"
        yield name, {**vllm, "finished_reason": "error"}, self._share(self.broken)
        yield name, {**vllm, "finished_reason": "stop"}, self._rest(self.broken)
        yield answers, {**post, "status": "2xx"}, self._rest(self.refused)
        # polls of a front end, of which none fails
        yield answers, get, always(10)
        # a status that never was has no series
        if any(map(self.refused, range(6_000))):
            yield answers, {**post, "status": "5xx"}, self._share(self.refused)

    def _kubernetes(self, clock: "_Clock") -> Iterator[Sampled]:
        named = {"namespace": NAMESPACE}
        deployment = {**named, "deployment": NAME}
        yield "kube_deployment_spec_replicas", deployment, clock.gauge(self._replicas)
        for pod in self.pods:
            labels = {**named, "pod": f"{NAME}-{pod.name}", "uid": pod.name}
            for phase, value in (("Pending", 1.0), ("Running", 0.0)):
                yield (
                    *("kube_pod_status_phase", {**labels, "phase": phase}),
                    clock.gauge(
                        between(pod.created, pod.started, value, 1 - value),
                        _while(pod.created, pod.end),
                    ),
                )
        hpa = {**named, "horizontalpodautoscaler": f"keda-hpa-{NAME}"}
        prefix = "kube_horizontalpodautoscaler_status"
        yield f"{prefix}_desired_replicas", hpa, clock.gauge(self._desired)
        condition = {**hpa, "condition": "ScalingActive"}
        for status, met in (("true", self.active), ("false", self._inactive)):
            labels = {**condition, "status": status}
            yield f"{prefix}_condition", labels, clock.gauge(met)
        scaled = {**named, "scaledObject": NAME}
        errors = clock.counter(self.scaler_errors)
        yield "keda_scaled_object_errors_total", scaled, errors
        job = {**named, "job_name": "weights-import-0123456789", "condition": "true"}
        failed = clock.gauge(always(1), lambda at: bool(self.import_failed(at)))
        yield "kube_job_failed", job, failed

    def _karpenter(self, clock: "_Clock") -> Iterator[Sampled]:
        for node in self.nodes:
            claim = {"name": f"{node.name}-claim", "type": "Initialized"}
            for status, begin, end in (
                ("Unknown", node.created, node.initialized),
                ("True", node.initialized, math.inf),
            ):
                yield (
                    "operator_nodeclaim_status_condition_current_status_seconds",
                    {**claim, "status": status},
                    clock.gauge(_age(begin), _while(begin, end)),
                )
            joined = clock.gauge(always(1), _while(node.created + 1, math.inf))
            ready = {"node": node.name, "condition": "Ready", "status": "true"}
            taint = {"node": node.name, "key": "nvidia.com/gpu", "effect": "NoSchedule"}
            gpu = {"node": node.name, "resource": "nvidia_com_gpu", "unit": "integer"}
            yield "kube_node_status_condition", ready, joined
            if node.tainted:
                yield "kube_node_spec_taint", taint, joined
            offered = clock.gauge(node.gpus, node.has_spoken)
            yield "kube_node_status_allocatable", gpu, offered
        spot = {
            "nodepool": "gpu",
            "reason": "spot_interrupted",
            "capacity_type": "spot",
        }
        interruptions = clock.counter(self.interruptions)
        yield "karpenter_nodeclaims_disrupted_total", spot, interruptions

    def _share(self, share: Value) -> Value:
        return lambda at: self.requests(at) * share(at)

    def _rest(self, share: Value) -> Value:
        return lambda at: self.requests(at) * (1 - share(at))

    def _tokens(self, at: float) -> float:
        return 100 * self.requests(at)

    def _inactive(self, at: float) -> float:
        return 1 - self.active(at)

    def _replicas(self, at: float) -> float:
        return float(sum(pod.created <= at < pod.end for pod in self.pods))

    def _desired(self, at: float) -> float:
        return self._replicas(at) if self.desired is None else self.desired(at)


@dataclass(frozen=True)
class _Clock:
    """The moments at which samples are taken.

    Args:
        minutes: The last of them.
        step: Seconds between two of them.
    """

    minutes: float
    step: int

    @property
    def moments(self) -> list[float]:
        """The moments, in minutes."""
        return [
            index * self.step / 60
            for index in range(int(self.minutes * 60 / self.step) + 1)
        ]

    def gauge(
        self, value: Value, there: Callable[[float], bool] = lambda _: True
    ) -> str:
        """Return the values of a gauge while its source is there."""
        return _text([value(at) if there(at) else None for at in self.moments])

    def counter(
        self,
        rate: Value,
        there: Callable[[float], bool] = lambda _: True,
        *,
        since: float = 0.0,
    ) -> str:
        """Return a counter that began at zero, while its source is there."""
        total, values = 0.0, []
        for at in self.moments:
            values.append(round(total, 6) if there(at) else None)
            if at >= since:
                total += rate(at) * self.step
        return _text(values)


def _text(values: list[float | None]) -> str:
    """Write values down, many equal ones as one word."""
    words: list[str] = []
    index = 0
    while index < len(values):
        run = 1
        while index + run < len(values) and values[index + run] == values[index]:
            run += 1
        value = values[index]
        if value is None:
            # a target that goes away leaves a mark, so that its series end at once
            if index:
                words.append("stale")
                run -= 1
                index += 1
            if run:
                words.append(f"_x{run}" if run > 1 else "_")
        else:
            words.append(f"{value:.10g}x{run - 1}" if run > 1 else f"{value:.10g}")
        index += run
    return " ".join(words)


def _histogram(
    name: str, labels: Mapping[str, str], rate: Value, late: Value
) -> Iterator[Rated]:
    """The bound that the objective names, the last bucket, and the count."""
    metric = f"vllm:{name}_seconds"
    within = {**labels, "le": BOUNDS[name]}
    yield f"{metric}_bucket", within, lambda at: rate(at) * (1 - late(at))
    yield f"{metric}_bucket", {**labels, "le": "+Inf"}, rate
    yield f"{metric}_count", dict(labels), rate


def _while(begin: float, end: float) -> Callable[[float], bool]:
    return lambda at: begin <= at < end


def _age(begin: float) -> Value:
    """Seconds since a minute."""
    return lambda at: 60 * (at - begin)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
