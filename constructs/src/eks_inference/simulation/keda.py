"""KEDA: when a workload wakes and sleeps, and what the autoscaler gets to see.

Between one replica and the most, the HorizontalPodAutoscaler decides; KEDA only
answers its questions (``Keda.metric``). Between none and the first, KEDA decides each
time it polls (``Keda.poll``).

Sources: kedacore/keda 2.20 and main of 2026-08, ``pkg/scaling/scale_handler.go``,
``pkg/scaling/executor/scale_scaledobjects.go``, ``pkg/scaling/modifiers/formula.go``,
``pkg/fallback/fallback.go``, ``controllers/keda/hpa.go``. Not modelled: CPU and memory
triggers, which KEDA hands to the HPA, pausing by annotation, and triggers that push.
"""

from collections.abc import Mapping
from typing import NamedTuple

from eks_inference._check import ConfigurationError, Problems
from eks_inference.keda_formula.formula import Formula
from eks_inference.keda_formula.go import INT64_MAX, truncate
from eks_inference.simulation._records import seconds
from eks_inference.simulation.keda_spec import (
    COMPOSITE_METRIC,
    ScaledObject,
    Trigger,
    count,
    finite,
    to_milli,
)


class Keda:
    """One ScaledObject at work: what KEDA remembers of it.

    It knows no clock and sets nothing: the caller passes the time and what is there.

    Args:
        scaled_object: How the workload is scaled.
        created_at: When it was created, in seconds. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        queue = Trigger(name="queue", threshold=5)
        keda = Keda(ScaledObject(triggers=(queue,)))
        assert keda.poll(30, {"queue": 1}, replicas=0) == 1
        ```
    """

    def __init__(self, scaled_object: ScaledObject, *, created_at: float = 0) -> None:
        with Problems("keda") as problems:
            problems.instance("scaled_object", scaled_object, ScaledObject)
            seconds(problems, "created_at", created_at)
        self._object = scaled_object
        self._created_at = created_at
        self._last_active: float | None = None
        self._cache: dict[str, float | None] = {}
        self._failures: dict[str, int] = {}
        modifiers = scaled_object.scaling_modifiers
        names = [trigger.name for trigger in scaled_object.triggers]
        self._formula: Formula | None = None
        if modifiers is not None:
            self._formula = Formula(modifiers.formula, triggers=names)

    def poll(
        self, now: float, values: Mapping[str, float | None], *, replicas: int
    ) -> int:
        """Return the replicas to set now: other than before only to wake or to sleep.

        Args:
            now: Time in seconds.
            values: Value of each trigger, or None for one that could not be read.
            replicas: ``spec.replicas`` of the workload.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        with Problems("poll") as problems:
            seconds(problems, "now", now)
            count(problems, "replicas", replicas)
            self._check(problems, values)
        for trigger in self._object.triggers:
            if trigger.use_cached_metrics:
                self._cache[trigger.name] = values[trigger.name]
        failed = any(values[item.name] is None for item in self._object.triggers)
        if self._active(values, failed=failed):
            return self._awake(now, replicas, failed=failed)
        return self._asleep(now, replicas, failed=failed)

    def metric(
        self,
        values: Mapping[str, float | None],
        *,
        replicas: int,
        ready_pods: int,
    ) -> dict[str, int | None]:
        """Return what the autoscaler gets to see: milli-values, or None for an error.

        Each call counts the failures of triggers, as each question of the autoscaler
        does. Time plays no part.

        Args:
            values: Value of each trigger, or None for one that could not be read.
            replicas: ``spec.replicas`` of the workload, which a fallback may keep.
            ready_pods: Pods that are ready; a fallback for a ``Value`` target divides
                by them, and fails without any.

        Returns:
            The value of each of the ScaledObject's ``hpa_metrics``.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        with Problems("metric") as problems:
            count(problems, "replicas", replicas)
            count(problems, "ready_pods", ready_pods)
            self._check(problems, values)
        results = {
            trigger.name: self._read(trigger, values, replicas, ready_pods)
            for trigger in self._object.triggers
        }
        if self._formula is None:
            return {name: result.milli for name, result in results.items()}
        return {COMPOSITE_METRIC: self._composite(list(results.items()))}

    def _awake(self, now: float, replicas: int, *, failed: bool) -> int:
        low = self._object.min_replica_count
        idle = self._object.idle_replica_count
        if replicas == 0 or (idle is not None and replicas < low):
            self._last_active = now
            return max(1, low)
        # one trigger that fails keeps the cooldown from starting anew
        if not failed:
            self._last_active = now
        return replicas

    def _asleep(self, now: float, replicas: int, *, failed: bool) -> int:
        low = self._object.min_replica_count
        idle = self._object.idle_replica_count
        fallback = self._object.fallback
        if failed and (fallback is None or fallback.replicas):
            return replicas
        if (idle is not None and replicas > idle) or (replicas > 0 and low == 0):
            since, period = self._last_active, self._object.cooldown_period_seconds
            if since is None:
                since = self._created_at
                period = self._object.initial_cooldown_period_seconds
            if since + period < now:
                return low if idle is None else idle
            return replicas
        if idle is None and replicas < low:
            return low
        return replicas

    def _active(self, values: Mapping[str, float | None], *, failed: bool) -> bool:
        modifiers = self._object.scaling_modifiers
        if self._formula is None or modifiers is None:
            return any(
                (value := values[trigger.name]) is not None
                and value > trigger.activation_threshold
                for trigger in self._object.triggers
            )
        if failed:
            return False
        milli = {name: to_milli(value or 0) for name, value in values.items()}
        composite = self._evaluate(milli)
        return composite is not None and _plain(composite) > modifiers.activation_target

    def _read(
        self,
        trigger: Trigger,
        values: Mapping[str, float | None],
        replicas: int,
        ready_pods: int,
    ) -> "_Reading":
        value = values[trigger.name]
        if trigger.use_cached_metrics:
            value = self._cache.get(trigger.name, value)
        fallback = self._object.fallback
        if value is not None:
            self._failures[trigger.name] = 0
            return _Reading(to_milli(value))
        if fallback is None:
            return _Reading(None)
        failures = self._failures.get(trigger.name, 0) + 1
        self._failures[trigger.name] = failures
        if failures <= fallback.failure_threshold:
            return _Reading(None)
        if fallback.behavior == "scalingModifiers":
            return _Reading(None, nil=True)
        modifiers = self._object.scaling_modifiers
        target = modifiers.target if modifiers else _plain(trigger.threshold_milli)
        kind = modifiers.metric_type if modifiers else trigger.metric_type
        wanted: float = fallback.replicas_of(replicas)
        if kind == "Value":
            if not ready_pods:
                return _Reading(None)
            wanted /= ready_pods
        milli = truncate(target * 1000 * wanted, largest=INT64_MAX)
        return _Reading(milli, fallback=True)

    def _composite(self, results: list[tuple[str, "_Reading"]]) -> int | None:
        for _, result in results:
            if result.fallback:
                return result.milli
        if any(result.milli is None and not result.nil for _, result in results):
            return None
        return self._evaluate({name: result.milli for name, result in results})

    def _evaluate(self, milli: Mapping[str, int | None]) -> int | None:
        assert self._formula is not None
        values = {
            name: None if value is None else _plain(value)
            for name, value in milli.items()
        }
        try:
            result = self._formula.evaluate(values)
        except ConfigurationError:
            # KEDA logs the error and answers without any metric
            return None
        if result is not None:
            return to_milli(result)
        modifiers, fallback = self._object.scaling_modifiers, self._object.fallback
        if modifiers is None or fallback is None:
            return None
        return to_milli(fallback.replicas * modifiers.target)

    def _check(self, problems: Problems, values: object) -> None:
        if not isinstance(values, Mapping):
            problems.broken("'values' must be a mapping of trigger names", values)
            return
        names = [trigger.name for trigger in self._object.triggers]
        if sorted(map(str, values)) != sorted(names):
            problems.broken(
                f"'values' must have the triggers ({', '.join(names)})",
                sorted(map(str, values)),
                "pass None for one that could not be read",
            )
        for name, value in values.items():
            if value is not None:
                finite(problems, f"values[{name!r}]", value)


class _Reading(NamedTuple):
    milli: int | None
    fallback: bool = False
    nil: bool = False


def _plain(milli: int) -> float:
    # as a Kubernetes quantity does it; dividing by 1000 rounds otherwise
    return milli * 1e-3
