"""Rules for a model, as it will be applied."""

import math
from collections.abc import Iterator

from eks_inference.drain import SPOT_GRACE_LIMIT_SECONDS, TEARDOWN_SECONDS
from eks_inference.manifests import NVIDIA_GPU, Manifest
from eks_inference.planning.pool import COLD_START_SECONDS, NODE_DRAIN_LIMIT_SECONDS
from eks_inference.rules import ModelFacts, Rule, Severity, rule
from eks_inference.rules.fit_rules import FIT_RULES
from eks_inference.rules.pod_rules import POD_RULES
from eks_inference.rules.scaling_rules import SCALING_RULES

MODEL_RULES: list[Rule[ModelFacts]] = [*SCALING_RULES, *FIT_RULES, *POD_RULES]
"""Every rule for a model, those for its autoscaler and its nodes included."""


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
    needed = max(COLD_START_SECONDS, math.ceil(model.cold_start_seconds))
    if budget < needed:
        yield (
            f"start-up budget must be at least a cold start ({needed} s), "
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
    gpus = int(
        model.container.get("resources", {}).get("limits", {}).get(NVIDIA_GPU, 0)
    )
    if gpus > model.pool.pool.gpus_per_node:
        yield (
            f"'gpus' must be at most the GPUs of a node "
            f"({model.pool.pool.gpus_per_node}), got {gpus}; raise the pool's "
            "'gpus_per_node'"
        )


def _pre_stop_seconds(container: Manifest) -> int:
    hook = container.get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return int(hook["sleep"].get("seconds", 0))
    command = hook.get("exec", {}).get("command", ())
    if len(command) == 2 and command[0] == "sleep":  # noqa: PLR2004
        return int(command[1])
    return 0
