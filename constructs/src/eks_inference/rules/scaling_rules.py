"""Rules for how a model scales, as it will be applied."""

import math
import re
from collections.abc import Iterator

from eks_inference.manifests import Manifest
from eks_inference.planning.pool import COLD_START_SECONDS
from eks_inference.rules import ModelFacts, Rule, Severity, rule
from eks_inference.rules.signal_rules import SIGNAL_RULES, counts_requests

SCALING_RULES: list[Rule[ModelFacts]] = [*SIGNAL_RULES]
"""Every rule for an autoscaler, those for what it reads included."""


@rule(
    SCALING_RULES,
    "zeroWithoutActivation",
    Severity.ERROR,
    "The metrics come from the pods: without pods nothing ever starts the first one.",
)
def _zero_without_activation(model: ModelFacts) -> Iterator[str]:
    """A model that can go to zero has something outside its pods that wakes it."""
    if model.min_replicas == 0 and not model.has_activation:
        yield (
            "'min_replicas' must be at least 1 without an 'activation', got 0; set it "
            "to 1 or pass for example Activation.schedule(...)"
        )


@rule(
    SCALING_RULES,
    "cooldownShorterThanColdStart",
    Severity.ERROR,
    "KEDA goes to zero at once when the cooldown ends, whatever the number of "
    "replicas: a replica that has only just started is removed before it has served.",
)
def _cooldown(model: ModelFacts) -> Iterator[str]:
    """The cooldown before the step to zero outlasts a cold start."""
    if model.min_replicas > 0:
        return
    for name in ("cooldownPeriod", "initialCooldownPeriod"):
        seconds = model.scaling.get(name, 300 if name == "cooldownPeriod" else 0)
        if seconds < model.cold_start_seconds:
            yield (
                f"'{name}' must be at least what nine of ten cold starts take "
                f"({math.ceil(model.cold_start_seconds)} s), got {seconds}; raise "
                "'cooldown_seconds', or leave it out"
            )


@rule(
    SCALING_RULES,
    "pollingIntervalWithoutZero",
    Severity.WARNING,
    "KEDA polls for the step between 0 and 1 only. From 1 to n the autoscaler asks "
    "every 15 s, so a shorter interval changes nothing.",
)
def _polling_interval(model: ModelFacts) -> Iterator[str]:
    """A polling interval is given only where a model can go to zero."""
    cached = any(trigger.get("useCachedMetrics") for trigger in model.triggers)
    interval = model.scaling.get("pollingInterval")
    if interval is not None and model.min_replicas > 0 and not cached:
        yield (
            f"'pollingInterval' must be left out with 'min_replicas' "
            f"{model.min_replicas}, got {interval}: it has no effect; remove it"
        )


@rule(
    SCALING_RULES,
    "cooldownWithoutZero",
    Severity.WARNING,
    "The cooldown counts before the step to zero only. Between other counts the "
    "autoscaler's scale-down window decides.",
)
def _cooldown_without_zero(model: ModelFacts) -> Iterator[str]:
    """A cooldown is given only where a model can go to zero."""
    seconds = model.scaling.get("cooldownPeriod")
    if seconds is not None and model.min_replicas > 0:
        yield (
            f"'cooldownPeriod' must be left out with 'min_replicas' "
            f"{model.min_replicas}, got {seconds}: it has no effect; set "
            "'scale_down_window_seconds' instead"
        )


@rule(
    SCALING_RULES,
    "behaviorMisplaced",
    Severity.ERROR,
    "Anywhere else the field is dropped without a word, and Kubernetes' defaults "
    "apply.",
)
def _behavior_misplaced(model: ModelFacts) -> Iterator[str]:
    """The autoscaler's behaviour stands below spec.advanced."""
    if "horizontalPodAutoscalerConfig" in model.scaling:
        yield (
            "'horizontalPodAutoscalerConfig' must stand below 'spec.advanced', got it "
            "at the top of the spec; move it"
        )


