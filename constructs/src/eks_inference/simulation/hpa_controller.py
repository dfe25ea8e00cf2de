"""The HorizontalPodAutoscaler as a whole: one decision at each sync.

Source: kubernetes/kubernetes ``pkg/controller/podautoscaler/horizontal.go`` of 1.28 and
of 1.34 or later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eks_inference._check import Problems
from eks_inference.keda_formula.go import INT32_MAX, INT64_MAX
from eks_inference.simulation import hpa_behavior
from eks_inference.simulation._records import LONGEST_SECONDS, records
from eks_inference.simulation.hpa import (
    TOLERANCE,
    Pod,
    Proposal,
    external_average_value,
    external_value,
    pods_metric_average_value,
    resource_cpu_utilization,
)
from eks_inference.simulation.hpa_behavior import Limited, Recommendation, ScaleEvent
from eks_inference.simulation.hpa_spec import (
    DOWNSCALE_STABILIZATION_SECONDS,
    LONGEST_PERIOD_SECONDS,
    Behavior,
    CpuUtilization,
    ExternalMetric,
    PodsMetric,
    bounds,
)

SYNC_PERIOD_SECONDS = 15
"""Time between two syncs. Source: ``--horizontal-pod-autoscaler-sync-period``
(config/v1alpha1/defaults.go). EKS keeps it, except on a Provisioned Control Plane,
where it may be 10 to 15 s."""

Metric = ExternalMetric | CpuUtilization | PodsMetric


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the autoscaler sees at a sync.

    Args:
        replicas: ``spec.replicas`` of the scale.
        status_replicas: Pods that exist, starting ones too. Default: ``replicas``.
        ready_pods: Pods that run and are ready, or None when there is no pod at all.
            Only a ``Value`` target reads it. Default: ``status_replicas``.
        external: Milli-value of each External metric; None, or no entry, for one that
            failed. Default: empty.
        pods: The pods and their CPU samples. Default: empty.
        pod_metrics: The pods and their samples for each Pods metric. Default: empty.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    replicas: int
    status_replicas: int = -1
    ready_pods: int | None = -1
    external: Mapping[str, int | None] = field(default_factory=dict)
    pods: Sequence[Pod] = ()
    pod_metrics: Mapping[str, Sequence[Pod]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status_replicas == -1:
            object.__setattr__(self, "status_replicas", self.replicas)
        if self.ready_pods == -1:
            object.__setattr__(self, "ready_pods", self.status_replicas)
        with Problems("observation") as problems:
            for name in ("replicas", "status_replicas", "ready_pods"):
                value = getattr(self, name)
                if name != "ready_pods" or value is not None:
                    problems.integer(name, value, minimum=0, maximum=INT32_MAX)
            records(problems, "pods", self.pods, Pod)
            for name in ("external", "pod_metrics"):
                problems.instance(name, getattr(self, name), Mapping)
        with Problems("observation") as problems:
            for name, value in self.external.items():
                if value is not None:
                    problems.integer(
                        f"external[{name!r}]",
                        value,
                        minimum=-INT64_MAX - 1,
                        maximum=INT64_MAX,
                    )
            for name, pods in self.pod_metrics.items():
                records(problems, f"pod_metrics[{name!r}]", pods, Pod)


def combine(*, current_replicas: int, proposals: Sequence[int | None]) -> int | None:
    """Return what several metrics ask for together: the most that one asks for.

    Args:
        current_replicas: ``spec.replicas`` of the scale.
        proposals: Replicas that each metric asks for, None for one that failed.

    Returns:
        The replicas, or None when nothing may change: every metric failed, or some
        did and the others ask for fewer replicas.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("combine") as problems:
        problems.integer(
            "current_replicas", current_replicas, minimum=0, maximum=INT32_MAX
        )
        if problems.sequence("proposals", proposals):
            for index, item in enumerate(proposals):
                if item is not None:
                    name = f"proposals[{index}]"
                    problems.integer(
                        name, item, minimum=-INT32_MAX - 1, maximum=INT32_MAX
                    )
    most = 0
    for item in proposals:
        if item is not None and (most == 0 or item > most):
            most = item
    failed = sum(item is None for item in proposals)
    if failed == len(proposals) or (failed and most < current_replicas):
        return None
    return most


