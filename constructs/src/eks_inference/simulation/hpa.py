"""What a metric asks for: the replica arithmetic of the HorizontalPodAutoscaler.

Values and targets are milli-values: 25 is 25,000. Each function is one kind of metric
and returns None where Kubernetes reports an error for that metric.

Sources: kubernetes/kubernetes ``pkg/controller/podautoscaler`` (replica_calculator.go,
metrics/utilization.go, horizontal.go) of 1.28 and of 1.34 or later. Where they differ
the later one holds: a ratio is within tolerance inside
``[1 - tolerance, 1 + tolerance]``, so that 1.1 is (up to 1.32 it was not, by a rounding
error), and results that do not fit end at the largest ``int32``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eks_inference._check import Problems
from eks_inference.keda_formula.go import (
    INT32_MAX,
    INT64_MAX,
    ceil_int32,
    ceil_int64,
    divide,
    quotient,
)
from eks_inference.simulation._records import records, seconds

TOLERANCE = 0.1
"""Share by which a metric may miss its target without a change. Source:
``--horizontal-pod-autoscaler-tolerance`` (config/v1alpha1/defaults.go)."""

CPU_INITIALIZATION_SECONDS = 300
"""Time after a pod's start in which its CPU samples may be ignored. Source:
``--horizontal-pod-autoscaler-cpu-initialization-period``, same file."""

INITIAL_READINESS_SECONDS = 30
"""Time after a pod's start in which a change to not ready counts as never having been
ready. Source: ``--horizontal-pod-autoscaler-initial-readiness-delay``, same file."""

_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")

_FULL_PERCENT = 100

_LARGEST_TOLERANCE = 1_000_000


class Proposal(NamedTuple):
    """What one metric asks for.

    Args:
        replicas: Replicas that it asks for, before limits and windows.
        usage: What the status shows: per cent for a utilisation, the whole value for
            a ``Value`` target, otherwise the value of an average pod; the last two in
            milli.
    """

    replicas: int
    usage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What the autoscaler knows of a pod.

    Args:
        metric_milli: Newest sample, or None when there is none. Default: None.
        request_milli: CPU that the pod requests, or None when a container has no
            request, which fails the whole metric. Only read for a utilisation.
            Default: None.
        ready: Whether the pod is ready. Default: True.
        phase: Phase of the pod. Default: ``Running``.
        deleting: Whether it is being deleted. Default: False.
        within_cpu_init_period_no_full_window: Whether its CPU sample is ignored since
            the pod is young and the sample reaches back before it was ready.
            Default: False.
        was_ready: Whether a pod that is not ready now has been ready before, so that
            its CPU sample counts. Default: False.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    metric_milli: int | None = None
    request_milli: int | None = None
    ready: bool = True
    phase: str = "Running"
    deleting: bool = False
    within_cpu_init_period_no_full_window: bool = False
    was_ready: bool = False

    def __post_init__(self) -> None:
        with Problems("pod") as problems:
            if self.metric_milli is not None:
                _milli(problems, "metric_milli", self.metric_milli, signed=True)
            if self.request_milli is not None:
                _milli(problems, "request_milli", self.request_milli)
            if problems.text("phase", self.phase):
                problems.one_of("phase", self.phase, _PHASES)
            young = self.within_cpu_init_period_no_full_window
            problems.flag("ready", self.ready)
            problems.flag("deleting", self.deleting)
            problems.flag("within_cpu_init_period_no_full_window", young)
            problems.flag("was_ready", self.was_ready)

    @property
    def cpu_counts(self) -> bool:
        """Whether its CPU sample counts, as far as its readiness decides."""
        return not self.within_cpu_init_period_no_full_window and (
            self.ready or self.was_ready
        )


def cpu_flags(
    *,
    now: float,
    started_at: float,
    ready: bool,
    changed_at: float,
    sampled_at: float,
    window_seconds: float,
) -> dict[str, bool]:
    """Return what ``Pod`` needs to know about the age of a pod and of its sample.

    A young pod's sample is ignored until a whole window of it lies after the pod
    became ready. Later only a pod that has never been ready is ignored.

    Args:
        now: Time of the sync, in seconds.
        started_at: When the pod started.
        ready: Whether it is ready.
        changed_at: When its readiness last changed.
        sampled_at: When its CPU was last sampled.
        window_seconds: How far that sample reaches back.

    Returns:
        The fields ``ready``, ``within_cpu_init_period_no_full_window``, ``was_ready``.
    """
    with Problems("cpu_flags") as problems:
        seconds(problems, "now", now)
        seconds(problems, "started_at", started_at)
        seconds(problems, "changed_at", changed_at)
        seconds(problems, "sampled_at", sampled_at)
        seconds(problems, "window_seconds", window_seconds)
        problems.flag("ready", ready)
    young = started_at + CPU_INITIALIZATION_SECONDS > now
    never_ready = started_at + INITIAL_READINESS_SECONDS > changed_at
    return {
        "ready": ready,
        "within_cpu_init_period_no_full_window": young
        and (not ready or sampled_at < changed_at + window_seconds),
        "was_ready": not ready and not young and not never_ready,
    }


def external_average_value(
    *,
    current_replicas: int,
    metric_sum_milli: int,
    target_milli: int,
    tolerance: float = TOLERANCE,
    scale_down_tolerance: float | None = None,
    ready_pods: int | None = None,
) -> Proposal:
    """Return what an External metric with an ``AverageValue`` target asks for.

    The replicas are those that exist, starting ones too, so capacity on its way is
    not asked for twice. A sum below zero is taken for an overflow and counts as the
    largest value (1.34 and later): such a formula scales to the maximum.

    Args:
        current_replicas: ``status.replicas`` of the scale.
        metric_sum_milli: Sum of the metric's series.
        target_milli: Value that one replica should have.
        tolerance: Share above the target without a change. Default: 0.1.
        scale_down_tolerance: Share below it. Default: the same.
        ready_pods: Plays no part; taken so that both kinds of target are called
            alike. Default: None.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("external_average_value") as problems:
        _replicas(problems, "current_replicas", current_replicas)
        _milli(problems, "metric_sum_milli", metric_sum_milli, signed=True)
        _milli(problems, "target_milli", target_milli)
        if ready_pods is not None:
            _replicas(problems, "ready_pods", ready_pods)
        within = _tolerance(problems, tolerance, scale_down_tolerance)
    usage = metric_sum_milli if metric_sum_milli >= 0 else INT64_MAX
    replicas = current_replicas
    ratio = divide(usage, float(target_milli) * float(current_replicas))
    if not within(ratio):
        replicas = ceil_int32(divide(usage, target_milli))
    if float(usage) >= float(INT64_MAX):
        return Proposal(replicas, INT64_MAX)
    return Proposal(replicas, ceil_int64(divide(usage, current_replicas)))


