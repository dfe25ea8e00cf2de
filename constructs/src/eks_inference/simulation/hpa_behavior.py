"""How fast and how soon: windows and rate limits of the HorizontalPodAutoscaler.

Source: kubernetes/kubernetes ``pkg/controller/podautoscaler/horizontal.go`` of 1.28 and
of 1.34 or later. Ages and windows are in seconds, as the suffix ``_s`` says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eks_inference._check import Problems
from eks_inference.keda_formula.go import INT32_MAX, ceil_int32, truncate
from eks_inference.simulation._records import record, records, seconds
from eks_inference.simulation.hpa_spec import (
    DOWNSCALE_STABILIZATION_SECONDS,
    SCALE_DOWN_POLICIES,
    SCALE_UP_POLICIES,
    Policy,
    ScalingRules,
    bounds,
)

SCALE_UP_FACTOR = 2
"""Growth allowed in one sync without a behavior. Source: ``scaleUpLimitFactor``."""

SCALE_UP_MINIMUM = 4
"""Replicas allowed in any case without a behavior. Source: ``scaleUpLimitMinimum``."""

_FULL_PERCENT = 100


class Limited(NamedTuple):
    """Replicas after a limit, and what limited them.

    Args:
        replicas: Replicas that are allowed.
        condition: Reason that Kubernetes shows: ``DesiredWithinRange``,
            ``ScaleUpLimit``, ``ScaleDownLimit``, ``TooManyReplicas``,
            ``TooFewReplicas`` or ``ScalingDisabled``.
    """

    replicas: int
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleEvent:
    """A change of the replicas that the autoscaler has made.

    Args:
        change: Replicas that were added or removed, not negative.
        age_s: How long ago, in seconds.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    change: int
    age_s: float

    def __post_init__(self) -> None:
        with Problems("event") as problems:
            problems.integer("change", self.change, minimum=0, maximum=INT32_MAX)
            seconds(problems, "age_s", self.age_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What the metrics asked for in an earlier sync.

    Args:
        replicas: Replicas, before windows and limits.
        age_s: How long ago, in seconds.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    replicas: int
    age_s: float

    def __post_init__(self) -> None:
        with Problems("recommendation") as problems:
            _count(problems, "replicas", self.replicas)
            seconds(problems, "age_s", self.age_s)


def replica_change_in_period(
    *, period_s: int, events: Sequence[ScaleEvent | Mapping[str, object]]
) -> int:
    """Return the replicas that events younger than a period have changed.

    Args:
        period_s: Length of the period in seconds. An event of just that age is out.
        events: The events, as ``ScaleEvent`` or mappings of its fields.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("replica_change_in_period") as problems:
        seconds(problems, "period_s", period_s)
        known = records(problems, "events", events, ScaleEvent)
    return _changed(known, period_s)


def stabilization_with_behavior(
    *,
    recommendations: Sequence[Recommendation | Mapping[str, object]],
    current_replicas: int,
    desired: int,
    scale_up_window_s: int,
    scale_down_window_s: int,
) -> int:
    """Return the replicas that earlier recommendations leave, with a behavior.

    On the way up the lowest recommendation of the window counts, on the way down the
    highest; in between nothing changes.

    Args:
        recommendations: Those of earlier syncs. One as old as a window is out of it.
        current_replicas: ``spec.replicas`` of the scale.
        desired: What the metrics ask for now.
        scale_up_window_s: Window of the way up, in seconds.
        scale_down_window_s: Window of the way down, in seconds.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("stabilization_with_behavior") as problems:
        known = records(problems, "recommendations", recommendations, Recommendation)
        _count(problems, "current_replicas", current_replicas)
        _count(problems, "desired", desired)
        seconds(problems, "scale_up_window_s", scale_up_window_s)
        seconds(problems, "scale_down_window_s", scale_down_window_s)
    up = min(
        [desired, *(r.replicas for r in known if r.age_s < scale_up_window_s)],
    )
    down = max(
        [desired, *(r.replicas for r in known if r.age_s < scale_down_window_s)],
    )
    return min(max(current_replicas, up), down)


def stabilization_no_behavior(
    *,
    recommendations: Sequence[Recommendation | Mapping[str, object]],
    desired: int,
    window_s: int = DOWNSCALE_STABILIZATION_SECONDS,
) -> int:
    """Return the most that was recommended in the window, without a behavior.

    Args:
        recommendations: Those of earlier syncs. One as old as the window is in it.
        desired: What the metrics ask for now.
        window_s: Length of the window in seconds. Default: 300.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("stabilization_no_behavior") as problems:
        known = records(problems, "recommendations", recommendations, Recommendation)
        _count(problems, "desired", desired)
        seconds(problems, "window_s", window_s)
    return max([desired, *(r.replicas for r in known if r.age_s <= window_s)])


def limit_no_behavior(
    *, current_replicas: int, desired: int, min: int, max: int
) -> Limited:
    """Return what an HPA without a behavior allows in one sync.

    At most twice the replicas or four, whichever is more; downwards all at once.

    Args:
        current_replicas: ``spec.replicas`` of the scale.
        desired: Replicas after the window.
        min: ``minReplicas``.
        max: ``maxReplicas``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("limit_no_behavior") as problems:
        _bounds(problems, current_replicas, desired, min, max)
    return _no_behavior(current_replicas, desired, min, max)


def limit_with_behavior(
    *,
    current_replicas: int,
    desired: int,
    min: int,
    max: int,
    scale_up: ScalingRules | Mapping[str, object],
    scale_down: ScalingRules | Mapping[str, object],
    scale_up_events: Sequence[ScaleEvent | Mapping[str, object]] = (),
    scale_down_events: Sequence[ScaleEvent | Mapping[str, object]] = (),
) -> Limited:
    """Return what the policies of a behavior allow in one sync.

    Args:
        current_replicas: ``spec.replicas`` of the scale.
        desired: Replicas after the windows.
        min: ``minReplicas``.
        max: ``maxReplicas``.
        scale_up: Rules of the way up, as ``ScalingRules`` or a mapping of its fields.
        scale_down: Rules of the way down.
        scale_up_events: Replicas added before. Default: none.
        scale_down_events: Replicas removed before. Default: none.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("limit_with_behavior") as problems:
        _bounds(problems, current_replicas, desired, min, max)
        up = record(problems, "scale_up", scale_up, ScalingRules)
        down = record(problems, "scale_down", scale_down, ScalingRules)
        added = records(problems, "scale_up_events", scale_up_events, ScaleEvent)
        removed = records(problems, "scale_down_events", scale_down_events, ScaleEvent)
    assert up is not None
    assert down is not None
    if desired > current_replicas:
        limit = _up_limit(up, current_replicas, added, removed)
        return _grown(current_replicas, desired, limit, max)
    if desired < current_replicas:
        limit = _down_limit(down, current_replicas, added, removed)
        return _shrunk(current_replicas, desired, limit, min)
    return Limited(desired, "DesiredWithinRange")


def scale_up_limit(
    *,
    current_replicas: int,
    policies: Sequence[Policy | Mapping[str, object]] | None = None,
    select: str = "Max",
    scale_up_events: Sequence[ScaleEvent | Mapping[str, object]] = (),
    scale_down_events: Sequence[ScaleEvent | Mapping[str, object]] = (),
) -> int:
    """Return the most replicas that policies allow, whatever is asked for.

    Events may have used up more than a smaller policy allows: the result is then below
    the current replicas, which ``limit_with_behavior`` keeps.

    Args:
        current_replicas: ``spec.replicas`` of the scale.
        policies: The policies. Default: 4 pods or 100 % in 15 s.
        select: ``Max``, ``Min`` or ``Disabled``. Default: ``Max``.
        scale_up_events: Replicas added before. Default: none.
        scale_down_events: Replicas removed before. Default: none.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    rules, added, removed = _limit_input(
        current_replicas, policies, select, scale_up_events, scale_down_events
    )
    return _up_limit(rules, current_replicas, added, removed)


def scale_down_limit(
    *,
    current_replicas: int,
    policies: Sequence[Policy | Mapping[str, object]] | None = None,
    select: str = "Max",
    scale_up_events: Sequence[ScaleEvent | Mapping[str, object]] = (),
    scale_down_events: Sequence[ScaleEvent | Mapping[str, object]] = (),
) -> int:
    """Return the fewest replicas that policies allow, whatever is asked for.

    Args:
        current_replicas: ``spec.replicas`` of the scale.
        policies: The policies. Default: 100 % in 15 s.
        select: ``Max``, ``Min`` or ``Disabled``. Default: ``Max``.
        scale_up_events: Replicas added before. Default: none.
        scale_down_events: Replicas removed before. Default: none.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    rules, added, removed = _limit_input(
        current_replicas, policies, select, scale_up_events, scale_down_events
    )
    return _down_limit(rules, current_replicas, added, removed)


def _no_behavior(current: int, desired: int, low: int, high: int) -> Limited:
    if desired < low:
        return Limited(low, "TooFewReplicas")
    limit = max(current * SCALE_UP_FACTOR, SCALE_UP_MINIMUM)
    return _grown(current, desired, min(limit, INT32_MAX), high)


def _grown(current: int, desired: int, limit: int, high: int) -> Limited:
    # a limit that events have used up stops growth, it does not take replicas away
    allowed = max(limit, current)
    if desired <= min(high, allowed):
        return Limited(desired, "DesiredWithinRange")
    if high > allowed:
        return Limited(allowed, "ScaleUpLimit")
    return Limited(high, "TooManyReplicas")


def _shrunk(current: int, desired: int, limit: int, low: int) -> Limited:
    allowed = min(limit, current)
    if desired >= max(low, allowed):
        return Limited(desired, "DesiredWithinRange")
    if low < allowed:
        return Limited(allowed, "ScaleDownLimit")
    return Limited(low, "TooFewReplicas")


def _limit_input(
    current_replicas: object,
    policies: object,
    select: object,
    scale_up_events: object,
    scale_down_events: object,
) -> tuple[ScalingRules, tuple[ScaleEvent, ...], tuple[ScaleEvent, ...]]:
    with Problems("limit") as problems:
        _count(problems, "current_replicas", current_replicas)
        given = {"policies": policies, "select": select}
        rules = record(problems, "rules", given, ScalingRules)
        added = records(problems, "scale_up_events", scale_up_events, ScaleEvent)
        removed = records(problems, "scale_down_events", scale_down_events, ScaleEvent)
    assert rules is not None
    return rules, added, removed


def _up_limit(
    rules: ScalingRules,
    current: int,
    added: Sequence[ScaleEvent],
    removed: Sequence[ScaleEvent],
) -> int:
    if rules.select == "Disabled":
        return current
    choose: Callable[[list[int]], int] = max if rules.select == "Max" else min
    limits = []
    for policy in rules.policies or SCALE_UP_POLICIES:
        start = _start(policy, current, added, removed)
        if policy.type == "Pods":
            limits.append(truncate(start + policy.value, largest=INT32_MAX))
        else:
            limits.append(ceil_int32(start * (1 + policy.value / _FULL_PERCENT)))
    return choose(limits)


def _down_limit(
    rules: ScalingRules,
    current: int,
    added: Sequence[ScaleEvent],
    removed: Sequence[ScaleEvent],
) -> int:
    if rules.select == "Disabled":
        return current
    choose: Callable[[list[int]], int] = min if rules.select == "Max" else max
    limits = []
    for policy in rules.policies or SCALE_DOWN_POLICIES:
        start = _start(policy, current, added, removed)
        if policy.type == "Pods":
            limits.append(truncate(start - policy.value, largest=INT32_MAX))
        else:
            share = 1 - policy.value / _FULL_PERCENT
            limits.append(truncate(start * share, largest=INT32_MAX))
    return choose(limits)


def _start(
    policy: Policy,
    current: int,
    added: Sequence[ScaleEvent],
    removed: Sequence[ScaleEvent],
) -> int:
    return (
        current - _changed(added, policy.period_s) + _changed(removed, policy.period_s)
    )


def _changed(events: Sequence[ScaleEvent], period: float) -> int:
    return sum(event.change for event in events if event.age_s < period)


def _bounds(
    problems: Problems, current: object, desired: object, low: object, high: object
) -> None:
    _count(problems, "current_replicas", current)
    _count(problems, "desired", desired)
    bounds(problems, "min", low, "max", high)


def _count(problems: Problems, name: str, value: object) -> None:
    problems.integer(name, value, minimum=0, maximum=INT32_MAX)