def controller(*, current_replicas: int, min: int, max: int) -> Limited | None:
    """Return what is decided before any metric is asked, or None when metrics decide.

    Neither windows nor rate limits apply to these decisions.

    Args:
        current_replicas: ``spec.replicas`` of the scale. With none, and a ``min``
            above zero, the autoscaler does nothing at all.
        min: ``minReplicas``.
        max: ``maxReplicas``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("controller") as problems:
        problems.integer(
            "current_replicas", current_replicas, minimum=0, maximum=INT32_MAX
        )
        bounds(problems, "min", min, "max", max)
    if current_replicas == 0 and min != 0:
        return Limited(0, "ScalingDisabled")
    if current_replicas > max:
        return Limited(max, "TooManyReplicas")
    if current_replicas < min:
        return Limited(min, "TooFewReplicas")
    return None


class HorizontalPodAutoscaler:
    """One autoscaler: its spec, and what it remembers from sync to sync.

    It knows no clock and changes nothing but its memory: the caller passes the time
    and what is observed, and sets the replicas that come back.

    Args:
        max_replicas: Most replicas.
        metrics: What to scale on; the one that asks for the most counts.
        min_replicas: Fewest replicas. Default: 1.
        behavior: Windows and rate limits. Default: none, which is at most twice the
            replicas or four per sync, and a window of 300 s on the way down.
        tolerance: Share by which a metric may miss its target without a change, where
            the behavior has no own. Default: 0.1, that of Kubernetes.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        metric = ExternalMetric(name="queue", target_milli=25_000)
        hpa = HorizontalPodAutoscaler(max_replicas=10, metrics=[metric])
        seen = Observation(replicas=1, external={"queue": 400_000})
        assert hpa.sync(0, seen) == 4
        ```
    """

    def __init__(
        self,
        *,
        max_replicas: int,
        metrics: Sequence[Metric],
        min_replicas: int = 1,
        behavior: Behavior | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        with Problems("autoscaler") as problems:
            bounds(problems, "min_replicas", min_replicas, "max_replicas", max_replicas)
            if problems.sequence("metrics", metrics):
                problems.not_empty("metrics", metrics, repair="pass at least one")
                for index, metric in enumerate(metrics):
                    if not isinstance(metric, Metric):
                        problems.broken(f"'metrics[{index}]' must be a metric", metric)
            if behavior is not None:
                problems.instance("behavior", behavior, Behavior)
            problems.number("tolerance", tolerance, minimum=0, maximum=INT32_MAX)
        self.min_replicas = min_replicas
        self.max_replicas = max_replicas
        self.metrics = tuple(metrics)
        self.behavior = behavior
        rules = behavior or Behavior()
        self._up = _first(rules.scale_up.tolerance, tolerance)
        self._down = _first(rules.scale_down.tolerance, tolerance)
        self._now = 0.0
        self._recommendations: list[tuple[float, int]] = []
        self._events: list[tuple[float, int]] = []

    def sync(self, now: float, seen: Observation) -> int:
        """Return the replicas to set now.

        Args:
            now: Time in seconds, not before that of the sync before.
            seen: What is observed.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        with Problems("sync") as problems:
            problems.number("now", now, minimum=self._now, maximum=LONGEST_SECONDS)
            problems.instance("seen", seen, Observation)
        self._now = now
        current = seen.replicas
        if not self._recommendations:
            self._recommendations.append((now, current))
        early = controller(
            current_replicas=current, min=self.min_replicas, max=self.max_replicas
        )
        desired = self._desired(seen) if early is None else early.replicas
        if desired != current and self.behavior is not None:
            self._events.append((now, desired - current))
        return desired

    def _desired(self, seen: Observation) -> int:
        current = seen.replicas
        proposals = [self._proposal(metric, seen) for metric in self.metrics]
        asked = combine(
            current_replicas=current,
            proposals=[item and item.replicas for item in proposals],
        )
        if asked is None:
            return current
        # what metrics ask for below zero is zero to the controller
        wanted = max(asked, 0)
        limited = self._stabilized(current, wanted)
        self._recommendations.append((self._now, wanted))
        return limited

    def _stabilized(self, current: int, wanted: int) -> int:
        bounded = {"min": self.min_replicas, "max": self.max_replicas}
        if self.behavior is None:
            window = DOWNSCALE_STABILIZATION_SECONDS
            stable = hpa_behavior.stabilization_no_behavior(
                recommendations=self._remembered(window), desired=wanted
            )
            return hpa_behavior.limit_no_behavior(
                current_replicas=current, desired=stable, **bounded
            ).replicas
        up, down = self.behavior.scale_up, self.behavior.scale_down
        up_window = up.window_s or 0
        down_window = down.window_s
        if down_window is None:
            down_window = DOWNSCALE_STABILIZATION_SECONDS
        stable = hpa_behavior.stabilization_with_behavior(
            recommendations=self._remembered(max(up_window, down_window)),
            current_replicas=current,
            desired=wanted,
            scale_up_window_s=up_window,
            scale_down_window_s=down_window,
        )
        added, removed = self._changes()
        return hpa_behavior.limit_with_behavior(
            current_replicas=current,
            desired=stable,
            scale_up=up,
            scale_down=down,
            scale_up_events=added,
            scale_down_events=removed,
            **bounded,
        ).replicas

    def _proposal(self, metric: Metric, seen: Observation) -> Proposal | None:
        if isinstance(metric, CpuUtilization):
            return resource_cpu_utilization(
                current_replicas=seen.replicas,
                target_utilization_pct=metric.target_pct,
                pods=seen.pods,
                tolerance=self._up,
                scale_down_tolerance=self._down,
            )
        if isinstance(metric, PodsMetric):
            return pods_metric_average_value(
                current_replicas=seen.replicas,
                target_milli=metric.target_milli,
                pods=seen.pod_metrics.get(metric.name, ()),
                tolerance=self._up,
                scale_down_tolerance=self._down,
            )
        value = seen.external.get(metric.name)
        if value is None:
            return None
        if metric.type == "Value":
            return external_value(
                current_replicas=seen.replicas,
                ready_pods=seen.ready_pods,
                metric_sum_milli=value,
                target_milli=metric.target_milli,
                tolerance=self._up,
                scale_down_tolerance=self._down,
            )
        return external_average_value(
            current_replicas=seen.status_replicas,
            metric_sum_milli=value,
            target_milli=metric.target_milli,
            tolerance=self._up,
            scale_down_tolerance=self._down,
        )

    def _remembered(self, window: int) -> list[Recommendation]:
        self._recommendations = [
            item for item in self._recommendations if self._now - item[0] <= window
        ]
        return [
            Recommendation(replicas=replicas, age_s=self._now - then)
            for then, replicas in self._recommendations
        ]

    def _changes(self) -> tuple[list[ScaleEvent], list[ScaleEvent]]:
        longest = LONGEST_PERIOD_SECONDS
        self._events = [item for item in self._events if self._now - item[0] < longest]
        added: list[ScaleEvent] = []
        removed: list[ScaleEvent] = []
        for then, change in self._events:
            event = ScaleEvent(change=abs(change), age_s=self._now - then)
            (added if change > 0 else removed).append(event)
        return added, removed


def _first(own: float | None, default: float) -> float:
    return default if own is None else own
