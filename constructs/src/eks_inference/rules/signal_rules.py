"""Rules for what an autoscaler reads, and what it makes of it."""

import re
from collections.abc import Iterator

from eks_inference._check import ConfigurationError
from eks_inference.keda_formula import Formula
from eks_inference.rules import ModelFacts, Rule, Severity, rule
from eks_inference.scaling_formula import expression_names, unsafe_parts

SIGNAL_RULES: list[Rule[ModelFacts]] = []
"""Every rule for triggers and formula."""

_BLIND_WINDOW_SECONDS = 600
"""How long a metric source that answers zero when it is gone must be disbelieved: two
of the windows that the default has. Assumed; the scaler's own memory is 60 s."""

_AGGREGATE = r"\b(sum|max|min|avg|count)\s*(by\s*\([^()]*\)\s*)?\([^()]*\)"

_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


@rule(
    SIGNAL_RULES,
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
    for trigger in model.triggers:
        if trigger["type"] == "prometheus" and (
            trigger["metadata"].get("ignoreNullValues", "true") != "false"
        ):
            yield (
                f"'ignoreNullValues' of trigger {trigger.get('name')!r} must be "
                "'false', got 'true': an empty answer would count as an empty queue"
            )
        if re.search(r"\bor\s+(on\s*\(\)\s*)?vector\s*\(\s*0", _query(trigger)):
            yield (
                f"query of trigger {trigger.get('name')!r} must not be zero without "
                f"series, got {_query(trigger)!r}; remove 'or vector(0)'"
            )


@rule(
    SIGNAL_RULES,
    "blindSignal",
    Severity.ERROR,
    "The OpenTelemetry scaler answers zero for series that are stale: when its "
    "collector is gone, a busy model looks idle, and no fallback ever acts.",
)
def _blind(model: ModelFacts) -> Iterator[str]:
    """What cannot tell an outage from an idle model is not believed at once."""
    if model.sees_outage:
        return
    if model.min_replicas == 0 or model.has_activation:
        yield (
            "'signal' must see an outage with 'min_replicas' 0 or an 'activation', got "
            "an OpenTelemetry scaler, which would send a busy model to sleep; use "
            "Signal.prometheus() or Signal.amp(...)"
        )
        return
    formula = _modifiers(model).get("formula", "")
    for name, what in (
        ("alive", "how many pods report"),
        ("pods", "how many there are"),
    ):
        if name not in formula:
            yield (
                "'formula' must hold the replicas while no pod reports, "
                f"got {formula!r} without {name!r} ({what}); leave the rendered one "
                "in place"
            )
    config = model.scaling.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    down = config.get("behavior", {}).get("scaleDown", {})
    window = down.get("stabilizationWindowSeconds", 300)
    if window < _BLIND_WINDOW_SECONDS:
        yield (
            f"'scale_down_window_seconds' must be at least {_BLIND_WINDOW_SECONDS} "
            f"with an OpenTelemetry scaler, got {window}; raise it or leave it out"
        )


@rule(
    SIGNAL_RULES,
    "unsoundFormula",
    Severity.ERROR,
    "KEDA takes no trigger into account that its formula does not name, and has no "
    "answer for the autoscaler when the formula has none.",
)
def _formula(model: ModelFacts) -> Iterator[str]:
    """A formula names every trigger, by an identifier, and always gives a number."""
    modifiers = _modifiers(model)
    if not modifiers:
        return
    names = [trigger.get("name", "") for trigger in model.triggers]
    for name in names:
        if not _IDENTIFIER.fullmatch(name):
            yield (
                f"'name' of a trigger must be an identifier with a formula, got "
                f"{name!r}; use letters, digits and '_'"
            )
    expression = modifiers.get("formula", "")
    try:
        Formula(expression, triggers=names)
        unused = sorted(set(names) - expression_names(expression))
        unsafe = unsafe_parts(expression)
    except ConfigurationError as error:
        yield from error.problems
        return
    if unused:
        yield (
            f"'formula' must use every trigger, got {expression!r} without "
            f"{', '.join(unused)}; use or remove them"
        )
    for message in unsafe:
        yield message.replace("'expression'", "'formula'")


@rule(
    SIGNAL_RULES,
    "activationTargetAboveZero",
    Severity.ERROR,
    "KEDA counts a model as idle up to the activation target, and sends it to sleep "
    "with requests in flight.",
)
def _activation_target(model: ModelFacts) -> Iterator[str]:
    """One request is enough to keep a model awake."""
    target = _modifiers(model).get("activationTarget", "0")
    if float(target) > 0:
        yield (
            f"'activationTarget' must be '0', got {target!r}; remove it: with one "
            "replica at least it has no effect, and without it would end requests"
        )
    for trigger in model.triggers:
        for key in ("activationThreshold", "activationQueueLength"):
            value = trigger["metadata"].get(key, "0")
            if float(value) > 0:
                yield (
                    f"{key!r} of trigger {trigger.get('name')!r} must be '0', got "
                    f"{value!r}; remove it"
                )


@rule(
    SIGNAL_RULES,
    "queryWithoutAggregation",
    Severity.ERROR,
    "KEDA refuses an answer with two values, which comes as soon as there are two "
    "replicas.",
)
def _aggregation(model: ModelFacts) -> Iterator[str]:
    """Every query yields one number, whatever the number of replicas."""
    for trigger in model.triggers:
        query = _query(trigger)
        bare = re.sub(_AGGREGATE, "", query)
        if "vllm:" in bare or "vllm_" in bare:
            yield (
                f"query of trigger {trigger.get('name')!r} must aggregate over the "
                f"pods, got {query!r}; wrap each metric in sum(...)"
            )
        elif query and not re.search(r"\b(sum|max|min|avg|count|scalar)\b", query):
            yield (
                f"query of trigger {trigger.get('name')!r} must yield one number, got "
                f"{query!r}; wrap it in sum(...)"
            )


@rule(
    SIGNAL_RULES,
    "queryOfAllModels",
    Severity.ERROR,
    "Models would scale on each other's queues.",
)
def _selection(model: ModelFacts) -> Iterator[str]:
    """Every query names the model whose replicas it scales, and its namespace."""
    namespace = model.manifests["Deployment"]["metadata"]["namespace"]
    for trigger in model.triggers:
        query = _query(trigger)
        metrics = len(re.findall(r"\bvllm[:_]\w+", query))
        labels = (
            (f'job="{namespace}/{model.name}"', f'namespace="{namespace}"')
            if trigger["type"] == "prometheus"
            else (f"deployment={model.name}", f"namespace={namespace}")
        )
        for label in labels:
            if query.count(label) < metrics:
                yield (
                    f"query of trigger {trigger.get('name')!r} must name the model in "
                    f"each metric, got {query!r}; add {label}"
                )


@rule(
    SIGNAL_RULES,
    "metricWithoutColon",
    Severity.ERROR,
    "vLLM's metrics have a colon in their names. A name without one has no series, "
    "which some scalers read as zero.",
)
def _colon(model: ModelFacts) -> Iterator[str]:
    """Metrics are named as vLLM names them, but where a collector renames them."""
    for trigger in model.triggers:
        renamed = trigger["type"] == "kedify-otel"
        pattern = r"\bvllm:\w+" if renamed else r"\bvllm_\w+"
        found = re.search(pattern, _query(trigger))
        if found:
            wrong, right = (":", "_") if renamed else ("_", ":")
            yield (
                f"query of trigger {trigger.get('name')!r} must use the names that "
                f"its source has, got {found[0]!r}; write "
                f"{found[0].replace(f'vllm{wrong}', f'vllm{right}', 1)!r}"
            )


def counts_requests(model: ModelFacts) -> bool:
    """Say whether a model scales on nothing but requests that run and wait."""
    metrics = {
        name
        for trigger in model.triggers
        for name in re.findall(r"\bvllm[:_](\w+)", _query(trigger))
    }
    return metrics <= {"num_requests_running", "num_requests_waiting"}


def _query(trigger: dict[str, object]) -> str:
    metadata = trigger["metadata"]
    assert isinstance(metadata, dict)
    return str(metadata.get("query") or metadata.get("metricQuery") or "")


def _modifiers(model: ModelFacts) -> dict[str, str]:
    modifiers: dict[str, str] = model.scaling.get("advanced", {}).get(
        "scalingModifiers", {}
    )
    return modifiers