def external_value(
    *,
    current_replicas: int,
    ready_pods: int | None,
    metric_sum_milli: int,
    target_milli: int,
    tolerance: float = TOLERANCE,
    scale_down_tolerance: float | None = None,
) -> Proposal | None:
    """Return what an External or Object metric with a ``Value`` target asks for.

    The ratio is multiplied by the pods that are ready, so capacity on its way is
    asked for again. From no replica at all, the ratio alone counts.

    Args:
        current_replicas: ``spec.replicas`` of the scale.
        ready_pods: Pods that run and are ready, or None when there is no pod at all,
            which fails the metric.
        metric_sum_milli: Sum of the metric's series.
        target_milli: Value that the metric should have.
        tolerance: Share above the target without a change. Default: 0.1.
        scale_down_tolerance: Share below it. Default: the same.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("external_value") as problems:
        _replicas(problems, "current_replicas", current_replicas)
        if ready_pods is not None:
            _replicas(problems, "ready_pods", ready_pods)
        _milli(problems, "metric_sum_milli", metric_sum_milli, signed=True)
        _milli(problems, "target_milli", target_milli)
        within = _tolerance(problems, tolerance, scale_down_tolerance)
    ratio = divide(metric_sum_milli, target_milli)
    if not current_replicas:
        return Proposal(ceil_int32(ratio), metric_sum_milli)
    if within(ratio):
        return Proposal(current_replicas, metric_sum_milli)
    if ready_pods is None:
        return None
    return Proposal(ceil_int32(ratio * ready_pods), metric_sum_milli)


def resource_cpu_utilization(
    *,
    current_replicas: int,
    target_utilization_pct: int,
    pods: Sequence[Pod | Mapping[str, object]],
    tolerance: float = TOLERANCE,
    scale_down_tolerance: float | None = None,
) -> Proposal | None:
    """Return what a target for the CPU utilisation asks for.

    Pods that are not ready or have no sample damp a change: on the way up they count
    as idle, and on the way down a pod without a sample counts as full.

    Args:
        current_replicas: ``spec.replicas`` of the scale.
        target_utilization_pct: Per cent of the request that pods should use.
        pods: The pods, as ``Pod`` or mappings of its fields.
        tolerance: Share above the target without a change. Default: 0.1.
        scale_down_tolerance: Share below it. Default: the same.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("resource_cpu_utilization") as problems:
        _replicas(problems, "current_replicas", current_replicas)
        _replicas(problems, "target_utilization_pct", target_utilization_pct)
        known = records(problems, "pods", pods, Pod)
        within = _tolerance(problems, tolerance, scale_down_tolerance)
    if any(pod.request_milli is None for pod in known):
        return None
    full = max(_FULL_PERCENT, target_utilization_pct)

    def measure(values: list[tuple[Pod, int]]) -> tuple[float, int] | None:
        requested = sum(pod.request_milli or 0 for pod, _ in values)
        if not requested:
            return None
        used = sum(value for _, value in values)
        percent = quotient(used * _FULL_PERCENT, requested)
        return divide(percent, target_utilization_pct), percent

    return _of_pods(
        _Groups.of(known, cpu=True),
        current_replicas=current_replicas,
        measure=measure,
        stand_in=lambda pod: (pod.request_milli or 0) * full // _FULL_PERCENT,
        within=within,
    )


