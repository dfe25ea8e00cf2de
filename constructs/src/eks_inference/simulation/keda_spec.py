"""A KEDA ScaledObject as values.

Source: kedacore/keda 2.20, ``apis/keda/v1alpha1/scaledobject_types.go`` for fields and
defaults, ``controllers/keda/hpa.go`` for the HPA that is made of them. Names are those
of the fields.
"""

from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.keda_formula.formula import Formula
from eks_inference.keda_formula.go import INT32_MAX, INT64_MAX, truncate
from eks_inference.simulation._records import LONGEST_SECONDS, records
from eks_inference.simulation.hpa_controller import HorizontalPodAutoscaler
from eks_inference.simulation.hpa_spec import Behavior, ExternalMetric

COMPOSITE_METRIC = "composite-metric"
"""Name of the one metric that a formula makes. Source: ``CompositeMetricName``."""

POLLING_INTERVAL_SECONDS = 30
"""Time between two polls. Source: ``defaultPollingInterval``."""

COOLDOWN_PERIOD_SECONDS = 300
"""Quiet time before the step to zero. Source: ``defaultCooldownPeriod``."""

MAX_REPLICA_COUNT = 100
"""Most replicas when none is given. Source: ``defaultHPAMaxReplicas``."""

_METRIC_TYPES = ("AverageValue", "Value")

_BEHAVIORS = (
    "static",
    "currentReplicas",
    "currentReplicasIfHigher",
    "currentReplicasIfLower",
    "scalingModifiers",
)

