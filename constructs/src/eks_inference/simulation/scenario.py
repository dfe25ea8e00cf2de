"""What is simulated: the values that manifests are rendered from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eks_inference._check import ConfigurationError, Problems
from eks_inference.drain import Drain
from eks_inference.manifests.scaling import scaled_object
from eks_inference.manifests.serving import Serving
from eks_inference.planning.instances import Prices
from eks_inference.planning.plan import Plan
from eks_inference.signal import Signal
from eks_inference.simulation.balancer import Balancer, LeastOutstanding, RoundRobin
from eks_inference.simulation.hpa_spec import Behavior, Policy, ScalingRules
from eks_inference.simulation.keda_spec import (
    POLLING_INTERVAL_SECONDS,
    Fallback,
    ScaledObject,
    ScalingModifiers,
    Trigger,
)

_COOLDOWN_SECONDS = 300


BALANCERS: Mapping[str, type[Balancer]] = {
    "least-outstanding": LeastOutstanding,
    "round-robin": RoundRobin,
}
"""Ways to choose a replica, by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A model on its pool, as it would be deployed, and what it would meet there.

    Args:
        plan: The model, its pool and what follows from them.
        drain: How a replica ends. Default: the library's.
        signal: How often the queue is read. Default: the library's.
        prices: What nodes cost. Default: the table's on-demand prices.
        headroom: Spare nodes with the image that are kept, beyond the pool's own
            ``headroom_nodes``. Default: 0.
        interruptions_per_hour: Rate at which one spot node is interrupted. Default:
            0; it has to be given, since AWS publishes monthly figures only.
        capacity_errors: Probability that EC2 has no capacity at an attempt, by
            capacity type. Default: none.
        balancer: Which replica gets a request: ``least-outstanding`` or
            ``round-robin``. Default: the one with the fewest requests in flight.
        gateway_queues: Whether requests wait while no replica is ready; without a
            gateway they are refused. Default: True.

    Raises:
        ConfigurationError: The model does not fit its pool.
    """

    plan: Plan
    drain: Drain = field(default_factory=Drain)
    signal: Signal = field(default_factory=Signal.prometheus)
    prices: Prices = field(default_factory=Prices)
    headroom: int = 0
    interruptions_per_hour: float = 0.0
    capacity_errors: Mapping[str, float] = field(default_factory=dict)
    balancer: str = "least-outstanding"
    gateway_queues: bool = True

    def __post_init__(self) -> None:
        with Problems("scenario") as problems:
            for name, kind in (
                ("plan", Plan),
                ("drain", Drain),
                ("signal", Signal),
                ("prices", Prices),
            ):
                problems.instance(name, getattr(self, name), kind)
            problems.one_of("balancer", self.balancer, tuple(BALANCERS))
            problems.flag("gateway_queues", self.gateway_queues)
            problems.integer("headroom", self.headroom, minimum=0, maximum=1_000)
            rate = self.interruptions_per_hour
            problems.number("interruptions_per_hour", rate, minimum=0, maximum=3_600)
            problems.instance("capacity_errors", self.capacity_errors, Mapping)
            if isinstance(self.plan, Plan):
                problems.include(self.plan.problems)

    @property
    def serving(self) -> Serving:
        """What the manifests are rendered from."""
        plan = self.plan
        return Serving(
            model=plan.model,
            plan=plan.serving,
            scaling=plan.scaling,
            drain=self.drain,
            signal=self.signal,
            cache_claim="vllm-compile-cache",
            image="vllm/vllm-openai:v0.31.0",
            namespace="inference",
            pool_name=plan.pool.name,
            region="us-east-1",
            priority_class_name=None,
        )

    @property
    def scaled_object(self) -> Mapping[str, Any]:
        """The ScaledObject that would be applied."""
        return scaled_object(self.serving)


def read_scaled_object(manifest: Mapping[str, Any]) -> ScaledObject:
    """Return what a rendered ScaledObject says, for the simulated KEDA.

    Args:
        manifest: The ScaledObject as plain data.

    Raises:
        ConfigurationError: It is no ScaledObject, or has a trigger that the simulator
            does not know.
    """
    spec = _spec(manifest)
    try:
        return _scaled_object(spec)
    except ConfigurationError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        rule = f"scaled object: 'manifest' must have what KEDA demands, got {error!r}"
        raise ConfigurationError([rule]) from error


def _spec(manifest: object) -> Mapping[str, Any]:
    with Problems("scaled object") as problems:
        spec = manifest.get("spec") if isinstance(manifest, Mapping) else None
        triggers = spec.get("triggers") if isinstance(spec, Mapping) else None
        if not isinstance(triggers, list | tuple):
            problems.broken("'manifest' must have a spec with triggers", manifest)
    assert isinstance(spec, Mapping)
    return spec


def _scaled_object(spec: Mapping[str, Any]) -> ScaledObject:
    advanced = spec.get("advanced", {})
    modifiers = advanced.get("scalingModifiers")
    behavior = advanced.get("horizontalPodAutoscalerConfig", {}).get("behavior")
    fallback = spec.get("fallback")
    return ScaledObject(
        triggers=tuple(map(_trigger, spec["triggers"], range(len(spec["triggers"])))),
        min_replica_count=spec.get("minReplicaCount", 0),
        max_replica_count=spec.get("maxReplicaCount", 100),
        polling_interval_seconds=spec.get("pollingInterval", POLLING_INTERVAL_SECONDS),
        cooldown_period_seconds=spec.get("cooldownPeriod", _COOLDOWN_SECONDS),
        initial_cooldown_period_seconds=spec.get("initialCooldownPeriod", 0),
        scaling_modifiers=modifiers
        and ScalingModifiers(
            formula=modifiers["formula"],
            target=_number(modifiers["target"]),
            activation_target=float(modifiers.get("activationTarget", 0)),
            metric_type=modifiers.get("metricType", "AverageValue"),
        ),
        fallback=fallback
        and Fallback(
            failure_threshold=fallback["failureThreshold"],
            replicas=fallback["replicas"],
            behavior=fallback.get("behavior", "static"),
        ),
        behavior=behavior
        and Behavior(
            scale_up=_rules(behavior.get("scaleUp", {})),
            scale_down=_rules(behavior.get("scaleDown", {})),
        ),
    )


def _trigger(trigger: Mapping[str, Any], index: int) -> Trigger:
    metadata = trigger["metadata"]
    if trigger["type"] != "prometheus":
        with Problems("scaled object") as problems:
            problems.broken(
                "'triggers' must be of type 'prometheus', the only one that is "
                "simulated",
                trigger["type"],
                "leave 'activation' out of the scaling",
            )
    return Trigger(
        name=trigger.get("name", f"s{index}"),
        threshold=float(metadata["threshold"]),
        activation_threshold=float(metadata.get("activationThreshold", 0)),
        metric_type=trigger.get("metricType", "AverageValue"),
        use_cached_metrics=bool(trigger.get("useCachedMetrics", False)),
    )


def weights_of(manifest: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return what each trigger reads: the weights of running and waiting requests.

    A number and an asterisk before the waiting ones weigh them, as in the library's
    own queries.

    Args:
        manifest: The ScaledObject as plain data.

    Raises:
        ConfigurationError: It is no ScaledObject, or a query reads neither.
    """
    found = {}
    for index, trigger in enumerate(_spec(manifest)["triggers"]):
        query = str(trigger.get("metadata", {}).get("query"))
        running = float("num_requests_running" in query)
        waiting = float("num_requests_waiting" in query)
        weight = re.search(r"(\d+)\s*\*", query)
        if running and waiting and weight:
            waiting = float(weight[1])
        if not running and not waiting:
            with Problems("scaled object") as problems:
                problems.broken(
                    "'query' must read vllm:num_requests_running or "
                    "vllm:num_requests_waiting",
                    query,
                )
        found[trigger.get("name", f"s{index}")] = (running, waiting)
    return found


def _number(text: str) -> float:
    # KEDA's fallback wants a target without a decimal point
    return int(text) if text.isdigit() else float(text)


def _rules(rules: Mapping[str, Any]) -> ScalingRules:
    names = {
        "stabilizationWindowSeconds": "window_s",
        "selectPolicy": "select",
        "tolerance": "tolerance",
    }
    values: dict[str, Any] = {
        ours: rules[theirs] for theirs, ours in names.items() if theirs in rules
    }
    if "policies" in rules:
        values["policies"] = tuple(
            Policy(
                type=item["type"],
                value=item["value"],
                period_s=item["periodSeconds"],
            )
            for item in rules["policies"]
        )
    return ScalingRules(**values)
