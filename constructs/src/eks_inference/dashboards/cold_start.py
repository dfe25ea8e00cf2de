"""Cold start: where does the time go between a new pod and its first answer?

Kubernetes and Karpenter write down when each step was reached; kube-state-metrics and
Karpenter export those times. What happens inside vLLM, between the start of the
container and readiness, is in the plan of the model and in vLLM's log, not here.
"""

from eks_inference import metric_names as names
from eks_inference.dashboards.scaling import NODE_STEPS
from eks_inference.dashboards.scope import (
    CHOSEN,
    MODEL_VARIABLE,
    NAMESPACE_VARIABLE,
    POOL_VARIABLE,
    Scope,
)
from eks_inference.dashboards.values import Dashboard, Kind, Panel, Query

_CONTAINER = 'container="vllm"'
_POD = "namespace, pod"


def phases(scope: Scope) -> dict[str, str]:
    """Return an expression for each phase of the starts in the chosen time, in seconds.

    The first time that was seen counts: a container that starts again, or a pod that
    is ready again, is not a cold start. Pods that are gone meanwhile count too.

    Args:
        scope: The models.
    """
    created = _first(names.POD_CREATED, scope.pods)
    scheduled = _first(names.POD_SCHEDULED, scope.pods)
    started = _first(names.CONTAINER_STARTED, f"{scope.pods},{_CONTAINER}")
    ready = _first(names.POD_READY, scope.pods)
    recent = f"and on ({_POD}) ({created} >= time() - $__range_s)"
    return {
        "waits for a node": f"({scheduled} - {created}) {recent}",
        "image and volumes": f"({started} - {scheduled}) {recent}",
        "process, weights, compilation": f"({ready} - {started}) {recent}",
        "all": f"({ready} - {created}) {recent}",
    }


def last_starts(scope: Scope) -> Panel:
    """Return the table of the starts in the chosen time.

    Args:
        scope: The models.
    """
    return Panel(
        title="Starts in the chosen time",
        answers="How long did each phase of each start take?",
        queries=tuple(Query(query, name) for name, query in phases(scope).items()),
        kind=Kind.TABLE,
        unit="s",
        width=24,
        height=6,
    )


def cold_start_dashboard() -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uid="eks-inference-cold-start",
        title="LLM inference: cold start",
        description="Where the time of a start goes, phase by phase.",
        panels=(
            last_starts(CHOSEN),
            _usual(),
            _node_steps(),
            _starting(),
            _image_pulls(),
        ),
        variables=(NAMESPACE_VARIABLE, MODEL_VARIABLE, POOL_VARIABLE),
        hours=24,
    )


def _usual() -> Panel:
    return Panel(
        title="Usual and slow starts",
        answers="Which phase is worth work? Half of the starts, and nine of ten.",
        queries=tuple(
            Query(f"quantile({share}, {query})", f"{phase}, {name}")
            for phase, query in phases(CHOSEN).items()
            for name, share in (("P50", "0.5"), ("P90", "0.9"))
        ),
        kind=Kind.BARS,
        unit="s",
    )


def _node_steps() -> Panel:
    # a condition is 'Unknown' from the creation of the claim until it is reached
    buckets = {
        step: (
            f"sum by (le) (increase({names.NODECLAIM_TRANSITION}_bucket"
            f'{{type="{step}",status="Unknown"}}[$__range]))'
        )
        for step in NODE_STEPS
    }
    return Panel(
        title="Nodes: from claim to launched, registered, initialized",
        answers=(
            "How long does a node take? Each time counts from the creation of the "
            "claim, over all pools."
        ),
        queries=tuple(
            Query(f"histogram_quantile({share}, {query})", f"{step}, {name}")
            for step, query in buckets.items()
            for name, share in (("P50", "0.5"), ("P90", "0.9"))
        ),
        kind=Kind.BARS,
        unit="s",
    )


def _starting() -> Panel:
    return Panel(
        title="Age of pods that are not ready",
        answers="What starts now, and is it stuck? A line that only grows is.",
        queries=(
            Query(
                f"max by ({_POD}) (time() - {names.POD_CREATED}{{{CHOSEN.pods}}}) "
                f"unless on ({_POD}) {names.POD_READY}{{{CHOSEN.pods}}}",
                "{{pod}}",
            ),
        ),
        unit="s",
    )


def _image_pulls() -> Panel:
    pulled, pulls = (
        f"sum by (image_size_in_bytes) (increase({names.IMAGE_PULL}_{part}[$__range]))"
        for part in ("sum", "count")
    )
    return Panel(
        title="Image pulls, by size of the image",
        answers="How long does a pull take on average? Of every node of the cluster.",
        queries=(Query(f"{pulled} / ({pulls} > 0)", "{{image_size_in_bytes}}"),),
        kind=Kind.BARS,
        unit="s",
    )


def _first(metric: str, selector: str) -> str:
    return f"min by ({_POD}) (min_over_time({metric}{{{selector}}}[$__range]))"
