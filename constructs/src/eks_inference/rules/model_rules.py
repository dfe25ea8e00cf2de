"""Rules for a model, as it will be applied."""

import re
from collections.abc import Iterator, Sequence

from eks_inference.drain import SPOT_GRACE_LIMIT_SECONDS, TEARDOWN_SECONDS
from eks_inference.manifests import NVIDIA_GPU, Manifest
from eks_inference.planning.pool import COLD_START_SECONDS, NODE_DRAIN_LIMIT_SECONDS
from eks_inference.rules import ModelFacts, Rule, Severity, rule

MODEL_RULES: list[Rule[ModelFacts]] = []
"""Every rule for a model."""


@rule(
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
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
    MODEL_RULES,
    "targetAboveCapacity",
    Severity.ERROR,
    "The number of running requests stops at --max-num-seqs: a target that it cannot "
    "exceed waits for a queue, and so for latency, before it adds a replica.",
)
def _target(model: ModelFacts) -> Iterator[str]:
    """The scaling target is below the sequences that a replica processes at once."""
    modifiers = model.scaling.get("advanced", {}).get("scalingModifiers", {})
    target = modifiers.get("target")
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
    MODEL_RULES,
    "shutdownInequality",
    Severity.ERROR,
    "Kubernetes kills the container when the grace period ends, and every stream "
    "that is still open is cut.",
)
def _shutdown(model: ModelFacts) -> Iterator[str]:
    """preStop, vLLM's shutdown timeout and its teardown fit the grace period."""
    timeout = int(model.argument("--shutdown-timeout") or 0)
    if timeout == 0:
        yield (
            "'--shutdown-timeout' must be given, got vLLM's default of 0, which cuts "
            "every stream; leave the rendered argument in place"
        )
    wait = _pre_stop_seconds(model.container)
    if wait == 0:
        yield (
            "'preStop' must wait until the pod has left the Service, got no wait: "
            "vLLM answers new requests with errors while it drains"
        )
    grace = model.pod.get("terminationGracePeriodSeconds", 30)
    needed = wait + timeout + TEARDOWN_SECONDS
    if grace < needed:
        yield (
            f"'terminationGracePeriodSeconds' must be at least preStop + "
            f"--shutdown-timeout + teardown ({wait} + {timeout} + {TEARDOWN_SECONDS} = "
            f"{needed}), got {grace}; raise it or lower 'shutdown_timeout_seconds'"
        )


@rule(
    MODEL_RULES,
    "spotGrace",
    Severity.ERROR,
    "EC2 gives two minutes between its notice and the end of a spot instance, and "
    "some of them are gone before the pod is told.",
)
def _spot_grace(model: ModelFacts) -> Iterator[str]:
    """On spot, a replica can end within the notice."""
    grace = model.pod.get("terminationGracePeriodSeconds", 30)
    if model.pool.pool.capacity.uses_spot and grace > SPOT_GRACE_LIMIT_SECONDS:
        yield (
            f"'terminationGracePeriodSeconds' must be at most "
            f"{SPOT_GRACE_LIMIT_SECONDS} on spot, got {grace}; lower "
            "'shutdown_timeout_seconds' or use Capacity.on_demand()"
        )


@rule(
    MODEL_RULES,
    "drainExceedsNode",
    Severity.ERROR,
    "Karpenter ends a node when its time to drain is over, and every stream with it.",
)
def _node_drain(model: ModelFacts) -> Iterator[str]:
    """A replica's grace period ends before Karpenter ends the node."""
    grace = model.pod.get("terminationGracePeriodSeconds", 30)
    if grace > NODE_DRAIN_LIMIT_SECONDS:
        yield (
            f"'terminationGracePeriodSeconds' must be at most what a node has to drain "
            f"({NODE_DRAIN_LIMIT_SECONDS}), got {grace}; lower "
            "'shutdown_timeout_seconds'"
        )


@rule(
    MODEL_RULES,
    "startupBudgetTooShort",
    Severity.ERROR,
    "A start-up probe that runs out kills the container, which starts again from "
    "nothing, for ever.",
)
def _startup(model: ModelFacts) -> Iterator[str]:
    """The start-up probe allows for a cold start with an empty compile cache."""
    probe = model.container.get("startupProbe")
    if probe is None:
        yield (
            "'startupProbe' must be given, got none: the liveness probe would end "
            "every start; leave the rendered one in place"
        )
        return
    budget = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
    if budget < COLD_START_SECONDS:
        yield (
            f"start-up budget must be at least a cold start ({COLD_START_SECONDS} s), "
            f"got {budget}; raise 'failureThreshold'"
        )
    delay = probe.get("initialDelaySeconds", 0)
    if delay > 0:
        yield (
            f"'initialDelaySeconds' of the start-up probe must be left out, got "
            f"{delay}: it only delays the moment at which a replica is ready; raise "
            "'failureThreshold' instead"
        )


