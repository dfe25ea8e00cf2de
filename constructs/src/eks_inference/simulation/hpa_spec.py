"""The spec of a HorizontalPodAutoscaler: metrics, bounds and behavior as values.

Sources: kubernetes/kubernetes ``pkg/apis/autoscaling/v2/defaults.go`` for defaults and
``pkg/apis/autoscaling/validation`` for the bounds of fields, 1.34. Windows and periods
are in seconds, as the suffix ``_s`` says; targets are milli-values: 25 is 25,000.
"""

from dataclasses import dataclass, field

from eks_inference._check import Problems
from eks_inference.keda_formula.go import INT32_MAX, INT64_MAX
from eks_inference.simulation._records import records

DOWNSCALE_STABILIZATION_SECONDS = 300
"""Window of the way down when an HPA has none of its own. Source: kubernetes/kubernetes
``pkg/controller/podautoscaler/config/v1alpha1/defaults.go``."""

_SELECTS = ("Max", "Min", "Disabled")

LONGEST_PERIOD_SECONDS = 1_800
"""Longest period of a policy. Source: ``MaxPeriodSeconds`` of the validation."""

LONGEST_WINDOW_SECONDS = 3_600
"""Longest window. Source: ``MaxStabilizationWindowSeconds`` of the validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How much may change in a period.

    Args:
        type: ``Pods`` or ``Percent`` of the replicas at the start of the period.
        value: Number of pods or per cent, at least 1.
        period_s: Length of the period in seconds, 1 to 1,800.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    type: str
    value: int
    period_s: int

    def __post_init__(self) -> None:
        with Problems("policy") as problems:
            if problems.text("type", self.type):
                problems.one_of("type", self.type, ("Pods", "Percent"))
            problems.integer("value", self.value, minimum=1, maximum=INT32_MAX)
            problems.integer(
                "period_s", self.period_s, minimum=1, maximum=LONGEST_PERIOD_SECONDS
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingRules:
    """The rules of one direction.

    Args:
        policies: Limits, as ``Policy`` or mappings of its fields. Default: the ones
            of the direction, see ``Behavior``.
        select: Which policy counts: the one that allows the most (``Max``) or the
            least (``Min``), or ``Disabled`` for no change at all. Default: ``Max``.
        window_s: Stabilisation window in seconds, 0 to 3,600. Default: 0 on the way
            up, 300 on the way down.
        tolerance: Share by which a metric may miss its target without a change, in
            this direction (1.33 and later). Default: that of the cluster, 0.1.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    policies: tuple[Policy, ...] | None = None
    select: str = "Max"
    window_s: int | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        with Problems("rules") as problems:
            if self.policies is not None:
                known = records(problems, "policies", self.policies, Policy)
                object.__setattr__(self, "policies", known)
                if not known and not problems.messages:
                    problems.add("'policies' must not be empty; leave them out instead")
            if problems.text("select", self.select):
                problems.one_of("select", self.select, _SELECTS)
            if self.window_s is not None:
                problems.integer(
                    "window_s", self.window_s, minimum=0, maximum=LONGEST_WINDOW_SECONDS
                )
            if self.tolerance is not None:
                problems.number(
                    "tolerance", self.tolerance, minimum=0, maximum=INT32_MAX
                )


SCALE_UP_POLICIES = (
    Policy(type="Pods", value=4, period_s=15),
    Policy(type="Percent", value=100, period_s=15),
)
"""Policies of the way up when a behavior has none. Source: ``scaleUpRules``."""

SCALE_DOWN_POLICIES = (Policy(type="Percent", value=100, period_s=15),)
"""Policies of the way down when a behavior has none. Source: ``scaleDownRules``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """The ``behavior`` of an HPA. Each field that is left out has its own default.

    No ``behavior`` at all is something else: the limits are then those of
    ``limit_no_behavior``.

    Args:
        scale_up: Rules of the way up. Default: 4 pods or 100 % in 15 s, whichever is
            more, and no window.
        scale_down: Rules of the way down. Default: 100 % in 15 s, and a window of
            300 s.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    scale_up: ScalingRules = field(default_factory=ScalingRules)
    scale_down: ScalingRules = field(default_factory=ScalingRules)

    def __post_init__(self) -> None:
        with Problems("behavior") as problems:
            problems.instance("scale_up", self.scale_up, ScalingRules)
            problems.instance("scale_down", self.scale_down, ScalingRules)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalMetric:
    """A metric from outside the pods, which is what KEDA makes of every trigger.

    An Object metric is computed alike, except that its sum may be below zero.

    Args:
        name: Name of the metric.
        target_milli: Target, at least 1.
        type: ``AverageValue``, the value of one replica, or ``Value``, that of all.
            Default: ``AverageValue``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    name: str
    target_milli: int
    type: str = "AverageValue"

    def __post_init__(self) -> None:
        with Problems("external metric") as problems:
            problems.text("name", self.name)
            _target(problems, "target_milli", self.target_milli, INT64_MAX)
            if problems.text("type", self.type):
                problems.one_of("type", self.type, ("AverageValue", "Value"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUtilization:
    """The CPU usage of the pods as a share of their requests.

    Args:
        target_pct: Per cent of the request that pods should use, at least 1.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    target_pct: int

    def __post_init__(self) -> None:
        with Problems("CPU utilization") as problems:
            _target(problems, "target_pct", self.target_pct, INT32_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsMetric:
    """A metric of each pod.

    Args:
        name: Name of the metric.
        target_milli: Value that one pod should have, at least 1.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    name: str
    target_milli: int

    def __post_init__(self) -> None:
        with Problems("pods metric") as problems:
            problems.text("name", self.name)
            _target(problems, "target_milli", self.target_milli, INT64_MAX)


def bounds(
    problems: Problems, low_name: str, low: object, high_name: str, high: object
) -> None:
    """Require a lowest and a highest replica count that leave a range."""
    low_known = problems.integer(low_name, low, minimum=0, maximum=INT32_MAX)
    high_known = problems.integer(high_name, high, minimum=1, maximum=INT32_MAX)
    if low_known and high_known and int(str(high)) < int(str(low)):
        problems.add(
            f"'{high_name}' must be at least '{low_name}' ({low}), got {high}; "
            f"raise it or lower '{low_name}'"
        )


def _target(problems: Problems, name: str, value: object, largest: int) -> None:
    problems.integer(name, value, minimum=1, maximum=largest)
