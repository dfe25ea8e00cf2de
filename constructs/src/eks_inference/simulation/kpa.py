"""Knative's autoscaler (KPA), which scales on requests in flight.

Source: knative/serving@98e5ef90 ``pkg/autoscaler/scaling/autoscaler.go``,
``pkg/autoscaler/aggregation/bucketing.go``, ``pkg/reconciler/autoscaling/kpa`` (kpa.go,
scaler.go, resources/target.go) and ``config/core/configmaps/autoscaler.yaml`` for
defaults. Not modelled: requests per second, a scale-down delay, an initial scale, and
a revision that the activator has served all along, which may reach zero without the
grace period.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.keda_formula.go import INT32_MAX, truncate
from eks_inference.simulation._records import LONGEST_SECONDS, seconds

TICK_SECONDS = 2
"""Time between two decisions. Source: ``tickInterval`` of multiscaler.go."""

CONCURRENCY_DEFAULT = 100
"""Concurrency of a pod without a limit. Source:
``container-concurrency-target-default``."""

TARGET_MINIMUM = 0.01
"""Smallest target. Source: ``TargetMin`` of pkg/apis/autoscaling/register.go."""

_PRECISION = 1_000_000

_FULL_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class KpaSpec:
    """The settings of one revision.

    Args:
        container_concurrency: Requests that a pod takes at once, 0 for no limit.
            Default: 0.
        target_utilization: Share of that which a pod should have. Default: 0.7.
        min_scale: Fewest pods. Default: 0.
        max_scale: Most pods, 0 for no limit. Default: 0.
        activation_scale: Fewest pods while there is traffic. Default: 1.
        stable_window_seconds: Window that decides usually. Default: 60.
        panic_window_percentage: Length of the panic window as a share of the stable
            one, in per cent. Default: 10, which is 6 s.
        panic_threshold_percentage: Pods asked for, in per cent of the ready ones, at
            which the panic window decides. Default: 200.
        max_scale_up_rate: Most pods as a multiple of the ready ones. Default: 1,000.
        max_scale_down_rate: Fewest pods as a fraction of the ready ones. Default: 2.
        scale_to_zero_grace_seconds: Time that the last pod stays after the decision
            for zero. Default: 30.
        pod_retention_seconds: Time that it stays in any case. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    container_concurrency: int = 0
    target_utilization: float = 0.7
    min_scale: int = 0
    max_scale: int = 0
    activation_scale: int = 1
    stable_window_seconds: int = 60
    panic_window_percentage: float = 10.0
    panic_threshold_percentage: float = 200.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    scale_to_zero_grace_seconds: float = 30.0
    pod_retention_seconds: float = 0.0

    def __post_init__(self) -> None:
        with Problems("kpa") as problems:
            for name, low, high in (
                ("container_concurrency", 0, INT32_MAX),
                ("min_scale", 0, INT32_MAX),
                ("max_scale", 0, INT32_MAX),
                ("activation_scale", 1, INT32_MAX),
                ("stable_window_seconds", 6, 3_600),
            ):
                problems.integer(name, getattr(self, name), minimum=low, maximum=high)
            for name, least, most in (
                ("target_utilization", 0.01, 1.0),
                ("panic_window_percentage", 1.0, 100.0),
                ("panic_threshold_percentage", 110.0, 1000.0),
                ("max_scale_up_rate", 1.01, 1e9),
                ("max_scale_down_rate", 1.01, 1e9),
                ("scale_to_zero_grace_seconds", 0.0, 1e9),
                ("pod_retention_seconds", 0.0, 3_600.0),
            ):
                problems.number(name, getattr(self, name), minimum=least, maximum=most)
            if not problems.messages and 0 < self.max_scale < self.min_scale:
                problems.add(
                    f"'max_scale' must be at least 'min_scale' ({self.min_scale}), got "
                    f"{self.max_scale}; raise it or lower 'min_scale'"
                )

    @property
    def target(self) -> float:
        """Requests in flight that one pod should have."""
        total = self.container_concurrency or CONCURRENCY_DEFAULT
        return max(TARGET_MINIMUM, total * self.target_utilization)

    @property
    def panic_window_seconds(self) -> float:
        """Length of the panic window."""
        share = self.panic_window_percentage / _FULL_PERCENT
        return self.stable_window_seconds * share


