"""Rules for how a model scales, as it will be applied."""

import re
from collections.abc import Iterator, Sequence

from eks_inference.manifests import Manifest
from eks_inference.planning.pool import COLD_START_SECONDS
from eks_inference.rules import ModelFacts, Rule, Severity, rule

SCALING_RULES: list[Rule[ModelFacts]] = []
"""Every rule for an autoscaler."""


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
        if seconds < COLD_START_SECONDS:
            yield (
                f"'{name}' must be at least a cold start ({COLD_START_SECONDS} s), got "
                f"{seconds}; raise 'cooldown_seconds'"
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
    cached = any(trigger.get("useCachedMetrics") for trigger in _triggers(model))
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
    "noFallback",
    Severity.ERROR,
    "Without it a metric source that is gone reads as an empty queue, and replicas "
    "are removed under load.",
)
def _fallback(model: ModelFacts) -> Iterator[str]:
    """A metric source that does not answer never scales in."""
    fallback = model.scaling.get("fallback")
    if fallback is None:
        yield "'fallback' must be given, got none; leave the rendered one in place"
    elif fallback.get("behavior", "static") not in {
        "currentReplicas",
        "currentReplicasIfHigher",
    }:
        yield (
            "'fallback.behavior' must keep the replicas that there are, got "
            f"{fallback.get('behavior', 'static')!r}; use 'currentReplicasIfHigher'"
        )
    for trigger in _triggers(model):
        if trigger["type"] == "prometheus" and (
            trigger["metadata"].get("ignoreNullValues", "true") != "false"
        ):
            yield (
                f"'ignoreNullValues' of trigger {trigger.get('name')!r} must be "
                "'false', got 'true': an empty answer would count as an empty queue"
            )


@rule(
    SCALING_RULES,
    "queryWithoutAggregation",
    Severity.ERROR,
    "KEDA refuses an answer with two values, which comes as soon as there are two "
    "replicas.",
)
def _aggregation(model: ModelFacts) -> Iterator[str]:
    """Every query yields one number, whatever the number of replicas."""
    for trigger in _triggers(model):
        query = trigger["metadata"].get("query") or trigger["metadata"].get(
            "metricQuery", ""
        )
        bare = re.sub(r"\b(sum|max|min|avg|count)\s*\([^()]*\)", "", query)
        if "vllm:" in bare or "vllm_" in bare:
            yield (
                f"query of trigger {trigger.get('name')!r} must aggregate over the "
                f"pods, got {query!r}; wrap each metric in sum(...)"
            )


@rule(
    SCALING_RULES,
    "queryOfAllModels",
    Severity.ERROR,
    "Models would scale on each other's queues.",
)
def _selection(model: ModelFacts) -> Iterator[str]:
    """Every query names the model whose replicas it scales."""
    for trigger in _triggers(model):
        query = trigger["metadata"].get("query", "")
        metrics = len(re.findall(r"\bvllm[:_]\w+", query))
        if query.count(f'model_name="{model.name}"') < metrics:
            yield (
                f"query of trigger {trigger.get('name')!r} must name the model in "
                f"each metric, got {query!r}; add model_name={model.name!r}"
            )


@rule(
    SCALING_RULES,
    "metricWithoutColon",
    Severity.ERROR,
    "vLLM's metrics have a colon in their names. A name without one has no series, "
    "which some scalers read as zero.",
)
def _colon(model: ModelFacts) -> Iterator[str]:
    """Metrics are named as vLLM names them."""
    for trigger in _triggers(model):
        found = re.search(r"\bvllm_\w+", trigger["metadata"].get("query", ""))
        if found:
            right = found[0].replace("vllm_", "vllm:", 1)
            yield (
                f"query of trigger {trigger.get('name')!r} must use vLLM's own names, "
                f"got {found[0]!r}; write {right!r}"
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
            for trigger in _triggers(model)
            if "threshold" in trigger["metadata"]
        ]
        target = max(thresholds, key=float, default=None)
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


def _triggers(model: ModelFacts) -> Sequence[Manifest]:
    triggers: Sequence[Manifest] = model.scaling.get("triggers", ())
    return triggers


def _behavior(model: ModelFacts) -> Manifest:
    config = model.scaling.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    behavior: Manifest = config.get("behavior", {})
    return behavior
