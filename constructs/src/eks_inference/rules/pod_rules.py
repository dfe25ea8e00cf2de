"""Rules for a model's pod: its key, its memory, its start, its cache."""

from collections.abc import Iterator

from eks_inference.manifests import DO_NOT_DISRUPT
from eks_inference.rules import ModelFacts, Rule, Severity, rule
from eks_inference.rules.quantity import gib

POD_RULES: list[Rule[ModelFacts]] = []
"""Every rule for what stands in a pod."""


@rule(
    POD_RULES,
    "apiKeyInManifest",
    Severity.ERROR,
    "Whoever may read the template, the Deployment or the list of processes has the "
    "key.",
)
def _api_key(model: ModelFacts) -> Iterator[str]:
    """An API key comes from a Secret."""
    repair = "pass SecretKey(...) as 'api_key'"
    if model.argument("--api-key") is not None:
        yield f"'--api-key' must not be an argument, got one; {repair}"
    if "VLLM_API_KEY" in model.environment:
        yield f"'VLLM_API_KEY' must come from a Secret, got a value; {repair}"


@rule(
    POD_RULES,
    "streamerCredentials",
    Severity.ERROR,
    "The streamer then asks AWS's C++ chain, and not boto3, for credentials: the way "
    "that is proved with Pod Identity is boto3's.",
)
def _credentials(model: ModelFacts) -> Iterator[str]:
    """The streamer gets its credentials as boto3 does."""
    if "RUNAI_STREAMER_NO_BOTO3_SESSION" in model.environment:
        yield (
            "'RUNAI_STREAMER_NO_BOTO3_SESSION' must be left out, got "
            f"{model.environment['RUNAI_STREAMER_NO_BOTO3_SESSION']!r}; remove it"
        )
    if "AWS_REGION" not in model.environment:
        yield "'AWS_REGION' must be given, got none; leave the rendered one in place"


@rule(
    POD_RULES,
    "streamerMemory",
    Severity.ERROR,
    "The streamer's buffer counts as the pod's memory, and 40 GB are its default: the "
    "kernel ends the pod while it loads.",
)
def _streamer_memory(model: ModelFacts) -> Iterator[str]:
    """The streamer's buffer leaves room in the pod's memory."""
    memory = model.container.get("resources", {}).get("limits", {}).get("memory")
    limit = model.environment.get("RUNAI_STREAMER_MEMORY_LIMIT")
    if limit is None or int(limit) <= 0:
        yield (
            "'RUNAI_STREAMER_MEMORY_LIMIT' must be given in bytes, got "
            f"{limit!r}; leave the rendered one in place"
        )
    elif memory is not None and int(limit) > (gib(memory) or 0) * 2**30 / 2:
        yield (
            "'RUNAI_STREAMER_MEMORY_LIMIT' must be at most half of the pod's memory "
            f"({memory}), got {limit}; lower it or raise 'memory_gib'"
        )


@rule(
    POD_RULES,
    "unprotectedStart",
    Severity.WARNING,
    "Karpenter may consolidate or replace a node whose only pod has been loading for "
    "minutes; with 'true' it may never do so, not for a new image either.",
)
def _unprotected(model: ModelFacts) -> Iterator[str]:
    """While a replica starts, and no longer, Karpenter leaves its node alone."""
    template = model.manifests["Deployment"]["spec"]["template"]
    value = template["metadata"].get("annotations", {}).get(DO_NOT_DISRUPT)
    if value is None or value == "true":
        yield (
            f"'{DO_NOT_DISRUPT}' must be a duration such as '900s', got {value!r}; "
            "leave the rendered one in place"
        )


@rule(
    POD_RULES,
    "notReadyProbe",
    Severity.ERROR,
    "A pod without a readiness probe gets requests while it loads, and refuses them.",
)
def _readiness(model: ModelFacts) -> Iterator[str]:
    """A replica gets requests only when it can serve them."""
    if "readinessProbe" not in model.container:
        yield (
            "'readinessProbe' must be given, got none; leave the rendered one in place"
        )


@rule(
    POD_RULES,
    "sharedCacheRoot",
    Severity.ERROR,
    "Kernels of another image or model are found, or overwritten while they are read; "
    "compiled kernels are code that runs.",
)
def _cache(model: ModelFacts) -> Iterator[str]:
    """A shared compile cache has a directory for each model, GPU and image."""
    claims = {
        volume["name"]
        for volume in model.pod.get("volumes", ())
        if "persistentVolumeClaim" in volume
    }
    for mount in model.container.get("volumeMounts", ()):
        if mount["name"] in claims and "subPath" not in mount:
            yield (
                f"volume {mount['name']!r} must be mounted at a directory of the "
                "model's own, got its root; leave the rendered 'subPath' in place"
            )