def pods_metric_average_value(
    *,
    current_replicas: int,
    target_milli: int,
    pods: Sequence[Pod | Mapping[str, object]],
    tolerance: float = TOLERANCE,
    scale_down_tolerance: float | None = None,
    cpu: bool = False,
) -> Proposal | None:
    """Return what an ``AverageValue`` target of a Pods or Resource metric asks for.

    Readiness plays no part, except for CPU; pending pods damp the way up.

    Args:
        current_replicas: ``spec.replicas`` of the scale.
        target_milli: Value that one pod should have.
        pods: The pods, as ``Pod`` or mappings of its fields.
        tolerance: Share above the target without a change. Default: 0.1.
        scale_down_tolerance: Share below it. Default: the same.
        cpu: Whether the metric is the CPU usage. Default: False.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("pods_metric_average_value") as problems:
        _replicas(problems, "current_replicas", current_replicas)
        _milli(problems, "target_milli", target_milli)
        known = records(problems, "pods", pods, Pod)
        within = _tolerance(problems, tolerance, scale_down_tolerance)
        problems.flag("cpu", cpu)

    def measure(values: list[tuple[Pod, int]]) -> tuple[float, int]:
        average = quotient(sum(value for _, value in values), len(values))
        return divide(average, target_milli), average

    return _of_pods(
        _Groups.of(known, cpu=cpu),
        current_replicas=current_replicas,
        measure=measure,
        stand_in=lambda _: target_milli,
        within=within,
    )


class _Groups(NamedTuple):
    counted: list[tuple[Pod, int]]
    unready: list[Pod]
    missing: list[Pod]

    @classmethod
    def of(cls, pods: Sequence[Pod], *, cpu: bool) -> "_Groups":
        groups = cls([], [], [])
        for pod in pods:
            if pod.deleting or pod.phase == "Failed":
                continue
            if pod.phase == "Pending":
                groups.unready.append(pod)
            elif pod.metric_milli is None:
                groups.missing.append(pod)
            elif cpu and not pod.cpu_counts:
                groups.unready.append(pod)
            else:
                groups.counted.append((pod, pod.metric_milli))
        return groups


def _of_pods(
    groups: _Groups,
    *,
    current_replicas: int,
    measure: Callable[[list[tuple[Pod, int]]], tuple[float, int] | None],
    stand_in: Callable[[Pod], int],
    within: Callable[[float], bool],
) -> Proposal | None:
    first = measure(groups.counted) if groups.counted else None
    if first is None:
        return None
    ratio, usage = first
    idle_unready = bool(groups.unready) and ratio > 1
    if not idle_unready and not groups.missing:
        if within(ratio):
            return Proposal(current_replicas, usage)
        return Proposal(ceil_int32(ratio * len(groups.counted)), usage)

    values = list(groups.counted)
    if ratio < 1:
        values += [(pod, stand_in(pod)) for pod in groups.missing]
    elif ratio > 1:
        values += [(pod, 0) for pod in groups.missing]
    if idle_unready:
        values += [(pod, 0) for pod in groups.unready]
    again = measure(values)
    assert again is not None, "only pods were added"
    damped, _ = again
    turned = (ratio < 1 < damped) or (damped < 1 < ratio)
    replicas = ceil_int32(damped * len(values))
    contradicts = (damped < 1 and replicas > current_replicas) or (
        damped > 1 and replicas < current_replicas
    )
    if within(damped) or turned or contradicts:
        replicas = current_replicas
    return Proposal(replicas, usage)


def _tolerance(
    problems: Problems, tolerance: object, scale_down_tolerance: object
) -> Callable[[float], bool]:
    down = tolerance if scale_down_tolerance is None else scale_down_tolerance
    problems.number("tolerance", tolerance, minimum=0, maximum=_LARGEST_TOLERANCE)
    if scale_down_tolerance is not None:
        problems.number(
            "scale_down_tolerance", down, minimum=0, maximum=_LARGEST_TOLERANCE
        )

    def within(ratio: float) -> bool:
        return bool(1.0 - down <= ratio <= 1.0 + tolerance)  # type: ignore[operator]

    return within


def _replicas(problems: Problems, name: str, value: object) -> None:
    problems.integer(name, value, minimum=0, maximum=INT32_MAX)


def _milli(
    problems: Problems, name: str, value: object, *, signed: bool = False
) -> None:
    lowest = -INT64_MAX - 1 if signed else 0
    problems.integer(name, value, minimum=lowest, maximum=INT64_MAX)