_LARGEST_VALUE = INT64_MAX / 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One source of a value.

    Args:
        name: Name of the trigger; a formula uses it.
        threshold: Value that one replica should have (``AverageValue``), or all of
            them (``Value``). With a formula it has no effect.
        activation_threshold: The trigger is active above this value. With a formula it
            has no effect. Default: 0.
        metric_type: ``AverageValue`` or ``Value``. Default: ``AverageValue``.
        use_cached_metrics: Whether the autoscaler gets the value of the last poll
            instead of a new one. Default: False.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    name: str
    threshold: float
    activation_threshold: float = 0.0
    metric_type: str = "AverageValue"
    use_cached_metrics: bool = False

    def __post_init__(self) -> None:
        with Problems(f"trigger {self.name!r}") as problems:
            problems.text("name", self.name)
            _target(problems, "threshold", self.threshold)
            finite(problems, "activation_threshold", self.activation_threshold)
            _one_of(problems, "metric_type", self.metric_type, _METRIC_TYPES)
            problems.flag("use_cached_metrics", self.use_cached_metrics)

    @property
    def threshold_milli(self) -> int:
        """The threshold as the autoscaler gets it."""
        return to_milli(self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingModifiers:
    """A formula that makes one metric of all triggers.

    Args:
        formula: The formula, see ``formula.Formula``.
        target: Value of the formula that one replica should have (``AverageValue``),
            or all of them (``Value``). A fallback needs a whole number here.
        activation_target: The workload is active above this value of the formula.
            Default: 0.
        metric_type: ``AverageValue`` or ``Value``. Default: ``AverageValue``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    formula: str
    target: float
    activation_target: float = 0.0
    metric_type: str = "AverageValue"

    def __post_init__(self) -> None:
        with Problems("scaling modifiers") as problems:
            problems.text("formula", self.formula)
            _target(problems, "target", self.target)
            finite(problems, "activation_target", self.activation_target)
            _one_of(problems, "metric_type", self.metric_type, _METRIC_TYPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What the autoscaler gets to see while a trigger cannot be read.

    Args:
        failure_threshold: Failures in a row that are still reported as errors.
        replicas: Replicas to fall back to.
        behavior: ``static``: ``replicas``. ``currentReplicas``: those there are now.
            ``currentReplicasIfHigher`` and ``currentReplicasIfLower``: those, if they
            are more or fewer than ``replicas``. ``scalingModifiers``: the trigger is
            ``nil`` in the formula. Default: ``static``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    failure_threshold: int
    replicas: int
    behavior: str = "static"

    def __post_init__(self) -> None:
        with Problems("fallback") as problems:
            count(problems, "failure_threshold", self.failure_threshold)
            count(problems, "replicas", self.replicas)
            _one_of(problems, "behavior", self.behavior, _BEHAVIORS)

    def replicas_of(self, current: int) -> int:
        """Return the replicas to fall back to."""
        if self.behavior == "currentReplicas":
            return current
        if self.behavior == "currentReplicasIfHigher":
            return max(current, self.replicas)
        if self.behavior == "currentReplicasIfLower":
            return min(current, self.replicas)
        return self.replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledObject:
    """How a workload is scaled.

    Args:
        triggers: Where values come from, each with its own name.
        min_replica_count: Fewest replicas; only with zero does the workload sleep.
            Default: 0.
        max_replica_count: Most replicas. Default: 100.
        idle_replica_count: Replicas while inactive, below ``min_replica_count``; KEDA
            only supports 0. Default: none.
        polling_interval_seconds: Time between two polls. Default: 30.
        cooldown_period_seconds: Time that must have passed since the last active poll
            before the step to zero. Default: 300.
        initial_cooldown_period_seconds: Time that must have passed since the creation
            before the step to zero, as long as nothing was active yet. Default: 0.
        scaling_modifiers: Formula over all triggers. Default: none.
        fallback: What to do when a trigger cannot be read. Default: nothing, which
            leaves the replicas as they are.
        behavior: Windows and rate limits of the HPA. Default: none.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    triggers: tuple[Trigger, ...]
    min_replica_count: int = 0
    max_replica_count: int = MAX_REPLICA_COUNT
    idle_replica_count: int | None = None
    polling_interval_seconds: int = POLLING_INTERVAL_SECONDS
    cooldown_period_seconds: int = COOLDOWN_PERIOD_SECONDS
    initial_cooldown_period_seconds: int = 0
    scaling_modifiers: ScalingModifiers | None = None
    fallback: Fallback | None = None
    behavior: Behavior | None = None

    def __post_init__(self) -> None:
        with Problems("scaled object") as problems:
            known = records(problems, "triggers", self.triggers, Trigger)
            problems.not_empty("triggers", self.triggers, repair="pass at least one")
            names = [trigger.name for trigger in known]
            problems.unique("triggers", names, repair="give each its own name")
            object.__setattr__(self, "triggers", known)
            problems.include(_replica_problems(self))
            problems.integer(
                "polling_interval_seconds",
                self.polling_interval_seconds,
                minimum=1,
                maximum=LONGEST_SECONDS,
            )
            for name in ("cooldown_period", "initial_cooldown_period"):
                count(problems, f"{name}_seconds", getattr(self, f"{name}_seconds"))
            modifiers, fallback = self.scaling_modifiers, self.fallback
            if modifiers is not None and problems.instance(
                "scaling_modifiers", modifiers, ScalingModifiers
            ):
                problems.attempt(lambda: Formula(modifiers.formula, triggers=names))
            if fallback is not None and problems.instance(
                "fallback", fallback, Fallback
            ):
                problems.include(_fallback_problems(fallback, modifiers))
            if self.behavior is not None:
                problems.instance("behavior", self.behavior, Behavior)

    @property
    def hpa_metrics(self) -> tuple[ExternalMetric, ...]:
        """The metrics of the HPA: one for each trigger, or the one of the formula."""
        modifiers = self.scaling_modifiers
        if modifiers is not None:
            return (
                ExternalMetric(
                    name=COMPOSITE_METRIC,
                    target_milli=to_milli(modifiers.target),
                    type=modifiers.metric_type,
                ),
            )
        return tuple(
            ExternalMetric(
                name=trigger.name,
                target_milli=trigger.threshold_milli,
                type=trigger.metric_type,
            )
            for trigger in self.triggers
        )

    def autoscaler(self) -> HorizontalPodAutoscaler:
        """Return the HPA that KEDA makes: with at least one replica."""
        return HorizontalPodAutoscaler(
            min_replicas=max(1, self.min_replica_count),
            max_replicas=self.max_replica_count,
            metrics=self.hpa_metrics,
            behavior=self.behavior,
        )


def _replica_problems(scaled: ScaledObject) -> list[str]:
    problems = Problems()
    low, high, idle = (
        scaled.min_replica_count,
        scaled.max_replica_count,
        scaled.idle_replica_count,
    )
    known = count(problems, "min_replica_count", low)
    known &= problems.integer("max_replica_count", high, minimum=1, maximum=INT32_MAX)
    if known and high < low:
        problems.add(
            f"'max_replica_count' must be at least 'min_replica_count' ({low}), got "
            f"{high}; raise it or lower 'min_replica_count'"
        )
    if idle is not None and count(problems, "idle_replica_count", idle):
        if idle:
            problems.broken("'idle_replica_count' must be 0", idle, "or left out")
        elif known and not low:
            problems.add(
                "'idle_replica_count' must be below 'min_replica_count', got 0 for "
                "both; leave it out"
            )
    return problems.messages


def _fallback_problems(fallback: Fallback, modifiers: object) -> list[str]:
    problems = Problems()
    if fallback.behavior == "scalingModifiers" and modifiers is None:
        problems.add(
            "'fallback.behavior' must not be 'scalingModifiers' without a formula, got "
            "no 'scaling_modifiers'; pass them, or choose another behavior"
        )
    if isinstance(modifiers, ScalingModifiers) and not isinstance(
        modifiers.target, int
    ):
        problems.broken(
            "'scaling_modifiers.target' must be a whole number with a fallback, which "
            "KEDA ignores otherwise",
            modifiers.target,
        )
    return problems.messages


def to_milli(value: float) -> int:
    """Return a milli-value as KEDA makes it: the rest is cut off, not rounded."""
    return truncate(value * 1000, largest=INT64_MAX)


def count(problems: Problems, name: str, value: object) -> bool:
    """Require a whole number that is not negative; say whether it is one."""
    return problems.integer(name, value, minimum=0, maximum=INT32_MAX)


def finite(problems: Problems, name: str, value: object) -> bool:
    """Require a number that a milli-value can hold; say whether it is one."""
    return problems.number(name, value, minimum=-_LARGEST_VALUE, maximum=_LARGEST_VALUE)


def _target(problems: Problems, name: str, value: object) -> None:
    problems.number(name, value, minimum=0.001, maximum=_LARGEST_VALUE)


def _one_of(
    problems: Problems, name: str, value: object, allowed: tuple[str, ...]
) -> None:
    if problems.text(name, value):
        problems.one_of(name, value, allowed)