class Kpa:
    """One revision's autoscaler, and what it remembers.

    It knows no clock and sets nothing: the caller passes the time and what is there.
    A request that finds no pod is counted by the activator, which makes a decision at
    once: call ``tick`` then, and every 2 s.

    Args:
        spec: The settings.
        now: When it starts, in seconds. Default: 0.
        ready: Pods that are ready then; more than one start in panic, so that they
            are kept until there is data. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        kpa = Kpa(KpaSpec(container_concurrency=10), ready=1)
        assert kpa.tick(2, [7, 7], ready=1) == 1
        ```
    """

    def __init__(self, spec: KpaSpec, *, now: float = 0, ready: int = 0) -> None:
        with Problems("kpa") as problems:
            problems.instance("spec", spec, KpaSpec)
            seconds(problems, "now", now)
            problems.integer("ready", ready, minimum=0, maximum=INT32_MAX)
        self.spec = spec
        self._now = now
        self._stable = _Window(spec.stable_window_seconds)
        self._panic = _Window(spec.panic_window_seconds)
        self._panic_time: float | None = now if ready > 1 else None
        self._panic_pods = ready
        self._desired: int | None = None
        self._scale = ready
        # when it last became active or inactive; None while pods are starting
        self._active: bool | None = ready > 0
        self._since = now

    @property
    def panicking(self) -> bool:
        """Whether the panic window decides, and no pod is removed."""
        return self._panic_time is not None

    def tick(self, now: float, concurrency: Sequence[float], *, ready: int) -> int:
        """Return the pods to set now.

        Args:
            now: Time in seconds, not before that of the tick before.
            concurrency: Requests in flight over all pods and the activator, averaged
                over each second since the last tick, the newest last. Empty when
                nothing was measured.
            ready: Pods that are ready.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        with Problems("tick") as problems:
            problems.number("now", now, minimum=self._now, maximum=LONGEST_SECONDS)
            problems.integer("ready", ready, minimum=0, maximum=INT32_MAX)
            if problems.sequence("concurrency", concurrency):
                for index, item in enumerate(concurrency):
                    name = f"concurrency[{index}]"
                    problems.number(name, item, minimum=0, maximum=INT32_MAX)
        self._now = now
        newest = math.floor(now)
        for age, value in enumerate(reversed(concurrency)):
            self._stable.record(newest - age, value)
            self._panic.record(newest - age, value)
        if not self._stable.is_empty(newest):
            self._desired = self._decide(now, ready)
        if self._desired is not None:
            self._apply(now, self._bounded(self._desired), ready)
        return self._scale

    def _decide(self, now: float, ready: int) -> int:
        spec = self.spec
        pods = max(1, ready)
        highest = math.ceil(spec.max_scale_up_rate * pods)
        lowest = math.floor(pods / spec.max_scale_down_rate)
        second = math.floor(now)
        stable_raw = math.ceil(self._stable.average(second) / spec.target)
        panic_raw = math.ceil(self._panic.average(second) / spec.target)
        stable = truncate(min(max(stable_raw, lowest), highest), largest=INT32_MAX)
        panic = truncate(min(max(panic_raw, lowest), highest), largest=INT32_MAX)
        if spec.activation_scale > 1:
            if stable_raw > 0:
                stable = max(stable, spec.activation_scale)
            if panic_raw > 0:
                panic = max(panic, spec.activation_scale)
        over = panic_raw / pods >= spec.panic_threshold_percentage / _FULL_PERCENT
        if over:
            self._panic_time = now
        elif (
            self._panic_time is not None
            and self._panic_time + spec.stable_window_seconds < now
        ):
            self._panic_time = None
            self._panic_pods = 0
        if self._panic_time is None:
            return stable
        self._panic_pods = max(self._panic_pods, stable, panic)
        return self._panic_pods

    def _bounded(self, desired: int) -> int:
        bounded = max(desired, self.spec.min_scale)
        return min(bounded, self.spec.max_scale) if self.spec.max_scale else bounded

    def _apply(self, now: float, desired: int, ready: int) -> None:
        if desired == 0:
            desired = self._towards_zero(now)
        else:
            self._scale = desired
        if desired == 0:
            active: bool | None = False
        else:
            active = True if ready >= max(1, self.spec.min_scale) else None
        if active is not self._active:
            self._active = active
            self._since = now

    def _towards_zero(self, now: float) -> int:
        """Return what is wanted; the last pod goes only after the grace period."""
        spec = self.spec
        if self._active is None:
            return self._scale
        for_seconds = now - self._since
        if self._active:
            if for_seconds >= spec.stable_window_seconds:
                return 0
            self._scale = 1
            return 1
        grace = max(spec.scale_to_zero_grace_seconds, spec.pod_retention_seconds)
        if for_seconds >= grace:
            self._scale = 0
        return 0


class _Window:
    """Values of each second, and their average over a window."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._buckets = math.ceil(length)
        self._values: dict[int, float] = {}
        self._first = 0
        self._last: int | None = None

    def record(self, second: int, value: float) -> None:
        if self._last is None or second - self._last >= self._length:
            self._values = {}
            self._first = self._last = second
        elif second + self._length <= self._last:
            return
        self._first = min(self._first, second)
        self._last = max(self._last, second)
        self._values[second] = self._values.get(second, 0.0) + value
        oldest = self._last - self._buckets
        self._values = {at: v for at, v in self._values.items() if at > oldest}

    def is_empty(self, now: int) -> bool:
        return self._last is None or now - self._last > self._length

    def average(self, now: int) -> float:
        """Return the average of what was written, gaps counting as nothing."""
        if self._last is None or now - self._last >= self._length:
            return 0.0
        gap = max(0, now - self._last)
        oldest = self._last + gap - self._buckets
        total = sum(value for at, value in self._values.items() if at > oldest)
        written = min(self._last - self._first + 1, self._buckets - gap)
        return math.floor(total / written * _PRECISION) / _PRECISION