@rule(
    SCALING_RULES,
    "scaleUpTooSlow",
    Severity.WARNING,
    "A queue of LLM requests grows within seconds, and each step of 15 s that a "
    "replica comes later is waited for by everyone.",
)
def _scale_up(model: ModelFacts) -> Iterator[str]:
    """Scaling up is stated and has no stabilisation window."""
    behavior = _behavior(model).get("scaleUp")
    if behavior is None:
        yield (
            "'scaleUp' must be stated, got no behaviour: Kubernetes' default is twice "
            "the replicas, or 4, every 15 s; leave the rendered behaviour in place"
        )
        return
    window = behavior.get("stabilizationWindowSeconds", 0)
    if window > 0:
        yield (
            f"'scaleUp.stabilizationWindowSeconds' must be 0, got {window}; a burst "
            "waits that long before anything happens"
        )


@rule(
    SCALING_RULES,
    "scaleDownTooFast",
    Severity.WARNING,
    "A replica that is removed in a short lull costs a cold start a moment later.",
)
def _scale_down(model: ModelFacts) -> Iterator[str]:
    """The scale-down window is at least as long as a cold start."""
    behavior = _behavior(model).get("scaleDown", {})
    window = behavior.get("stabilizationWindowSeconds", 300)
    if window < COLD_START_SECONDS:
        yield (
            f"'scale_down_window_seconds' must be at least a cold start "
            f"({COLD_START_SECONDS}), got {window}; raise it"
        )


@rule(
    SCALING_RULES,
    "targetAboveCapacity",
    Severity.ERROR,
    "The number of running requests stops at --max-num-seqs: a target that it cannot "
    "exceed waits for a queue, and so for latency, before it adds a replica.",
)
def _target(model: ModelFacts) -> Iterator[str]:
    """The scaling target is below the sequences that a replica processes at once."""
    modifiers = model.scaling.get("advanced", {}).get("scalingModifiers", {})
    target = modifiers.get("target")
    if target is None:
        thresholds = [
            trigger["metadata"]["threshold"]
            for trigger in model.triggers
            if "threshold" in trigger["metadata"]
        ]
        target = max(thresholds, key=float, default=None)
    if modifiers and not counts_requests(model):
        return
    capacity = model.argument("--max-num-seqs")
    if capacity is None:
        yield (
            "'--max-num-seqs' must be given, got vLLM's default of 256 or more: the "
            "queue would stay empty until latency has long suffered; state it"
        )
    elif target is not None and float(target) >= int(capacity):
        yield (
            f"scaling target must be below '--max-num-seqs' ({capacity}), got "
            f"{target}; lower 'target_share'"
        )


@rule(
    SCALING_RULES,
    "heldRequestTooShort",
    Severity.ERROR,
    "The interceptor answers 504 when its time is over, and the start that the request "
    "has caused serves nobody.",
)
def _held_request(model: ModelFacts) -> Iterator[str]:
    """A request that wakes a model is held longer than a cold start."""
    route = model.manifests.get("InterceptorRoute")
    if route is None:
        return
    limits = route["spec"].get("timeouts", {})
    for name in ("readiness", "request"):
        seconds = _seconds(limits.get(name, "0s"))
        if 0 < seconds < model.cold_start_seconds:
            yield (
                f"'timeouts.{name}' must be at least what nine of ten cold starts take "
                f"({math.ceil(model.cold_start_seconds)} s), got {limits[name]!r}; "
                "raise it or leave the rendered one in place"
            )
    if _seconds(limits.get("responseHeader", "300s")) > 0:
        yield (
            "'timeouts.responseHeader' must be '0s', got "
            f"{limits.get('responseHeader', '300s')!r}: an answer that is not streamed "
            "has no header before its end; leave the rendered one in place"
        )


def _behavior(model: ModelFacts) -> Manifest:
    config = model.scaling.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    behavior: Manifest = config.get("behavior", {})
    return behavior


def _seconds(duration: object) -> float:
    """Return the seconds of a duration as Go writes them, such as ``1h30m``."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts = re.findall(r"([0-9.]+)(ms|h|m|s)", str(duration))
    return sum(float(number) * units[unit] for number, unit in parts)