@rule(
    MODEL_RULES,
    "probePath",
    Severity.ERROR,
    "/v1/models answers 401 as soon as an API key is set, and does not notice a dead "
    "engine.",
)
def _probe_path(model: ModelFacts) -> Iterator[str]:
    """Every probe asks /health."""
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        path = model.container.get(name, {}).get("httpGet", {}).get("path", "/health")
        if path != "/health":
            yield f"'{name}' must ask '/health', got {path!r}; change its path"


@rule(
    MODEL_RULES,
    "missingToleration",
    Severity.ERROR,
    "The pod stays pending for ever: GPU nodes admit only pods that tolerate their "
    "taint.",
)
def _toleration(model: ModelFacts) -> Iterator[str]:
    """The pod tolerates the GPU taint and asks for a GPU."""
    tolerated = {item.get("key") for item in model.pod.get("tolerations", ())}
    if NVIDIA_GPU not in tolerated and None not in tolerated:
        yield (
            f"pod must tolerate {NVIDIA_GPU!r}, got tolerations for "
            f"{sorted(str(key) for key in tolerated)}; leave the rendered one in place"
        )
    if NVIDIA_GPU not in model.container.get("resources", {}).get("limits", {}):
        yield (
            f"container must have a limit for {NVIDIA_GPU!r}, got none: Karpenter "
            "would launch no GPU for it"
        )


@rule(
    MODEL_RULES,
    "unpinnedImage",
    Severity.ERROR,
    "Replicas that start on different days run different versions, and none of them "
    "finds the other's compile cache.",
)
def _image(model: ModelFacts) -> Iterator[str]:
    """The image has a tag that is not 'latest', or a digest."""
    image = model.container["image"]
    name = image.rsplit("/", 1)[-1]
    if "@sha256:" in image or image.startswith("${Token["):
        return
    if ":" not in name or name.endswith(":latest"):
        yield f"'image' must have a pinned tag or a digest, got {image!r}; name one"


@rule(
    MODEL_RULES,
    "serviceLinks",
    Severity.ERROR,
    "A Service called vllm injects VLLM_PORT into every pod of the namespace, which "
    "vLLM takes for its own setting and refuses.",
)
def _service_links(model: ModelFacts) -> Iterator[str]:
    """No Service's name can set one of vLLM's variables."""
    if model.pod.get("enableServiceLinks", True):
        yield (
            "'enableServiceLinks' must be False, got True; leave the rendered value "
            "in place"
        )
    name = model.manifests["Service"]["metadata"]["name"]
    if name.startswith("vllm"):
        yield (
            f"name of the Service must not start with 'vllm', got {name!r}; choose "
            "another 'name'"
        )


@rule(
    MODEL_RULES,
    "blockingDisruptionBudget",
    Severity.ERROR,
    "Nodes can never be drained: not for an upgrade, not for a consolidation.",
)
def _disruption_budget(model: ModelFacts) -> Iterator[str]:
    """The disruption budget lets one replica go, also when there is only one."""
    spec = model.manifests["PodDisruptionBudget"]["spec"]
    if "minAvailable" in spec or str(spec.get("maxUnavailable", 1)) in {"0", "0%"}:
        stated = spec.get("minAvailable", spec.get("maxUnavailable"))
        yield (
            f"disruption budget must have 'maxUnavailable' of at least 1, got "
            f"{stated!r}; use maxUnavailable 1"
        )


@rule(
    MODEL_RULES,
    "gpusExceedNode",
    Severity.ERROR,
    "No node has that many GPUs, and the pod stays pending for ever.",
)
def _gpus_exceed_node(model: ModelFacts) -> Iterator[str]:
    """A replica's GPUs fit one node of the pool."""
    gpus = int(model.container["resources"]["limits"].get(NVIDIA_GPU, 0))
    if gpus > model.pool.pool.gpus_per_node:
        yield (
            f"'gpus' must be at most the GPUs of a node "
            f"({model.pool.pool.gpus_per_node}), got {gpus}; raise the pool's "
            "'gpus_per_node'"
        )


def _triggers(model: ModelFacts) -> Sequence[Manifest]:
    triggers: Sequence[Manifest] = model.scaling.get("triggers", ())
    return triggers


def _behavior(model: ModelFacts) -> Manifest:
    config = model.scaling.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    behavior: Manifest = config.get("behavior", {})
    return behavior


def _pre_stop_seconds(container: Manifest) -> int:
    hook = container.get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return int(hook["sleep"].get("seconds", 0))
    command = hook.get("exec", {}).get("command", ())
    if len(command) == 2 and command[0] == "sleep":  # noqa: PLR2004
        return int(command[1])
    return 0
